"""Three real nodes on one Redis that elect a leader by each algorithm, lose it, and have another."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from scripts.redis_server import RedisServer
from tests.redis import start_redis
from tests.system.running import ROOT, RunningNode, await_that, first, run_zjp
from zjp import Client
from zjp.cli.cluster import faults_of
from zjp.node.election_log import ElectionLog
from zjp.wire.messages import LeaderReply, Ping, Pong
from zjp.wire.peers import TermVote
from zjp.wire.seen import Change, ClusterReply

pytestmark = [pytest.mark.system, pytest.mark.covers("cluster:joined")]

APP = "tests.fakes:app"
CI_FACTOR = 5 if os.environ.get("CI") else 1
FAIL_OVER_S = {"bully": 1.1, "raft": 1.1, "gossip": 4.8}
LEADERLESS_MS = 400
"""At least: ELECTION_TIMEOUT is 500 ms, and counts from a beat that may have come late."""
FORM_S = 10.0
PRIORITIES = {"a": 0, "b": 5, "c": 1}



class ThreeNodes:
    def __init__(self, folder: Path, redis: RedisServer, algorithm: str) -> None:
        self._folder, self._redis, self._algorithm = folder, redis, algorithm
        self.nodes: dict[str, RunningNode] = {}

    def start(self) -> None:
        for name in ("a", "b", "c"):
            folder = self._folder / name
            folder.mkdir()
            seeds = ",".join(node.address for node in self.nodes.values())
            node = RunningNode(
                folder, app=APP, node_id=name, redis_addr=self._redis.url, worker_count=2, worker_processes=1,
                election_algorithm=self._algorithm, cluster_size=3, node_priority=PRIORITIES[name],
                **({"cluster_seeds": seeds} if seeds else {}),
            )  # fmt: skip
            self.nodes[name] = node
            node.start()

    def stop(self) -> None:
        for node in self.nodes.values():
            if node.is_running:
                node.kill()

    def agreed(self, names: set[str], above: int = 0) -> LeaderReply | None:
        """What all of `names` say of the leader, in an epoch above this one, when they say the same and it is in office."""
        said = {}
        for name in sorted(names):
            with contextlib.suppress(Exception), self.nodes[name].client(timeout=1.0) as client:
                said[name] = client.leader()
        if len(said) < len(names) or len({(one.node, one.epoch) for one in said.values()}) != 1:
            return None
        leader = said[next(iter(names))].node
        if leader not in said or not said[leader].is_in_office or said[leader].epoch <= above:
            return None
        return said[leader]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = start_redis()
    yield server
    server.stop()


@pytest.fixture(params=["bully", "raft", "gossip"])
def three(request: pytest.FixtureRequest, tmp_path: Path, redis: RedisServer) -> Iterator[ThreeNodes]:
    cluster = ThreeNodes(tmp_path, redis, request.param)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def works(client: Client) -> None:
    jobs = client.submit_many([("noop", {})] * 20)
    for job in jobs:
        job.wait(timeout=30)


@pytest.mark.covers("settings:ELECTION_ALGORITHM", "settings:CLUSTER_SEEDS", "settings:CLUSTER_SIZE", "settings:NODE_PRIORITY")
def test_leader_is_elected_lost_and_followed_while_jobs_go_on(three: ThreeNodes) -> None:
    leader = first(lambda: three.agreed({"a", "b", "c"}), FORM_S * CI_FACTOR)
    if three._algorithm != "raft":
        assert leader.node == "b", "it has the highest priority"
    others = {"a", "b", "c"} - {leader.node}
    three.nodes[leader.node].kill()
    killed = time.monotonic()
    follower = first(lambda: three.agreed(others, leader.epoch), (FAIL_OVER_S[three._algorithm] + 2.0) * CI_FACTOR)
    took_s = time.monotonic() - killed
    print(f"{three._algorithm}: {leader.node} in epoch {leader.epoch}, then {follower.node} in {follower.epoch} after {took_s:.2f} s")
    assert follower.node in others
    for name in sorted(others):
        with three.nodes[name].client() as client:
            lost = first(lambda client=client: told(client, "leader_lost", leader.node), 5.0)  # type: ignore[misc]
            assert lost.why not in ("", "left")
    with three.nodes[follower.node].client() as client:
        assert first(lambda: elected(client, follower.node), 5.0).leaderless_ms >= LEADERLESS_MS
        works(client)
    three.nodes[leader.node].start()
    back = first(lambda: three.agreed({"a", "b", "c"}), FORM_S * CI_FACTOR)
    assert back.epoch >= follower.epoch
    with three.nodes[leader.node].client() as client:
        works(client)


def test_minority_has_no_leader_and_does_its_jobs(three: ThreeNodes) -> None:
    leader = first(lambda: three.agreed({"a", "b", "c"}), FORM_S * CI_FACTOR)
    others = sorted({"a", "b", "c"} - {leader.node})
    assert three.nodes[others[0]].stop() == 0
    with three.nodes[leader.node].client() as client:
        reply = first(lambda: has_left(client, others[0]), FORM_S * CI_FACTOR)
        assert faults_of(reply) == [], "one that was stopped is no fault while a majority is there"
        three.nodes[others[1]].kill()
        first(lambda: True if not client.leader().is_in_office else None, (FAIL_OVER_S[three._algorithm] + 2.0) * CI_FACTOR)
        works(client)


@pytest.mark.covers("cli:exit-codes")
def test_node_whose_promises_are_damaged_does_not_start(redis: RedisServer, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "election-raft.log").write_bytes(b"")
    node = RunningNode(tmp_path, node_id="a", redis_addr=redis.url, election_algorithm="raft", cluster_size=3)
    node.launch()
    assert node.wait() == 78
    (refused,) = node.events("node.not_started")
    assert "election-raft.log is damaged at byte 0" in refused["reason"]
    assert "Traceback" not in node.log_text()


def test_voter_whose_folder_is_an_older_copy_asks_before_it_votes_again(redis: RedisServer, tmp_path: Path) -> None:
    """It alone of three is there, so nobody tells it what it promised. A store that is behind is no reason to ask."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    promises = ElectionLog(folder / "election-raft.log")
    promises.open()
    promises.append([TermVote(7, "b")])
    promises.close()
    settled = [b"HSET", b"{zjp:zjp}:doc:cluster", b"voters", b"1:" + msgspec.msgpack.encode(["a", "b", "c"])]
    redis.send(*settled)
    node = RunningNode(
        tmp_path, node_id="a", redis_addr=redis.url, election_algorithm="raft", cluster_size=3, cluster_seeds="tcp://127.0.0.1:1"
    )
    try:
        assert epoch_of_voter(node.start()) == 7
        node.kill()
        shutil.copytree(folder, tmp_path / "backup", ignore=shutil.ignore_patterns("*.sock"))
        redis.send(b"FLUSHALL")
        assert epoch_of_voter(node.start()) == 7
        assert node.events("election.put_aside") == []
        (put_back,) = node.events("cluster.voters_put_back")
        assert put_back["voters"] == ["a", "b", "c"]
        node.kill()
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "backup", folder)
        node.start()
        await_that((folder / "election-raft.log").exists)  # it has begun, with a new one
        with node.client() as client:
            reply = client.cluster()
        assert (own_role(reply), reply.epoch) == ("learner", 0)
        (told,) = node.events("election.put_aside")
        assert Path(told["kept"]).read_bytes() == (tmp_path / "backup" / "election-raft.log").read_bytes()
        assert node.events("node.started")[0]["boot"] == 3
    finally:
        node.kill()


