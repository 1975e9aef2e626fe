"""A failing run, cut down: the smallest part of its faults that still breaks the same invariant. Delta debugging.

Runs with fewer faults go another way, as every draw after the first difference is another; so a part that fails is looked for, not
computed. Source: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input (2002).
"""

from __future__ import annotations

from collections.abc import Callable

from .faults import Fault
from .run import Case, Outcome, run

RUNS_MAX = 400


def shrink(failed: Outcome, again: Callable[[Case], Outcome] = run, runs_max: int = RUNS_MAX) -> Outcome:
    """The smallest failing outcome found within `runs_max` runs."""
    hunt = _Hunt(failed, again, runs_max)
    hunt.drop_after_the_end()
    hunt.halve()
    hunt.drop_one_by_one()
    return hunt.best


class _Hunt:
    def __init__(self, failed: Outcome, again: Callable[[Case], Outcome], runs_max: int) -> None:
        self.best, self._again, self._left = failed, again, runs_max
        self._invariant = failed.invariant
        self._faults = failed.case.schedule()

    def drop_after_the_end(self) -> None:
        self._try([fault for fault in self._faults if fault.at <= self.best.at])

    def halve(self) -> None:
        parts = 2
        while len(self._faults) >= 2 and self._left > 0:
            size = -(-len(self._faults) // parts)
            chunks = [self._faults[at : at + size] for at in range(0, len(self._faults), size)]
            if self._any(chunks):
                parts = 2
            elif self._any([[fault for fault in self._faults if fault not in chunk] for chunk in chunks]):
                parts = max(parts - 1, 2)
            elif parts >= len(self._faults):
                return
            else:
                parts = min(2 * parts, len(self._faults))

    def drop_one_by_one(self) -> None:
        for fault in list(self._faults):
            self._try([other for other in self._faults if other is not fault])

    def _any(self, candidates: list[list[Fault]]) -> bool:
        return any(self._try(faults) for faults in candidates)

    def _try(self, faults: list[Fault]) -> bool:
        if len(faults) >= len(self._faults) or self._left <= 0:
            return False
        self._left -= 1
        outcome = self._again(self.best.case.keeping(faults))
        if outcome.invariant != self._invariant:
            return False
        self.best, self._faults = outcome, faults
        return True
