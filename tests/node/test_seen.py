"""What a node says of the cluster, and whom it refuses to hand the leadership to."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.node.test_chronicle import Away, Clock, chronicle_of, figure
from zjp.cli.cluster import faults_of
from zjp.config import Settings
from zjp.election.core import MS, SECOND, Health, Member, Role, View
from zjp.errors import NotFound, WrongState
from zjp.node.cluster import NOBODY, Cluster
from zjp.node.hardstate import open_data_dir
from zjp.node.seen import Seen
from zjp.node.stats import NodeStats
from zjp.transport.mesh import PeerState
from zjp.wire.seen import AskCluster, ClusterReply, DrainNode, Transfer

pytestmark = pytest.mark.covers("cluster:seen")

ME = PeerState("a", 7, "tcp://127.0.0.1:1", 2, True)
MEMBERS = {"a": Member(Health.ALIVE, 1, 2), "b": Member(Health.DEAD, 1)}


class Joined:
    """A cluster that is told what it knows: a leads, b is dead, c is met and learns, d is a voter that nobody has seen."""

    algorithm, voters, quorum, is_in_office, is_leader_idle = "raft", frozenset("abd"), 2, True, False
    dispute: tuple[tuple[str, ...], tuple[str, ...]] = (), ()

    def __init__(self, role: Role = Role.LEADER) -> None:
        self.view = View(role, "a" if role is Role.LEADER else "b", 5, True, True, MEMBERS)
        self.dropped: Counter[str] = Counter()
        self.transferred: list[str] = []

    def peers(self) -> list[PeerState]:
        return [PeerState("b", 1, "tcp://127.0.0.1:2", 0, False), PeerState("c", 1, "tcp://127.0.0.1:3", 0, True)]

    def drops(self) -> Counter[str]:
        return Counter(self.dropped)

    def transfer(self, to: str) -> None:
        self.transferred.append(to)


class Left(Joined):
    """b, a voter, and e, which is none, said good-bye so long ago. What the core makes of their silence goes by the algorithm."""

    def __init__(self, algorithm: str, left_s: float) -> None:
        super().__init__()
        self.algorithm, self._left_s = algorithm, left_s
        self.voters = frozenset() if algorithm == "gossip" else frozenset("abd")
        now = time.monotonic_ns()
        health = {"raft": Health.SUSPECT, "bully": Health.LEFT, "gossip": Health.DEAD}[algorithm]
        gone, alive = Member(health, now - round(left_s * SECOND) + MS), Member(Health.ALIVE, now)
        self.view = View(Role.LEADER, "a", 5, True, True, {"a": alive, "d": alive, "b": gone, "e": gone})

    def peers(self) -> list[PeerState]:
        return [PeerState(name, 1, "tcp://127.0.0.1:2", 0, False, self._left_s, self._left_s) for name in "be"]


def seen_of(cluster: Any, stats: NodeStats | None = None) -> Seen:
    kept = chronicle_of(Away(), Clock(), stats=stats)
    return Seen(lambda: ME, cluster, kept, drain=lambda is_draining: 3 * is_draining, is_draining=lambda: False)


async def test_nodes_are_those_met_those_the_core_knows_and_the_voters() -> None:
    reply = await seen_of(Joined()).cluster(AskCluster())
    assert isinstance(reply, ClusterReply)
    assert [(one.node, one.boot, one.role, one.health, one.is_up) for one in reply.nodes] == [
        ("a", 7, "leader", "alive", True), ("b", 1, "follower", "dead", False),
        ("c", 1, "learner", "alive", True), ("d", 0, "follower", "suspect", False),
    ]  # fmt: skip
    assert (reply.node, reply.leader, reply.epoch, reply.quorum, reply.voters) == ("a", "a", 5, 2, ["a", "b", "d"])


async def test_leadership_is_handed_only_by_the_leader_and_only_to_a_voter_that_lives() -> None:
    cluster = Joined()
    seen = seen_of(cluster)
    for to, fault, text in (("x", NotFound, "no node 'x'"), ("b", WrongState, "b is dead"), ("c", WrongState, "c is no voter")):
        with pytest.raises(fault, match=text):
            await seen.transfer(Transfer(to))
    await seen.transfer(Transfer("d"))
    assert cluster.transferred == ["d"]
    with pytest.raises(WrongState, match="a does not lead, b does"):
        await seen_of(Joined(Role.FOLLOWER)).transfer(Transfer("d"))


async def told(cluster: Joined) -> ClusterReply:
    reply = await seen_of(cluster).cluster(AskCluster())
    assert isinstance(reply, ClusterReply)
    return reply


@pytest.mark.parametrize("algorithm", ["bully", "raft", "gossip"])
async def test_node_that_said_good_bye_has_left_and_is_no_fault_and_is_not_listed_for_ever(algorithm: str) -> None:
    for left_s, expected in ((5.0, ["b", "e"]), (59.0, ["b", "e"]), (61.0, [] if algorithm == "gossip" else ["b"])):
        reply = await told(Left(algorithm, left_s))
        left = [one for one in reply.nodes if one.health == "left"]
        assert [one.node for one in left] == expected
        assert all(abs(time.time() - one.since_ms / 1000 - left_s) < 1.0 for one in left)
        assert {one.node for one in reply.nodes} == {"a", "d", *expected}
        assert faults_of(reply) == []


async def test_too_few_to_elect_are_told_though_they_left_in_peace() -> None:
    cluster = Left("raft", 5.0)
    cluster.quorum = 3
    assert faults_of(await told(cluster)) == ["2 of the nodes that elect are alive, 3 are needed"]
    with pytest.raises(WrongState, match="b is left"):
        await seen_of(cluster).transfer(Transfer("b"))


@pytest.mark.parametrize("role", [Role.LEADER, Role.FOLLOWER])
async def test_leader_that_the_store_does_not_confirm_is_a_fault_at_the_leader_and_at_those_that_know(role: Role) -> None:
    cluster = Left("raft", 5.0)
    cluster.view = View(role, "a" if role is Role.LEADER else "d", 5, role is Role.LEADER, True, cluster.view.members)
    cluster.is_in_office = False
    cluster.is_leader_idle = True
    reply = await told(cluster)
    assert faults_of(reply) == [f"{cluster.view.leader} leads, but the store does not confirm it: schedules do not fire"]
    # A node of the version before tells no more than whether it is in office itself.
    before = msgspec.msgpack.decode(msgspec.msgpack.encode(msgspec.msgpack.decode(msgspec.msgpack.encode(reply))[:-3]), type=ClusterReply)
    assert len(faults_of(before)) == (role is Role.LEADER)


async def test_two_lists_of_voters_are_the_fault_that_health_names() -> None:
    cluster = Joined()
    cluster.view, cluster.voters, cluster.dispute = NOBODY, frozenset(), (("a", "b", "c"), ("a", "b", "d"))
    faults = faults_of(await told(cluster))
    assert faults[0].startswith("two lists of voters: a kept a, b, c; the store names a, b, d. It has no part in elections")
    assert "docs/cluster.md, 'Two lists of voters'" in faults[0]
    assert not [fault for fault in faults if "forming" in fault or fault.startswith("nobody leads")]


async def test_next_life_that_the_core_knows_before_the_mesh_does_is_alive() -> None:
    cluster = Left("gossip", 5.0)
    cluster.view = View(Role.LEADER, "a", 5, True, True, {"b": Member(Health.ALIVE, time.monotonic_ns() - SECOND)})
    assert {one.node: one.health for one in (await told(cluster)).nodes} == {"a": "alive", "b": "alive", "e": "left"}


class Silent(Joined):
    """e, which is no voter, was killed: nothing was heard of it for so long."""

    def __init__(self, silent_s: float) -> None:
        super().__init__()
        self._silent_s = silent_s

    def peers(self) -> list[PeerState]:
        return [PeerState("e", 1, "tcp://127.0.0.1:2", 0, False, self._silent_s)]


async def test_node_without_a_vote_that_fell_silent_is_suspect_then_dead_and_is_not_listed_for_ever() -> None:
    for silent_s, health in ((3.0, "suspect"), (20.0, "dead"), (3_599.0, "dead"), (3_601.0, None)):
        reply = await told(Silent(silent_s))
        found = next((one for one in reply.nodes if one.node == "e"), None)
        assert (found and found.health) == health
        assert found is None or abs(time.time() - found.since_ms / 1000 - silent_s) < 1.0


async def test_a_moment_is_told_the_same_as_long_as_the_clock_is_not_set() -> None:
    seen = seen_of(Joined())
    assert len({tuple(one.since_ms for one in seen.nodes()) for _ in range(2_000)}) == 1


async def test_drain_is_for_the_node_that_is_asked() -> None:
    with pytest.raises(WrongState, match="only b itself can drain"):
        await seen_of(Joined()).drain(DrainNode("b"))
    assert (await seen_of(Joined()).drain(DrainNode("a"))).count == 3  # type: ignore[union-attr]


def test_metrics_tell_members_by_health_and_each_drop_once() -> None:
    stats, cluster = NodeStats("a", 1), Joined()
    seen = seen_of(cluster, stats)
    for dropped in (2, 5):
        cluster.dropped["boot"] = dropped
        seen.count(stats)
    assert figure(stats, "zjp_peer_drops_total") == [{"labels": ["boot"], "value": 5}]
    assert {one["labels"][0]: one["value"] for one in figure(stats, "zjp_members")} == {"alive": 2, "suspect": 1, "dead": 1, "left": 0}


@pytest.mark.parametrize(("interval_s", "warnings"), [(30.0, ["cluster.interval_lowered"]), (0.1, [])])
async def test_interval_that_is_lowered_is_warned_of_once(
    interval_s: float, warnings: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(cluster_size=3, election_interval_s=interval_s)
    data = open_data_dir(tmp_path / "data", "a")
    stats = NodeStats("a", 1)
    cluster = Cluster(settings, data, None, stats, chronicle_of(Away(), Clock(), stats=stats))  # type: ignore[arg-type]
    caplog.clear()
    await cluster.start()
    assert [line.message for line in caplog.records] == warnings
    data.close(clean=True)
