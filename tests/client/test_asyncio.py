"""`AsyncClient` against a scripted peer, under asyncio and uvloop."""

from __future__ import annotations

import asyncio
import inspect
import resource
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvloop

from tests.client.peer import MemoryNode, Peer, later
from zjp import AsyncClient, AsyncJob, Client, Job, JobState
from zjp.errors import InvalidJob, JobFailed, NodeUnreachable, NotFound, OutcomeUnknown, StoreUnavailable, WrongState
from zjp.job import JobFault
from zjp.wire import messages as m

pytestmark = pytest.mark.covers("main-path:9", "client:async")

SOME_ID = "0197a3f0-0000-7000-8000-000000000000"


@pytest.fixture
async def zjp(peer: Peer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(peer.address, cluster="zjp") as client:
        yield client


async def wait_for(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not what():  # noqa: ASYNC110 (another thread makes it true)
            await asyncio.sleep(0)


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    for one, other in ((Client, AsyncClient), (Job, AsyncJob)):
        for name, method in inspect.getmembers(one, inspect.isfunction):
            if not name.startswith("_") and name not in ("result",):
                parameters = inspect.signature(method).parameters
                assert inspect.signature(getattr(other, name)).parameters.keys() == parameters.keys(), name


async def test_a_job_from_submit_to_result(zjp: AsyncClient) -> None:
    job = await zjp.submit("email", {"n": 1}, queue="mail")
    assert (job.level, job.existed) == (m.Durability.DISK, False)
    assert (await job.wait(timeout=30)).result == {"n": 1}
    assert await zjp.result(job, timeout=30) == {"n": 1}
    assert (await zjp.get(job)).queue == "mail"
    assert (await job.refresh()).status is JobState.COMPLETED


async def test_what_did_not_fit_into_one_answer_is_asked_for_again(zjp: AsyncClient, node: MemoryNode) -> None:
    jobs = await zjp.submit_many([("email", {"n": n}) for n in range(10)])
    node.views_max = 4
    assert await zjp.get_many([SOME_ID, *jobs]) == [None, *jobs]


async def test_a_submit_is_repeated_no_longer_than_a_node_recognises_repeats(zjp: AsyncClient) -> None:
    with pytest.raises(InvalidJob, match="deadline is 601 s, the limit is 600 s"):
        await zjp.submit("email", deadline=601)
    with pytest.raises(InvalidJob, match="deadline is 601 s, the limit is 600 s"):
        await zjp.submit_many([("email", {})], deadline=601)
    with pytest.raises(InvalidJob, match="timeout is 601 s, the limit is 600 s"):
        AsyncClient(timeout=601)


async def test_every_deed_is_answered(zjp: AsyncClient, node: MemoryNode) -> None:
    job = await zjp.submit("email", delay="1h")
    await job.retry()
    with pytest.raises(WrongState):
        await zjp.retry(job)
    await job.promote()
    assert await job.cancel() is m.CancelKind.CANCELLED
    assert await zjp.cancel_many([job, SOME_ID]) == ["finished", "unknown"]
    assert await zjp.retry_many([SOME_ID]) == ["unknown"]
    assert await zjp.promote_many([SOME_ID]) == ["not-delayed"]
    await zjp.pause("default")
    assert (await zjp.queues())[0].paused
    await zjp.resume("default")
    assert await zjp.purge("default") == 1
    assert (await zjp.ping()).node == "peer"
    assert await zjp.stats() == {"node": {"id": "peer"}}
    with pytest.raises(NotFound):
        await zjp.wait(SOME_ID)


async def test_many_jobs_are_submitted_listed_and_awaited(zjp: AsyncClient) -> None:
    jobs = await zjp.submit_many([("email", {"n": n}) for n in range(1200)])
    assert await zjp.wait(jobs, timeout=30) == jobs
    assert len([job async for job in zjp.jobs(limit=150)]) == 150


async def test_result_raises_how_the_job_ended(zjp: AsyncClient, node: MemoryNode) -> None:
    node.finishes = False
    job = await zjp.submit("email")
    with pytest.raises(RuntimeError, match="refresh"):
        _ = job.status
    with pytest.raises(TimeoutError, match=r"not finished after 0.05 s"):
        await job.wait(timeout=0.05)
    node.finish(job.id_bytes, JobState.FAILED, error=JobFault("ValueError", "bad"))
    with pytest.raises(JobFailed, match="ValueError: bad"):
        await zjp.result(job)


async def test_submits_of_one_turn_travel_together(zjp: AsyncClient, peer: Peer) -> None:
    await zjp.ping()
    jobs = await asyncio.gather(*(zjp.submit("email", {"n": n}) for n in range(500)))
    assert [len(request.jobs) for request in peer.requests(m.Submit)] == [500]
    assert [job.id for job in jobs] == sorted(job.id for job in jobs), "counter order is submit order"


async def test_one_bad_job_fails_alone(zjp: AsyncClient, peer: Peer, node: MemoryNode) -> None:
    def refuse(request: m.Request) -> Any:
        if isinstance(request, m.Submit) and any(spec.type == "bad" for spec in request.jobs):
            return m.Failure("invalid", "no such type")
        return node(request)

    peer.answer = refuse
    names = ["good"] * 20 + ["bad"] + ["good"] * 20
    outcomes = await asyncio.gather(*(zjp.submit(name) for name in names), return_exceptions=True)
    assert [isinstance(outcome, InvalidJob) for outcome in outcomes] == [name == "bad" for name in names]


async def test_cancelling_a_waiting_coroutine_does_no_harm(zjp: AsyncClient, peer: Peer, node: MemoryNode) -> None:
    peer.answer = lambda request: None
    tasks = [asyncio.create_task(zjp.submit("email", {"n": n})) for n in range(3)]
    await wait_for(lambda: bool(peer.requests(m.Submit)))
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    peer.answer = node
    assert (await zjp.submit("email", deadline=10)).level is m.Durability.DISK
    assert (await zjp.submit("email")).level is m.Durability.DISK


async def test_a_dead_node_is_left_for_the_next(peer: Peer, node: MemoryNode) -> None:
    with Peer(node) as other:
        async with AsyncClient(peer.address, other.address, cluster="zjp") as client:
            await client.submit("email")
            peer.stop()
            await client.submit("email")
        assert len(other.requests(m.Submit)) == 1


async def test_a_silent_node_is_left_for_the_next(peer: Peer, node: MemoryNode) -> None:
    peer.answer = lambda request: None
    with Peer(node) as other:
        async with AsyncClient(peer.address, other.address, cluster="zjp") as client:
            job = await client.submit("email")
        assert [request.jobs[0].id for request in other.requests(m.Submit)] == [job.id_bytes]


async def test_a_node_that_starts_late_is_found(peer: Peer) -> None:
    peer.stop()
    async with AsyncClient(peer.address, cluster="zjp") as client:
        waiting = asyncio.create_task(client.ping())
        with pytest.raises(NodeUnreachable, match="nothing listens there"):
            await client.submit("email", deadline=0.3)
        peer.start()
        assert (await waiting).node == "peer"


async def test_without_a_free_descriptor_a_call_ends_at_its_deadline_and_the_next_one_goes_through(peer: Peer) -> None:
    async with AsyncClient(peer.address, cluster="zjp") as client:
        with no_descriptors(), pytest.raises(NodeUnreachable, match="no connection can be opened: too many open files"):
            await asyncio.wait_for(client.submit("email", deadline=0.3), 20)
        assert (await client.ping()).node == "peer"


def test_threads_are_told_the_same_when_no_descriptor_is_free(peer: Peer) -> None:
    with Client(peer.address, cluster="zjp") as client:
        with no_descriptors(), pytest.raises(NodeUnreachable, match="no connection can be opened: too many open files"):
            client.submit("email", deadline=0.3)
        assert client.ping().node == "peer"


@contextmanager
def no_descriptors() -> Iterator[None]:
    """None is left to this process; those that are open stay so."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_later_is_asked_again_soon(zjp: AsyncClient, peer: Peer, node: MemoryNode) -> None:
    answers = iter([later("store-unavailable")] * 3)
    peer.answer = lambda request: next(answers, None) or node(request)
    async with asyncio.timeout(5):
        await zjp.submit("email")
    peer.answer = lambda request: later("store-unavailable", "no store")
    # Unknown, when the deadline falls between a repeat and its answer.
    with pytest.raises((StoreUnavailable, OutcomeUnknown), match="no store"):
        await zjp.submit("email", deadline=0.3)


async def test_no_answer_is_an_unknown_outcome(zjp: AsyncClient, peer: Peer) -> None:
    await zjp.ping()
    peer.answer = lambda request: None
    with pytest.raises(OutcomeUnknown, match=r"was sent and not answered within 0.[2-9] s"):
        await zjp.submit("email", deadline=0.2)


async def test_closing_fails_whoever_waits(zjp: AsyncClient, peer: Peer) -> None:
    peer.answer = lambda request: None
    waiting = asyncio.create_task(zjp.submit("email"))
    await wait_for(lambda: bool(peer.requests(m.Submit)))
    zjp.close()
    for call in (waiting, zjp.ping()):
        with pytest.raises(RuntimeError, match="closed"):
            await call


def test_a_client_belongs_to_one_loop(peer: Peer) -> None:
    client = AsyncClient(peer.address, cluster="zjp")
    asyncio.run(_pinged(client))
    with pytest.raises(RuntimeError, match="belongs to another event loop"):
        asyncio.run(_pinged(client))
    client.close()


async def _pinged(client: AsyncClient) -> m.Pong:
    return await client.ping()


def test_it_works_under_uvloop(peer: Peer) -> None:
    async def work() -> list[Any]:
        async with AsyncClient(peer.address, cluster="zjp") as client:
            jobs = await asyncio.gather(*(client.submit("email", {"n": n}) for n in range(300)))
            return [job.result for job in await client.wait_all(jobs, timeout=30)]

    run: Callable[[Coroutine[Any, Any, list[Any]]], list[Any]] = uvloop.run
    assert run(work()) == [{"n": n} for n in range(300)]


async def test_what_cannot_travel_is_refused_at_once_and_harms_no_other_call(zjp: AsyncClient) -> None:
    async with asyncio.timeout(5):
        refused, job, pong = await asyncio.gather(zjp.pause("\ud800"), zjp.submit("email"), zjp.ping(), return_exceptions=True)
        assert isinstance(refused, InvalidJob)
        assert isinstance(job, AsyncJob)
        assert isinstance(pong, m.Pong)
        with pytest.raises(InvalidJob, match="List cannot be encoded"):
            await anext(zjp.jobs(created_after=1e17))