def epoch_of_voter(node: RunningNode) -> int:
    """Once it has its part in elections."""
    with node.client() as client:
        return first(lambda: reply.epoch if own_role(reply := client.cluster()) != "learner" else None, FORM_S * CI_FACTOR)


def own_role(reply: ClusterReply) -> str:
    return next(one.role for one in reply.nodes if one.node == reply.node)


# ── what a user sees ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def whole(client: Client) -> ClusterReply | None:
    """Once all three are alive and met."""
    reply = client.cluster()
    return reply if [(one.node, one.health, one.is_up) for one in reply.nodes] == [(name, "alive", True) for name in "abc"] else None


def replay(node: RunningNode) -> str:
    """What the recorded ring of a node gives when it is fed to a fresh core."""
    ring = node.data_dir / "election-ring.msgpack"
    os.kill(node.pid, signal.SIGUSR1)
    first(lambda: True if node.events("election.dumped") else None, FORM_S * CI_FACTOR)
    done = subprocess.run(
        [sys.executable, "-m", "sims", "replay", "--ring", str(ring)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def elected(client: Client, node: str) -> Change | None:
    return told(client, "leader_elected", node)


def told(client: Client, kind: str, node: str) -> Change | None:
    return next((one for one in client.history() if (one.kind, one.node) == (kind, node)), None)


def has_left(client: Client, node: str) -> ClusterReply | None:
    reply = client.cluster()
    return reply if {one.node: one.health for one in reply.nodes}[node] == "left" else None


@pytest.mark.covers("cluster:seen", "http:relay", "http:audit")
def test_nodes_are_told_with_roles_and_the_leadership_goes_where_an_operator_wants_it(three: ThreeNodes) -> None:
    leader = first(lambda: three.agreed({"a", "b", "c"}), FORM_S * CI_FACTOR)
    heir = min({"a", "b", "c"} - {leader.node})
    other = max({"a", "b", "c"} - {leader.node})
    with three.nodes[other].client() as client:
        told = first(lambda: whole(client), FORM_S * CI_FACTOR)
        assert (told.node, told.leader, told.quorum, told.has_quorum) == (other, leader.node, 2, True)
        assert told.voters == ([] if three._algorithm == "gossip" else ["a", "b", "c"])
        assert {one.node: one.address for one in told.nodes} == {name: node.address for name, node in three.nodes.items()}
        assert {one.node for one in told.nodes if one.role == "leader"} == {leader.node}
        table = client.stats()
        assert table["election"]["algorithm"] == three._algorithm
        assert (table["app"], table["is_claiming"], set(table["throughput"])) == (True, True, {"1m", "5m", "15m"})
        asked = [client.ask_node(name, Ping()) for name in sorted(three.nodes)]
        assert [one.node for one in asked if isinstance(one, Pong)] == ["a", "b", "c"]
        transfer = ("--address", three.nodes[other].address, "cluster", "transfer")  # finds its way to the leader
        if three._algorithm == "gossip":
            refused = run_zjp(*transfer, heir)
            heir = other
            assert (refused.code, f"and that is {heir}, not" in refused.err) == (1, True), refused
        done = run_zjp(*transfer, heir)
        assert (done.code, "leads in epoch" in done.err) == (0, True), done
        new = first(lambda: three.agreed({"a", "b", "c"}, leader.epoch), FORM_S * CI_FACTOR)
        noted = first(lambda: client.events("audit").events or None, 5.0)  # by the leader, into the records that all of them read
        assert (noted[0].who, noted[0].what, noted[0].node) == ("local", "step-down", leader.node)
        assert new.node == heir
        assert first(lambda: elected(client, heir), 5.0).epoch == new.epoch
        series = {name: metric["series"] for name, metric in client.stats()["metrics"].items()}
        assert {one["labels"][0]: one["value"] for one in series["zjp_members"]} == {"alive": 3, "suspect": 0, "dead": 0, "left": 0}
        assert series["zjp_leaderless_seconds_total"][0]["value"] > 0
    assert "leader_elected" in replay(three.nodes[heir])
    again = max({"a", "b", "c"} - {heir})
    three.nodes[again].restart()
    with three.nodes[again].client() as client:
        assert first(lambda: elected(client, heir), FORM_S * CI_FACTOR).epoch == new.epoch  # from the records: its own life is younger


@pytest.mark.covers("cluster:seen")
def test_drained_leader_hands_over_and_its_loss_is_seen_as_ill_health(three: ThreeNodes) -> None:
    leader = first(lambda: three.agreed({"a", "b", "c"}), FORM_S * CI_FACTOR)
    other = min({"a", "b", "c"} - {leader.node})
    with three.nodes[other].client() as client:
        first(lambda: whole(client), FORM_S * CI_FACTOR)
        assert run_zjp("--address", three.nodes[other].address, "cluster", "drain", leader.node).code == 0
        first(lambda: three.agreed({"a", "b", "c"}, leader.epoch), FORM_S * CI_FACTOR)
        three.nodes[leader.node].kill()
        first(lambda: None if whole(client) else True, FORM_S * CI_FACTOR)

    def told_ill() -> bool | None:
        ill = run_zjp("--address", three.nodes[other].address, "cluster", "health")
        return True if ill.code == 1 and f"{leader.node} is " in ill.out else None

    first(told_ill, FORM_S * CI_FACTOR)
