"""A real node over HTTP: what a user types works with CLIENT_ADDRESS=http://... as it does over ZeroMQ, and so does the client."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner

from tests.api.running import RunningApi
from tests.system.running import Ended, RunningNode
from zjp import Client
from zjp.cli import cli
from zjp.errors import JobFailed, NotFound

pytestmark = [pytest.mark.system, pytest.mark.covers("client:http")]

Zjp = Callable[..., Ended]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    folder = tmp_path_factory.mktemp("node")
    with (
        RunningNode(folder, app="tests.cli.node_tasks:app", worker_count=2, worker_processes=1, api_enabled=False) as node,
        RunningApi(folder, node.address) as api,
    ):
        yield api


@pytest.fixture
def zjp(api: RunningApi) -> Zjp:
    def run(*arguments: str) -> Ended:
        done = CliRunner(env={"CLIENT_ADDRESS": api.url, "NO_COLOR": "1"}).invoke(cli, arguments, prog_name="zjp")
        return Ended(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def client(api: RunningApi) -> Iterator[Client]:
    with Client(api.url, token="", ca_file="") as client:
        yield client


@pytest.mark.covers("cli:submit", "cli:jobs-show", "cli:jobs-list", "cli:json")
def test_submit_waits_and_the_job_is_shown_and_listed(zjp: Zjp) -> None:
    told = zjp("submit", "echo", "to=é", "copies=2", "--priority", "10", "--tag", "red", "--wait", "--json")
    assert told.code == 0, told
    job = told.json()
    assert (job["status"], job["result"], job["tags"]) == ("completed", {"to": "é", "copies": 2}, ["red"])
    assert "note:" not in told.err
    shown = zjp("jobs", "show", job["id"], "--json").json()
    assert shown == job
    assert [one["id"] for one in zjp("jobs", "list", "--tag", "red", "--json").json()] == [job["id"]]


@pytest.mark.covers("cli:jobs-cancel", "cli:jobs-retry", "cli:jobs-wait", "cli:exit-codes")
def test_jobs_are_cancelled_retried_and_awaited(zjp: Zjp) -> None:
    later = zjp("submit", "echo", "--delay", "1h").out.strip()
    assert zjp("jobs", "cancel", later).out.split() == [later, "cancelled"]
    failed = zjp("submit", "fail").out.strip()
    assert zjp("jobs", "wait", failed).code == 1
    assert zjp("jobs", "retry", failed).out.split() == [failed, "requeued"]
    missing = zjp("jobs", "show", str(uuid.uuid4()))
    assert (missing.code, "no job" in missing.err) == (1, True)


@pytest.mark.covers("cli:queues-list", "cli:queues-pause", "cli:queues-purge", "cli:stats", "cli:cluster", "cli:schedules")
def test_queues_stats_cluster_and_schedules_are_told_and_changed(zjp: Zjp) -> None:
    assert zjp("queues", "pause", "slow").code == 0
    assert {one["queue"]: one["paused"] for one in zjp("queues", "list", "--json").json()}["slow"] is True
    assert zjp("queues", "resume", "slow").code == 0
    assert zjp("queues", "purge", "slow", "--yes").out == "0 jobs cancelled\n"
    assert "slots busy" in zjp("stats").out
    (node,) = zjp("cluster", "nodes", "--json").json()["nodes"]
    assert node["health"] == "alive"
    assert zjp("cluster", "leader").code == 0
    assert zjp("cluster", "health").out.endswith("all well\n")
    assert zjp("cluster", "drain", node["node"]).code == 0
    assert zjp("cluster", "drain", node["node"], "--undo").code == 0
    assert zjp("schedules", "add", "beat", "noop", "--every", "1h").code == 0
    assert [one["name"] for one in zjp("schedules", "list", "--json").json()] == ["beat"]
    assert uuid.UUID(zjp("schedules", "run", "beat").out.split()[0])
    assert zjp("schedules", "pause", "beat").code == 0
    assert zjp("schedules", "remove", "beat", "--yes").code == 0


def test_a_real_job_ends_well_or_says_how_it_failed(client: Client) -> None:
    assert client.submit("echo", {"n": [1, {"a": None}], "f": 0.5}).wait(timeout=30).result == {"n": [1, {"a": None}], "f": 0.5}
    with pytest.raises(JobFailed, match="it fails") as caught:
        client.result(client.submit("fail"), timeout=30)
    assert "ValueError" in caught.value.traceback
    jobs = client.submit_many([("echo", {"n": n}) for n in range(60)])
    assert [job.result["n"] for job in client.wait_all(jobs, timeout=60)] == list(range(60))


def test_a_schedule_that_is_run_gives_the_job_that_was_made(client: Client) -> None:
    client.schedules.add("tick", "echo", {"n": 1}, every="1h", catch_up="skip", tags=["t"])
    job = client.schedules.run("tick")
    assert job.wait(timeout=30).result == {"n": 1}
    assert job.tags == ("t", "schedule:tick")
    client.schedules.remove("tick")
    with pytest.raises(NotFound):
        client.schedules.get("tick")


def test_an_api_that_is_not_there_is_unavailable(zjp: Zjp) -> None:
    told = zjp("--address", "http://127.0.0.1:9", "--timeout", "200ms", "jobs", "list")
    assert told.code == 69
    assert "no API could be reached" in told.err
