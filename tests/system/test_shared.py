"""Nodes that share a queue in Redis, with records there or in MongoDB: real nodes, real servers, killed and taken away."""

from __future__ import annotations

import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.mongo_server import MongoServer
from scripts.redis_server import RedisServer
from tests.fakes import started_pids
from tests.records import wire_server
from tests.redis import start_redis
from tests.system.running import DidNotStart, RunningNode, await_that, first
from zjp import Client
from zjp.errors import OutcomeUnknown, StoreUnavailable, Unavailable, ZjpError
from zjp.job import JobState
from zjp.worker.marks import read_folder

pytestmark = [pytest.mark.system, pytest.mark.covers("redis:nodes")]

APP = "tests.fakes:app"
LEASE_S = 3.0
CI_FACTOR = 5 if os.environ.get("CI") else 1


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    # With everysec a kill takes what was acknowledged while a slow disk was syncing.
    server = start_redis(options={"appendonly": "yes", "appendfsync": "always"})
    yield server
    server.stop()


@pytest.fixture
def mongo(tmp_path: Path) -> Iterator[MongoServer]:
    server = wire_server.start(tmp_path / "mongo")
    yield server
    server.kill()


@pytest.fixture
def node_on(tmp_path: Path) -> Iterator[Callable[..., RunningNode]]:
    """`node_on(redis, "a", ...)`: a node of that name, started."""
    nodes: list[RunningNode] = []

    def make(redis: RedisServer, name: str, **settings: Any) -> RunningNode:
        chosen = {
            "app": APP, "node_id": name, "worker_count": 2, "worker_processes": 1, "redis_addr": redis.url,
            "lease_duration": f"{LEASE_S:g}s", **settings,
        }  # fmt: skip
        nodes.append(RunningNode(tmp_path / name, **chosen))
        return nodes[-1].start()

    yield make
    for node in nodes:
        node.kill()


def namesake(redis: RedisServer, folder: Path) -> RunningNode:
    """Not started: a node of the name `same` with a folder of its own."""
    return RunningNode(folder, app=APP, node_id="same", redis_addr=redis.url, lease_duration=f"{LEASE_S:g}s")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def mark_count(node: RunningNode) -> int:
    """Jobs that its worker processes are running."""
    return len(read_folder(node.data_dir / "marks"))


def nodes_of(jobs: Any) -> set[str]:
    return {job.attempts[-1].node_id for job in jobs}


def test_nodes_share_the_work_and_any_of_them_answers_for_any_job(redis: RedisServer, node_on: Callable[..., RunningNode]) -> None:
    one, two = node_on(redis, "one"), node_on(redis, "two")
    with one.client() as first, two.client() as second:
        # Seconds of work for one: a batch this small hints no further node, which looks for itself once a second.
        jobs = first.submit_many([("rest_ms", {"ms": 20})] * 400)
        done = second.wait_all(jobs, timeout=60)
        assert nodes_of(done) == {"one", "two"}
        assert {job.result for job in done} == {20}
        assert first.get(jobs[0].id).status is JobState.COMPLETED
        assert {job.id for job in second.jobs(limit=500)} == {job.id for job in jobs}


def test_wait_on_one_node_ends_when_another_finishes_the_job(
    redis: RedisServer, node_on: Callable[..., RunningNode], tmp_path: Path
) -> None:
    node_on(redis, "works")
    asks = node_on(redis, "asks", queues="nothing")
    with asks.client() as client:
        job = client.submit("rest_ms", {"ms": 300})
        began = time.monotonic()
        assert job.wait(timeout=20).result == 300
        assert time.monotonic() - began < 2 * CI_FACTOR


def test_idle_node_is_told_of_a_job_that_came_to_another(redis: RedisServer, node_on: Callable[..., RunningNode]) -> None:
    node_on(redis, "works")
    asks = node_on(redis, "asks", queues="nothing")
    with asks.client() as client:
        client.submit("noop", {}).wait(timeout=20)
        waits = [client.submit("noop", {}).wait(timeout=20) for _ in range(5)]
        late_s = sorted(job.started_at - job.created_at for job in waits)
        assert late_s[2] < 0.2 * CI_FACTOR, "without the hint it is found once a second"


def test_jobs_of_a_killed_node_run_again_on_another(redis: RedisServer, node_on: Callable[..., RunningNode], tmp_path: Path) -> None:
    one = node_on(redis, "one")
    with one.client() as client:
        job = client.submit("hold_until", {"path": str(tmp_path / "go")})
        await_that((tmp_path / "go.started").exists)
    two = node_on(redis, "two")
    killed_at = time.monotonic()
    one.kill()
    with two.client() as client:
        await_that(lambda: len((tmp_path / "go.started").read_text().splitlines()) == 2, 60)
        assert time.monotonic() - killed_at < (LEASE_S + 2) * CI_FACTOR
        (tmp_path / "go").touch()
        found = client.wait(job.id, timeout=20)
        assert [attempt.outcome for attempt in found.attempts] == ["lost", "completed"]


