"""A node's own clock: monotonic, but fast or slow, and it may jump ahead (a machine that slept, a virtual machine that was moved)."""

from __future__ import annotations

MILLION = 1_000_000


class Clock:
    """Local time as a function of true time, both in ns. `rate`: local ns per million true ones."""

    __slots__ = ("_local", "_true", "rate")

    def __init__(self, local: int = 0, rate: int = MILLION) -> None:
        self._true, self._local, self.rate = 0, local, rate

    def read(self, at: int) -> int:
        if self.rate == MILLION:
            return self._local + at - self._true
        return self._local + (at - self._true) * self.rate // MILLION

    def when(self, local: int) -> int:
        """The first true time at which this clock shows `local` or more."""
        return self._true + local - self._local if self.rate == MILLION else self._skewed(local)

    def set_rate(self, at: int, rate: int) -> None:
        self._local, self._true, self.rate = self.read(at), at, rate

    def step(self, at: int, by: int) -> None:
        self._local, self._true = self.read(at) + by, at

    def _skewed(self, local: int) -> int:
        return self._true - (self._local - local) * MILLION // self.rate + 1
