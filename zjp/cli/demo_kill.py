"""The demo's accident: SIGKILL for a worker process that provably holds started jobs.

A process that is frozen first (SIGSTOP) can neither finish a job nor start one, so what the node shows it to hold is what the kill hits.
Whether a job had been started is then read from the job's own attempts, as the node writes them from what the process left behind. A kill
that hit none (all it held was still unstarted) is counted, and another process is tried.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..job import JobState, JobView
from .demo_node import stop_signal
from .demo_report import LOST_ATTEMPTS
from .options import view_of

if TYPE_CHECKING:
    from ..client.blocking import Client

KILLS_MAX = 3
LOOK_EVERY_S = 0.01
SETTLE_S = 0.03
"""What a process sent before it was frozen has reached the node after this; if not, the kill hits less than was shown."""
AFTERMATH_LIMIT_S = 10.0


def kill_a_busy_worker(client: Client) -> list[int]:
    """The pids that were killed: one, unless the first held no started job. Empty: none was busy any more."""
    killed: list[int] = []
    while len(killed) < KILLS_MAX:
        pid, held = _kill_one(client)
        if pid is None:
            break
        killed.append(pid)
        if _has_hit(client, held):
            break
    return killed


def _kill_one(client: Client) -> tuple[int | None, Sequence[bytes]]:
    """Its pid and the ids it held; (None, []) when no process holds a job."""
    workers = client.stats()["workers"]
    for worker in sorted(workers, key=lambda one: -int(one["held"])):
        pid = int(worker["pid"])
        if worker["state"] != "ready" or not stop_signal(pid, signal.SIGSTOP):
            continue
        time.sleep(SETTLE_S)
        held = _held_by(client, worker["name"])
        if held:
            stop_signal(pid, signal.SIGKILL)
            return pid, held
        stop_signal(pid, signal.SIGCONT)
    return None, []


def _held_by(client: Client, worker: str) -> list[bytes]:
    return [job.id_bytes for job in client.jobs(status=JobState.RUNNING) if job.worker_id == worker]


def _has_hit(client: Client, held: Sequence[bytes]) -> bool:
    """Whether one of these jobs was running when its process died; known at the latest when all are finished."""
    deadline = time.monotonic() + AFTERMATH_LIMIT_S
    while time.monotonic() < deadline:
        views = [view_of(job) for job in client.get_many(held) if job is not None]
        if any(was_hit(view) for view in views):
            return True
        if all(view.status.is_final for view in views):
            return False
        time.sleep(LOOK_EVERY_S)
    return False


def was_hit(view: JobView) -> bool:
    return any(attempt.outcome in LOST_ATTEMPTS for attempt in view.attempts)
