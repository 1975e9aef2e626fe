"""How many jobs a worker process may be given: credit in time, not in numbers. Pure.

Each process has a budget of PREFETCH_US of work per slot. A job costs what its type was measured to take, within two bounds:

    at least    the budget's HELD_MAX-th part, so that no process ever holds more than about HELD_MAX jobs
    at most     PREFETCH_US: a long job, and a job of a type never seen, takes a whole slot

    and         a microsecond per 256 bytes of payload, within the same bounds, so that a process holds some MiB per slot and no more

A process may be given a job while its budget is not used up. So short jobs flow in batches of hundreds, and of long ones a process
never holds more than it has slots: what is not held here can be run elsewhere, and is not repeated when this process dies.
"""

from __future__ import annotations

import math

PREFETCH_US = 20_000
"""20 ms of work: long enough to hide the way to the store and back, short enough to go unnoticed as an inversion of priorities."""
HELD_MAX = 512
"""Per process: what a crash repeats at most, and more brought no speed."""
LARGE_BYTES = 8_192
"""A payload above this is weighed; one below costs less to move than any job is taken to cost."""
BYTES_PER_US_BITS = 8
MEMORY_JOBS = 8
"""The average looks back over about so many jobs: it follows a change of the work within one batch."""


def floor_us(slots: int) -> int:
    """The least that a job costs in a process of so many slots."""
    return -(-slots * PREFETCH_US // HELD_MAX)


def cost_of_large(cost_us: int, payload_bytes: int) -> int:
    """What a job with a payload above LARGE_BYTES costs, when its type costs `cost_us`."""
    return min(max(cost_us, payload_bytes >> BYTES_PER_US_BITS), PREFETCH_US)


class Credit:
    """The measured cost of every task type, for processes of up to `slots` slots. Costs are whole microseconds."""

    __slots__ = ("_floor_us", "_mean_us", "_run_us", "costs_us")

    def __init__(self, slots: int) -> None:
        self._floor_us = floor_us(slots)
        self._run_us: dict[str, float] = {}
        self._mean_us = float(PREFETCH_US)
        self.costs_us: dict[str, int] = {}
        """By type; a type that is not in here costs PREFETCH_US."""

    def learn(self, type: str, total_us: int, count: int) -> None:
        """`count` jobs of `type` took `total_us` together; less than nothing is taken for nothing."""
        mean_us = max(total_us, 0) / count
        known_us = self._run_us.get(type)
        if known_us is not None:
            share = count / (count + MEMORY_JOBS)
            mean_us = known_us + share * (mean_us - known_us)
        self._run_us[type] = mean_us
        self.costs_us[type] = min(max(int(mean_us), self._floor_us), PREFETCH_US)

    def learn_mix(self, total_us: int, count: int) -> None:
        """A batch of `count` jobs cost `total_us`: what the next ones will cost, whose types nobody knows before they are claimed."""
        share = count / (count + MEMORY_JOBS)
        self._mean_us += share * (total_us / count - self._mean_us)

    def run_us(self, type: str) -> float | None:
        """The measured mean run time."""
        return self._run_us.get(type)

    def room_of(self, count: int) -> int:
        """What `count` jobs of the recent mix take."""
        return math.ceil(count * self._mean_us)

    def jobs_for(self, room_us: int) -> int:
        """How many jobs of the recent mix fit into `room_us`; at least 1 while there is room."""
        return max(1, int(room_us / self._mean_us)) if room_us > 0 else 0
