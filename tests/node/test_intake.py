"""The node's door for producers, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.queue.making import SQLiteBench
from tests.records.making import START_MS
from zjp import AsyncClient
from zjp.errors import PayloadTooLarge, WireError
from zjp.job import Limits
from zjp.node.intake import Intake
from zjp.node.jobs import Jobs
from zjp.node.schedules import Schedules
from zjp.node.stats import NodeStats
from zjp.queue.store import QueueStore
from zjp.records.sqlite import SQLiteRecordStore
from zjp.transport.door import Caller
from zjp.wire.messages import MESSAGE_BYTES_MAX, AskRuns, LeaderReply, Requeue, Runs, Verdicts

pytestmark = pytest.mark.covers("main-path:8")


@asynccontextmanager
async def door(
    folder: Path, ask_stats: Callable[[], Awaitable[bytes]], stats: NodeStats,
    prepare: Callable[[Intake, QueueStore], None] = lambda intake, queue: None,
) -> AsyncIterator[AsyncClient]:  # fmt: skip
    """A client of an intake on stores of its own."""
    bench = SQLiteBench(folder)
    queue = await bench.open()
    records = SQLiteRecordStore(folder / "records.db", ttl_s=0, wall_ms=lambda: START_MS)
    await records.open()

    async def ask_leader() -> LeaderReply:
        raise AssertionError("nobody asks")

    intake = Intake(
        node="n1", boot=1, cluster="zjp", limits=Limits(), queue=queue, jobs=Jobs(queue, records),
        stats=stats, ask_stats=ask_stats, tasks=list, schedules=Schedules(queue, Limits(), list), ask_leader=ask_leader,
    )  # fmt: skip
    prepare(intake, queue)
    async with AsyncClient(intake.bind("tcp://127.0.0.1:*"), cluster="zjp", timeout=20) as client:
        yield client
    await intake.close(0)
    await records.close()
    await bench.close()


async def test_an_answer_that_no_message_carries_is_refused_with_its_size(tmp_path: Path) -> None:
    """Sent as it is, it would cut the client's link, and the client would ask for it again and again."""

    async def ask_stats() -> bytes:
        return bytes(MESSAGE_BYTES_MAX)

    async with door(tmp_path, ask_stats, NodeStats("n1", 1)) as client:
        with pytest.raises(PayloadTooLarge, match=r"the answer \(Stats\) is 2097\d+ bytes, one message carries 20971520"):
            await client.stats()
        assert (await client.ping()).node == "n1"


async def test_retry_without_a_run_for_each_job_is_refused(tmp_path: Path) -> None:
    async def ask_stats() -> bytes:
        return b""

    async with door(tmp_path, ask_stats, NodeStats("n1", 1)) as client:
        for runs in ([1], [1, 1, 1]):
            with pytest.raises(WireError, match=f"there are {len(runs)} runs for 2 ids; give one for each"):
                await client._ask(Requeue([bytes(16), b"?" * 16], runs))
        assert await client._ask(Requeue([bytes(16), b"?" * 16], [1, -1])) == Verdicts(["unknown"] * 2)
        assert await client._ask(AskRuns([bytes(16)])) == Runs([-1])


async def test_who_claims_hears_of_a_job_before_its_submit_is_answered(tmp_path: Path) -> None:
    """The other way round each job would wait until the answer is sent, which takes as long as to start it."""
    order: list[str] = []
    ready = asyncio.Event()

    async def ask_stats() -> bytes:
        return b""

    def watch(intake: Intake, queue: QueueStore) -> None:
        queue.on_ready = ready.set
        send = intake.door.send

        def watched(caller: Caller, frames: Sequence[bytes]) -> bool:
            order.append("answer")
            return send(caller, frames)

        intake.door.send = watched  # type: ignore[method-assign]

    async def claim() -> None:
        await ready.wait()
        order.append("claim")

    async with door(tmp_path, ask_stats, NodeStats("n1", 1), watch) as client:
        claiming = asyncio.create_task(claim())
        await client.submit("email", {})
        await claiming
    assert order == ["claim", "answer"]


async def test_waits_leave_room_for_other_requests_and_those_that_found_none_are_answered_later(tmp_path: Path) -> None:
    intakes: list[Intake] = []

    async def ask_stats() -> bytes:
        return b""

    def narrow(intake: Intake, queue: QueueStore) -> None:
        intake._waits_max = 2
        queue.on_finished = intake._jobs.finished
        intakes.append(intake)

    async with door(tmp_path, ask_stats, NodeStats("n1", 1), narrow) as client:
        jobs = await client.submit_many([("email", {})] * 4)
        waits = [asyncio.create_task(job.wait(timeout=30)) for job in jobs]
        while intakes[0].under_way_count < 2:  # noqa: ASYNC110 (another end of a socket makes it true)
            await asyncio.sleep(0)
        assert (await client.ping()).node == "n1"
        assert intakes[0]._waits == 2
        await client.cancel_many(jobs)
        assert [job.status for job in await asyncio.gather(*waits)] == ["cancelled"] * 4
        assert intakes[0]._waits == 0


@pytest.mark.covers("redis:nodes")
async def test_jobs_that_are_cancelled_or_purged_while_they_wait_count_as_finished(tmp_path: Path) -> None:
    async def ask_stats() -> bytes:
        return b""

    stats = NodeStats("n1", 1)
    stats.known_types = {"email"}
    async with door(tmp_path, ask_stats, stats) as client:
        jobs = await client.submit_many([("email", {}), ("email", {}), ("other", {})], queue="q")
        waiting = await client.submit_many([("email", {})] * 4, queue="rest")
        for job in (jobs[0], *jobs):  # the first one twice
            await client.cancel(job)
        assert await client.purge("rest") == len(waiting)
    assert {tuple(series["labels"]): series["value"] for series in stats._counters.snapshot()["zjp_jobs_finished_total"]["series"]} == {
        ("email", "q", "cancelled"): 2, ("unknown", "q", "cancelled"): 1, ("unknown", "rest", "cancelled"): 4,
    }  # fmt: skip
