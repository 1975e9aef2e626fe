"""After the faults: a random core of at least a majority is healed, the rest stays dead, cut off or half connected; the core must converge.

    RL1  Raft: all of the core follow one leader in office within 10 T, and it is not lost for the next 20 T
    RL3  ... and all of the core have one log, committed up to the leader's term
    BL1  Bully: the highest of the core leads within two hold-downs and 10 T; BL2: whoever leads until then ranks below the next
    GL1  Gossip: all follow one leader in office within the time that suspicion, dead contact and an old leadership may take
    GL2  ... and all of the core hold just the core alive
    C6   schedules are fired again

Half connected nodes are Raft's to bear with (pre-vote); the other two never claimed to. Not where one of them and the node that it hears
are a majority, as of three: if it leads, it rightly goes on, and whom it does not reach can neither follow nor replace it.
"""

from __future__ import annotations

import random

from zjp.election.core import MS, SECOND, Health

from .cluster import Cluster
from .invariants.raft import RaftWatch
from .invariants.watch import Violation
from .network import GOOD, between, crossing
from .node import Node
from .shape import Shape

LOOK_EVERY = 50 * MS
HOLD_DOWN = 10
"""Of Bully, in timeouts. Twice: when several come back at once that do not know of each other yet, the second may win first."""
GOSSIP_HOLD_DOWN = 10 * SECOND
GOSSIP_CONTACT = 20
"""Periods between two questions to one that is held dead."""
OMISSION_SETTLE = 3
"""T; a leader that stands by then must stand until the fault ends."""

WITH_A_FRIEND = 2
"""Voters that a half connected node has: the one that it hears, and itself."""


def settle_within(shape: Shape) -> int:
    """From the healing to one leader whom all follow."""
    if shape.algorithm == "raft":
        return 10 * shape.timeout
    if shape.algorithm == "bully":
        return (2 * HOLD_DOWN + 10) * shape.timeout
    return GOSSIP_HOLD_DOWN + 3 * GOSSIP_CONTACT * shape.interval + shape.lead_for


def keep_for(shape: Shape) -> int:
    return (10 if shape.algorithm == "gossip" else 20) * shape.timeout


