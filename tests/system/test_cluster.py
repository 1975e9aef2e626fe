"""Three real nodes on one Redis that elect a leader by each algorithm, lose it, and have another."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from scripts.redis_server import RedisServer
from tests.redis import start_redis
from tests.system.running import RunningNode
from zjp import Client
from zjp.wire.messages import LeaderReply

pytestmark = [pytest.mark.system, pytest.mark.covers("cluster:joined")]

APP = "tests.fakes:app"
CI_FACTOR = 5 if os.environ.get("CI") else 1
FAIL_OVER_S = {"bully": 1.1, "raft": 1.1, "gossip": 4.8}
FORM_S = 10.0

T = TypeVar("T")


def first(claim: Callable[[], T | None], within_s: float) -> T:
    """What `claim` says once it says something."""
    end = time.monotonic() + within_s
    tick = threading.Event()
    while (said := claim()) is None:
        assert time.monotonic() < end, f"not within {within_s} s"
        tick.wait(0.02)
    return said


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
                election_algorithm=self._algorithm, cluster_size=3, **({"cluster_seeds": seeds} if seeds else {}),
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


def test_leader_is_elected_lost_and_followed_while_jobs_go_on(three: ThreeNodes) -> None:
    leader = first(lambda: three.agreed({"a", "b", "c"}), FORM_S * CI_FACTOR)
    others = {"a", "b", "c"} - {leader.node}
    three.nodes[leader.node].kill()
    killed = time.monotonic()
    follower = first(lambda: three.agreed(others, leader.epoch), (FAIL_OVER_S[three._algorithm] + 2.0) * CI_FACTOR)
    took_s = time.monotonic() - killed
    print(f"{three._algorithm}: {leader.node} in epoch {leader.epoch}, then {follower.node} in {follower.epoch} after {took_s:.2f} s")
    assert follower.node in others
    with three.nodes[follower.node].client() as client:
        works(client)
    three.nodes[leader.node].start()
    back = first(lambda: three.agreed({"a", "b", "c"}), FORM_S * CI_FACTOR)
    assert back.epoch >= follower.epoch
    with three.nodes[leader.node].client() as client:
        works(client)


def test_minority_has_no_leader_and_does_its_jobs(three: ThreeNodes) -> None:
    leader = first(lambda: three.agreed({"a", "b", "c"}), FORM_S * CI_FACTOR)
    others = sorted({"a", "b", "c"} - {leader.node})
    for name in others:
        three.nodes[name].kill()
    with three.nodes[leader.node].client() as client:
        first(lambda: True if not client.leader().is_in_office else None, (FAIL_OVER_S[three._algorithm] + 2.0) * CI_FACTOR)
        works(client)