def test_zombie_node_is_refused_what_it_brings_late(redis: RedisServer, node_on: Callable[..., RunningNode], tmp_path: Path) -> None:
    one = node_on(redis, "one")
    with one.client() as client:
        job = client.submit("hold_until", {"path": str(tmp_path / "go")})
        await_that((tmp_path / "go.started").exists)
    os.kill(one.pid, signal.SIGSTOP)
    two = node_on(redis, "two")
    await_that(lambda: len((tmp_path / "go.started").read_text().splitlines()) == 2, 60)
    (tmp_path / "go").touch()
    with two.client() as client:
        assert client.wait(job.id, timeout=20).attempts[-1].node_id == "two"
        os.kill(one.pid, signal.SIGCONT)
        await_that(lambda: one.events("lease.lost"))
        found = client.get(job.id)
        assert (found.status, [attempt.node_id for attempt in found.attempts]) == (JobState.COMPLETED, ["one", "two"])


@pytest.mark.parametrize("stops_workers", [True, False])
def test_woken_node_starts_nothing_that_it_has_lost(
    redis: RedisServer, node_on: Callable[..., RunningNode], tmp_path: Path, stops_workers: bool
) -> None:
    """Its workers hold some ms of work that has not begun. It is not begun after the lease, whether they were stopped as well (a container
    that is paused) or only their node was."""
    one = node_on(redis, "one", worker_count=1)
    go, hold = tmp_path / "go", tmp_path / "hold"
    (worker,) = children(one.pid)
    go.touch()
    with one.client() as client:
        client.wait_all(client.submit_many([("hold_until", {"path": str(go)})] * 50), timeout=20)  # so that it is taken to be short
        held = client.submit_many([("hold_until", {"path": str(path)}) for path in [hold, *[go] * 100]])
        await_that((tmp_path / "hold.started").exists)
    stopped = [worker, one.pid] if stops_workers else [one.pid]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    two = node_on(redis, "two", worker_count=2)
    with two.client() as client:
        done = client.wait_all(held[1:], timeout=30)
        taken = [job for job in done if [attempt.node_id for attempt in job.attempts] == ["one", "two"]]
        assert len(taken) >= 5, "they were with the worker of the node that was stopped"
        before = started_pids(str(go)).count(worker)
        hold.touch()
        if stops_workers:
            os.kill(worker, signal.SIGCONT)
        await_that(lambda: mark_count(one) == 0)  # what it had begun has ended, and it has looked what comes next
        os.kill(one.pid, signal.SIGCONT)
        await_that(lambda: one.events("lease.lost"))
        client.wait(held[0], timeout=20)
    assert started_pids(str(go)).count(worker) == before
    two.stop()
    with one.client() as client:
        assert client.submit("echo", {"value": 1}).wait(timeout=20).result == 1, "it takes part again"


@pytest.mark.covers("redis:away")
def test_submits_fail_soon_while_redis_is_away_and_all_goes_on_when_it_is_back(
    redis: RedisServer, node_on: Callable[..., RunningNode], tmp_path: Path
) -> None:
    node = node_on(redis, "one")
    with node.client() as client:
        running = client.submit("hold_until", {"path": str(tmp_path / "go")})
        await_that((tmp_path / "go.started").exists)
        redis.kill()
        began = time.monotonic()
        with pytest.raises((Unavailable, OutcomeUnknown)):  # the latter when the last of its tries is still out
            client.submit("noop", {}, deadline="4s")
        assert time.monotonic() - began < 6 * CI_FACTOR
        (tmp_path / "go").touch()
        await_that(lambda: node.events("outcome.held"))
        redis.start()
        assert client.wait(running.id, timeout=30).result == "released"
        assert client.submit("echo", {"value": 1}).wait(timeout=30).result == 1
    assert node.is_running


