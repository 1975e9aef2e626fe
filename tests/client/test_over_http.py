"""The behaviours of both clients once more, over HTTP: the real API process stands between client and scripted peer.

The tests are those of test_blocking.py, collected here with other fixtures: one peer and one API for the whole file, a
fresh node behind them for each test. What only ZeroMQ does (how requests are cut, what is sent at all) is left out; what
is different over HTTP is tested here, and what a real node does over HTTP in tests/cli/test_over_http.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest

from tests.api.running import RunningApi
from tests.client.peer import MemoryNode, Peer
from tests.client.test_blocking import (
    SOME_ID,
    test_a_repeat_with_the_same_id_says_that_the_job_existed,
    test_a_wrong_status_names_the_right_ones,
    test_an_unknown_job_is_not_found,
    test_cancel_tells_what_became_of_it,
    test_every_option_arrives,
    test_get_shows_all_that_is_known,
    test_jobs_are_listed_page_by_page,
    test_result_raises_how_the_job_ended,
    test_retry_runs_a_finished_job_again,
    test_submit_many_takes_pairs_dicts_and_requests,
    test_submit_tells_the_id_and_what_the_acknowledgement_is_worth,
    test_wait_ends_with_a_timeout,
    test_wait_returns_the_finished_job,
    test_waiting_for_many_names_the_one_that_is_missing,
    test_what_is_no_id_is_refused_with_an_example,
    test_what_would_make_a_batch_one_job_is_refused,
)
from zjp import AsyncClient, Client, JobState
from zjp.errors import Draining, InvalidJob, JobConflict, StoreFull, Unavailable, WrongState
from zjp.job import Options
from zjp.schedule import Removable, Schedule, ScheduleChange
from zjp.wire import messages as m
from zjp.wire.desk import AskFailures, FailureGroup, Failures, RemoveJobs
from zjp.wire.seen import AskCluster, AskHistory, Change, ClusterNode, ClusterReply, DrainNode, History, Transfer

pytestmark = [pytest.mark.system, pytest.mark.covers("client:http")]

COLLECTED = (
    test_a_repeat_with_the_same_id_says_that_the_job_existed,
    test_a_wrong_status_names_the_right_ones,
    test_an_unknown_job_is_not_found,
    test_cancel_tells_what_became_of_it,
    test_every_option_arrives,
    test_get_shows_all_that_is_known,
    test_jobs_are_listed_page_by_page,
    test_result_raises_how_the_job_ended,
    test_retry_runs_a_finished_job_again,
    test_submit_many_takes_pairs_dicts_and_requests,
    test_submit_tells_the_id_and_what_the_acknowledgement_is_worth,
    test_wait_ends_with_a_timeout,
    test_wait_returns_the_finished_job,
    test_waiting_for_many_names_the_one_that_is_missing,
    test_what_is_no_id_is_refused_with_an_example,
    test_what_would_make_a_batch_one_job_is_refused,
)

LEADER = m.LeaderReply("n1", 7, "leader", "bully", True, True, True)
NODES = [
    ClusterNode("n1", 3, "tcp://127.0.0.1:1", "leader", "alive", 1_700_000_000_000, 5, True),
    ClusterNode("n2", 1, "", "follower", "dead", 1_700_000_000_500, 0, False),
]
CLUSTER = ClusterReply("n1", NODES, "n1", 7, "bully", 2, ["n1", "n2"], True, True, False, True, ["n1", "n2"], ["n3"])


class Behind(MemoryNode):
    """What the API asks of its node by itself is answered too; `others`: more answers, by request."""

    def __init__(self) -> None:
        super().__init__()
        self.others: dict[type, Any] = {
            m.AskLeader: LEADER,
            AskCluster: CLUSTER,
            AskHistory: History("n1", [Change(1_700_000_000_000, "elected", "n1", 7, "n0 died", 12, 340)]),
            m.AskStats: m.Stats(msgspec.msgpack.encode(TABLE)),
        }
        self.asked: list[m.Request] = []

    def __call__(self, request: m.Request) -> Any:
        self.asked.append(request)
        if type(request) in self.others:
            return self.others[type(request)]
        if type(request) in self._answers:
            return super().__call__(request)
        return m.Failure("invalid", f"{type(request).__name__} is not known here")


TABLE = {
    "node": "n1", "boot": 1, "version": "0", "uptime_s": 1.0, "is_draining": False,
    "leader": {"node": "n1", "epoch": 7, "is_here": True}, "records": 0, "backlog": {"count": 0},
    "queues": [], "workers": [], "metrics": {}, "throughput": dict.fromkeys(("1m", "5m", "15m"), 0.0),
    "failures": dict.fromkeys(("1m", "5m", "15m"), 0.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def door() -> Iterator[Peer]:
    with Peer(Behind()) as door:
        yield door


@pytest.fixture(scope="module")
def api(door: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    with RunningApi(tmp_path_factory.mktemp("api"), door.address) as api:
        yield api


@pytest.fixture
def node() -> Behind:
    return Behind()


@pytest.fixture
def peer(door: Peer, node: Behind) -> Peer:
    door.answer = node
    door.heard.clear()
    return door


@pytest.fixture
def client(peer: Peer, api: RunningApi) -> Iterator[Client]:
    with Client(api.url, token="", ca_file="") as client:
        yield client


@pytest.fixture
async def zjp(peer: Peer, api: RunningApi) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(api.url, token="", ca_file="") as zjp:
        yield zjp


# ── what is different ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_moment_arrives_as_it_was_given(client: Client, node: Behind) -> None:
    job = client.submit("t", run_at="2030-01-31T12:00:00.250Z")
    assert node.specs[job.id_bytes].options == Options(run_at_ms=1_896_091_200_250, caller_id=True)


def test_a_unique_key_that_is_held_gives_the_holder(client: Client, node: Behind) -> None:
    holder = client.submit("email").id_bytes
    node.others[m.Submit] = m.SubmitReply(m.Durability.DISK, [(0, m.Submitted(holder, m.SubmitKind.UNIQUE))])
    job = client.submit("email", unique_key="k")
    assert (job.id_bytes, job.kind, job.existed) == (holder, m.SubmitKind.UNIQUE, True)
    assert client.submit("email", idempotency_key="k").kind is m.SubmitKind.EXISTED


def test_many_are_awaited_as_they_end(client: Client, node: Behind) -> None:
    node.finishes = False
    jobs = client.submit_many([("email", {"n": n}) for n in range(70)])
    for job in jobs[60:]:
        node.finish(job.id_bytes, JobState.COMPLETED, result=b"\x01")
    ended = client.as_completed(jobs, timeout=30)
    assert {next(ended).id for _ in range(10)} == {job.id for job in jobs[60:]}
    for job in jobs[:60]:
        node.finish(job.id_bytes, JobState.COMPLETED, result=b"\x02")
    assert [job.result for job in client.wait_all(jobs, timeout=30)] == [2] * 60 + [1] * 10


def test_a_retry_that_is_held_by_a_unique_key_says_so(client: Client, node: Behind) -> None:
    node.others[m.Requeue] = m.Verdicts(["unique"])
    with pytest.raises(WrongState, match="another job that is not finished holds its unique key"):
        client.retry(SOME_ID)


def test_a_delayed_job_is_promoted_and_another_is_not(client: Client, node: Behind) -> None:
    job = client.submit("email")
    job.promote()
    node.others[m.Promote] = m.Verdicts(["not-delayed"])
    with pytest.raises(WrongState, match="is not delayed"):
        job.promote()
    assert client.promote_many([job, SOME_ID]) == ["not-delayed", "not-delayed"]


def test_queues_are_told_paused_and_purged(client: Client, node: Behind) -> None:
    (count,) = client.queues()
    assert count == m.QueueCount("default", 1, 2, 3, 4, False, 0.5)
    client.pause("default")
    assert client.queues()[0].paused
    client.resume("default")
    assert not client.queues()[0].paused
    client.submit("email")
    assert client.purge("default") == 1


def test_the_cluster_is_told(client: Client) -> None:
    cluster = client.cluster()
    assert (cluster.node, cluster.leader, cluster.epoch, cluster.quorum, cluster.voters) == (
        "n1",
        "n1",
        7,
        2,
        ["n1", "n2"],
    )
    assert cluster.is_leader_idle
    assert (cluster.kept_voters, cluster.other_voters) == (["n1", "n2"], ["n3"])
    assert [(node.node, node.health, node.since_ms, node.is_up) for node in cluster.nodes] == [
        ("n1", "alive", 1_700_000_000_000, True),
        ("n2", "dead", 1_700_000_000_500, False),
    ]
    assert client.leader() == LEADER
    assert client.history(5) == [Change(1_700_000_000_000, "elected", "n1", 7, "n0 died", 12, 340)]
    assert client.ping().node == "n1"
    assert client.stats()["totals"]["pending"] == 0


def test_an_operator_drains_and_hands_over(client: Client, node: Behind) -> None:
    node.others |= {DrainNode: m.Done(3), Transfer: m.Done()}
    assert client.drain("n1") == 3
    client.drain("n1", is_draining=False)
    client.transfer("n2")
    assert [request for request in node.asked if isinstance(request, DrainNode | Transfer)] == [
        DrainNode("n1"),
        DrainNode("n1", False),
        Transfer("n2"),
    ]


def test_failures_are_told_and_jobs_removed(client: Client, node: Behind) -> None:
    found = Failures(
        [FailureGroup("email", "ValueError", "bad", 2, 1_700_000_000_000, 1_700_000_000_001, [bytes(16)])], 2, True
    )
    node.others |= {AskFailures: found, RemoveJobs: m.Verdicts(["removed"])}
    assert client.failures() == found
    assert client.remove_jobs([SOME_ID]) == ["removed"]
    node.others[RemoveJobs] = m.Verdicts(["removing"])
    assert client.remove_jobs([SOME_ID]) == ["removing"]
    node.others[RemoveJobs] = m.Verdicts(["unknown"])
    assert client.remove_jobs([SOME_ID]) == ["unknown"]


def test_schedules_are_added_told_changed_run_and_removed(client: Client, node: Behind) -> None:
    plan = Schedule(
        "nightly",
        "backup",
        b"\x81\xa1x\x01",
        "slow",
        9,
        Options(max_retries=2, timeout_ms=1500),
        "30 2 * * *",
        zone="Europe/Berlin",
    )
    told = m.Schedules([plan])
    node.others |= {
        m.AddSchedule: told,
        m.ListSchedules: told,
        m.ChangeSchedule: told,
        m.RemoveSchedule: m.Done(1),
        m.RunSchedule: RUN,
    }
    made = client.schedules.add(
        "nightly",
        "backup",
        {"x": 1},
        cron="30 2 * * *",
        zone="Europe/Berlin",
        queue="slow",
        priority=9,
        max_retries=2,
        timeout=1.5,
    )
    assert made.schedule == plan
    assert [one.schedule for one in client.schedules.list()] == [plan]
    assert client.schedules.get("nightly").payload == {"x": 1}
    client.schedules.change("nightly", tags=[], max_retries=0, timeout="5s", unique_key="k")
    client.schedules.change("nightly", without=["timeout", "unique_key"])
    wanted = [
        ScheduleChange(tags=(), max_retries=0, timeout_ms=5_000, unique_key="k"),
        ScheduleChange(without=(Removable.TIMEOUT, Removable.UNIQUE_KEY)),
    ]
    assert [one.change for one in node.asked if isinstance(one, m.ChangeSchedule)] == wanted
    client.schedules.pause("nightly")
    client.submit("backup", id=SOME_ID)
    node.others[m.Get] = m.Jobs([node.jobs[next(iter(node.jobs))]])
    assert client.schedules.run("nightly").id == SOME_ID
    client.schedules.remove("nightly")
    asked = {type(request): request for request in node.asked}
    assert asked[m.AddSchedule].schedule == plan
    assert asked[m.ChangeSchedule].change.is_paused is True


RUN = m.SubmitReply(m.Durability.DISK)


@pytest.mark.parametrize(
    ("code", "kind"),
    [("conflict", JobConflict), ("invalid", InvalidJob), ("store-full", StoreFull), ("draining", Draining)],
)
def test_a_refusal_of_the_node_arrives_as_what_it_was(
    peer: Peer, node: Behind, api: RunningApi, code: str, kind: type[Exception]
) -> None:
    node.others[m.Submit] = m.Failure(code, "as told")
    with Client(api.url, token="", ca_file="", timeout=0.5) as client, pytest.raises(kind, match="as told"):
        client.submit("email")


def test_an_api_whose_node_is_gone_is_told_as_unavailable(tmp_path: Any) -> None:
    with (
        RunningApi(tmp_path, f"ipc://{tmp_path}/nobody") as api,
        Client(api.url, token="", ca_file="", timeout=5) as client,
        pytest.raises(Unavailable, match=r"the node (cannot be reached|has not answered)"),
    ):
        client.ping()


async def test_the_async_client_does_the_same(zjp: AsyncClient, node: Behind) -> None:
    job = await zjp.submit("email", {"n": 1}, priority=9)
    assert (await job.wait(timeout=30)).result == {"n": 1}
    jobs = await zjp.submit_many([("email", {"n": n}) for n in range(5)])
    assert await zjp.wait_all(jobs, timeout=30) == jobs
    assert [one async for one in zjp.jobs(type="email", limit=3)] == [job, *jobs[:2]]
    assert await job.cancel() is m.CancelKind.FINISHED
    assert (await zjp.cluster()).node == "n1"
    assert (await zjp.queues())[0].queue == "default"
