"""`Client` against a scripted peer: every method, what it sends and what it makes of the answers."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
import pytest

from tests.client.peer import MemoryNode, Peer, later
from tests.fakes import burn_ms
from zjp import AsyncClient, Client, JobState
from zjp.client.options import SUBMIT_S_MAX, JobRequest
from zjp.config import Settings
from zjp.errors import (
    ConfigError,
    InvalidJob,
    JobCancelled,
    JobConflict,
    JobFailed,
    NotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    WireError,
    WrongState,
)
from zjp.job import JobFault, Options
from zjp.wire import messages as m

pytestmark = pytest.mark.covers("main-path:9")

SLOW_MS = 20
SOME_ID = "0197a3f0-0000-7000-8000-000000000000"


# ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("client:submit")
def test_submit_tells_the_id_and_what_the_acknowledgement_is_worth(client: Client, node: MemoryNode) -> None:
    job = client.submit("email", {"recipient": "a@example.com"})
    assert uuid.UUID(job.id).bytes == job.id_bytes
    assert uuid.UUID(job.id).version == 7
    assert job.level is m.Durability.DISK
    assert not job.existed
    assert node.specs[job.id_bytes].payload == msgpack.packb({"recipient": "a@example.com"})


@pytest.mark.covers("client:submit")
def test_every_option_arrives(client: Client, node: MemoryNode) -> None:
    job = client.submit(
        "email",
        id=SOME_ID,
        queue="mail",
        priority=10,
        delay="5m",
        max_retries=0,
        timeout="30s",
        soft_timeout=timedelta(seconds=20),
        unique_key="u",
        tags=["a", "b"],
        idempotency_key="i",
        deadline=5,
    )
    spec = node.specs[job.id_bytes]
    assert (job.id, spec.queue, spec.priority) == (SOME_ID, "mail", 10)
    assert spec.options == Options(
        delay_ms=300_000,
        max_retries=0,
        timeout_ms=30_000,
        soft_timeout_ms=20_000,
        unique_key="u",
        tags=("a", "b"),
        idempotency_key="i",
        caller_id=True,
    )


def test_countdown_and_eta_are_other_names_for_delay_and_run_at(client: Client, node: MemoryNode) -> None:
    moment = datetime(2030, 1, 31, 12, tzinfo=UTC)
    jobs = [client.submit("t", eta=when) for when in (moment, moment.timestamp(), "2030-01-31T12:00:00Z")]
    jobs.append(client.submit("t", countdown=2.5))
    options = [node.specs[job.id_bytes].options for job in jobs]
    at = Options(run_at_ms=int(moment.timestamp() * 1000))
    assert options == [at, at, at, Options(delay_ms=2500)]


@pytest.mark.covers("client:submit")
def test_an_unknown_option_is_refused_with_the_nearest_name(client: Client, peer: Peer) -> None:
    with pytest.raises(TypeError, match="unknown option 'priorty'; did you mean 'priority'"):
        client.submit("email", {}, priorty=1)  # type: ignore[call-arg]
    assert peer.heard == []


def test_a_repeat_with_the_same_id_says_that_the_job_existed(client: Client) -> None:
    first, second = client.submit("email", id=SOME_ID), client.submit("email", id=SOME_ID)
    assert (first.existed, second.existed, first == second) == (False, True, True)
    assert "existed" in repr(second)


def test_a_unique_key_that_is_held_gives_the_holder(peer: Peer) -> None:
    holder = bytes(15) + b"\x09"
    peer.answer = lambda request: m.SubmitReply(m.Durability.DISK, [(0, m.Submitted(holder, m.SubmitKind.UNIQUE))])
    with Client(peer.address, cluster="zjp") as client:
        job = client.submit("email", unique_key="k")
        assert (job.id_bytes, job.existed) == (holder, True)
        assert client.submit_many([("email", {})])[0].id_bytes == holder


@pytest.mark.covers("client:submit_many")
def test_submit_many_takes_pairs_dicts_and_requests(client: Client, node: MemoryNode) -> None:
    jobs = client.submit_many(
        [("a", {"n": 1}), {"type": "b", "payload": {"n": 2}, "queue": "own"}, JobRequest("c", options={"priority": 9})],
        queue="shared",
    )
    specs = [node.specs[job.id_bytes] for job in jobs]
    assert [(spec.type, spec.queue, spec.priority) for spec in specs] == [
        ("a", "shared", 5),
        ("b", "own", 5),
        ("c", "shared", 9),
    ]


@pytest.mark.covers("client:submit_many", "client:ids")
def test_submit_many_splits_into_requests_that_are_each_all_or_nothing(client: Client, peer: Peer) -> None:
    jobs = client.submit_many(("email", {"n": n}) for n in range(2100))
    assert [len(request.jobs) for request in peer.requests(m.Submit)] == [1000, 1000, 100]
    assert [job.id_bytes for job in jobs] == sorted(job.id_bytes for job in jobs)
    large = client.submit_many([("email", {"data": bytes(3 << 20)})] * 3)
    assert [len(request.jobs) for request in peer.requests(m.Submit)[3:]] == [2, 1]
    assert len(large) == 3


@pytest.mark.covers("client:submit_many")
def test_one_bad_job_keeps_its_whole_request_from_being_sent(client: Client, peer: Peer) -> None:
    with pytest.raises(InvalidJob, match=r"payload\['when'\] is a datetime"):
        client.submit_many([("email", {}), ("email", {"when": datetime.now()})])
    assert peer.heard == []


def test_an_error_in_a_later_request_says_what_was_submitted_before(peer: Peer, node: MemoryNode) -> None:
    peer.answer = lambda request: m.Failure("conflict", "other content") if len(request.jobs) < 1000 else node(request)
    with Client(peer.address, cluster="zjp") as client, pytest.raises(JobConflict, match="other content") as caught:
        client.submit_many([("email", {})] * 1001)
    assert "the 1000 jobs before were submitted" in caught.value.__notes__[0]


@pytest.mark.parametrize("kind", [TypeError, LookupError])
def test_so_does_one_that_the_callers_own_jobs_raise(client: Client, kind: type[Exception]) -> None:
    """An option that is not known; whatever the iterator raises."""

    def jobs() -> Iterator[Any]:
        yield from [("email", {})] * 1000
        if kind is LookupError:
            raise LookupError("the table is gone")
        yield {"type": "email", "prio": 1}

    with pytest.raises(kind) as caught:
        client.submit_many(jobs())
    assert "the 1000 jobs before were submitted" in caught.value.__notes__[0]


@pytest.mark.covers("client:submit")
@pytest.mark.parametrize("name", ["unique_key", "idempotency_key"])
def test_an_empty_key_is_refused_and_none_is_no_key(client: Client, node: MemoryNode, peer: Peer, name: str) -> None:
    said = f"{name} is empty, it must have 1 to 256 characters; leave it out"
    with pytest.raises(InvalidJob, match=said):
        client.submit("email", **{name: ""})  # type: ignore[arg-type]
    with pytest.raises(InvalidJob, match=said):
        client.submit_many([{"type": "email", name: ""}])
    assert peer.heard == []
    job = client.submit("email", **{name: None})  # type: ignore[arg-type]
    assert node.specs[job.id_bytes].options is None


@pytest.mark.parametrize("option", [{"queue": ""}, {"tags": [""]}, {"tags": ""}, {"id": ""}, {"delay": ""}, {"run_at": ""}])
def test_no_option_is_left_out_because_it_is_empty(client: Client, peer: Peer, option: Any) -> None:
    with pytest.raises(InvalidJob, match=next(iter(option)).removesuffix("s")):
        client.submit("email", **option)
    assert peer.heard == []


@pytest.mark.parametrize("name", ["id", "unique_key", "idempotency_key"])
def test_what_would_make_a_batch_one_job_is_refused(client: Client, name: str) -> None:
    with pytest.raises(InvalidJob, match=f"{name} for all jobs of a batch would make them one"):
        client.submit_many([("a", {})], **{name: SOME_ID})  # type: ignore[arg-type]


@pytest.mark.covers("client:plain-data")
def test_an_oversized_payload_is_refused_before_it_is_sent(client: Client, peer: Peer) -> None:
    with pytest.raises(PayloadTooLarge, match=r"payload is 17000008 bytes, the limit is 16777216; store it elsewhere"):
        client.submit("email", {"d": bytes(17_000_000)})
    assert peer.heard == []


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("client:get")
def test_get_shows_all_that_is_known(client: Client, node: MemoryNode) -> None:
    job_id = client.submit("email", {"n": 1}, id=SOME_ID, tags=["a"]).id_bytes
    job = client.get(SOME_ID)
    assert (job.id, job.type, job.queue, job.priority) == (SOME_ID, "email", "default", 5)
    assert (job.status, job.payload, job.tags) == ("completed", {"n": 1}, ("a",))
    assert (job.created_at, job.completed_at, job.started_at) == (1_700_000_000.0, 1_700_000_001.5, None)
    assert job.as_dict()["result"] == {"n": 1}
    assert repr(job) == f"<Job {SOME_ID} email completed>"
    assert [client.get(ref) for ref in (job_id, job, uuid.UUID(SOME_ID))] == [job, job, job]


@pytest.mark.covers("client:get")
def test_an_unknown_job_is_not_found(client: Client) -> None:
    for look in (client.get, client.wait, client.cancel, client.retry, client.result):
        with pytest.raises(NotFound, match=f"no job {SOME_ID}"):
            look(SOME_ID)
    assert client.get_many([SOME_ID]) == [None]


@pytest.mark.covers("client:get")
def test_what_did_not_fit_into_one_answer_is_asked_for_again(client: Client, node: MemoryNode, peer: Peer) -> None:
    jobs = client.submit_many([("email", {"n": n}) for n in range(1100)])
    node.views_max = 400
    assert client.get_many([SOME_ID, *jobs]) == [None, *jobs]
    assert [len(request.ids) for request in peer.requests(m.Get)] == [1000, 701, 301]


def test_an_answer_with_no_job_or_too_many_is_refused(peer: Peer) -> None:
    for views in ([], [None, None]):
        peer.answer = lambda request, views=views: m.Jobs(views)
        with Client(peer.address, cluster="zjp") as client, pytest.raises(WireError, match="views for 1 jobs"):
            client.get_many([SOME_ID])


@pytest.mark.covers("client:deadlines", "settings:DEDUP_WINDOW")
def test_a_submit_is_repeated_no_longer_than_a_node_recognises_repeats(client: Client, peer: Peer) -> None:
    text = "deadline is 259200 s, the limit is 600 s: for so long"
    with pytest.raises(InvalidJob, match=text):
        client.submit("email", deadline="3d")
    with pytest.raises(InvalidJob, match=text):
        client.submit_many([("email", {})], deadline=timedelta(days=3))
    with pytest.raises(InvalidJob, match="timeout is 3600 s, the limit is 600 s"):
        Client(peer.address, cluster="zjp", timeout="1h")
    assert Settings().dedup_window_s == SUBMIT_S_MAX
    assert client.submit("email", deadline="10m").level is m.Durability.DISK
    assert len(peer.heard) == 1


@pytest.mark.covers("client:deadlines")
@pytest.mark.parametrize(
    ("within", "said"),
    [
        (0, "is 0 s, the least is 0.001 s"), ("0s", "is 0 s, the least"), (1e-9, "is 1e-09 s, the least"),
        (timedelta(0), "is 0 s, the least"), (-1, "-1 is not between 0 and 100 years"), (math.nan, "nan is not between"),
        (math.inf, "inf is not between"), (True, "True is not a duration"), ([], r"\[\] is not a duration"),
    ],
)  # fmt: skip
def test_a_time_in_which_nothing_can_be_asked_is_refused_and_not_told_as_a_node_away(
    client: Client, peer: Peer, within: Any, said: str
) -> None:
    with pytest.raises(InvalidJob, match=f"deadline:? {said}"):
        client.submit("email", deadline=within)
    with pytest.raises(InvalidJob, match=f"deadline:? {said}"):
        client.submit_many([("email", {})], deadline=within)
    with pytest.raises(InvalidJob, match=f"timeout:? {said}"):
        client.purge("default", timeout=within)
    for kind in (Client, AsyncClient):
        with pytest.raises(InvalidJob, match=f"timeout:? {said}"):
            kind(peer.address, cluster="zjp", timeout=within)
    assert peer.heard == []


@pytest.mark.covers("client:wait")
def test_a_wait_with_no_time_looks_once(client: Client) -> None:
    job = client.submit("email")
    assert client.wait(job, timeout=0).status is JobState.COMPLETED


def test_what_is_no_id_is_refused_with_an_example(client: Client) -> None:
    with pytest.raises(InvalidJob, match="'order-7' is not a UUID"):
        client.get("order-7")


@pytest.mark.covers("client:wait")
def test_wait_returns_the_finished_job(client: Client, node: MemoryNode) -> None:
    node.finishes = False
    job = client.submit("email", {"n": 1})
    assert job.status is JobState.PENDING
    node.finish(job.id_bytes, JobState.COMPLETED, result=b"\x07")
    assert job.wait(timeout=30) is job
    assert (job.status, job.result) == (JobState.COMPLETED, 7)


@pytest.mark.covers("client:wait", "client:deadlines")
def test_wait_ends_with_a_timeout(client: Client, node: MemoryNode) -> None:
    node.finishes = False
    job = client.submit("email")
    for limit in (0, 0.05):
        with pytest.raises(TimeoutError, match=f"job {job.id} is not finished after {limit:g} s"):
            job.wait(timeout=limit)


@pytest.mark.covers("client:wait")
def test_waiting_for_many_gives_all_in_order(client: Client) -> None:
    jobs = client.submit_many([("email", {"n": n}) for n in range(1500)])
    assert client.wait(jobs, timeout=30) == jobs
    assert {job.result["n"] for job in client.as_completed(jobs, timeout=30)} == set(range(1500))


def test_waiting_for_many_names_the_one_that_is_missing(client: Client) -> None:
    job = client.submit("email")
    with pytest.raises(NotFound, match=SOME_ID):
        client.wait_all([job, SOME_ID], timeout=30)


@pytest.mark.covers("client:result")
def test_result_raises_how_the_job_ended(client: Client, node: MemoryNode) -> None:
    node.finishes = False
    failed, cancelled, waiting = (client.submit("email") for _ in range(3))
    node.finish(failed.id_bytes, JobState.FAILED, error=JobFault("ValueError", "bad address", "Traceback ..."))
    node.finish(cancelled.id_bytes, JobState.CANCELLED)
    with pytest.raises(JobFailed, match="ValueError: bad address") as caught:
        client.result(failed, timeout=30)
    assert (caught.value.error_type, caught.value.traceback) == ("ValueError", "Traceback ...")
    assert failed.refresh().error == JobFault("ValueError", "bad address", "Traceback ...")
    with pytest.raises(JobCancelled):
        _ = cancelled.result
    with pytest.raises(TimeoutError, match="is pending, it has no result yet"):
        _ = waiting.result


@pytest.mark.covers("client:result", "client:plain-data")
def test_a_result_that_is_no_plain_data_is_told(client: Client, node: MemoryNode) -> None:
    job = client.submit("email")
    node.finish(job.id_bytes, JobState.COMPLETED, result=b"\xd4\x05x")
    with pytest.raises(WireError, match="cannot be read: it holds the msgpack extension 5"):
        client.result(job)


def test_jobs_are_listed_page_by_page(client: Client, peer: Peer) -> None:
    client.submit_many([("email", {})] * 130 + [("other", {})])
    assert len(list(client.jobs(type="email"))) == 130
    assert [request.limit for request in peer.requests(m.List)] == [100, 100]
    assert len(list(client.jobs(limit=7))) == 7
    wanted = peer.requests(m.List)[0].wanted
    assert (wanted.type, wanted.state) == ("email", None)


def test_a_wrong_status_names_the_right_ones(client: Client) -> None:
    with pytest.raises(InvalidJob, match="status is 'done', it must be one of pending, scheduled"):
        list(client.jobs(status="done"))


# ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("client:cancel")
def test_cancel_tells_what_became_of_it(client: Client, node: MemoryNode) -> None:
    node.finishes = False
    job = client.submit("email")
    assert [job.cancel(), job.cancel()] == [m.CancelKind.CANCELLED, m.CancelKind.FINISHED]
    assert client.cancel_many([job, SOME_ID]) == ["finished", "unknown"]


@pytest.mark.covers("client:retry")
def test_retry_runs_a_finished_job_again(client: Client) -> None:
    job = client.submit("email")
    job.wait()
    job.retry()
    assert job.status is JobState.PENDING
    with pytest.raises(WrongState, match="is not finished"):
        job.retry()
    assert client.retry_many([job, SOME_ID]) == ["live", "unknown"]


@pytest.mark.covers("client:retry")
def test_retry_says_that_another_job_holds_the_unique_key(client: Client, peer: Peer) -> None:
    peer.answer = lambda request: (
        m.Runs([1] * len(request.ids)) if isinstance(request, m.AskRuns) else m.Verdicts(["unique"] * len(request.ids))
    )
    with pytest.raises(WrongState, match=f"job {SOME_ID} cannot run again: another job that is not finished holds its unique key"):
        client.retry(SOME_ID)
    assert client.retry_many([SOME_ID]) == ["unique"]


@pytest.mark.covers("client:retry")
def test_retry_that_is_sent_again_names_the_run_that_it_saw(client: Client, node: MemoryNode, peer: Peer) -> None:
    """Fails on a client that leaves it to the node: a second copy would be for whatever run the job is in by then."""
    jobs = client.submit_many([("email", {})] * 2)
    node.jobs[jobs[1].id_bytes].run = 7
    refusals = [later("unavailable")]
    peer.answer = lambda request: refusals.pop() if refusals and isinstance(request, m.Requeue) else node(request)
    assert client.retry_many([*jobs, SOME_ID]) == ["requeued", "requeued", "unknown"]
    assert [request.runs for request in peer.requests(m.Requeue)] == [[1, 7, -1]] * 2


@pytest.mark.covers("client:retry")
def test_retry_whose_answer_was_lost_says_how_to_find_out(peer: Peer) -> None:
    """Fails on one that says a repeat does no harm: another call is another retry."""
    peer.answer = lambda request: m.Runs([1]) if isinstance(request, m.AskRuns) else None
    with Client(peer.address, cluster="zjp", timeout=0.3) as client, pytest.raises(OutcomeUnknown, match="look which run the job is in"):
        client.retry(SOME_ID)


class SlowDoor:
    """`asked`: how long each call was given (s); the first one takes SLOW_MS."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def ask(self, request: m.Request, within_s: float) -> m.Reply:
        self.asked.append(within_s)
        if isinstance(request, m.AskRuns):
            burn_ms(SLOW_MS)
            return m.Runs([1])
        return m.Verdicts(["requeued"])

    def close(self) -> None:
        """Nothing is held open."""


