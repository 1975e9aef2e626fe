"""One run: a case (all that decides what happens) and its outcome. The same case gives the same outcome, anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from zjp.election.core import MS, SECOND, Config, Core, Uniform
from zjp.election.make import ALGORITHMS, make_core

from ..history import collector_off
from . import acts
from .calm import Calm, Steady
from .cluster import Cluster, CoreBroke, MakeCore
from .faults import PROFILES, SAFETY_FOR, Fault, draw
from .invariants.bully import BullyWatch
from .invariants.gossip import GossipWatch
from .invariants.raft import RaftWatch
from .invariants.watch import Violation, Watch
from .planted import make_planted
from .shape import Shape
from .trace import Trace

WATCHES: dict[str, type[Watch]] = {"raft": RaftWatch, "bully": BullyWatch, "gossip": GossipWatch}
BROKE = "broke"
"""The name of an outcome in which a core raised: a bug, but of no invariant."""

__all__ = ["ALGORITHMS", "BROKE", "Case", "Outcome", "run"]


@dataclass(frozen=True, slots=True)
class Case:
    """`faults`: the numbers of those that are kept of the schedule; None: all. `planted`: the name of a planted bug."""

    algorithm: str
    nodes: int
    seed: int
    profile: str
    faults: tuple[int, ...] | None = None
    planted: str = ""

    def schedule(self) -> list[Fault]:
        drawn = draw(self.seed, self.profile, self.nodes)
        return drawn if self.faults is None else [fault for fault in drawn if fault.number in self.faults]

    def command(self) -> str:
        """What runs it again."""
        words = f"python -m sims replay --algorithm {self.algorithm} --nodes {self.nodes} --seed {self.seed} --profile {self.profile}"
        if self.faults is not None:
            words += f" --faults {','.join(map(str, self.faults)) or 'none'}"
        return words + (f" --planted {self.planted}" if self.planted else "")

    def keeping(self, faults: Sequence[Fault]) -> Case:
        return replace(self, faults=tuple(fault.number for fault in faults))


@dataclass(frozen=True, slots=True)
class Outcome:
    """`invariant`: the first that was broken, empty: none. `digest`: of everything that happened. `steps`: events that cores were fed."""

    case: Case
    invariant: str
    text: str
    at: int
    steps: int
    sent: int
    digest: str
    trace: Trace

    @property
    def is_well(self) -> bool:
        return not self.invariant


def run(case: Case, make: MakeCore | None = None, watched_by: type[Watch] | None = None) -> Outcome:
    """`make`: another core than the case's; `watched_by`: another watch than its algorithm's."""
    shape = shape_of(case)
    trace = Trace(shape.names)
    watch = (watched_by or WATCHES[case.algorithm])(trace)
    cluster = Cluster(shape, case.seed, make or _maker(case), watch)
    trace.cluster = cluster
    invariant = text = ""
    try:
        with collector_off():
            _play(cluster, case, trace)
    except Violation as fault:
        invariant, text = fault.invariant, fault.text
    except CoreBroke as fault:
        invariant, text = BROKE, str(fault)
    digest = trace.digest(cluster.fingerprint(), str(cluster.steps), str(cluster.sent), invariant, text)
    return Outcome(case, invariant, text, cluster.now, cluster.steps, cluster.sent, digest, trace)


def shape_of(case: Case) -> Shape:
    profile = PROFILES[case.profile]
    shape = Shape(case.algorithm, case.nodes, profile.quality)
    if case.algorithm == "gossip":
        return replace(shape.gossiping(), store_high=40 * MS) if profile.is_wide else shape.gossiping()
    return replace(shape, timeout=1 * SECOND, interval=200 * MS, store_high=40 * MS) if profile.is_wide else shape


def _maker(case: Case) -> MakeCore:
    return make_planted(case.planted) if case.planted else partial(_make, case.algorithm)


def _make(algorithm: str, config: Config, uniform: Uniform) -> Core:
    return make_core(algorithm, config, uniform)


def _play(cluster: Cluster, case: Case, trace: Trace) -> None:
    """The safety phase, the healing, the liveness phase."""
    for node in cluster.nodes:
        cluster.at(int(cluster.stream("mesh").random() * 300 * MS), cluster.start, node)
    faults = case.schedule()
    acts.plan(cluster, faults, trace.faulted)
    if case.profile == "omission" and case.algorithm == "raft":
        for fault in faults:
            Steady(cluster, fault.at, min(fault.until + 2 * SECOND, SAFETY_FOR))
    cluster.run(SAFETY_FOR)
    calm = Calm(cluster, case.seed)
    trace.healed_at = cluster.now
    calm.heal()
    cluster.run(calm.ends_at)
