"""One election of Raft as AvailSim and the split-vote formula have it: some of five servers are down, the others have the same log, follow
nobody, and start their timers at one moment. It ends when one has a majority of votes. No store, no duties, no heartbeats before.

The cores are real. `disk` is the slowest sync: 0 as in the models, where writing takes no time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from sims.election.cluster import MakeCore
from sims.election.network import Quality
from sims.election.node import Node
from sims.election.planted import make_planted
from sims.election.shape import Shape
from zjp.election.core import MS, SECOND, Config, Core, Happened, Kind, Uniform
from zjp.election.make import make_core
from zjp.wire.peers import Entry, LogTail, TermVote

from .ear import Enough, listening, run_until_enough

SERVERS = 5
GIVEN_UP = 600 * SECOND
NO_PRE_VOTE = "raft-no-pre-vote"
"""The planted bug that campaigns at once, as the published algorithm does."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which an election takes place. Times in ns."""

    down: int
    timeout: int
    low: int
    spread: int
    disk: int = 0
    has_pre_vote: bool = True

    def shape(self) -> Shape:
        quality = Quality(self.low, self.spread)
        return Shape(
            "raft", SERVERS, quality, timeout=self.timeout, interval=self.timeout // 4, wake_late=0, is_bare=True
        )


@dataclass(slots=True)
class Election:
    """`took`: until somebody won. `terms`: those in which somebody asked for votes. `steps`: events."""

    took: int = -1
    terms: int = 0
    steps: int = 0

    @property
    def is_split(self) -> bool:
        return self.terms > 1


def maker(algorithm: str = "raft", *, has_pre_vote: bool = True) -> MakeCore:
    return partial(_make, algorithm) if has_pre_vote else make_planted(NO_PRE_VOTE)


def elect(terms: Terms, seed: int) -> Election:
    election, asked = Election(), set[int]()

    def hear(node: Node, happened: Happened) -> None:
        if happened.kind is Kind.ELECTION_STARTED:
            asked.add(happened.epoch)
        elif happened.kind is Kind.LEADER_ELECTED:
            election.took = cluster.now
            raise Enough

    cluster = listening(terms.shape(), seed, maker(has_pre_vote=terms.has_pre_vote), hear)
    for node in cluster.nodes[: SERVERS - terms.down]:
        node.disk.records = [TermVote(1, "n4"), LogTail(0, [Entry(1, 1)])]
        node.fsync_low, node.fsync_high = terms.disk // 5, terms.disk
        cluster.start(node)
    if not run_until_enough(cluster, GIVEN_UP):
        raise AssertionError(f"nobody was elected in {GIVEN_UP // SECOND} s, seed {seed}, {terms}")
    election.terms, election.steps = len(asked), cluster.steps
    return election


def elect_many(terms: Terms, count: int, first_seed: int) -> list[Election]:
    return [elect(terms, first_seed + number) for number in range(count)]


def slower(terms: Terms, disk_ms: int) -> Terms:
    return replace(terms, disk=disk_ms * MS)


def _make(algorithm: str, config: Config, uniform: Uniform) -> Core:
    return make_core(algorithm, config, uniform)
