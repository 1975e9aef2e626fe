"""`app.testing()`: jobs run inline, without a node, and everything else as it is."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from zjp import App, Context, Discard, JobState, Retry, Snooze
from zjp.client.inline import LIMITS, RESULT_BYTES_MAX
from zjp.config import load
from zjp.errors import InvalidJob, JobConflict, JobFailed, NotFound, PayloadTooLarge
from zjp.wire import messages as m

pytestmark = [pytest.mark.covers("main-path:9", "app:testing")]

SOME_ID = "0197a3f0-0000-7000-8000-000000000000"


@pytest.fixture
def app() -> App:
    return App()


def test_a_job_runs_at_once_and_is_listed(app: App) -> None:
    @app.task("email", queue="mail")
    def send_email(ctx: Context, recipient: str) -> str:
        ctx.progress(1, 2, "half")
        return f"{ctx.type} to {recipient}"

    with app.testing() as test:
        job = send_email.options(delay="5m").submit(recipient="a@example.com")
        assert job.result == "email to a@example.com"
        assert (job.status, job.level, job.progress) == (
            JobState.COMPLETED,
            m.Durability.PROCESS,
            {"done": 1, "total": 2, "note": "half"},
        )
        assert [(one.type, one.payload, one.spec.queue) for one in test.submitted] == [
            ("email", {"recipient": "a@example.com"}, "mail")
        ]
        assert app.client.get(job.id) == job


@pytest.mark.covers("app:signals")
def test_retries_are_counted_as_by_a_worker(app: App) -> None:
    attempts: list[int] = []

    @app.task(max_retries=2)
    def flaky(ctx: Context) -> int:
        attempts.append(ctx.attempt)
        if ctx.attempt < 3:
            raise ValueError("not yet")
        return ctx.attempt

    with app.testing():
        job = flaky.submit()
        assert (job.result, job.retry_count, attempts) == (3, 2, [1, 2, 3])
        assert [attempt.outcome for attempt in job.attempts] == ["retried", "retried", "completed"]
        fences = [attempt.fence for attempt in job.attempts]
        assert fences == sorted(set(fences))


@pytest.mark.covers("app:signals")
@pytest.mark.parametrize(("options", "runs"), [({}, 3), ({"max_retries": 0}, 1), ({"max_retries": 5}, 6)])
def test_retries_end_and_the_last_error_is_kept(app: App, options: dict[str, Any], runs: int) -> None:
    count = 0

    @app.task
    def broken() -> None:
        nonlocal count
        count += 1
        raise Retry("1h", reason=f"run {count}")

    with app.testing(max_retries=2), pytest.raises(JobFailed, match=f"Retry: run {runs}"):
        _ = broken.options(**options).submit().result  # type: ignore[arg-type]
    assert count == runs


@pytest.mark.covers("app:signals")
def test_discard_fails_at_once_and_snooze_spends_nothing(app: App) -> None:
    runs: list[str] = []

    @app.task(max_retries=0)
    def sleepy() -> str:
        runs.append("sleepy")
        if len(runs) < 4:
            raise Snooze("1h")
        return "awake"

    @app.task
    def hopeless() -> None:
        raise Discard("no such address")

    @app.task
    def endless() -> None:
        raise Snooze("1s")

    with app.testing():
        assert sleepy.submit().result == "awake"
        assert [attempt.outcome for attempt in hopeless.submit().attempts] == ["failed"]
        with pytest.raises(JobFailed, match="snoozed more than 100 times"):
            _ = endless.submit().result


@pytest.mark.covers("app:mismatch")
def test_a_payload_that_does_not_fit_fails_for_good(app: App) -> None:
    @app.task("add")
    def add(a: int) -> int:
        return a

    with app.testing():
        with pytest.raises(JobFailed, match="PayloadMismatch: the payload does not fit add"):
            app.client.result(app.client.submit("add", {"b": 1}))
        with pytest.raises(JobFailed, match="UnknownTask: no task 'other'; known tasks: add"):
            app.client.result(app.client.submit("other"))
        with pytest.raises(InvalidJob, match="is a datetime"):
            app.client.submit("add", {"a": datetime(2030, 1, 1)})


def test_a_result_that_cannot_travel_fails_the_job(app: App) -> None:
    @app.task
    def now() -> Any:
        return {"now": datetime(2030, 1, 1)}

    with app.testing(), pytest.raises(JobFailed, match=r"ResultNotSerialisable: the result\['now'\] is a datetime"):
        _ = now.submit().result


def test_async_tasks_run_in_the_running_loop_or_in_their_own(app: App) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    @app.task(max_retries=1)
    async def fetch(ctx: Context, url: str) -> str:
        loops.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        if ctx.attempt == 1:
            raise ConnectionError(url)
        return url

    async def main() -> None:
        loop = asyncio.get_running_loop()
        job = await fetch.submit_async("a")
        assert (await job.wait(timeout=1)).result == "a"
        assert loops == [loop, loop]
        assert fetch.submit("b").result == "b"
        assert loop not in loops[2:]

    with app.testing() as test:
        assert fetch.submit("c").result == "c"
        loops.clear()
        asyncio.run(main())
        assert [one.payload["url"] for one in test.submitted] == ["c", "a", "b"]


def pass_on(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


def test_a_decorated_async_task_is_awaited_and_a_def_that_returns_an_awaitable_fails_as_in_a_worker(app: App) -> None:
    @app.task
    @pass_on
    async def plus_one(x: int) -> int:
        return x + 1

    @app.task
    def give_future() -> Any:
        return Future()  # it can be awaited, and nobody is told when it never is

    async def submit_here() -> Any:
        return (await (await plus_one.submit_async(3)).wait()).result

    with app.testing():
        assert (plus_one.submit(1).result, asyncio.run(submit_here())) == (2, 4)
        error = give_future.submit().error
        assert error is not None
        assert (error.type, "Future" in error.message) == ("ResultNotSerialisable", True)


class Future:
    def __await__(self) -> Iterator[None]:
        yield


def test_progress_is_held_to_the_limit_of_a_worker(app: App) -> None:
    @app.task(max_retries=0)
    def tell(ctx: Context, chars: int) -> None:
        ctx.progress(1, note="x" * chars)

    with app.testing():
        assert tell.submit(4000).progress == {"done": 1, "total": None, "note": "x" * 4000}
        error = tell.submit(5000).error
        assert error is not None
        assert (error.type, error.message) == ("ValueError", "the progress is 5022 bytes, the limit is 4096; shorten the note")


def test_progress_is_plain_data_as_with_a_worker(app: App) -> None:
    @app.task(max_retries=0)
    def tell(ctx: Context) -> None:
        ctx.progress(1, note={1: 2})  # type: ignore[arg-type]

    with app.testing():
        error = tell.submit().error
        assert error is not None
        assert (error.type, "keys must be str" in error.message) == ("TypeError", True)


def test_tags_that_are_given_as_an_iterator_reach_every_job(app: App) -> None:
    @app.task
    def note(n: int) -> None: ...

    def tags() -> Iterator[str]:
        yield from ("a", "b")

    with app.testing():
        tagged = note.options(tags=tags())
        jobs = [tagged.submit(1), tagged.submit(2), *tagged.submit_many([{"n": 3}, {"n": 4}])]
        jobs += app.client.submit_many([("note", {"n": n}) for n in (5, 6)], tags=tags())
        assert [job.tags for job in jobs] == [("a", "b")] * 6
        with pytest.raises(InvalidJob, match="tags is the text 'a'; give a list"):
            note.options(tags="a")


def test_options_of_a_batch_are_those_of_submit_many(app: App) -> None:
    @app.task
    def note(n: int) -> None: ...

    async def submit_here() -> int:
        return len(await note.options(deadline="5s").submit_many_async([{"n": 1}]))

    with app.testing() as test:
        assert len(note.options(deadline="5s", priority=9).submit_many([{"n": 1}, {"n": 2}])) == 2
        assert [one.spec.priority for one in test.submitted] == [9, 9]
        assert asyncio.run(submit_here()) == 1
        for options in ({"unique_key": "k"}, {"idempotency_key": "k"}, {"id": SOME_ID}):
            with pytest.raises(InvalidJob, match=f"{next(iter(options))} for all jobs of a batch would make them one"):
                note.options(**options).submit_many([{"n": 1}, {"n": 2}])  # type: ignore[arg-type]


def test_the_context_is_refused_as_an_argument_when_it_is_submitted(app: App) -> None:
    @app.task
    def rest_of(ctx, **rest):  # type: ignore[no-untyped-def]
        return rest

    with app.testing() as test:
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'ctx'"):
            rest_of.submit(ctx=1)
        assert test.submitted == []


def test_repeats_are_recognised(app: App) -> None:
    runs: list[int] = []

    @app.task
    def note(n: int) -> None:
        runs.append(n)

    with app.testing():
        bound = note.options(id=SOME_ID)
        assert [bound.submit(1).existed, bound.submit(1).existed] == [False, True]
        keyed = note.options(idempotency_key="k")
        first, second = keyed.submit(2), keyed.submit(2)
        assert (first, second.existed) == (second, True)
    assert runs == [1, 2]


def test_a_repeat_with_other_content_is_a_conflict_and_nothing_of_its_request_runs(app: App) -> None:
    runs: list[int] = []

    @app.task
    def note(n: int) -> None:
        runs.append(n)

    with app.testing() as test:
        note.options(id=SOME_ID).submit(1)
        note.options(idempotency_key="k").submit(1)
        with pytest.raises(JobConflict, match="exists with another type, queue or payload"):
            note.options(id=SOME_ID).submit(2)
        with pytest.raises(JobConflict, match="key 'k' belongs to job"):
            note.options(idempotency_key="k").submit(2)
        with pytest.raises(JobConflict):
            note.options(id=SOME_ID, queue="other").submit(1)
        new = {"type": "note", "payload": {"n": 3}, "idempotency_key": "new"}
        with pytest.raises(JobConflict, match="key 'new' belongs to job"):
            app.client.submit_many([new, {**new, "payload": {"n": 4}}])
        assert not app.client.submit_many([new])[0].existed
        assert len(test.submitted) == 3
    assert runs == [1, 1, 3]


def test_the_default_limits_hold(app: App) -> None:
    @app.task
    def double(data: bytes) -> bytes:
        return data * 2

    settings = load({}).settings
    assert (LIMITS.payload_bytes_max, RESULT_BYTES_MAX) == (settings.max_payload_bytes, settings.max_result_bytes)
    with app.testing() as test:
        with pytest.raises(PayloadTooLarge, match="raise MAX_PAYLOAD"):
            double.submit(bytes(LIMITS.payload_bytes_max))
        assert test.submitted == []
        job = double.submit(bytes(RESULT_BYTES_MAX // 2))
        with pytest.raises(JobFailed, match="ResultTooLarge: the result is 1048581 bytes, the limit is 1048576"):
            _ = job.result
        assert [attempt.outcome for attempt in job.attempts] == ["failed"]
        assert len(double.submit(bytes(RESULT_BYTES_MAX // 2 - 5)).result) == RESULT_BYTES_MAX - 10


class Odd(BaseException):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize("fault", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), Odd()])
def test_whatever_a_task_raises_is_its_own_failure(app: App, fault: BaseException) -> None:
    @app.task(max_retries=1)
    def leave() -> None:
        raise fault

    @app.task(max_retries=1)
    async def leave_async() -> None:
        raise fault

    async def submit_here() -> list[str]:
        job = await leave_async.submit_async()
        return [attempt.outcome for attempt in (await job.wait()).attempts]

    with app.testing():
        for task in (leave, leave_async):
            job = task.submit()
            assert [attempt.outcome for attempt in job.attempts] == ["retried", "failed"]
            with pytest.raises(JobFailed, match=type(fault).__name__):
                _ = job.result
        assert asyncio.run(submit_here()) == ["retried", "failed"]


async def test_a_submit_that_is_cancelled_ends(app: App) -> None:
    started = asyncio.Event()

    @app.task
    async def endless() -> None:
        started.set()
        await asyncio.Event().wait()

    with app.testing():
        submit = asyncio.create_task(endless.submit_async())
        await started.wait()
        submit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submit


def test_jobs_answer_as_usual(app: App) -> None:
    @app.task
    def add(a: int) -> int:
        return a + 1

    with app.testing():
        jobs = add.submit_many([{"a": 1}, {"a": 2}])
        assert [job.result for job in app.client.wait(jobs)] == [2, 3]
        assert [job.result for job in app.client.jobs(type="add")] == [3, 2]
        assert jobs[0].cancel() is m.CancelKind.FINISHED
        jobs[0].retry()
        assert jobs[0].wait().run == 2
        assert app.client.ping().tasks == ["add"]
        with pytest.raises(NotFound):
            app.client.get(SOME_ID)
        with pytest.raises(InvalidJob, match=r"Pause is not available inside app.testing"):
            app.client.pause("default")


def test_a_job_may_submit_others(app: App) -> None:
    @app.task
    def child(n: int) -> int:
        return n

    @app.task
    def parent() -> list[int]:
        return [child.submit(n).result for n in range(3)]

    with app.testing() as test:
        assert parent.submit().result == [0, 1, 2]
        assert [one.type for one in test.submitted] == ["parent", "child", "child", "child"]


def test_leaving_restores_what_was_before(app: App) -> None:
    with app.testing() as outer:
        with app.testing() as inner:
            app.client.submit("t")
        app.client.submit("t")
    assert (len(outer.submitted), len(inner.submitted)) == (1, 1)
