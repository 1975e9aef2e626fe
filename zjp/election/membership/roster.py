"""Whom this node knows of, and what it holds of each. The best of those that may lead, and their number, are kept as they change.

A member's incarnation is the highest heard of, whatever came of it: so nothing older can change it. Its `word` is the newest Alive that it
gave of itself, the only thing that tells its priority; it may be older than the incarnation, which stands in every message of the member.
Members are drawn at random, or in turn, from one list whose first `_read` places were read in this round: each place is swapped with
a random later one when it is read. So every round has an order of its own, and the last of one and the next of another round are at
most 2N - 1 apart, without a step that shuffles N names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...wire.peers import TABLE_MAX, Alive, Dead, Rumour, Suspect
from ..core import Health, Member, Time, Uniform
from .suspicion import Suspicion

MEMBERS_MAX = TABLE_MAX - 1
"""The others; a Sync holds them and oneself. Who comes when it is full is not taken up."""
DRAWS_SMALL = 16
"""Up to so many members all are looked at when some are drawn; above, random places are tried."""
TRIES_EACH = 6
"""Random places for each member that is wanted: nine in ten of whom fit are found even if every second does not."""

ACCUSED = (Health.SUSPECT, Health.DEAD, Health.LEFT)
GONE = (Health.DEAD, Health.LEFT)


class Peer:
    """Another node. `accused_at`: when it was last told of what is held against it."""

    __slots__ = ("accusation", "accused_at", "health", "incarnation", "name", "place", "since", "suspicion", "word")

    def __init__(self, word: Alive, now: Time) -> None:
        self.name = word.node
        self.word = word
        self.incarnation = word.incarnation
        self.health = Health.ALIVE
        self.since = now
        self.accusation: Suspect | Dead | None = None
        self.accused_at: Time | None = None
        self.suspicion: Suspicion | None = None
        self.place = 0

    @property
    def rank(self) -> tuple[int, str]:
        return self.word.priority, self.name

    @property
    def rumour(self) -> Rumour:
        """What a Sync says of it."""
        return self.accusation or self.word


class Roster:
    """`mine`: the word of this node itself, which is always fit to lead unless it is leaving."""

    def __init__(self, mine: Alive, uniform: Uniform) -> None:
        self._uniform = uniform
        self._peers: dict[str, Peer] = {}
        self._list: list[Peer] = []
        self._read = 0
        self._members: dict[str, Member] | None = None
        self._mine = mine
        self._mine_since: Time = 0
        self._mine_health = Health.ALIVE
        self.version = 0
        """Rises with every change that can matter to who leads, or to who looks."""
        self.fit_count = 1
        """Alive and unsuspected, this node among them."""
        self.present_count = 1
        """Alive or suspect: the n of the formulas."""
        self.best = mine.node
        self._best_rank = (mine.priority, mine.node)

    def __len__(self) -> int:
        return len(self._peers)

    def get(self, name: str) -> Peer | None:
        return self._peers.get(name)

    def is_known(self, name: str) -> bool:
        return name in self._peers or name == self._mine.node

    def is_fit(self, name: str) -> bool:
        if name == self._mine.node:
            return self._mine_health is Health.ALIVE
        peer = self._peers.get(name)
        return peer is not None and peer.health is Health.ALIVE

    def health(self, name: str) -> Health | None:
        if name == self._mine.node:
            return self._mine_health
        peer = self._peers.get(name)
        return peer.health if peer else None

    def table(self) -> list[Rumour]:
        """Oneself first."""
        return [self._mine, *(peer.rumour for peer in self._list)]

    # ── changes ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, word: Alive, now: Time) -> Peer | None:
        """None: the roster is full."""
        if len(self._peers) >= MEMBERS_MAX:
            return None
        peer = self._peers[word.node] = Peer(word, now)
        peer.place = len(self._list)
        self._list.append(peer)
        self.fit_count += 1
        self.present_count += 1
        self._rose(peer.rank)
        return peer

    def set_health(self, peer: Peer, health: Health, now: Time) -> None:
        self.fit_count += (health is Health.ALIVE) - (peer.health is Health.ALIVE)
        self.present_count += (health not in GONE) - (peer.health not in GONE)
        peer.health, peer.since = health, now
        if health is Health.ALIVE:
            peer.accusation, peer.suspicion = None, None
            self._rose(peer.rank)
        else:
            self._fell(peer.name)

    def set_word(self, peer: Peer, word: Alive) -> None:
        is_same = word.priority == peer.word.priority
        peer.word = word
        if is_same:
            return
        self._fell(peer.name)
        if peer.health is Health.ALIVE:
            self._rose(peer.rank)

    def set_mine(self, word: Alive, now: Time, health: Health = Health.ALIVE) -> None:
        if (health, word.priority) == (self._mine_health, self._mine.priority):
            self._mine = word
            return
        self.fit_count += (health is Health.ALIVE) - (self._mine_health is Health.ALIVE)
        self._mine, self._mine_health, self._mine_since = word, health, now
        self._fell(word.node)
        if health is Health.ALIVE:
            self._rose((word.priority, word.node))

    def forget(self, peer: Peer) -> None:
        """One that is gone. Its place is filled with the last one, without moving one that was read to those that were not."""
        del self._peers[peer.name]
        place = peer.place
        if place < self._read:
            self._read -= 1
            place = self._move(self._read, place)
        self._move(len(self._list) - 1, place)
        self._list.pop()
        self._changed()

    def shift_suspicions(self, lag: Time) -> None:
        for peer in self._list:
            if peer.suspicion is not None:
                peer.suspicion.began += lag

    def _move(self, source: int, target: int) -> int:
        """The place that is free afterwards."""
        peer = self._list[source]
        self._list[target] = peer
        peer.place = target
        return source

    def _rose(self, rank: tuple[int, str]) -> None:
        if not self.best or rank > self._best_rank:
            self.best, self._best_rank = rank[1], rank
        self._changed()

    def _fell(self, name: str) -> None:
        """The only step that looks at all members: the best one is none any more."""
        if name == self.best:
            ranks = [peer.rank for peer in self._list if peer.health is Health.ALIVE]
            if self._mine_health is Health.ALIVE:
                ranks.append((self._mine.priority, self._mine.node))
            self._best_rank = max(ranks, default=(0, ""))
            self.best = self._best_rank[1]
        self._changed()

    def _changed(self) -> None:
        self.version += 1
        self._members = None

    # ── questions ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def next_best(self) -> str:
        """The best of the others; empty: none of them may lead."""
        fit = [peer for peer in self._list if peer.health is Health.ALIVE]
        return max(fit, key=lambda peer: peer.rank).name if fit else ""

    def position(self, name: str) -> int:
        """How many that may lead rank above it."""
        peer = self._peers.get(name)
        rank = peer.rank if peer else (self._mine.priority, self._mine.node)
        others = sum(1 for other in self._list if other.health is Health.ALIVE and other.rank > rank)
        return others + (name != self._mine.node and (self._mine.priority, self._mine.node) > rank)

    def read(self) -> Peer | None:
        """The next in turn that is not gone."""
        for _ in range(len(self._list)):
            if self._read >= len(self._list):
                self._read = 0
            other = self._read + int(self._uniform() * (len(self._list) - self._read))
            first, peer = self._list[self._read], self._list[other]
            self._list[self._read], self._list[other] = peer, first
            peer.place, first.place = self._read, other
            self._read += 1
            if peer.health not in GONE:
                return peer
        return None

    def draw(self, count: int, fits: Callable[[Peer], bool]) -> list[Peer]:
        """Up to so many at random, none twice."""
        everyone = self._list
        if len(everyone) <= DRAWS_SMALL:
            return self._few([peer for peer in everyone if fits(peer)], count)
        drawn: list[Peer] = []
        for _ in range(TRIES_EACH * count):
            peer = everyone[int(self._uniform() * len(everyone))]
            if fits(peer) and peer not in drawn:
                drawn.append(peer)
                if len(drawn) == count:
                    break
        return drawn

    def _few(self, fitting: list[Peer], count: int) -> list[Peer]:
        """The end of the list, after as many steps of a shuffle."""
        for last in range(len(fitting) - 1, max(0, len(fitting) - 1 - count), -1):
            other = int(self._uniform() * (last + 1))
            fitting[last], fitting[other] = fitting[other], fitting[last]
        return fitting[-count:]

    def members(self) -> Mapping[str, Member]:
        """A copy, made when something has changed."""
        if self._members is None:
            mine = Member(self._mine_health, self._mine_since, self._mine.priority)
            others = {peer.name: Member(peer.health, peer.since, peer.word.priority) for peer in self._list}
            self._members = {self._mine.node: mine, **others}
        return self._members
