"""Rumours on their way: each is passed on so many times and no more. Those told least go first, among them the newest.

A rumour about a node replaces the older one about it. `limit` transmits, a multiple of the logarithm of the number of members, reach all of
them but for a share that falls with a power of that number (SWIM, section 5).
"""

from __future__ import annotations

from math import ceil, log10

from ...wire.peers import RUMOURS_MAX, Alive, Rumour

RETRANSMIT_MULT = 4
"""More reaches the last node more surely in spite of loss; less saves bytes while something happens."""
BYTES_MAX = 1000
"""Of rumours in one message, so that it fits into one frame of 1400 with its envelope."""
OVERHEAD_BYTES = 14
"""Of a rumour besides its names, at most 2^32 incarnations far."""


def retransmit_limit(members: int) -> int:
    """RETRANSMIT_MULT x ceil(log10(n + 1))."""
    return RETRANSMIT_MULT * ceil(log10(members + 1))


def size(rumour: Rumour) -> int:
    return OVERHEAD_BYTES + len(rumour.node) + (0 if isinstance(rumour, Alive) else len(rumour.by))


class Rumours:
    def __init__(self) -> None:
        self._tiers: list[dict[str, Rumour]] = []
        """[times told]: name -> rumour, the newest last."""
        self.tier_of: dict[str, int] = {}
        """Those that are still to be told, and how often they were."""
        self.is_closed = False
        """What is heard now is no news."""

    def spread(self, rumour: Rumour) -> None:
        self.drop(rumour.node)
        if not self.is_closed:
            self._put(0, rumour)

    def drop(self, node: str) -> None:
        tier = self.tier_of.pop(node, None)
        if tier is not None:
            del self._tiers[tier][node]

    def take(self, limit: int, first: Rumour | None = None) -> list[Rumour]:
        """For one message: `first`, whatever else there is, then what fits. `limit`: transmits of each."""
        if not self.tier_of:
            return [] if first is None else [first]
        taken = self._fitting(BYTES_MAX - (size(first) if first else 0))
        for rumour in taken:
            told = self.tier_of[rumour.node] + 1
            self.drop(rumour.node)
            if told < limit:
                self._put(told, rumour)
        if first is not None:
            taken = [first, *(rumour for rumour in taken if rumour.node != first.node)]
        return taken

    def _fitting(self, room: int) -> list[Rumour]:
        taken: list[Rumour] = []
        for tier in self._tiers:
            for rumour in reversed(tier.values()):
                room -= size(rumour)
                if room < 0 or len(taken) == RUMOURS_MAX - 1:
                    return taken
                taken.append(rumour)
        return taken

    def _put(self, tier: int, rumour: Rumour) -> None:
        while len(self._tiers) <= tier:
            self._tiers.append({})
        self._tiers[tier][rumour.node] = rumour
        self.tier_of[rumour.node] = tier
