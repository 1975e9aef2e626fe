"""Schedules and the leader of real nodes: one alone on SQLite, several on one Redis, killed and started again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from scripts.redis_server import RedisServer
from tests.redis import start_redis
from tests.system.running import RunningNode, await_that
from zjp import AsyncClient, Client
from zjp.errors import InvalidJob, JobConflict, NotFound
from zjp.job import JobState, Options, parse_id
from zjp.schedule import tick_of

pytestmark = [pytest.mark.system, pytest.mark.covers("cluster:schedules", "cluster:duties")]

APP = "tests.fakes:app"
WITHIN_S = 30.0
CI_FACTOR = 5 if os.environ.get("CI") else 1


def seconds_of(client: Client, name: str) -> list[int]:
    """The ticks whose jobs have completed, as Unix seconds, rising."""
    jobs = client.jobs(tag=f"schedule:{name}", status="completed")
    return sorted(tick_of(parse_id(job.id)) // 1000 for job in jobs)


def has_run(client: Client, name: str, count: int) -> Callable[[], bool]:
    return lambda: len(seconds_of(client, name)) >= count


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    with RunningNode(tmp_path, app=APP, worker_count=2, worker_processes=1) as running:
        yield running


def test_node_alone_leads_within_a_second_of_its_start_and_before_it_answers(node: RunningNode) -> None:
    (begun,), (installed,), (started,) = (
        node.events(name) for name in ("cluster.election_started", "cluster.fence_installed", "node.started")
    )
    took = datetime.fromisoformat(installed["at"]) - datetime.fromisoformat(begun["at"])
    assert took.total_seconds() < 1.0 * CI_FACTOR
    assert installed["at"] <= started["at"]
    with node.client() as client:
        leader = client.leader()
        assert (leader.is_here, leader.is_in_office, leader.epoch, leader.role) == (True, True, 1, "leader")
        metrics = client.stats()["metrics"]
        assert [metrics[name]["series"][0]["value"] for name in ("zjp_is_leader", "zjp_election_term")] == [1, 1]


def test_every_tick_runs_once_over_kills_of_the_node_and_what_was_missed_is_caught_up(node: RunningNode) -> None:
    with node.client() as client:
        client.schedules.add("beat", "noop", every="1s", catch_up="all")
        client.schedules.add("seldom", "noop", every="1s", catch_up="once")
        for life in range(2):
            await_that(has_run(client, "beat", 3 * (life + 1)), WITHIN_S)
            node.kill()
            down_until = time.time() + 2.5
            await_that(lambda down_until=down_until: time.time() > down_until, WITHIN_S)
            node.restart()
        before = len(seconds_of(client, "beat"))
        await_that(has_run(client, "beat", before + 5), WITHIN_S)
        seconds = seconds_of(client, "beat")
        assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))
        made = list(client.jobs(tag="schedule:beat"))
        assert len({job.id for job in made}) == len(made)
        assert all(len([one for one in job.attempts if one.outcome == "completed"]) <= 1 for job in made)
        assert client.leader().epoch == 3


def test_clean_stop_hands_the_lead_on_and_loses_no_tick(node: RunningNode) -> None:
    with node.client() as client:
        client.schedules.add("beat", "noop", every="1s", catch_up="all")
        await_that(has_run(client, "beat", 2), WITHIN_S)
        node.restart()
        await_that(has_run(client, "beat", 6), WITHIN_S)
        seconds = seconds_of(client, "beat")
        assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))


@pytest.mark.covers("client:async")
async def test_schedules_are_made_changed_and_removed_through_both_clients(node: RunningNode) -> None:
    with node.client() as blocking:
        async with AsyncClient(node.address) as client:
            made = await client.schedules.add(
                "nightly", "add", {"a": 1}, cron="30 2 * * *", zone="Europe/Berlin", max_retries=7, tags=["night"], timeout="1m"
            )
            assert (made.cron, made.zone, made.payload) == ("30 2 * * *", "Europe/Berlin", {"a": 1})
            assert (made.catch_up, made.last_at) == ("once", None)
            assert blocking.schedules.get("nightly") == made
            assert await client.schedules.add(
                "nightly", "add", {"a": 1}, cron="30 2 * * *", zone="Europe/Berlin", max_retries=7, tags=["night"], timeout="1m"
            ) == made  # fmt: skip
            with pytest.raises(JobConflict):
                blocking.schedules.add("nightly", "add", every="1h")
            changed = await client.schedules.change("nightly", every="1h", timeout="2m", payload={"a": 2})
            assert (changed.cron, changed.every_s, changed.payload) == ("", 3600.0, {"a": 2})
            options = changed.schedule.options
            assert options is not None
            assert (options.max_retries, options.timeout_ms, options.tags) == (7, 120_000, ("night",))
            assert (await client.schedules.change("nightly", tags=[])).schedule.options == Options(max_retries=7, timeout_ms=120_000)
            assert blocking.schedules.pause("nightly").next_at is None
            assert (await client.schedules.resume("nightly")).next_at is not None
            job = await client.schedules.run("nightly")
            done = await job.wait(timeout=20)
            assert (done.result, done.status) == (3, JobState.COMPLETED)
            also = blocking.schedules.run("nightly").wait(timeout=20)
            assert also.id != job.id
            assert [one.name for one in await client.schedules.list()] == ["nightly"]
            await client.schedules.remove("nightly")
            with pytest.raises(NotFound, match="no schedule 'nightly'"):
                blocking.schedules.remove("nightly")
            with pytest.raises(NotFound):
                await client.schedules.run("nightly")
            with pytest.raises(InvalidJob, match="catch_up is 'never', it must be one of skip, once, all"):
                blocking.schedules.add("x", "noop", every="1s", catch_up="never")
            with pytest.raises(InvalidJob, match="zone 'Nowhere' is no time zone"):
                await client.schedules.add("x", "noop", cron="@daily", zone="Nowhere")
            with pytest.raises(TypeError, match="delay"):
                blocking.schedules.add("x", "noop", every="1s", delay="1s")  # type: ignore[call-arg]
            assert list(blocking.schedules.list()) == []


# ── several on one queue ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = start_redis(options={"appendonly": "yes", "appendfsync": "everysec"})
    yield server
    server.stop()


@pytest.fixture
def nodes(redis: RedisServer, tmp_path: Path) -> Iterator[list[RunningNode]]:
    made = [
        RunningNode(tmp_path / name, app=APP, node_id=name, worker_count=2, worker_processes=1, redis_addr=redis.url, lease_duration="3s")
        for name in ("one", "two")
    ]
    for node in made:
        node.start()
    yield made
    for node in made:
        node.kill()


def test_of_nodes_on_one_queue_one_leads_and_another_when_it_is_killed_and_no_tick_is_missed_or_doubled(nodes: list[RunningNode]) -> None:
    one, two = nodes
    with one.client() as first, two.client() as second:
        leaders = [client.leader() for client in (first, second)]
        assert [leader.is_in_office for leader in leaders].count(True) == 1
        assert {leader.node for leader in leaders} == {"one"}
        first.schedules.add("beat", "noop", every="1s", catch_up="all")
        await_that(has_run(second, "beat", 2), WITHIN_S)
        for leading, other, asked in ((one, "two", second), (two, "one", first)):
            leading.kill()
            await_that(lambda asked=asked: asked.leader().is_in_office, 10.0 * CI_FACTOR)
            assert asked.leader().node == other
            before = len(seconds_of(asked, "beat"))
            await_that(has_run(asked, "beat", before + 3), WITHIN_S)
            leading.restart()
        seconds = seconds_of(first, "beat")
        assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))
        assert first.leader().epoch > leaders[0].epoch + 1
