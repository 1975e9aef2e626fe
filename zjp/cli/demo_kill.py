"""The demo's accident: SIGKILL for a worker process that provably holds started jobs.

The worker processes are frozen (SIGSTOP), are given work, go on for a moment and are frozen again: a frozen process can neither finish
a job nor start one. So what its marks show then, and the node knows it to hold, is what the kill hits. When all were caught between
two jobs they go on for another moment; nobody talks to the node in it, so the moment is short on a slow machine as well.
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
    from .demo_producer import Producer

TRIES_MAX = 12
GIVEN = 40
"""Jobs submitted for each try."""
GO_ON_S, GO_ON_FACTOR = 0.002, 1.3
"""First moment, and how it grows: a node whose worker stands still takes the work back, and giving it out again needs its time."""
SETTLE_S = 0.01
"""A process has stopped this long after it was told to, and what it had sent has reached the node."""
HELD_LIMIT_S = 0.1


def kill_a_busy_worker(client: Client, marks: Path, producer: Producer) -> int | None:
    """The pid; None when no process was caught at work. `marks`: the folder in which worker processes mark what they start."""
    workers = {int(worker["pid"]): str(worker["name"]) for worker in client.stats()["workers"] if worker["state"] == "ready"}
    for number in range(TRIES_MAX):
        with _frozen(workers):
            producer.submit(GIVEN)
            _await_held(client)
        time.sleep(GO_ON_S * GO_ON_FACTOR**number)
        with _frozen(workers):
            time.sleep(SETTLE_S)
            for pid, name in workers.items():
                if _runs_jobs(client, name, marks) and _still_runs(client, name, marks) and send_signal(pid, signal.SIGKILL):
                    return pid
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


def _await_held(client: Client) -> None:
    deadline = time.monotonic() + HELD_LIMIT_S
    while time.monotonic() < deadline and not any(worker["held"] for worker in client.stats()["workers"]):
        time.sleep(SETTLE_S)


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

