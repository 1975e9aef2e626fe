"""The demo's accident: SIGKILL for a worker process that provably holds started jobs.

All worker processes are frozen first (SIGSTOP): a frozen one can neither finish a job nor start one. So what its marks show then, and the
node knows it to hold, is what the kill hits. When all were caught between two jobs they go on for a moment, and are frozen again.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..job import JobState
from ..worker.marks import MarkFile
from .demo_node import send_signal

if TYPE_CHECKING:
    from ..client.blocking import Client

TRY_S = 5.0
GO_ON_S = 0.002
SETTLE_S = 0.01
"""A process has stopped this long after it was told to, and what it had sent has reached the node."""


def kill_a_busy_worker(client: Client, marks: Path) -> int | None:
    """The pid; None when nothing is left to be run. `marks`: the folder in which worker processes mark what they start."""
    deadline = time.monotonic() + TRY_S
    while time.monotonic() < deadline:
        if not any(queue.pending or queue.running for queue in client.queues()):
            return None
        workers = {int(worker["pid"]): worker["name"] for worker in client.stats()["workers"] if worker["held"]}
        frozen = [pid for pid in workers if send_signal(pid, signal.SIGSTOP)]
        try:
            time.sleep(SETTLE_S)
            for pid in frozen:
                if _runs_jobs(client, workers[pid], marks):
                    send_signal(pid, signal.SIGKILL)
                    return pid
        finally:
            for pid in frozen:
                send_signal(pid, signal.SIGCONT)
        time.sleep(GO_ON_S)
    return None


def _runs_jobs(client: Client, worker: str, marks: Path) -> bool:
    started = client.get_many(_started_in(marks / f"{worker}.marks"))
    return any(job is not None and job.status is JobState.RUNNING and job.worker_id == worker for job in started)


def _started_in(path: Path) -> set[bytes]:
    try:
        file = MarkFile.open(path)
    except FileNotFoundError:  # the process ended by itself meanwhile
        return set()
    try:
        return {job_id for job_id, _fence in file.read()}
    finally:
        file.close()

