"""kill -9 of a process that runs a job: when are its jobs run again, and does each job end.

JOBS jobs of HOLD_MS; when nearly all have started, the process that started the latest open one is killed. What has ended is started again
a second later, as a supervisor would. Then all is watched until every job has ended, at most `limit_s` after the kill.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import Any

from .session import LOOK_S, RESTART_AFTER_S, Mark, Session

JOBS, HOLD_MS = 100, 100
WAITING = 10
"""Jobs that may still wait at the kill: few, so that the line does not hide how long the killed ones waited."""
STARTED, ENDED = 1, 2
START_LIMIT_S = 60.0


def kill_a_worker(session: Session, limit_s: float) -> dict[str, Any]:
    session.ask("hold", count=JOBS, ms=HOLD_MS)
    victim = until_nearly_all_started(session)
    os.kill(victim, signal.SIGKILL)
    killed_ns = time.monotonic_ns()
    deadline = time.monotonic() + limit_s
    restart_at = time.monotonic() + RESTART_AFTER_S
    while missing(session.marks()) and time.monotonic() < deadline:
        if time.monotonic() >= restart_at:
            session.restart_ended()
            restart_at += RESTART_AFTER_S
        time.sleep(LOOK_S)
    return judged(session.marks(), victim, killed_ns)


def until_nearly_all_started(session: Session) -> int:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        marks = session.marks()
        running = still_open(marks)
        if running and len({mark.index for mark in marks}) >= JOBS - WAITING:
            return max(running, key=lambda mark: mark.at_ns).pid
        if time.monotonic() > deadline:
            raise RuntimeError(f"{session.peer.name}: the jobs did not start within {START_LIMIT_S:.0f} s")
        time.sleep(LOOK_S)


def still_open(marks: list[Mark]) -> list[Mark]:
    """Starts without an end."""
    ended = {(mark.index, mark.pid) for mark in marks if mark.kind == ENDED}
    return [mark for mark in marks if mark.kind == STARTED and (mark.index, mark.pid) not in ended]


def missing(marks: list[Mark]) -> int:
    return JOBS - len({mark.index for mark in marks if mark.kind == ENDED})


def judged(marks: list[Mark], victim: int, killed_ns: int) -> dict[str, Any]:
    """`again_s`: until the last job that the killed process was running had started again; None: not while it was watched."""
    running = {
        mark.index for mark in still_open([mark for mark in marks if mark.at_ns <= killed_ns]) if mark.pid == victim
    }
    again = {}
    for mark in sorted(marks):
        if mark.kind == STARTED and mark.at_ns > killed_ns and mark.index in running:
            again.setdefault(mark.index, (mark.at_ns - killed_ns) / 1e9)
    ends = Counter(mark.index for mark in marks if mark.kind == ENDED)
    last_ns = max((mark.at_ns for mark in marks if mark.kind == ENDED), default=killed_ns)
    unfinished = JOBS - len(ends)
    return {
        "running_at_kill": len(running),
        "again_s": max(again.values(), default=0.0) if len(again) == len(running) else None,
        "all_ended_s": None if unfinished else max(0.0, (last_ns - killed_ns) / 1e9),
        "not_ended": unfinished,
        "ended_twice": sum(count > 1 for count in ends.values()),
    }