def test_both_questions_of_a_retry_are_within_its_one_deadline() -> None:
    door = SlowDoor()
    Client(timeout=5.0, _door=door).retry(SOME_ID)  # type: ignore[arg-type]
    first_s, second_s = door.asked
    assert first_s == 5.0
    assert second_s <= 5.0 - SLOW_MS / 1000


def test_promote_and_queues_and_stats(client: Client, node: MemoryNode) -> None:
    job = client.submit("email", delay="1h")
    job.promote()
    with pytest.raises(WrongState, match="is not delayed"):
        client.promote(SOME_ID)
    client.pause("default")
    assert client.queues()[0].paused
    client.resume("default")
    assert not client.queues()[0].paused
    assert client.purge("default") == 1
    assert client.stats() == {"node": {"id": "peer"}}
    assert client.ping().node == "peer"


# ── addresses ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("localhost:5570", "is not a ZeroMQ address; accepted: .* http://HOST:PORT"),
        ("tcp://localhost", "is not a ZeroMQ address"),
        ("tcp://localhost:*", "it has no port"),
        ("tcp://localhost:70000", "above 65,?535"),
        ("tcp://::1:5570", "is not a ZeroMQ address"),
        ("ipc:///" + "x" * 120, "is not a ZeroMQ address"),
        (" , ", "0 addresses were given"),
        (5570, "address 5570 is int, it must be a str such as tcp://"),
        (["tcp://localhost:5570"], "is list, it must be a str"),
        (None, "is NoneType, it must be a str"),
    ],
)
def test_a_wrong_address_is_told_with_what_is_right(address: Any, text: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ConfigError, match=text):
            kind(address, cluster="zjp")


def test_a_closed_client_says_so(peer: Peer) -> None:
    client = Client(peer.address, cluster="zjp")
    client.ping()
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.ping()
