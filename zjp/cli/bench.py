"""`zjp bench`: load on a running node, as one producer makes it, and what came of it. The node's own tasks do the work.

Two measurements: jobs one at a time on the node as it is (submit to finished), then many in batches.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from ..errors import InvalidJob
from ..job import BATCH_MAX
from . import show
from .demo_report import percentile
from .options import GOES_ON, Caller, caller, connecting, reading, usage
from .progress import bar
from .submit import check_job, object_of

if TYPE_CHECKING:
    from ..client.blocking import Client

JOBS = 10_000
SINGLES = 200
FINISH_LIMIT_S = 600.0
NAMES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Figures:
    """`single_*`: from submit to finished of one job alone. `submit_*`: one batch, until it is durable."""

    jobs: int
    batch: int
    seconds: float
    jobs_per_s: float
    single_p50_ms: float
    single_p99_ms: float
    submit_p50_ms: float
    submit_p99_ms: float


@click.command("bench", short_help="Put load on a running node.")
@click.option("--type", default="noop", metavar="TYPE", help="A task that the node serves, the cheaper the better. [noop]")
@click.option("--payload", default="{}", metavar="JSON", help="Its arguments. [{}]")
@click.option("--jobs", type=click.IntRange(1, 10_000_000), default=JOBS, metavar="N", help=f"[{JOBS}]")
@click.option("--batch", type=click.IntRange(1, BATCH_MAX), default=100, metavar="N", help="Jobs in one submit. [100]")
@reading
@connecting
@caller
def command(asked: Caller, type: str, payload: str, jobs: int, batch: int) -> None:
    """Put load on a running node and measure it: jobs per second, and times from submit to finished.

    The jobs stay in the node's records for RECORDS_TTL.
    """
    content = object_of(payload)
    with usage():
        check_job(type, content, {})
    with asked.client() as client:
        check_served(type, client.ping().tasks)
        asked.goes_on = GOES_ON
        singles_ms = list(_singles(client, type, content))
        submits_ms, seconds = _flood(client, type, content, jobs=jobs, batch=batch)
    figures = Figures(
        jobs, batch, seconds, jobs / seconds, percentile(singles_ms, 0.5), percentile(singles_ms, 0.99),
        percentile(submits_ms, 0.5), percentile(submits_ms, 0.99),
    )  # fmt: skip
    if asked.as_json:
        show.as_json(asdict(figures))
        return
    click.echo(f"jobs/s {figures.jobs_per_s:.0f}  ({jobs} jobs in batches of {batch}, {seconds:.2f} s)")
    click.echo(f"one job, submit to finished: p50 {figures.single_p50_ms:.2f} ms, p99 {figures.single_p99_ms:.2f} ms")
    click.echo(f"one batch, until durable: p50 {figures.submit_p50_ms:.2f} ms, p99 {figures.submit_p99_ms:.2f} ms")


def check_served(type: str, served: list[str]) -> None:
    """Raises: InvalidJob; the flood would fail job by job otherwise."""
    if type not in served:
        names = ", ".join(sorted(served)[:NAMES_SHOWN]) or "none at all (start it with --app)"
        raise InvalidJob(f"the node does not serve task {type!r}; it serves {names}; choose one with --type")


def _singles(client: Client, type: str, payload: Mapping[str, Any]) -> Iterator[float]:
    """Milliseconds of each. Raises: JobFailed at the first that fails, before there are thousands."""
    with bar("one at a time", SINGLES) as advance:
        for _ in range(SINGLES):
            began = time.perf_counter()
            job = client.submit(type, payload)
            job.wait(timeout=FINISH_LIMIT_S)
            yield (time.perf_counter() - began) * 1000
            job.result  # noqa: B018
            advance(1)


def _flood(client: Client, type: str, payload: Mapping[str, Any], *, jobs: int, batch: int) -> tuple[list[float], float]:
    """Milliseconds of each submit, and seconds from the first submit to the last job's end."""
    submits_ms, ids = [], []
    began = time.perf_counter()
    with bar("submitting", jobs) as advance:
        for start in range(0, jobs, batch):
            count = min(batch, jobs - start)
            at = time.perf_counter()
            ids += [job.id for job in client.submit_many([(type, payload)] * count)]
            submits_ms.append((time.perf_counter() - at) * 1000)
            advance(count)
    with bar("finishing", jobs) as advance:
        for _ in client.as_completed(ids, timeout=FINISH_LIMIT_S):
            advance(1)
    return submits_ms, time.perf_counter() - began