@pytest.mark.parametrize(
    ("options", "settings", "told"),
    [
        ({"maxmemory-policy": "allkeys-lru", "maxmemory": "64mb"}, {}, "maxmemory-policy"),
        ({"proto-max-bulk-len": "2mb"}, {}, "Redis takes values of up to 2MiB (proto-max-bulk-len)"),
        ({"appendonly": "yes"}, {"require_durability": "disk"}, "worth disk-1s, and REQUIRE_DURABILITY=disk"),
    ],
)
def test_server_that_cannot_keep_the_promises_is_refused_with_the_reason(
    tmp_path: Path, options: dict[str, str], settings: dict[str, str], told: str
) -> None:
    server = start_redis(options=options)
    try:
        node = RunningNode(tmp_path, app=APP, redis_addr=server.url, **settings)
        with pytest.raises(DidNotStart) as refused:
            node.start()
        assert refused.value.exit_code == 78
        assert told in node.log_text()
    finally:
        server.stop()


def test_node_without_its_redis_says_so(tmp_path: Path) -> None:
    node = RunningNode(tmp_path, app=APP, redis_addr="127.0.0.1:1")
    with pytest.raises(DidNotStart) as refused:
        node.start()
    assert refused.value.exit_code == 69
    assert "127.0.0.1:1" in node.log_text()


def test_type_that_only_another_node_serves_waits_for_it(redis: RedisServer, node_on: Callable[..., RunningNode]) -> None:
    here = node_on(redis, "here", app="tests.fakes:plain")
    there = node_on(redis, "there")
    with here.client() as client:
        assert client.submit("async_echo", {"value": 7}).wait(timeout=30).attempts[-1].node_id == "there"
    assert there.is_running


@pytest.mark.covers("redis:node-id")
def test_name_that_another_node_keeps_is_refused_with_its_address(
    redis: RedisServer, node_on: Callable[..., RunningNode], tmp_path: Path
) -> None:
    one = node_on(redis, "same")
    other = namesake(redis, tmp_path / "other")
    with pytest.raises(DidNotStart) as refused:
        other.start()
    assert refused.value.exit_code == 78
    assert "NODE_ID=same: a node of this name with another DATA_DIR is alive at tcp://127.0.0.1" in other.log_text()
    assert one.is_running


@pytest.mark.covers("redis:node-id")
def test_name_of_a_dead_node_is_taken_over_when_its_lease_ends_and_at_once_on_its_own_folder(
    redis: RedisServer, node_on: Callable[..., RunningNode], tmp_path: Path
) -> None:
    one = node_on(redis, "same")
    one.kill()
    began = time.monotonic()
    one.start()
    assert time.monotonic() - began < LEASE_S * CI_FACTOR
    one.kill()
    other = namesake(redis, tmp_path / "other").start()
    other.kill()


@pytest.mark.covers("redis:node-id")
def test_node_whose_name_was_taken_over_while_it_was_silent_ends_and_its_name_stays_the_other_ones(
    redis: RedisServer, node_on: Callable[..., RunningNode], tmp_path: Path
) -> None:
    one = node_on(redis, "same")
    os.kill(one.pid, signal.SIGSTOP)
    other = namesake(redis, tmp_path / "other").start()
    third = namesake(redis, tmp_path / "third")
    try:
        os.kill(one.pid, signal.SIGCONT)
        assert one.wait() == 78
        assert "NODE_ID=same: another node took this name over while this one was silent and lives at tcp://127" in one.log_text()
        with pytest.raises(DidNotStart) as refused:
            third.start()
        assert refused.value.exit_code == 78
        with other.client() as client:
            assert client.wait(client.submit("echo", {"value": 7}), timeout=30).result == 7
    finally:
        third.kill()
        other.kill()


@pytest.mark.covers("redis:node-id")
def test_copy_of_a_living_nodes_folder_is_refused_and_gets_no_further_in_its_count_and_the_node_goes_on(
    redis: RedisServer, node_on: Callable[..., RunningNode], tmp_path: Path
) -> None:
    one = node_on(redis, "same")
    one.restart()  # from now on the store knows the port, and the folder the number 2
    other = namesake(redis, tmp_path / "other")
    shutil.copytree(one.data_dir, other.data_dir, ignore=shutil.ignore_patterns("gate*", "*.sock"))
    try:
        with pytest.raises(DidNotStart) as refused:
            other.start()
        assert refused.value.exit_code == 78
        assert f"another node runs on a copy of this DATA_DIR and is alive at {one.address}" in other.log_text()
        assert (other.data_dir / "boot").read_text() == "2\n"
        with one.client() as client:
            assert client.wait(client.submit("echo", {"value": 7}), timeout=30).result == 7
        one.kill()
        other.start()  # at once, on its own port: nobody listens at the other one
        assert [event["boot"] for event in other.events("node.started")] == [3]
    finally:
        other.kill()


