"""Whom a node has met: one entry per node id, with the life it is in, and which of its messages were seen. No sockets, no clock.

A node's id is its name; `boot` counts its starts, so a message of a former life can be told; `home` is the mark of its data folder, so two
nodes that were given one name can be told from one node that was started again. Sequence numbers rise with everything a life says; what
comes twice (a connection that broke and was made again while something was on its way) is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ..wire.greeting import MEMBERS_MAX, Hello, Member, Welcome

WINDOW = 1024
"""Sequence numbers below the highest seen that are still looked at; what is older counts as seen."""
_MASK = (1 << WINDOW) - 1
TWIN_S = 15.0
"""A node that was heard of so lately lives: another one of its name is refused. As LEASE_DURATION by default: for so long the store
gives the name to nobody else either."""


class Window:
    """Which sequence numbers of one life were seen; bit 0 stands for the highest."""

    __slots__ = ("_bits", "_top")

    def __init__(self) -> None:
        self._top, self._bits = -1, 0

    def is_new(self, seq: int) -> bool:
        """And takes note of it."""
        behind = self._top - seq
        if behind < 0:
            self._bits = (self._bits << -behind | 1) & _MASK if -behind < WINDOW else 1
            self._top = seq
            return True
        if behind >= WINDOW or self._bits >> behind & 1:
            return False
        self._bits |= 1 << behind
        return True


@dataclass(slots=True)
class Peer:
    """One life of one node, as it was met. `left_at`: when it said good-bye; this life will say nothing more."""

    node: str
    boot: int
    home: str
    address: str
    priority: int
    heard_at: float
    window: Window = field(default_factory=Window)
    is_up: bool = False
    """We reach it, and it welcomed us."""
    left_at: float | None = None

    @property
    def has_left(self) -> bool:
        return self.left_at is not None

    def lives(self, now: float) -> bool:
        return not self.has_left and (self.is_up or now - self.heard_at < TWIN_S)


class Met(Enum):
    """What an introduction turned out to be."""

    NEW = "new"
    AGAIN = "again"
    """The same life, on another connection."""
    REBORN = "reborn"
    """The next life of a node that was known."""
    OLD = "old"
    TWIN = "twin"
    FULL = "full"


class Roster:
    def __init__(self) -> None:
        self.peers: dict[str, Peer] = {}

    def introduce(self, node: str, boot: int, facts: Hello | Welcome, now: float) -> Met:
        """A node says who it is. The entry is made or changed only for NEW, AGAIN and REBORN."""
        known = self.peers.get(node)
        met = self._judge(known, boot, facts.home, now)
        if met in (Met.NEW, Met.REBORN):
            if known is None and len(self.peers) >= MEMBERS_MAX and not self._make_room(now):
                return Met.FULL
            was_up = known is not None and known.is_up  # until the mesh has hung up, which it does on REBORN
            self.peers[node] = Peer(node, boot, facts.home, facts.address, facts.priority, now, is_up=was_up)
        elif met is Met.AGAIN and known is not None:
            known.address, known.priority, known.heard_at = facts.address, facts.priority, now
        return met

    def members(self) -> list[Member]:
        """Those that are worth being dialled."""
        return [Member(peer.node, peer.boot, peer.address) for peer in self.peers.values() if peer.is_up]

    @staticmethod
    def _judge(known: Peer | None, boot: int, home: str, now: float) -> Met:
        if known is None:
            return Met.NEW
        if known.home != home:
            return Met.TWIN if known.lives(now) else Met.REBORN
        if boot < known.boot or (boot == known.boot and known.has_left):
            return Met.OLD
        return Met.AGAIN if boot == known.boot else Met.REBORN

    def _make_room(self, now: float) -> bool:
        """Forget one that is gone."""
        gone = next((node for node, peer in self.peers.items() if not peer.lives(now)), None)
        if gone is None:
            return False
        del self.peers[gone]
        return True
