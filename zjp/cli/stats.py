"""`zjp stats`: what a node counts, as tables or as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from ..metrics import quantile
from . import show
from .options import Caller, caller, connecting, reading

QUEUE_COLUMNS = ("queue", "pending", "scheduled", "retrying", "running", "paused", "oldest_s")
WORKER_COLUMNS = ("name", "pid", "state", "slots", "busy", "held", "done", "failed", "rss_bytes", "restarts")


@click.command("stats", short_help="Show a node's numbers.")
@reading
@connecting
@caller
def command(asked: Caller) -> None:
    """Show a node's queues, workers and counters.

    --json gives everything it counts, under the names that Prometheus will see.
    """
    with asked.client() as client:
        stats = client.stats()
    if asked.as_json:
        show.as_json(stats)
        return
    if "metrics" not in stats:
        _of_api(stats)
        return
    show.pairs(headline(stats))
    click.echo()
    queue_table(stats["queues"])
    click.echo()
    show.table([name.removesuffix("_bytes").upper() for name in WORKER_COLUMNS], map(_worker_row, stats["workers"]))
    runs = list(_run_rows(stats["metrics"]))
    if runs:
        click.echo()
        show.table(("TYPE", "QUEUE", "OUTCOME", "RUNS", "MEAN", "P50 <=", "P99 <="), runs)


def _of_api(stats: Mapping[str, Any]) -> None:
    """The API's numbers are those of all nodes together; counters it tells to Prometheus."""
    leader = stats["leader"] or {"node": "none", "epoch": "-"}
    rates = [", ".join(f"{value:g}/s in {window}" for window, value in stats[name].items()) for name in ("throughput", "failures")]
    show.pairs(
        [
            ("node", f"{stats['node']}, version {stats['version']}, up {show.age(stats['uptime_seconds'])}"),
            ("leader", f"{leader['node']}, epoch {leader['epoch']}"),
            ("nodes", f"{stats['nodes']['alive']} of {stats['nodes']['total']} alive"),
            ("workers", f"{stats['workers']['busy']} of {stats['workers']['slots']} slots busy"),
            ("finished", rates[0]),
            ("failed", rates[1]),
            ("records", f"{stats['records']}, {stats['backlog']} on their way"),
        ]
    )
    click.echo()
    queue_table([{**queue, "oldest_s": queue["oldest_seconds"]} for queue in stats["queues"]])


def headline(stats: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    metrics = stats["metrics"]
    yield "node", f"{stats['node']}, boot {stats['boot']}, version {stats['version']}, up {show.age(stats['uptime_s'])}"
    if stats["is_draining"]:
        yield "draining", "yes: it takes no new jobs"
    leader = stats["leader"]
    yield "leader", f"{leader['node'] or 'none'}{', this node' if leader['is_here'] else ''}, epoch {leader['epoch']}"
    yield "submitted", _total(metrics, "zjp_jobs_submitted_total")
    yield "finished", _total(metrics, "zjp_jobs_finished_total")
    yield "retries", _total(metrics, "zjp_retries_total")
    yield "crashes", _total(metrics, "zjp_worker_crashes_total")
    yield "records", f"{stats['records']}, {stats['backlog']['count']} on their way"
    wait = metrics["zjp_job_wait_seconds"]
    for series in wait["series"]:
        yield "wait", f"p50 <= {_bound(wait, series, 0.5)}, p99 <= {_bound(wait, series, 0.99)}"


def queue_table(queues: Sequence[Mapping[str, Any]]) -> None:
    """Also what `zjp queues list` shows. `queues`: QueueCount as maps."""
    head = [name.removesuffix("_s").upper() for name in QUEUE_COLUMNS]
    show.table(head, [_queue_row(queue) for queue in queues])


def _queue_row(queue: Mapping[str, Any]) -> list[object]:
    oldest = show.age(queue["oldest_s"]) if queue["oldest_s"] else "-"
    return [*(queue[name] for name in QUEUE_COLUMNS[:5]), "yes" if queue["paused"] else "no", oldest]


def _worker_row(worker: Mapping[str, Any]) -> list[object]:
    return [show.size(worker[name]) if name == "rss_bytes" else worker[name] for name in WORKER_COLUMNS]


def _run_rows(metrics: Mapping[str, Any]) -> Iterator[list[object]]:
    runs = metrics["job_processing_duration_seconds"]
    for series in runs["series"]:
        count = sum(series["counts"])
        if count:
            bounds = [_bound(runs, series, share) for share in (0.5, 0.99)]
            yield [*series["labels"], count, show.age(series["sum"] / count), *bounds]


def _bound(metric: Mapping[str, Any], series: Mapping[str, Any], share: float) -> str:
    bound = quantile(metric["bounds"], series["counts"], share)
    if bound is None:
        return "-"
    return show.age(bound) if bound != float("inf") else f"over {show.age(metric['bounds'][-1])}"


def _total(metrics: Mapping[str, Any], name: str) -> str:
    return f"{sum(series['value'] for series in metrics[name]['series']):.0f}"
