"""Jobs before they are sent: their ids, and single submits on their way to a common request. Pure."""

from __future__ import annotations

import math
from collections import deque
from itertools import islice
from typing import Generic, NamedTuple

from ..job import BATCH_MAX, JobSpec, id_prefix
from .calls import Batch, W

BATCH_BYTES_MAX = 4 << 20
"""Payload bytes of one gathered batch."""


class IdMaker:
    """Ids of one session: never used before, rising in the order of the calls. `session` has 42 random bits."""

    def __init__(self, session: int) -> None:
        self._session, self._counter = session, 0
        self._ms, self._prefix = -1, b""

    def __call__(self, now_ms: int, count: int) -> list[bytes]:
        """`now_ms`: Unix ms."""
        if now_ms != self._ms:
            self._ms, self._prefix = now_ms, id_prefix(now_ms, self._session)
        prefix, first = self._prefix, self._counter
        self._counter = first + count
        if count == 1:  # for single submits this is a tenth of what they cost
            return [prefix + (first & 0xFFFFFFFF).to_bytes(4, "big")]
        return [prefix + (number & 0xFFFFFFFF).to_bytes(4, "big") for number in range(first, first + count)]


class _Submit(NamedTuple, Generic[W]):
    spec: JobSpec
    waiter: W
    started_at: float
    deadline: float


class Gathering(Generic[W]):
    """Single submits that wait for a place under way (`submits`), oldest first."""

    def __init__(self) -> None:
        self.submits: deque[_Submit[W]] = deque()

    def add(self, spec: JobSpec, waiter: W, now: float, deadline: float) -> None:
        """Deadlines must not fall from call to call."""
        self.submits.append(_Submit(spec, waiter, now, deadline))

    def next_deadline(self) -> float:
        return self.submits[0].deadline if self.submits else math.inf

    def make_batch(self, seq: int) -> Batch[W]:
        """The oldest ones, as one request of bounded size. There must be one. They stay here until `drop`."""
        taken: list[_Submit[W]] = []
        size_bytes = 0
        for submit in islice(self.submits, BATCH_MAX):
            size_bytes += len(submit.spec.payload)
            if taken and size_bytes > BATCH_BYTES_MAX:
                break
            taken.append(submit)
        return _batch(seq, taken)

    def drop(self, count: int) -> None:
        """The oldest so many."""
        for _ in range(count):
            self.submits.popleft()

    def take_late(self, now: float) -> Batch[W] | None:
        """The oldest one when its time is over."""
        return _batch(0, [self.submits.popleft()]) if self.next_deadline() <= now else None

    def forget(self, waiter: W) -> None:
        self.submits = deque(submit for submit in self.submits if submit.waiter is not waiter)

    def clear(self) -> list[W]:
        """Whoever waits."""
        waiters = [submit.waiter for submit in self.submits]
        self.submits.clear()
        return waiters


def _batch(seq: int, submits: list[_Submit[W]]) -> Batch[W]:
    specs, waiters, _, deadlines = map(list, zip(*submits, strict=True))
    return Batch(seq, specs, waiters, deadlines, now=submits[0].started_at)
