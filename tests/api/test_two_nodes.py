"""An API in front of one node of two: it shows both, and reaches the other one through its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.redis_server import RedisServer
from tests.redis import start_redis
from tests.system.running import RunningNode, await_that, first, run_zjp

pytestmark = [pytest.mark.system, pytest.mark.covers("http:nodes", "http:relay")]


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    made = start_redis()
    yield made
    made.stop()


@pytest.fixture
def http(tmp_path: Path, redis: RedisServer) -> Iterator[httpx.Client]:
    """Of the node `a`; `b` has the higher priority."""
    settings: dict[str, Any] = {
        "redis_addr": redis.url, "app": "tests.api.tasks:app", "worker_count": 2, "worker_processes": 1, "cluster_size": 2,
    }  # fmt: skip
    serving = {"api_enabled": True, "server_port": 0, "metrics_enabled": False}
    with (
        RunningNode(tmp_path / "a", node_id="a", **settings, **serving) as a,
        RunningNode(tmp_path / "b", node_id="b", node_priority=5, cluster_seeds=a.address, **settings),
    ):
        await_that(lambda: a.events("api.listening"))
        port = a.events("api.listening")[-1]["port"]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
            yield client


def leader(http: httpx.Client) -> str | None:
    told = http.get("/api/v1/cluster").json()
    return told["leader"] if {one["status"] for one in told["nodes"]} == {"alive"} and len(told["nodes"]) == 2 else None


def items(http: httpx.Client, what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = http.get(f"/api/v1/{what}").json()["items"]
    return found


def test_both_nodes_are_shown_drained_and_lead_in_turn(http: httpx.Client) -> None:
    led = first(lambda: leader(http), 20.0)
    await_that(lambda: [one["slots"] for one in items(http, "nodes")] == [2, 2])
    assert [(one["id"], one["is_leader"]) for one in items(http, "nodes")] == [("a", led == "a"), ("b", led == "b")]
    await_that(lambda: {one["node"] for one in items(http, "workers")} == {"a", "b"})
    assert http.get("/api/v1/stats").json()["nodes"] == {"alive": 2, "total": 2}
    for node in ("a", "b"):
        assert http.post(f"/api/v1/nodes/{node}/drain").json()["is_draining"] is True
        await_that(lambda node=node: [one["is_draining"] for one in items(http, "nodes") if one["id"] == node] == [True])
        assert http.post(f"/api/v1/nodes/{node}/resume").status_code == 200
    await_that(lambda: leader(http) is not None and not any(one["is_draining"] for one in items(http, "nodes")))
    led = first(lambda: leader(http), 20.0)
    other = "a" if led == "b" else "b"
    await_that(lambda: http.post("/api/v1/leader/step-down", json={"to": other}).status_code == 202)
    await_that(lambda: leader(http) == other)


def test_cluster_is_shown_from_memory_while_the_store_is_away(http: httpx.Client, redis: RedisServer) -> None:
    led = first(lambda: leader(http), 20.0)
    redis.kill()
    await_that(lambda: http.get("/api/v1/stats").json().get("code") == "store-unavailable")
    answer = http.get("/api/v1/cluster")
    assert (answer.status_code, answer.json()["leader"], answer.json()["has_quorum"]) == (200, led, True)
    told = [(one["id"], one["status"], one["priority"], one["slots"]) for one in answer.json()["nodes"]]
    assert told == [("a", "alive", 0, None), ("b", "alive", 5, None)]
    assert http.get("/api/v1/nodes").json()["items"] == answer.json()["nodes"]
    assert http.get("/api/v1/workers").json()["code"] == "store-unavailable"
    shown = run_zjp("cluster", "nodes", "--json", "--address", str(http.base_url))
    assert (shown.code, shown.json()["leader"]) == (0, led)
    await_that(lambda: http.get("/api/v1/cluster").json()["is_leader_idle"])
    redis.start()
    await_that(lambda: [one["slots"] for one in items(http, "nodes")] == [2, 2])
