"""/metrics: what the node counts and what this process counts, as Prometheus or OpenMetrics text.

    node's Stats table ──┐
      counters, state    ├──►  rows: name -> type, help, labels, series  ──►  _Table (a custom collector)  ──►  text
    own Counters ────────┘

Nothing is registered for good: every scrape has a registry of its own, so two nodes can live in one test process. The node's rows are
rendered as it describes them, also those that this version does not know (a gateway may be older than the node it asks). What the state of
the node says anyway (slots, paused queues) is read off there.

A scrape is always answered with 200. Who asks wants to know what is wrong, and a failed scrape would hide it:

    the node answers                 zjp_up 1, zjp_store_up 1, everything
    it cannot read its queue         zjp_up 1, zjp_store_up 0, and of the rest only what this process counts
    it does not answer               zjp_up 0 (zjp_store_up is not known), likewise
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from mmap import PAGESIZE
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ..errors import StoreUnavailable, ZjpError
from ..metrics import TABLE, Counters, MetricKind, Teller

ANSWER_S = 8.0
"""For the node's answer. Prometheus gives a scrape 10 s by default. Who asks should give up much sooner: see `scrape`."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
_STARTED_AT = time.time()

Rows = dict[str, dict[str, Any]]
Series = dict[str, Any]


class HttpCounts:
    """The requests of this process, by method, route and status. Nobody can make series by asking for odd things: what fits no row of the
    routes, and what is no method, is counted as `other`."""

    def __init__(self) -> None:
        self._counters = Counters()

    def took(self, method: str, route: str, status: int, seconds: float) -> None:
        """`route`: the row's path with its parameters unnamed (`/api/v1/jobs/{id}`), empty where no row fits. Of a stream: until it
        began."""
        labels = (method if method in METHODS else OTHER, route or OTHER, str(status))
        self._counters.observe("zjp_http_requests_seconds", seconds, labels)

    def rows(self) -> Rows:
        """The others of a Counters are the node's to tell."""
        return {name: row for name, row in self._counters.snapshot().items() if TABLE[name].teller is Teller.HTTP}


async def scrape(ask: Callable[[], Awaitable[Mapping[str, Any]]], own: HttpCounts, accept: str) -> tuple[bytes, str]:
    """Body and content type, whatever becomes of `ask` (AsyncClient.stats). It should give up by itself after 3 s: a client asks again
    while the store is away, and says why it did so only at the end of its time."""
    try:
        async with asyncio.timeout(ANSWER_S):
            table = await ask()
    except StoreUnavailable:
        return render(None, own, accept, is_node_up=True)
    except (ZjpError, OSError, TimeoutError):
        return render(None, own, accept)
    return render(table, own, accept)


def render(
    table: Mapping[str, Any] | None, own: HttpCounts, accept: str, *, is_node_up: bool = False
) -> tuple[bytes, str]:
    """`table`: what `AsyncClient.stats` gives; None: it gave nothing, `is_node_up` says whether the node itself answered.
    `accept`: the request's header. Returns the body and its content type."""
    rows = {} if table is None else _told(table)
    rows |= _own(own, is_node_up=table is not None or is_node_up, is_store_up=table is not None)
    registry = CollectorRegistry()
    registry.register(_Table({name: row for name, row in rows.items() if row["series"]}))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


# ── what there is to tell ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _told(table: Mapping[str, Any]) -> Rows:
    """The node's rows: its counters, and what stands in its state."""
    read_off = {name: _row(name, series) for name, series in _read_off(table)}
    return {**table["metrics"], **read_off}


def _read_off(table: Mapping[str, Any]) -> Iterator[tuple[str, list[Series]]]:
    workers = table["workers"]
    yield "zjp_slots", [_one(sum(worker["slots"] for worker in workers))]
    yield "zjp_slots_busy", [_one(sum(worker["busy"] for worker in workers))]
    yield "zjp_queue_paused", [_one(queue["paused"], queue["queue"]) for queue in table["queues"]]
    yield "zjp_node_draining", [_one(table["is_draining"])]
    yield "zjp_records", [_one(table["records"])]


def _own(own: HttpCounts, *, is_node_up: bool, is_store_up: bool) -> Rows:
    return own.rows() | {name: _row(name, series) for name, series in _looked_at(is_node_up, is_store_up)}


def _looked_at(is_node_up: bool, is_store_up: bool) -> Iterator[tuple[str, list[Series]]]:
    yield "zjp_up", [_one(is_node_up)]
    yield "zjp_store_up", [_one(is_store_up)] if is_node_up else []
    yield "zjp_api_cpu_seconds_total", [_one(time.process_time())]
    yield "zjp_api_rss_bytes", _rss_bytes()
    yield "zjp_api_start_time_seconds", [_one(_STARTED_AT)]


def _rss_bytes() -> list[Series]:
    """Nothing where there is no /proc."""
    try:
        return [_one(int(Path("/proc/self/statm").read_text().split()[1]) * PAGESIZE)]
    except OSError:
        return []


def _row(name: str, series: list[Series]) -> dict[str, Any]:
    row = TABLE[name]
    return {
        "type": row.kind.value,
        "help": row.help,
        "labels": list(row.labels),
        "bounds": list(row.bounds),
        "series": series,
    }


def _one(value: float, *labels: str) -> Series:
    return {"labels": list(labels), "value": value}


# ── as the library wants it ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Table(Collector):
    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def collect(self) -> Iterator[Metric]:
        for name, row in self._rows.items():
            yield _family(name, row)


def _family(name: str, row: Mapping[str, Any]) -> Metric:
    """The library puts the suffix of counters and infos on by itself."""
    if row["type"] == MetricKind.HISTOGRAM.value:
        return _histogram(name, row)
    if row["type"] == MetricKind.COUNTER.value:
        return _numbers(CounterMetricFamily(name.removesuffix("_total"), row["help"], labels=row["labels"]), row)
    if name.endswith("_info"):
        info = InfoMetricFamily(name.removesuffix("_info"), row["help"], labels=row["labels"])
        for series in row["series"]:
            info.add_metric(series["labels"], {})
        return info
    return _numbers(GaugeMetricFamily(name, row["help"], labels=row["labels"]), row)


def _numbers(family: CounterMetricFamily | GaugeMetricFamily, row: Mapping[str, Any]) -> Metric:
    for series in row["series"]:
        family.add_metric(series["labels"], float(series["value"]))
    return family


def _histogram(name: str, row: Mapping[str, Any]) -> Metric:
    family = HistogramMetricFamily(name, row["help"], labels=row["labels"])
    names = [*(repr(float(bound)) for bound in row["bounds"]), "+Inf"]
    for series in row["series"]:
        upto, buckets = 0, []
        for bound, count in zip(names, series["counts"], strict=True):
            upto += count
            buckets.append((bound, upto))
        family.add_metric(series["labels"], buckets, series["sum"])
    return family
