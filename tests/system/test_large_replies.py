"""Jobs with ordinary large payloads, from a real node: every look-up and listing is answered, in as many parts as it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running import RunningNode, run_zjp
from zjp import Client

pytestmark = [pytest.mark.system, pytest.mark.covers("main-path:8")]

COUNT = 40
VALUE = "x" * 900_000


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    with RunningNode(tmp_path, app="tests.fakes:app", worker_count=2, worker_processes=1) as running:
        yield running


@pytest.fixture
def client(node: RunningNode) -> Iterator[Client]:
    with node.client() as opened:
        yield opened


@pytest.mark.covers("client:get", "cli:jobs-list")
def test_many_large_jobs_are_listed_and_looked_up(node: RunningNode, client: Client) -> None:
    jobs = client.submit_many([("echo", {"value": VALUE})] * COUNT, delay="1h")
    assert client.get_many(jobs) == jobs
    assert list(client.jobs()) == jobs
    listed = run_zjp("jobs", "list", "--address", node.address, "--json")
    assert listed.code == 0, listed
    assert [job["id"] for job in listed.json()] == [job.id for job in jobs]


@pytest.mark.covers("client:wait")
def test_many_large_results_are_waited_for_and_listed(client: Client) -> None:
    jobs = client.submit_many([("echo", {"value": VALUE})] * COUNT)
    assert all(job.result == VALUE for job in client.wait_all(jobs, timeout=60))
    assert set(client.jobs(status="completed")) == set(jobs)
    assert all(job is not None and job.result == VALUE for job in client.get_many(jobs))
