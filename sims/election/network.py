"""Links between nodes: one per direction, each with its own loss, delay and cuts.

A message may be lost, late, doubled, or overtaken (delays are drawn one by one, so whatever is spread out is out of order). A cut stops
what is sent after it; what is on its way arrives. Cuts are counted, so two that overlap end separately.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Quality:
    """`loss`, `double`, `late`: shares of the messages. Delay is `low` plus up to `spread` ns; a late one takes `lateness` more."""

    low: int
    spread: int
    loss: float = 0.0
    double: float = 0.0
    late: float = 0.0
    lateness: int = 0


GOOD = Quality(200_000, 600_000)


class Links:
    """`delays` is asked for each message. Links are named by `source * count + target`."""

    __slots__ = ("_cuts", "_qualities", "_uniform", "count", "usual")

    def __init__(self, count: int, usual: Quality, uniform: Callable[[], float]) -> None:
        self.count, self.usual, self._uniform = count, usual, uniform
        self._cuts = [0] * (count * count)
        self._qualities = [usual] * (count * count)

    def delays(self, source: int, target: int) -> tuple[int, ...]:
        """When the copies of a message sent now arrive; none: it is lost."""
        link = source * self.count + target
        if self._cuts[link]:
            return ()
        quality = self._qualities[link]
        uniform = self._uniform
        if quality.loss and uniform() < quality.loss:
            return ()
        delay = quality.low + int(uniform() * quality.spread)
        if quality.late and uniform() < quality.late:
            delay += int(uniform() * quality.lateness)
        if quality.double and uniform() < quality.double:
            return delay, delay + int(uniform() * (quality.spread + quality.lateness))
        return (delay,)

    def cut(self, pairs: Iterable[tuple[int, int]], by: int = 1) -> None:
        """`by` 1 cuts, -1 mends what was cut before."""
        for source, target in pairs:
            self._cuts[source * self.count + target] += by

    def is_open(self, source: int, target: int) -> bool:
        return not self._cuts[source * self.count + target]

    def is_joined(self, one: int, other: int) -> bool:
        return self.is_open(one, other) and self.is_open(other, one)

    def set_quality(self, quality: Quality, pairs: Iterable[tuple[int, int]]) -> None:
        for source, target in pairs:
            self._qualities[source * self.count + target] = quality

    def mend(self, pairs: Iterable[tuple[int, int]]) -> None:
        """No cut is left on these, whatever cut them."""
        for source, target in pairs:
            self._cuts[source * self.count + target] = 0


def crossing(side: Iterable[int], count: int, *, outward: bool, inward: bool) -> list[tuple[int, int]]:
    """The links between `side` and the rest."""
    inside = sorted(side)
    outside = [node for node in range(count) if node not in inside]
    out = [(one, other) for one in inside for other in outside] if outward else []
    return out + ([(other, one) for one in inside for other in outside] if inward else [])


def between(nodes: Iterable[int]) -> list[tuple[int, int]]:
    inside = sorted(nodes)
    return [(one, other) for one in inside for other in inside if one != other]
