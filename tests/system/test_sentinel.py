"""Nodes whose Redis is watched by three Sentinels: the primary is killed, or freezes, under load; nobody restarts anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.redis_sentinels import WatchedRedis
from tests.redis import start_watched_redis
from tests.system.running import RunningNode
from zjp import Client
from zjp.errors import NotFound, OutcomeUnknown, Unavailable
from zjp.job import JobState

pytestmark = [pytest.mark.system, pytest.mark.covers("redis:sentinel")]

RESUME_S = 20.0
BATCH = 20


@pytest.fixture
def redis() -> Iterator[WatchedRedis]:
    watched = start_watched_redis(options={"appendonly": "yes", "appendfsync": "everysec"})
    yield watched
    watched.stop()


@pytest.fixture
def nodes(redis: WatchedRedis, tmp_path: Path) -> Iterator[list[RunningNode]]:
    started = []
    for name in ("one", "two"):
        started.append(
            RunningNode(
                tmp_path / name, app="tests.fakes:app", node_id=name, worker_count=2, worker_processes=1, redis_addr=redis.url,
                lease_duration="5s",
            )
        )  # fmt: skip
    for node in started:
        node.start()
    yield started
    for node in started:
        node.kill()


class Producing:
    """Submits from a thread of its own until `stop`; what failed is left alone."""

    def __init__(self, address: str) -> None:
        self._address, self._is_over = address, threading.Event()
        self._changed = threading.Condition()
        self.acknowledged: list[str] = []
        self.failed_count = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with Client(self._address) as client:
            while not self._is_over.is_set():
                try:
                    jobs = client.submit_many([("noop", {})] * BATCH, deadline="3s")
                except (Unavailable, OutcomeUnknown):
                    self.failed_count += 1
                else:
                    with self._changed:
                        self.acknowledged += [job.id for job in jobs]
                        self._changed.notify_all()

    def until_more(self, count: int) -> float:
        """How long it took for that many to be acknowledged."""
        began, wanted = time.monotonic(), len(self.acknowledged) + count
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.acknowledged) >= wanted, RESUME_S), f"nothing within {RESUME_S} s"
        return time.monotonic() - began

    def stop(self) -> list[str]:
        self._is_over.set()
        self._thread.join(RESUME_S)
        assert not self._thread.is_alive()
        return self.acknowledged


def kill(redis: WatchedRedis) -> None:
    redis.primary.kill()


def freeze(redis: WatchedRedis) -> None:
    redis.primary.pause()


def unknown(client: Client, ids: list[str]) -> list[int]:
    """Places of the jobs that this node does not find when it is asked once more."""
    places = []
    for place, job_id in enumerate(ids):
        try:
            client.get(job_id)
        except NotFound:
            places.append(place)
    return places


def unknown_on(node: RunningNode, ids: list[str]) -> list[int]:
    with node.client() as client:
        return unknown(client, ids)


@pytest.mark.parametrize("deed", [kill, freeze])
def test_nodes_go_on_with_the_new_primary(redis: WatchedRedis, nodes: list[RunningNode], deed: Callable[[WatchedRedis], Any]) -> None:
    """The link was up, so nothing is lost but what was under way to the replica in that moment, and everything acknowledged ends."""
    producing = Producing(nodes[0].address)
    try:
        producing.until_more(10 * BATCH)
        deed(redis)
        producing.until_more(BATCH)  # what was under way, or already the new one's
        redis.await_fail_over()
        if deed is freeze:
            redis.primary.go_on()
        producing.until_more(20 * BATCH)
    finally:
        acknowledged = producing.stop()
    with nodes[1].client() as client:
        try:
            done = client.wait_all(acknowledged, timeout=60)
        except NotFound:
            here, there = unknown(client, acknowledged), unknown_on(nodes[0], acknowledged)
            pytest.fail(f"of {len(acknowledged)} acknowledged unknown, asked again: {here}; on the other node: {there}")
        assert {job.status for job in done} == {JobState.COMPLETED}
        assert client.submit("echo", {"value": 7}).wait(timeout=20).result == 7
    assert all(node.is_running for node in nodes)
