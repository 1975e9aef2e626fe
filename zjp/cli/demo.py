"""`zjp demo`: real work through a real node, with an accident in the middle, and every result checked afterwards.

One job per file (SHA-256, bytes, lines, longest line) in three priorities; some files do not decode and fail for good, some fail
their first attempt, a few are delayed. Half-way one worker process is killed. At the end each job, as the node tells it, is
compared with a plain loop over the same files.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..job import JobView
from . import show
from .demo_files import as_payload, folder_files, library_files, make_undecodable
from .demo_index import APP, TASK
from .demo_kill import kill_a_busy_worker
from .demo_node import CLUSTER, running_node
from .demo_report import MISMATCHES_SHOWN, Asked, Report, judge
from .options import Caller, caller, local, view_of
from .progress import bar

if TYPE_CHECKING:
    from ..client.blocking import Client

LIMIT_S = 55.0
"""For all jobs together: the demo must be over within a minute."""
PRIORITIES = (10, 5, 1)
DELAYED_ONE_IN = 50
DELAY_MS = 1_000


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
    for line in report.lines():
        click.echo(line)
    for text in report.mismatches[:MISMATCHES_SHOWN]:
        show.talk(text)
    show.talk("every result is what the plain loop says" if report.is_good else "NOT as it must be")
    ctx.exit(0 if report.is_good else 1)


def _run(scratch: Path, paths: Sequence[bytes], *, with_kill: bool) -> Report:
    from ..client.blocking import Client

    killed: Sequence[int] = ()
    with running_node(scratch, APP) as address, Client(address, cluster=CLUSTER) as client:
        began = time.monotonic()
        asked = _submit(client, paths)
        with bar("indexing", len(asked)) as advance:
            for count, _ in enumerate(client.as_completed(_in_running_order(asked), timeout=LIMIT_S), 1):
                advance(1)
                if with_kill and not killed and count >= len(asked) // 2:
                    killed = kill_a_busy_worker(client)
        if with_kill:
            named = ", ".join(map(str, killed)) or "none, as none was busy any more half-way"
            show.talk(f"killed with SIGKILL half-way: worker process {named}")
        seconds = time.monotonic() - began
        return judge(asked, _read_back(client, asked), seconds, killed)


def _submit(client: Client, paths: Sequence[bytes]) -> list[Asked]:
    """One job per file. The order of the files decides about priority and delay, so two runs ask for the same."""
    from ..client.options import JobRequest

    payloads = [as_payload(path) for path in paths]
    delays_ms = [DELAY_MS if number % DELAYED_ONE_IN == 0 else 0 for number in range(len(paths))]
    jobs = client.submit_many(
        JobRequest(TASK, {"path": path}, {"priority": PRIORITIES[number % len(PRIORITIES)], "delay": delay_ms / 1000})
        for number, (path, delay_ms) in enumerate(zip(payloads, delays_ms, strict=True))
    )
    return [Asked(job.id_bytes, path, delay_ms) for job, path, delay_ms in zip(jobs, payloads, delays_ms, strict=True)]


def _in_running_order(asked: Sequence[Asked]) -> list[bytes]:
    """Highest priority first: a client watches a thousand jobs at a time, and half-way shall be half of all."""
    return [one.id for first in range(len(PRIORITIES)) for one in asked[first :: len(PRIORITIES)]]


def _read_back(client: Client, asked: Sequence[Asked]) -> dict[bytes, JobView]:
    """Every job as the node tells it now, whatever was seen on the way."""
    found = client.get_many([one.id for one in asked])
    return {job.id_bytes: view_of(job) for job in found if job is not None}
