"""What is measured of each peer, the same for all: enqueuing, drain, both at once, the wait of a job in an idle system."""

from __future__ import annotations

import time
from typing import Any

from .peer import Jobs
from .session import Session, costs

CALLERS = 16
"""Threads or coroutines that enqueue at once, each one job a call."""
LATENCY_PER_S = 20.0
ORDERS: dict[str, dict[str, Any]] = {
    "singly": {"do": "singly", "callers": 1},
    "callers": {"do": "singly", "callers": CALLERS},
    "many": {"do": "many"},
}
"""The ways to enqueue. Threads of Python are often slower together than one alone, so `both` takes whichever was fastest."""


def enqueuing(session: Session, jobs: Jobs) -> dict[str, float]:
    """Into the queue only, nobody takes. Leaves all jobs waiting."""
    figures = {}
    for name, order in ORDERS.items():
        if count := getattr(jobs, name):
            before = session.cpu()
            figures[f"{name}_per_s"] = count / session.ask(**order, count=count)
            after = session.cpu()
            figures[f"{name}_us"] = sum(after[part] - before[part] for part in after) / count * 1e6
    return figures


def fastest(figures: dict[str, float]) -> str:
    """The way of ORDERS that had the highest rate."""
    return max((name for name in ORDERS if f"{name}_per_s" in figures), key=lambda name: figures[f"{name}_per_s"])


def filling_and_drain(session: Session, jobs: Jobs) -> dict[str, float]:
    """Enqueue with the workers stopped, then only work. The rate counts until the last job has run, the cost until all is at rest."""
    target = session.counted() + jobs.singly + jobs.callers + jobs.many
    session.freeze()
    figures = enqueuing(session, jobs)
    already = session.counted()
    count = target - already
    with costs(session, count) as cost:
        began = time.monotonic()
        session.thaw()
        figures["drain_per_s"] = count / (session.until_counted(target) - began)
    return figures | {f"drain_{name}": value for name, value in cost.items()}


def both(session: Session, jobs: Jobs, way: str) -> dict[str, float]:
    """Producer and workers at once."""
    target = session.counted() + jobs.both
    with costs(session, jobs.both) as cost:
        began = time.monotonic()
        session.ask(**ORDERS[way], count=jobs.both)
        rate = jobs.both / (session.until_counted(target) - began)
    return {"both_per_s": rate} | {f"both_{name}": value for name, value in cost.items()}


def latency(session: Session, count: int) -> dict[str, float]:
    """From the enqueuing call to the first line of the task, milliseconds."""
    target = session.counted() + count
    session.ask("stamp", count=count, per_s=LATENCY_PER_S)
    session.until_counted(target)
    waits = session.waits_ms()
    return {"p50_ms": waits[len(waits) // 2], "p99_ms": waits[int(len(waits) * 0.99)], "max_ms": waits[-1]}


def one_round(session: Session, jobs: Jobs) -> dict[str, float]:
    filled = filling_and_drain(session, jobs)
    return filled | both(session, jobs, fastest(filled))
