"""The simulated queue itself: virtual time, chance, the jobs and where they are. It keeps the rules; the others act on it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..lines import BY_KIND, AttemptSeen, Line, LineType
from .shapes import Shape

FINISHED = frozenset({"done", "dead", "cancelled"})

One = TypeVar("One")


@dataclass(slots=True, eq=False)
class Job:
    id: str
    key: str
    priority: int = 5
    state: str = "ready"
    due: int = 0
    asked_due: int = 0
    fence: int = 0
    holder: str = ""
    failures: int = 0
    crashes: int = 0
    attempts: list[AttemptSeen] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Worker:
    """`step`: what it does next with the first job it holds."""

    pid: int
    node: str
    held: deque[tuple[Job, int]] = field(default_factory=deque)
    step: str = "run"
    outcome: str = ""
    kind: str = ""
    invoked_at: int = 0


@dataclass(slots=True, eq=False)
class Node:
    name: str
    boot: int = 1
    workers: list[Worker] = field(default_factory=list)
    paused_at: int = 0
    renewed_at: int = 0
    is_evicted: bool = False


class World:
    """Every deed moves the clock; every line is said at a moment of its own."""

    def __init__(self, shape: Shape, seed: int) -> None:
        self.shape, self.rng = shape, random.Random(seed)
        self.lines: list[Line] = []
        self.now = 1_000
        self.jobs: dict[str, Job] = {}
        self.ready: dict[int, deque[Job]] = {priority: deque() for priority in (10, 5, 1)}
        self.fence = 0

    def tick(self, most_us: int = 500) -> int:
        self.now += self.rng.randint(1, most_us) * 1_000
        return self.now

    def say(self, actor: str, f: str, type: LineType, **fields: Any) -> None:
        fields.setdefault("t", self.tick(20))
        self.lines.append(BY_KIND[f](p=actor, type=type, **fields))

    def chance(self, rate: float) -> bool:
        return rate > 0 and self.rng.random() < rate

    def pick(self, among: Collection[One]) -> One:
        return self.rng.choice(list(among))

    @property
    def is_drained(self) -> bool:
        return all(job.state in FINISHED for job in self.jobs.values())

    def store(self, job: Job) -> None:
        self.jobs[job.id] = job
        self.put(job)

    def put(self, job: Job, *, front: bool = False) -> None:
        """Make it ready, or let it wait until it is due."""
        job.fence, job.holder = 0, ""
        job.state = "later" if job.due > self.now else "ready"
        if job.state == "ready":
            level = self.ready[job.priority]
            level.appendleft(job) if front else level.append(job)

    def promote_due(self) -> None:
        for job in self.jobs.values():
            if job.state == "later" and job.due <= self.now:
                self.put(job)

    def claim(self, holder: str, count: int) -> list[Job]:
        """Up to `count` jobs, highest priority first, all under the next fence."""
        self.fence += 1
        claimed: list[Job] = []
        for level in self.ready.values():
            while level and len(claimed) < count:
                job = level.popleft()
                job.state, job.fence, job.holder = "held", self.fence, holder
                claimed.append(job)
        return claimed

    def take_back(self, job: Job) -> None:
        """Its claim is over without an outcome."""
        if job.state == "cancelling":
            self.finish(job, "cancelled")
        elif job.state == "held":
            self.put(job, front=True)

    def finish(self, job: Job, state: str) -> None:
        if job.state == "ready":
            self.ready[job.priority].remove(job)
        job.state, job.fence, job.holder = state, 0, ""
        if self.chance(0.3):
            self.say("cli", "seen", "ok", job=job.id, val=state, t=self.now + 15_000)

    def report_kind(self, job: Job, outcome: str) -> str:
        if outcome == "raise":
            return "nack" if job.failures < self.shape.max_retries else "dead"
        return {"return": "ack", "snooze": "nack", "discard": "dead"}[outcome]

    def apply(self, job: Job, fence: int, outcome: str, due: int) -> None:
        """The outcome of a claim that still holds the job."""
        kind = self.report_kind(job, outcome)
        if job.state == "cancelling":
            self.finish(job, "cancelled")
            return
        words = {"ack": "completed", "dead": "failed", "nack": "retried"}
        job.attempts.append(AttemptSeen(fence=fence, outcome=words[kind], node=job.holder))
        job.failures += outcome == "raise"
        if kind == "nack":
            job.due = due
            self.put(job)
        else:
            self.finish(job, "done" if kind == "ack" else "dead")
