"""How long a suspicion lasts, and how far this node trusts itself. Formulas of Lifeguard (Dadgar, Phillips, Currey 2018)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log, log10

from ..core import Time

CONFIRMATIONS = 2
"""So many others who also suspect bring the time down to the least. More: slower in small clusters, surer in large ones."""
MAX_MULT = 6
"""A suspicion that nobody shares lasts so many times the least."""
HEALTH_WORST = 7


def least(timeout: Time, members: int) -> Time:
    """timeout x max(1, log10 n): with a timeout of four periods the 4 x max(1, log10 n) x P of the paper."""
    return int(timeout * max(1.0, log10(max(1, members))))


def lasting(timeout: Time, members: int, confirmations: int) -> Time:
    """max - (max - min) x ln(C + 1) / ln(k + 1); the least where there are too few members for k others to confirm."""
    minimum = least(timeout, members)
    if members - 2 < CONFIRMATIONS:
        return minimum
    maximum = MAX_MULT * minimum
    share = min(1.0, log(confirmations + 1) / log(CONFIRMATIONS + 1))
    return max(minimum, int(maximum - (maximum - minimum) * share))


@dataclass(slots=True)
class Suspicion:
    """`after`: the last number given to a ping before it began; an answer to a later one refutes it here. `by`: all who suspect."""

    began: Time
    after: int
    by: set[str] = field(default_factory=set)

    @property
    def confirmations(self) -> int:
        return len(self.by) - 1


class LocalHealth:
    """0: as it should be; more: this node itself may be the slow one, so it probes more slowly before it accuses others."""

    def __init__(self) -> None:
        self.score = 0

    def worsen(self, by: int = 1) -> None:
        self.score = min(HEALTH_WORST, self.score + by)

    def improve(self) -> None:
        self.score = max(0, self.score - 1)
