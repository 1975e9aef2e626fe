"""Three real nodes on one Redis, of which the leader alone loses its way to it: it says so, and another one is in office soon."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bounds import allowed
from tests.chaos.servers import Proxy
from tests.redis import start_redis
from tests.system.running import RunningNode, first
from zjp.cli.cluster import faults_of

pytestmark = [pytest.mark.system, pytest.mark.covers("cluster:joined", "cluster:seen")]

FORM_S = 10.0
HAND_OVER_S = 4.0
"""docs/cluster.md: three ELECTION_TIMEOUTs of 500 ms and 2 s; and a round, for the hand-over itself."""
BACK_S = 8.0
"""Ten timeouts, and what it takes to see that the store is back."""
SECOND, HIGHEST = "b", "c"


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[dict[str, RunningNode], Proxy]]:
    """a, b and c, with Bully, which lets c lead; c has a way of its own to Redis."""
    redis = start_redis()
    proxy = Proxy(f"127.0.0.1:{redis.port}")
    nodes: dict[str, RunningNode] = {}
    try:
        for priority, name in enumerate("abc"):
            seeds = ",".join(node.address for node in nodes.values())
            nodes[name] = RunningNode(
                tmp_path / name, node_id=name, redis_addr=proxy.address if name == HIGHEST else redis.url, election_algorithm="bully",
                cluster_size=3, node_priority=priority, **({"cluster_seeds": seeds} if seeds else {}),
            ).start()  # fmt: skip
        yield nodes, proxy
    finally:
        for node in nodes.values():
            if node.is_running:
                node.kill()
        proxy.stop()
        redis.stop()


def is_led_by(nodes: dict[str, RunningNode], leader: str) -> bool | None:
    """All say so, and it is in office."""
    for node in nodes.values():
        with node.client(timeout=5.0) as client:
            reply = client.cluster()
        if reply.leader != leader or faults_of(reply):
            return None
    return True


def test_leader_that_alone_loses_redis_says_so_and_hands_over_and_leads_again_when_it_is_back(
    nodes: tuple[dict[str, RunningNode], Proxy],
) -> None:
    those, proxy = nodes
    first(lambda: is_led_by(those, HIGHEST), allowed(FORM_S))
    with those[HIGHEST].client(timeout=5.0) as client:
        proxy.say("refuse")
        proxy.say("cut")
        began = time.monotonic()
        faults = first(lambda: faults_of(client.cluster()) or None, allowed(HAND_OVER_S))
        assert faults == [f"{HIGHEST} leads, but the store does not confirm it: schedules do not fire"]
        first(lambda: is_led_by(those, SECOND), allowed(HAND_OVER_S))
        print(f"{SECOND} in office after {time.monotonic() - began:.2f} s")
        reply = client.leader()
        assert (reply.node, reply.is_here, reply.figures) == (SECOND, False, b""), (
            "what the store would have to tell is left out"
        )
    proxy.say("heal")
    first(lambda: is_led_by(those, HIGHEST), allowed(BACK_S))
