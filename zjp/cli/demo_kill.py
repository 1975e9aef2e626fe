"""The demo's accident: SIGKILL for a worker process that provably holds started jobs.

The worker processes are frozen first (SIGSTOP): a frozen process can neither finish a job nor start one. So what its marks show then, and
the node knows it to hold, is what the kill hits. When all were caught between two jobs they go on for a moment.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..job import JobState
from ..worker.marks import MarkFile
from .demo_node import send_signal

if TYPE_CHECKING:
    from ..client.blocking import Client

TRY_S = 5.0
GO_ON_S = 0.01
SETTLE_S = 0.01
"""A process has stopped this long after it was told to, and what it had sent has reached the node."""


def kill_a_busy_worker(client: Client, marks: Path) -> int | None:
    """The pid; None when nothing is left to be run. `marks`: the folder in which worker processes mark what they start."""
    deadline = time.monotonic() + TRY_S
    while time.monotonic() < deadline and any(queue.pending or queue.running for queue in client.queues()):
        workers = {int(worker["pid"]): str(worker["name"]) for worker in client.stats()["workers"] if worker["state"] == "ready"}
        with _frozen(workers):
            time.sleep(SETTLE_S)
            for pid, name in workers.items():
                if _runs_jobs(client, name, marks) and _still_runs(client, name, marks) and send_signal(pid, signal.SIGKILL):
                    return pid
        time.sleep(GO_ON_S)
    return None


@contextlib.contextmanager
def _frozen(pids: Iterable[int]) -> Iterator[None]:
    for pid in pids:
        send_signal(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            send_signal(pid, signal.SIGCONT)


def _runs_jobs(client: Client, worker: str, marks: Path) -> bool:
    started = client.get_many(_started_in(marks / f"{worker}.marks"))
    return any(job is not None and job.status is JobState.RUNNING and job.worker_id == worker for job in started)


def _still_runs(client: Client, worker: str, marks: Path) -> bool:
    """On a busy machine a process may stop late, and a result may be on its way for longer than it takes to settle."""
    time.sleep(3 * SETTLE_S)
    return _runs_jobs(client, worker, marks)


def _started_in(path: Path) -> set[bytes]:
    try:
        file = MarkFile.open(path)
    except FileNotFoundError:  # the process ended by itself meanwhile
        return set()
    try:
        return {job_id for job_id, _fence in file.read()}
    finally:
        file.close()

