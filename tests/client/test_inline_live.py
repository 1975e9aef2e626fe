"""`app.testing()` while a job runs: what others see of it, from its own task, other coroutines and other threads."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from zjp import App, AsyncJob, Context, Job, JobState
from zjp.client.inline import JOB_TIMEOUT_S, InlineNode
from zjp.config import load
from zjp.errors import JobCancelled, JobConflict, WrongState
from zjp.wire import messages as m

pytestmark = [pytest.mark.covers("app:testing")]

SOME_ID = "0197a3f0-0000-7000-8000-000000000000"


class Gate:
    """An app in testing with one task, `slow`, that runs until the gate is opened, 5 s at most."""

    def __init__(self, app: App, test: InlineNode) -> None:
        self.app, self.test = app, test
        self.opened = asyncio.Event()

        @app.task
        async def slow(n: int = 0) -> int:
            async with asyncio.timeout(5):
                await self.opened.wait()
            return n

        self.slow = slow

    async def begin(self, n: int, **options: Any) -> asyncio.Task[AsyncJob]:
        submit = asyncio.create_task(self.slow.options(**options).submit_async(n))
        await asyncio.sleep(0)
        assert len(self.test.submitted) == 1
        return submit


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def gate(app: App) -> Iterator[Gate]:
    with app.testing(max_retries=0) as test:
        yield Gate(app, test)


@pytest.mark.parametrize(
    ("options", "kind"), [({"idempotency_key": "k"}, "existed"), ({"id": SOME_ID}, "existed"), ({"unique_key": "k"}, "unique")]
)
async def test_a_repeat_waits_for_the_job_that_still_runs(gate: Gate, options: dict[str, Any], kind: str) -> None:
    submit = await gate.begin(5, **options)
    repeat = await gate.slow.options(**options).submit_async(5)
    await repeat.refresh()
    assert (repeat.kind, repeat.status) == (m.SubmitKind(kind), JobState.RUNNING)
    with pytest.raises(TimeoutError, match=r"not finished after 0\.01 s"):
        await repeat.wait(0.01)
    waiting = asyncio.create_task(repeat.wait())
    gate.opened.set()
    assert await waiting == await submit
    assert (repeat.result, len(gate.test.submitted)) == (5, 1)


async def test_a_unique_key_is_free_when_its_job_is_finished_and_a_key_beside_it_stands_for_the_holder(gate: Gate) -> None:
    holder = asyncio.create_task(gate.slow.options(unique_key="k").submit_async(1))
    await asyncio.sleep(0)
    both = {"unique_key": "k", "idempotency_key": "i"}
    other = await gate.app.async_client.submit("slow", {"n": 2}, **both)  # type: ignore[arg-type]
    gate.opened.set()
    assert (await holder, other.kind) == (other, m.SubmitKind.UNIQUE)
    again = await gate.app.async_client.submit("slow", {"n": 2}, **both)  # type: ignore[arg-type]
    assert (again, again.kind) == (other, m.SubmitKind.EXISTED)
    with pytest.raises(JobConflict):
        await gate.app.async_client.submit("slow", {"n": 3}, **both)  # type: ignore[arg-type]
    assert (await gate.slow.options(unique_key="k").submit_async(3)).kind is m.SubmitKind.CREATED


def test_a_unique_key_is_held_inside_its_task_and_in_a_batch(app: App) -> None:
    @app.task
    def poll(ctx: Context, n: int) -> list[object]:
        other = poll.options(unique_key="k").submit(n + 1)
        return [other.kind, other.id == ctx.job_id]

    with app.testing() as test:
        assert poll.options(unique_key="k").submit(1).result == ["unique", True]
        one = {"type": "poll", "unique_key": "k"}
        first, second = app.client.submit_many([{**one, "payload": {"n": 5}}, {**one, "payload": {"n": 6}}])
        assert (first == second, second.kind) == (True, m.SubmitKind.UNIQUE)
        assert [one.payload for one in test.submitted] == [{"n": 1}, {"n": 5}]


def test_a_finished_job_runs_again_only_when_its_unique_key_is_free(app: App) -> None:
    jobs: list[Job] = []

    @app.task
    def poll(n: int) -> None:
        if n == 2:
            with pytest.raises(WrongState, match="holds its unique key"):
                jobs[0].retry()
            with pytest.raises(WrongState, match="not finished"):
                app.client.retry(next(iter(app.client.jobs(status="running"))))

    with app.testing():
        keyed = poll.options(unique_key="k")
        jobs.append(keyed.submit(1))
        jobs.append(keyed.submit(2))
        assert [job.result for job in jobs] == [None, None]
        jobs[0].retry()
        assert (jobs[0].run, keyed.submit(3).kind) == (2, m.SubmitKind.CREATED)


@pytest.mark.parametrize(
    ("of_task", "of_job", "limit_s"), [({}, {}, JOB_TIMEOUT_S), ({"timeout": "30s"}, {}, 30), ({"timeout": "30s"}, {"timeout": 5}, 5)]
)
def test_the_deadline_is_that_of_a_node(app: App, of_task: dict[str, Any], of_job: dict[str, Any], limit_s: float) -> None:
    @app.task(**of_task)
    def left(ctx: Context) -> float:
        return ctx.deadline - time.time()

    assert load({}).settings.job_timeout_s == JOB_TIMEOUT_S
    with app.testing():
        assert left.options(**of_job).submit().result == pytest.approx(limit_s, abs=1)


def test_a_task_sees_its_own_job_run_and_those_behind_it_wait(app: App) -> None:
    @app.task
    def look(ctx: Context) -> list[object]:
        me = app.client.get(ctx.job_id)
        seen = [me.status, me.node_id, me.attempts == [], me.run, me.started_at is not None]
        return [*seen, [job.status for job in app.client.jobs()]]

    with app.testing():
        first, second = look.submit_many([{}, {}])
        assert first.result == ["running", "inline", True, 1, True, ["running", "pending"]]
        assert second.result[-1] == ["running", "completed"]


@contextmanager
def never_ends() -> Iterator[None]:
    with pytest.raises(TimeoutError, match=r"runs in the thread that waits for it, which inside app.testing\(\) never ends"):
        yield


def test_a_wait_that_blocks_what_it_waits_for_ends_at_once(app: App) -> None:
    @app.task
    def own(ctx: Context) -> int:
        with never_ends():
            app.client.wait(ctx.job_id)
        return 1

    @app.task
    async def apart(ctx: Context) -> int:
        with never_ends():
            app.client.wait(ctx.job_id)
        return 2

    async def submit_in_a_loop() -> Any:
        return apart.submit().result

    with app.testing():
        assert (own.submit().result, apart.submit().result, asyncio.run(submit_in_a_loop())) == (1, 2, 2)


async def test_a_blocking_wait_beside_the_job_in_one_loop_ends_at_once(gate: Gate) -> None:
    submit = await gate.begin(1)
    with never_ends():
        gate.app.client.wait(gate.test.submitted[0].id)
    gate.opened.set()
    assert (await submit).id == gate.test.submitted[0].id


def test_another_thread_waits_for_the_job(app: App) -> None:
    started, opened = threading.Event(), threading.Event()

    @app.task
    def slow() -> int:
        started.set()
        assert opened.wait(10)
        return 7

    with app.testing() as test:
        submit = threading.Thread(target=slow.submit)
        submit.start()
        assert started.wait(10)
        try:
            job = app.client.get(test.submitted[0].id)
            with pytest.raises(TimeoutError, match=r"not finished after 0\.01 s"):
                job.wait(0.01)
        finally:
            opened.set()
        assert job.wait(10).result == 7
        submit.join()


async def test_a_cancelled_submit_leaves_its_jobs_cancelled_and_their_keys_free(gate: Gate) -> None:
    submit = await gate.begin(1, unique_key="k")
    job = await gate.app.async_client.get(gate.test.submitted[0].id)
    waiting = asyncio.create_task(job.wait())
    await asyncio.sleep(0)
    submit.cancel()
    assert (await waiting).status is JobState.CANCELLED
    gate.opened.set()
    assert (await gate.slow.options(unique_key="k").submit_async(2)).kind is m.SubmitKind.CREATED


def test_a_live_job_can_be_cancelled(app: App) -> None:
    @app.task
    def stop(ctx: Context, n: int) -> None:
        assert app.client.cancel_many([ctx.job_id, *ids[1:]]) == [m.CancelKind.CANCELLING, m.CancelKind.CANCELLED]
        seen.append((app.client.get(ctx.job_id).status, ctx.cancelled))

    seen: list[object] = []
    ids = ["0197a3f0-0000-7000-8000-000000000001", "0197a3f0-0000-7000-8000-000000000002"]
    with app.testing():
        jobs = app.client.submit_many([{"type": "stop", "payload": {"n": n}, "id": one} for n, one in enumerate(ids)])
        for job in jobs:
            with pytest.raises(JobCancelled):
                _ = job.result
    assert seen == [(JobState.CANCELLING, True)]
