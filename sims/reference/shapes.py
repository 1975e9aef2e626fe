"""What happens in a simulated history: the knobs, and a named setting of them for each kind of trouble."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """What happens in a history; the rates are chances per step, or per submit or run where they speak of one."""

    jobs: int = 60
    nodes: int = 2
    workers: int = 2
    batch: int = 3
    max_retries: int = 2
    raises: float = 0.0
    snoozes: float = 0.0
    discards: float = 0.0
    crashes: float = 0.0
    worker_kills: float = 0.0
    node_kills: float = 0.0
    pauses: float = 0.0
    cancels: float = 0.0
    requeues: float = 0.0
    promotes: float = 0.0
    scans: float = 0.0
    ticks: float = 0.0
    unknowns: float = 0.0
    refusals: float = 0.0
    repeats: float = 0.0
    delays: float = 0.0
    fifo: bool = False


SHAPES: dict[str, Shape] = {
    "plain": Shape(fifo=True, scans=0.02),
    "retries": Shape(raises=0.3, snoozes=0.05),
    "dead letters": Shape(raises=0.7, discards=0.1, max_retries=1),
    "no retries": Shape(raises=0.3, max_retries=0),
    "worker kills": Shape(worker_kills=0.04, raises=0.1),
    "node kills": Shape(node_kills=0.02),
    "crashing tasks": Shape(crashes=0.1),
    "pauses": Shape(pauses=0.02),
    "cancels": Shape(cancels=0.05, delays=0.3, raises=0.1),
    "unknown outcomes": Shape(unknowns=0.2, refusals=0.1),
    "delayed": Shape(delays=0.5, promotes=0.01),
    "repeats": Shape(repeats=0.3, unknowns=0.1),
    "run again": Shape(requeues=0.03, raises=0.2),
    "schedules": Shape(ticks=0.03),
    "everything": Shape(
        jobs=120,
        raises=0.1,
        snoozes=0.03,
        discards=0.02,
        crashes=0.02,
        worker_kills=0.02,
        node_kills=0.005,
        pauses=0.005,
        cancels=0.02,
        requeues=0.01,
        promotes=0.005,
        scans=0.01,
        ticks=0.01,
        unknowns=0.1,
        refusals=0.05,
        repeats=0.1,
        delays=0.1,
    ),
}