@pytest.mark.covers("redis:node-id")
def test_new_folder_under_an_old_name_goes_on_with_the_number_of_starts_that_the_store_knows(
    redis: RedisServer, node_on: Callable[..., RunningNode], tmp_path: Path
) -> None:
    one = node_on(redis, "same")
    one.restart()
    one.stop()
    other = namesake(redis, tmp_path / "other").start()
    boots = [int(node.events("node.started")[-1]["boot"]) for node in (one, other)]
    other.kill()
    assert boots == [2, 3]
    assert [path.read_text() for path in (tmp_path / "other").rglob("boot")] == ["3\n"]


# ── records in MongoDB ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("mongo:node", "settings:MONGODB_URI", "settings:MONGODB_DATABASE", "settings:MONGODB_TIMEOUT")
def test_records_go_to_mongo_and_any_node_reads_them(
    redis: RedisServer, mongo: MongoServer, node_on: Callable[..., RunningNode]
) -> None:
    one, two = (node_on(redis, name, mongodb_uri=mongo.uri) for name in ("one", "two"))
    with one.client() as first, two.client() as second:
        jobs = first.submit_many([("echo", {"value": number}) for number in range(300)])
        assert {job.result for job in first.wait_all(jobs, timeout=60)} == set(range(300))
        await_that(lambda: second.stats()["backlog"]["count"] == 0 and second.stats()["records"] == 300)
        assert second.get(jobs[7].id).result == 7


@pytest.mark.covers("mongo:node", "http:jobs")
def test_a_repeat_over_http_is_told_its_job_while_mongo_is_away(
    redis: RedisServer, mongo: MongoServer, node_on: Callable[..., RunningNode]
) -> None:
    node = node_on(redis, "one", mongodb_uri=mongo.uri, api_enabled=True, server_port=0, metrics_port=0)
    url = first(lambda: node.events("api.listening") or None, 30.0, "api.listening")[-1]["url"]
    own_id = str(uuid.uuid4())
    with Client(url, timeout=20.0) as client, httpx.Client(base_url=url, timeout=20.0, trust_env=False) as http:
        client.submit("noop", {}, id=own_id).wait(timeout=30)
        keyed = client.submit("noop", {}, idempotency_key="k").wait(timeout=30)
        await_that(lambda: client.stats()["backlog"] == 0, 60)
        mongo.kill()
        repeat = http.post("/api/v1/jobs", json={"type": "noop"}, headers={"Idempotency-Key": "k"})
        told = repeat.json()
        assert (repeat.status_code, told["code"], told["id"], told["existed"]) == (503, "unavailable", keyed.id, True)
        assert http.post("/api/v1/jobs", json={"type": "noop", "id": own_id}).json()["id"] == own_id
        again = client.submit("noop", {}, id=own_id)
        assert (again.id, again.existed) == (own_id, True)
        assert client.submit("noop", {}, idempotency_key="k").id == keyed.id


@pytest.mark.covers("mongo:node")
def test_jobs_go_on_and_answer_while_mongo_is_away(
    redis: RedisServer, mongo: MongoServer, node_on: Callable[..., RunningNode]
) -> None:
    node = node_on(redis, "one", mongodb_uri=mongo.uri)
    with node.client() as client:
        own_id = uuid.uuid4()
        client.submit("noop", {}, id=own_id).wait(timeout=30)
        await_that(lambda: client.stats()["backlog"]["count"] == 0, 60)
        mongo.kill()
        assert client.submit("noop", {}, id=own_id).existed
        assert not client.submit("noop", {}, id=uuid.uuid4()).existed
        with pytest.raises(StoreUnavailable, match="whether the job has finished cannot be told"):
            client.cancel(own_id)
        assert node.events("records.not_asked")
        client.submit("noop", {}, id=uuid.uuid4()).wait(timeout=30)
        jobs = client.submit_many([("echo", {"value": number}) for number in range(300)])
        assert {job.result for job in client.wait_all(jobs, timeout=30)} == set(range(300))
        assert client.get(jobs[3].id).result == 3
        await_that(lambda: client.stats()["backlog"]["count"] == 302)
        mongo.start()
        await_that(lambda: client.stats()["backlog"]["count"] == 0, 60)
        await_that(lambda: node.events("records.asked_again"), 60)
        assert client.cancel(own_id) == "finished"
        assert client.get(jobs[3].id).result == 3


def test_wrong_addresses_are_refused_by_name(tmp_path: Path) -> None:
    for flag, value in (("redis_addr", "redis+cluster://h:1"), ("mongodb_uri", "http://nowhere")):
        node = RunningNode(tmp_path / flag, app=APP, **{flag: value})
        with pytest.raises(DidNotStart) as refused:
            node.start()
        assert refused.value.exit_code == 78, node.log_text()
        assert ZjpError.__name__ not in node.log_text()
