"""How many jobs wait, ten times a second, read from the store past all nodes; and what follows: how soon after a fault it is as before.

The level before a fault: mean and three standard deviations of the 2 s before it, and never less than what comes in within a quarter of a
second. The backlog is back from the moment after which it stays within that level, until the next fault at the latest: a second wave, such
as the jobs that a restarted node gives back, counts as well.
"""

from __future__ import annotations

import statistics
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.cluster.stage import StoreLooker

SAMPLE_S = 0.1
BEFORE_S = 2.0
SIGMAS = 3.0
FLOOR_S = 0.25
NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """`t` in ns. Jobs that wait in queues, that nodes have claimed, that are finished and not in the records yet."""

    t: int
    waiting: int
    running: int = 0
    outbox: int = 0


@dataclass(frozen=True, slots=True)
class Recovery:
    """After the fault at `t`, until the next one or the end. `back_s`: 0.0: it never left its level; None: it was not back by `until`."""

    t: int
    until: int
    level: float
    peak: int
    back_s: float | None

    def is_later_than(self, limit_s: float) -> bool:
        """False also where the next fault came before that could be seen."""
        return (self.until - self.t) / NS >= limit_s if self.back_s is None else self.back_s > limit_s


class Sampler(StoreLooker):
    """`start`, `stop`, then `samples`. A server that is away leaves a gap."""

    def __init__(self, unix_socket: str, prefix: str) -> None:
        super().__init__(unix_socket, "sampler", SAMPLE_S)
        self.samples: list[Sample] = []
        self._ready, self._numbers = f"{prefix}ready", f"{prefix}n"

    def look(self) -> None:
        both = self._store.pipeline(transaction=True)
        both.hvals(self._ready)
        both.hgetall(self._numbers)
        waiting, numbers = both.execute()
        running = sum(int(count) for name, count in numbers.items() if name.startswith("r:"))
        self.samples.append(Sample(time.monotonic_ns(), sum(map(int, waiting)), running, int(numbers.get("o", 0))))


def level_before(samples: Sequence[Sample], t: int, rate: float, of: Callable[[Sample], int] = lambda one: one.waiting) -> float:
    values = [of(one) for one in _between(samples, t - int(BEFORE_S * NS), t)]
    if not values:
        return FLOOR_S * rate
    return max(statistics.fmean(values) + SIGMAS * statistics.pstdev(values), FLOOR_S * rate)


def recoveries(samples: Sequence[Sample], faults: Sequence[int], until: int, rate: float) -> list[Recovery]:
    """`faults`: when each was, in order. `until`: the last sample that counts."""
    found = []
    for t, end in zip(faults, [*faults[1:], until], strict=False):  # without faults there is nothing
        level = level_before(samples, t, rate)
        after = _between(samples, t, end)
        above = [one.t for one in after if one.waiting > level]
        back_s: float | None = (above[-1] - t) / NS + SAMPLE_S if above else 0.0
        if above and above[-1] == after[-1].t:
            back_s = None
        found.append(Recovery(t, end, level, max((one.waiting for one in after), default=0), back_s))
    return found


def back_within(samples: Sequence[Sample], t: int, level: float, of: Callable[[Sample], int]) -> float | None:
    """Seconds from `t` until it is within the level for the first time; None: not by the end."""
    return next(((one.t - t) / NS for one in samples[bisect_left(samples, t, key=_when) :] if of(one) <= level), None)


def _between(samples: Sequence[Sample], since: int, until: int) -> Sequence[Sample]:
    return samples[bisect_left(samples, since, key=_when) : bisect_right(samples, until, key=_when)]


def _when(sample: Sample) -> int:
    return sample.t