class Calm:
    """`heal` once, then run the cluster until `ends_at`; raises Violation from within."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster, self._rng = cluster, random.Random(f"{seed} heal")
        self.core: list[Node] = []
        self._settled: tuple[str, int] | None = None
        self._leaders: list[tuple[str, int]] = []

    @property
    def ends_at(self) -> int:
        return self._due + keep_for(self.cluster.shape)

    def heal(self) -> None:
        cluster = self.cluster
        cluster.is_healed = True
        self.core = self._choose()
        self._exclude()
        self._mend([node.index for node in self.core])
        for node in self.core:
            if node.is_left:
                # It says good-bye and would stop some moments from now, when nobody starts it again.
                cluster.crash(node, "kept")
            cluster.resume(node)
            node.fsync_low, node.fsync_high = MS, 5 * MS
            cluster.set_rate(node, 1_000_000)
            if not node.is_up:
                cluster.start(node)
        cluster.greet_all()
        cluster.lose_cut()
        self._due = cluster.now + settle_within(cluster.shape)
        cluster.at(cluster.now + LOOK_EVERY, self._look)

    def _choose(self) -> list[Node]:
        """A majority, of nodes that have not lost their folder as far as they go, and any others."""
        nodes, quorum = list(self.cluster.nodes), self.cluster.shape.quorum
        knowing = [node for node in nodes if not node.is_wiped]
        chosen = self._rng.sample(knowing, min(quorum, len(knowing)))
        rest = [node for node in nodes if node not in chosen]
        chosen += self._rng.sample(rest, self._rng.randint(max(0, quorum - len(chosen)), len(rest)))
        return sorted(chosen, key=lambda node: node.index)

    def _exclude(self) -> None:
        inside = [node.index for node in self.core]
        outside = [node for node in self.cluster.nodes if node not in self.core]
        self.cluster.links.mend(between(range(self.cluster.shape.count)))
        kinds: tuple[str, ...] = (
            ("dead", "cut", "out", "in", "one") if self.cluster.shape.algorithm == "raft" else ("dead", "cut")
        )
        if self.cluster.shape.quorum <= 2:
            # With one friend it would be a majority, and might lead it.
            kinds = kinds[:4]
        for node in outside:
            kind = self._rng.choice(kinds)
            if kind == "dead":
                self.cluster.crash(node)
                continue
            pairs = crossing([node.index], self.cluster.shape.count, outward=kind != "out", inward=kind != "in")
            friend = self._rng.choice(inside) if kind == "one" else -1
            if self.cluster.shape.quorum <= WITH_A_FRIEND:
                friend = -1
            self.cluster.links.cut([pair for pair in pairs if friend not in pair])
        self.cluster.links.cut(between(node.index for node in outside))

    def _mend(self, inside: list[int]) -> None:
        self.cluster.links.set_quality(GOOD, between(range(self.cluster.shape.count)))
        self.cluster.cut_store(inside, is_cut=False)
        self.cluster.store_loss = 0.0

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _look(self) -> None:
        now = self.cluster.now
        agreed = self._agreed()
        if now > self._due:
            self._stays(agreed)
        elif agreed is not None and agreed not in self._leaders:
            self._leaders.append(agreed)
        if now < self.ends_at:
            self.cluster.at(now + LOOK_EVERY, self._look)
        else:
            self._end()

    def _agreed(self) -> tuple[str, int] | None:
        """(leader, epoch) that all of the core follow, if it is one of them and in office."""
        first = self.core[0].view
        for node in self.core:
            view = node.view
            if not node.is_up or view.leader != first.leader or view.epoch != first.epoch:
                return None
        leader = self.cluster.by_name.get(first.leader)
        if leader is None or leader not in self.core or not leader.view.is_in_office:
            return None
        return first.leader, first.epoch

    def _stays(self, agreed: tuple[str, int] | None) -> None:
        shape = self.cluster.shape
        name = {"raft": "RL1", "bully": "BL1"}.get(shape.algorithm, "GL1")
        if self._settled is None:
            if agreed is None:
                seen = ", ".join(
                    f"{node.name} {node.view.role.value} {node.view.epoch} of {node.view.leader or 'nobody'}"
                    for node in self.core
                )
                raise Violation(
                    name, f"no leader whom all follow {settle_within(shape) // MS} ms after the healing: {seen}"
                )
            self._settled = agreed
            self._check_rank(agreed[0])
        elif agreed != self._settled:
            now = f"{agreed[0]} leads {agreed[1]}" if agreed else "not all follow one leader in office"
            raise Violation(name, f"{self._settled[0]} led {self._settled[1]} after the healing, and now {now}")

    def _check_rank(self, leader: str) -> None:
        if self.cluster.shape.algorithm != "bully":
            return
        highest = max(self.core, key=lambda node: (node.priority, node.name))
        if leader != highest.name:
            raise Violation("BL1", f"{leader} leads, {highest.name} ranks higher and is well")
        ranks = [self.cluster.by_name[name].priority for name, _ in self._leaders]
        if ranks != sorted(ranks):
            raise Violation("BL2", f"a lower one took over after the healing: {self._leaders}")

    def _end(self) -> None:
        watch = self.cluster.watch
        if self.cluster.shape.algorithm == "gossip":
            self._check_views()
        elif isinstance(watch, RaftWatch) and (lag := watch.lags(self.core)):
            raise Violation("RL3", f"{lag}, {keep_for(self.cluster.shape) // MS} ms after all followed one leader")
        store = self.cluster.store
        late = store.clock.read(self.cluster.now) - store.next_fire
        if late > 2 * SECOND:
            raise Violation("C6", f"a schedule due {late // MS} ms ago was not fired, though a leader is in office")

    def _check_views(self) -> None:
        names = {node.name for node in self.core}
        for node in self.core:
            alive = {name for name, member in node.core.view().members.items() if member.health is Health.ALIVE} | {
                node.name
            }
            if alive != names:
                raise Violation(
                    "GL2", f"{node.name} holds {', '.join(sorted(alive))} alive; alive are {', '.join(sorted(names))}"
                )


class Steady:
    """The omission profile: while links are missing, whoever leads 3 T after they went leads until they are back, and goes on then."""

    def __init__(self, cluster: Cluster, since: int, until: int) -> None:
        self.cluster, self._until = cluster, until
        self._leader: tuple[str, int] | None = None
        cluster.at(since + OMISSION_SETTLE * cluster.shape.timeout, self._look)

    def _look(self) -> None:
        leader = self.cluster.leader()
        now = (leader.name, leader.view.epoch) if leader is not None else None
        if now is None or (self._leader is not None and now != self._leader):
            seen = f"{now[0]} leads {now[1]}" if now else "nobody leads"
            raise Violation(
                "RL1", f"with links missing {seen}" + (f", before it was {self._leader}" if self._leader else "")
            )
        self._leader = now
        if self.cluster.now < self._until:
            self.cluster.at(self.cluster.now + LOOK_EVERY, self._look)
