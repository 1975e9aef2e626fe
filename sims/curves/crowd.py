"""A settled gossip cluster, up to 1,000 members, in which everybody knows everybody.

Joining one by one would cost N^2 tables before anything is measured. So each node is handed the table that it would have after it had
joined, as the answer to its first question, by the interface (a SyncReply); all that follows is the core's own doing. Nobody has seeds to
contact, and the mesh tells nothing: a dead member is found by probes alone, as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sims.election.cluster import Cluster, MakeCore
from sims.election.network import Quality
from sims.election.node import Node
from sims.election.shape import Shape
from zjp.election.core import MS, Config, Happened, Kind, Recv
from zjp.wire.peers import Alive, Rumour, SyncReply

from .ear import Ear
from .elections import maker

PERIOD = 500 * MS
TIMEOUT = 4 * PERIOD
"""Customary: the shortest suspicion of up to ten members is four periods."""
GOSSIP = maker("gossip")
NEAR = Quality(200_000, 600_000)
TABLE_AT = 20 * MS
"""After its start; by then its first incarnation is durable, so that it may speak."""
SETTLED_PERIODS = 12
"""Each has told its own arrival for the last time."""


class Crowd(Shape):
    """Nobody has seeds: who is there is told by the first table."""

    def config(self, index: int, boot: int) -> Config:
        return replace(Shape.config(self, index, boot), voters=())


@dataclass(frozen=True, slots=True)
class Setting:
    """`make`: the core. `quality`: of all links. `slow`: nodes that take each message 0.5 to 2.5 periods late."""

    count: int
    seed: int
    quality: Quality = NEAR
    make: MakeCore = GOSSIP
    slow: tuple[int, ...] = ()


def settle(setting: Setting, hear: Callable[[Node, Happened], None]) -> Cluster:
    """Runs until all know all. `hear` is told from then on."""
    shape = Crowd("gossip", setting.count, NEAR, timeout=TIMEOUT, interval=PERIOD, lead_for=TIMEOUT, is_bare=True)
    ear = Ear(lambda node, happened: None)
    cluster = Cluster(shape, setting.seed, setting.make, ear)
    draw = cluster.stream("mesh").random
    table: list[Rumour] = [Alive(node.name, 1, node.priority) for node in cluster.nodes]
    for node in cluster.nodes:
        at = int(draw() * PERIOD)
        cluster.at(at, cluster.start, node)
        cluster.at(at + TABLE_AT, cluster.feed, node, Recv(_other(node, cluster).name, SyncReply(1, 0, "", table)))
    cluster.run(SETTLED_PERIODS * PERIOD)
    if setting.quality != NEAR:
        cluster.links.set_quality(setting.quality, _pairs(range(setting.count), range(setting.count)))
    late = Quality(PERIOD // 2, 2 * PERIOD, setting.quality.loss)
    cluster.links.set_quality(late, _pairs(range(setting.count), setting.slow))
    ear.hear = hear
    return cluster


def in_periods(time: int) -> float:
    return time / PERIOD


class Spread:
    """When the others learn of one victim that died `at`. `suspected`, `dead`: node -> when; who takes it back has not learnt it."""

    def __init__(self, victim: str, at: int) -> None:
        self.victim, self.at = victim, at
        self.suspected: dict[int, int] = {}
        self.dead: dict[int, int] = {}

    def hears(self, now: int, node: Node, happened: Happened) -> None:
        if happened.node != self.victim:
            return
        if happened.kind is Kind.MEMBER_SUSPECT:
            self.suspected.setdefault(node.index, now)
        elif happened.kind is Kind.MEMBER_DEAD:
            self.dead.setdefault(node.index, now)
        elif happened.kind is Kind.MEMBER_JOINED:
            self.dead.pop(node.index, None)


def _other(node: Node, cluster: Cluster) -> Node:
    return cluster.nodes[(node.index + 1) % len(cluster.nodes)]


def _pairs(sources: Iterable[int], targets: Iterable[int]) -> list[tuple[int, int]]:
    inside = list(targets)
    return [(source, target) for source in sources for target in inside if source != target]
