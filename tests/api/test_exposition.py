"""/metrics: what is told of a node and of the process that asks it, as text that Prometheus takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from tests.operations.tools import NAMES_BLAMED, names_blamed
from zjp.api.exposition import HttpCounts, render, scrape
from zjp.errors import NodeUnreachable, StoreUnavailable
from zjp.metrics import TABLE, Counters, MetricKind, Teller

pytestmark = pytest.mark.covers("metrics:endpoint")

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"


def every_row() -> Counters:
    """Each row that the node counts with a series, as no node has them at once."""
    counters = Counters()
    for row in TABLE.values():
        if row.teller is not Teller.NODE:
            continue
        labels = tuple(f"some {label}" for label in row.labels)
        if row.kind is MetricKind.COUNTER:
            counters.add(row.name, 3, labels)
        elif row.kind is MetricKind.GAUGE:
            counters.set(row.name, 5, labels)
        else:
            counters.observe_many(row.name, [row.bounds[0], row.bounds[0] * 1.01, row.bounds[-1] + 1], labels)
    return counters


def some_requests() -> HttpCounts:
    own = HttpCounts()
    own.took("GET", "/api/v1/jobs/{id}", 200, 0.003)
    return own


def stats(counters: Counters | None = None) -> dict[str, Any]:
    """As it comes from a node."""
    table = {
        "metrics": (counters or every_row()).snapshot(),
        "workers": [{"slots": 4, "busy": 3}, {"slots": 2, "busy": 0}],
        "queues": [{"queue": "default", "paused": False}, {"queue": "mail", "paused": True}],
        "is_draining": True,
        "records": 17,
    }
    told: dict[str, Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(table))
    return told


def told(table: Mapping[str, Any] | None, own: HttpCounts | None = None, **more: bool) -> dict[str, float]:
    """Sample -> value, of samples with labels as `name{value,value}`."""
    body, _ = render(table, own or HttpCounts(), "", **more)
    return {
        sample.name + (f"{{{','.join(sample.labels.values())}}}" if sample.labels else ""): sample.value
        for family in read_text(body.decode())
        for sample in family.samples
    }


def test_every_row_of_the_table_is_told_under_its_own_name_in_both_formats() -> None:
    for accept, read in (("", read_text), (OPENMETRICS, read_openmetrics)):
        body, content_type = render(stats(), some_requests(), accept)
        names = {sample.name for family in read(body.decode()) for sample in family.samples}
        assert {name.removesuffix("_bucket") for name in names if not name.endswith(("_count", "_sum"))} == set(TABLE)
        assert ("openmetrics" in content_type) == (accept == OPENMETRICS)
        assert body.endswith(b"# EOF\n") == (accept == OPENMETRICS)


def test_no_series_is_told_twice() -> None:
    body, _ = render(stats(), some_requests(), "")
    samples = [line.rpartition(" ")[0] for line in body.decode().splitlines() if not line.startswith("#")]
    assert len(samples) == len(set(samples))


def test_promtool_finds_no_fault_but_the_names_of_the_contract() -> None:
    body, _ = render(stats(), some_requests(), "")
    assert names_blamed(body) == NAMES_BLAMED


def test_buckets_are_cumulated_and_the_last_is_the_count() -> None:
    counters = Counters()
    counters.observe_many("zjp_store_seconds", [0.0001, 0.0002, 0.0002, 9.0], ("claim",))
    got = told(stats(counters))
    assert got["zjp_store_seconds_bucket{0.0001,claim}"] == 1
    assert got["zjp_store_seconds_bucket{0.00025,claim}"] == 3
    assert got["zjp_store_seconds_bucket{2.5,claim}"] == 3
    assert got["zjp_store_seconds_bucket{+Inf,claim}"] == got["zjp_store_seconds_count{claim}"] == 4
    assert got["zjp_store_seconds_sum{claim}"] == pytest.approx(9.0005)


def test_label_values_of_users_are_escaped() -> None:
    name = 'a"b\\c\nd{}'
    counters = Counters()
    counters.add("zjp_jobs_finished_total", 1, (name, "default", "completed"))
    for accept, read in (("", read_text), (OPENMETRICS, read_openmetrics)):
        body, _ = render(stats(counters), HttpCounts(), accept)
        (family,) = (one for one in read(body.decode()) if one.name == "zjp_jobs_finished")
        assert family.samples[0].labels["type"] == name


def test_slots_pauses_and_drain_are_read_off_the_state_of_the_node() -> None:
    got = told(stats(Counters()))
    assert (got["zjp_slots"], got["zjp_slots_busy"]) == (6, 3)
    assert (got["zjp_queue_paused{default}"], got["zjp_queue_paused{mail}"]) == (0, 1)
    assert (got["zjp_node_draining"], got["zjp_records"]) == (1, 17)


def test_a_row_that_this_version_does_not_know_is_told_as_the_node_describes_it() -> None:
    table = stats(Counters())
    series = [{"labels": ["x"], "value": 2}]
    table["metrics"]["zjp_news_total"] = {
        "type": "counter",
        "help": "New.",
        "labels": ["kind"],
        "bounds": [],
        "series": series,
    }
    assert told(table)["zjp_news_total{x}"] == 2


@pytest.mark.covers("metrics:http")
def test_http_requests_are_counted_by_the_process_that_answers_them() -> None:
    own = HttpCounts()
    for seconds in (0.0004, 0.0005, 0.0006, 61.0):
        own.took("GET", "/api/v1/jobs/{id}", 200, seconds)
    own.took("BREW", "", 405, 0.001)
    for table in (stats(Counters()), None):
        got = told(table, own)
        assert got["zjp_http_requests_seconds_bucket{0.0005,GET,/api/v1/jobs/{id},200}"] == 2
        assert got["zjp_http_requests_seconds_count{GET,/api/v1/jobs/{id},200}"] == 4
        assert got["zjp_http_requests_seconds_count{other,other,405}"] == 1


def test_without_the_node_only_what_this_process_counts_is_told() -> None:
    """No zeros in the node's place: they would look like a restart."""
    got = told(None)
    assert got["zjp_up"] == 0
    assert got["zjp_api_cpu_seconds_total"] > 0
    assert {TABLE[name].teller for name in got} == {Teller.HTTP}
    assert "zjp_store_up" not in got, "nobody knows"


@pytest.mark.parametrize(
    ("fault", "up"),
    [
        (StoreUnavailable("away"), {"zjp_up": 1.0, "zjp_store_up": 0.0}),
        (NodeUnreachable("silent"), {"zjp_up": 0.0}),
        (TimeoutError(), {"zjp_up": 0.0}),
    ],
)
async def test_a_scrape_is_answered_whatever_becomes_of_the_node(fault: Exception, up: dict[str, float]) -> None:
    async def ask() -> dict[str, Any]:
        raise fault

    body, _ = await scrape(ask, HttpCounts(), "")
    got = {sample.name: sample.value for family in read_text(body.decode()) for sample in family.samples}
    assert {name: value for name, value in got.items() if name in ("zjp_up", "zjp_store_up")} == up


async def test_a_node_that_answers_is_up_with_its_store() -> None:
    async def ask() -> dict[str, Any]:
        return stats()

    body, _ = await scrape(ask, HttpCounts(), "")
    assert b"\nzjp_up 1.0\n" in body
    assert b"\nzjp_store_up 1.0\n" in body
