"""`zjp demo`: real work through a real node, with an accident in the middle, and every result checked afterwards.

One job per file (SHA-256, bytes, lines, longest line) in three priorities; some files do not decode and fail for good, some fail
their first attempt, a few are delayed. Half-way one worker process is killed. At the end each job, as the node tells it, is
compared with a plain loop over the same files.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import NotFound
from ..job import JobView
from . import show
from .demo_files import folder_files, library_files, make_undecodable
from .demo_index import APP
from .demo_kill import kill_a_busy_worker
from .demo_node import CLUSTER, data_folder, keep_log, running_node
from .demo_producer import Producer
from .demo_report import MISMATCHES_SHOWN, Asked, Report, judge
from .options import Caller, caller, local, view_of
from .progress import bar

if TYPE_CHECKING:
    from ..client.blocking import Client

LIMIT_S = 55.0
"""For all jobs together: the demo must be over within a minute."""
FIRST_SHARE = 0.6
"""Submitted at once; the rest is found half-way, so that there is work when the accident happens, however fast the machine is."""
LOOK_EVERY_S = 0.02


@click.command("demo", short_help="Index a real folder, kill a worker half-way, check every result.")
@click.option(
    "--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="[Python's own standard library]"
)
@click.option("--no-kill", is_flag=True, help="Without the accident.")
@local
@caller
@click.pass_context
def command(ctx: click.Context, asked: Caller, folder: Path | None, no_kill: bool) -> None:
    """Do real work without any service: index every file of a folder, one job each, on a node made for it.

    Half-way a worker process that is running jobs is killed with SIGKILL. Then every result is compared with a plain loop over the same
    files. Exit code 0 only when all match and none is lost.
    """
    with tempfile.TemporaryDirectory(prefix="zjp-demo-") as scratch:
        paths = folder_files(folder) if folder else library_files()
        show.talk(f"{len(paths)} files of {folder or 'the standard library of Python ' + sys.version.split()[0]}")
        paths += make_undecodable(Path(scratch) / "undecodable")
        report = _run(Path(scratch), paths, with_kill=not no_kill)
        if report.fault():
            show.talk(f"the node's log: {keep_log(Path(scratch))}")
    for line in report.lines():
        click.echo(line)
    for text in report.mismatches[:MISMATCHES_SHOWN]:
        show.talk(text)
    fault = report.fault()
    show.talk(f"zjp demo: {fault}" if fault else "every result is what the plain loop says")
    ctx.exit(1 if fault else 0)


def _run(scratch: Path, paths: Sequence[bytes], *, with_kill: bool) -> Report:
    from ..client.blocking import Client

    with running_node(scratch, APP) as address, Client(address, cluster=CLUSTER, key_file="") as client:
        began, killed = time.monotonic(), None
        producer = Producer(client, paths)
        producer.submit(math.ceil(len(paths) * FIRST_SHARE))
        with bar("indexing", len(paths)) as advance:
            done = _watch(client, len(paths) // 2, advance, began + LIMIT_S)
            producer.submit()
            if with_kill:
                killed = kill_a_busy_worker(client, data_folder(scratch) / "marks")
                victim = f"worker process {killed} with SIGKILL" if killed else "nobody"
                show.talk(f"killed {victim}, {done} of {len(paths)} jobs being done")
            _watch(client, len(paths), advance, began + LIMIT_S, done)
        found, seconds = _finish(client, producer.asked, began)
        report = judge(producer.asked, found, seconds, killed)
        report.wanted_kill = with_kill
        return report


def _watch(client: Client, until: int, advance: Callable[[int], None], deadline: float, done: int = 0) -> int:
    """Show the node's own count of finished jobs until it is at `until`; the count then."""
    while True:
        before, done = done, _finished_count(client)
        advance(done - before)
        if done >= until or time.monotonic() > deadline:
            return done
        time.sleep(LOOK_EVERY_S)


def _finished_count(client: Client) -> int:
    return int(sum(series["value"] for series in client.stats()["metrics"]["zjp_jobs_finished_total"]["series"]))


def _finish(client: Client, asked: Sequence[Asked], began: float) -> tuple[dict[bytes, JobView], float]:
    """Every job as the node tells it when all are finished, or when time is over; and the seconds it took."""
    ids = [one.id for one in asked]
    try:
        client.wait_all(ids, timeout=max(0.1, began + LIMIT_S - time.monotonic()))
    except (TimeoutError, NotFound) as fault:
        show.talk(str(fault))
    seconds = time.monotonic() - began
    return {job.id_bytes: view_of(job) for job in client.get_many(ids) if job is not None}, seconds
