"""What a task returns or raises, as reported by a real worker process, in each of the three ways in which tasks are run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import pytest
from msgspec import structs

from tests import fakes
from tests.bounds import allowed
from zjp.job import Attempt, JobFault, JobSpec, StoredJob, format_id, make_id
from zjp.retry import RetryPolicy
from zjp.wire.messages import Result, ResultKind
from zjp.worker.call import Caller
from zjp.worker.settings import PoolSettings, child_settings

from .conftest import Open

pytestmark = pytest.mark.covers("main-path:7", "settings:MAX_RESULT")

WAYS = {
    "inline": {"app": "tests.fakes:plain", "slots": 1},
    "threads": {"app": "tests.fakes:plain", "slots": 3},
    "loop": {"slots": 3},
}


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    return WAYS[request.param]


def outcome(result: Result) -> tuple[int, str]:
    return result.kind, result.error.type if result.error is not None else ""


async def test_values_come_back_as_they_are(desk_of: Open, way: dict[str, Any]) -> None:
    desk = await desk_of(**way)
    values = [None, True, -5, 2**64 - 1, 1.5, "text", b"bytes", [1, [2]], {"a": {"b": None}}, ""]
    ids = [desk.submit("echo", {"value": value}) for value in values]
    assert [await desk.value(job_id) for job_id in ids] == values


async def test_an_async_task_is_run_on_the_loop(desk_of: Open) -> None:
    desk = await desk_of(slots=2)
    ids = [desk.submit("async_echo", {"value": number}) for number in range(50)]
    assert [await desk.value(job_id) for job_id in ids] == list(range(50))


async def test_an_async_task_behind_a_decorator_is_awaited_on_the_loop(desk_of: Open, tmp_path: Path) -> None:
    """One slot: the thread that waits for the loop holds the only one, and gives it back."""
    desk = await desk_of(slots=1)
    ids = [desk.submit("decorated_echo", {"value": number}) for number in range(20)]
    assert [await desk.value(job_id) for job_id in ids] == [[number, 1, True] for number in range(20)]
    failed = await desk.result(desk.submit("decorated_fail", max_retries=0))
    assert outcome(failed) == (ResultKind.FAILED, "ValueError")
    limited = desk.submit("decorated_hold_until", {"path": str(tmp_path / "a")}, soft_timeout_ms=50, max_retries=0)
    assert outcome(await desk.result(limited)) == (ResultKind.FAILED, "SoftTimeout")
    cancelled = desk.submit("decorated_hold_until", {"path": str(tmp_path / "b")})
    await desk.until(lambda: fakes.started(str(tmp_path / "b")).exists())
    desk.pool.cancel([cancelled])
    assert outcome(await desk.result(cancelled)) == (ResultKind.FAILED, "Cancelled")
    assert await desk.value(desk.submit("decorated_echo", {"value": 1})) == [1, 1, True]


async def test_a_decorator_that_runs_its_coroutine_itself_is_called_in_a_thread(desk_of: Open) -> None:
    desk = await desk_of(slots=2)
    assert await desk.value(desk.submit("run_inside_echo", {"value": 5})) == [5, False]


async def test_failures_are_retried_while_retries_are_left(desk_of: Open, way: dict[str, Any]) -> None:
    desk = await desk_of(**way, max_retries=2, retry=RetryPolicy(base_s=2.0, jitter_factor=0.0))
    kinds = [await desk.result(desk.put(desk.job("fail", {}, retries=retries))) for retries in (0, 1, 2)]
    assert [outcome(result) for result in kinds] == [
        (ResultKind.RETRY, "ValueError"),
        (ResultKind.RETRY, "ValueError"),
        (ResultKind.FAILED, "ValueError"),
    ]
    assert [result.delay_ms for result in kinds] == [2000, 4000, 0]
    assert kinds[2].error is not None
    assert "raise ValueError(text)" in kinds[2].error.traceback
    assert "zjp/worker" not in kinds[2].error.traceback


async def test_the_jobs_own_number_of_retries_comes_before_the_tasks_and_the_settings(desk_of: Open) -> None:
    desk = await desk_of(max_retries=3)
    of_task = await desk.result(desk.submit("fail_once_only"))
    of_job = await desk.result(desk.submit("fail_once_only", max_retries=1))
    none_at_all = await desk.result(desk.submit("fail", max_retries=0))
    assert [result.kind for result in (of_task, of_job, none_at_all)] == [
        ResultKind.FAILED,
        ResultKind.RETRY,
        ResultKind.FAILED,
    ]


async def test_a_task_can_ask_to_be_run_again_later_or_never(desk_of: Open, way: dict[str, Any]) -> None:
    desk = await desk_of(**way)
    retry = await desk.result(desk.submit("ask_retry", {"delay": 7}))
    used_up = await desk.result(desk.submit("ask_retry", {"delay": 7}, max_retries=0))
    snooze = await desk.result(desk.put(desk.job("ask_snooze", {"delay": 1.5}, retries=3)))
    discard = await desk.result(desk.submit("ask_discard"))
    assert (outcome(retry), retry.delay_ms) == ((ResultKind.RETRY, "Retry"), 7000)
    assert outcome(used_up) == (ResultKind.FAILED, "Retry")
    assert (outcome(snooze), snooze.delay_ms) == ((ResultKind.SNOOZE, ""), 1500)
    assert outcome(discard) == (ResultKind.FAILED, "Discard")


async def test_no_exception_of_a_task_ends_its_process(desk_of: Open, way: dict[str, Any]) -> None:
    desk = await desk_of(**way)
    ids = [desk.submit("leave", {"kind": kind}) for kind in ("exit", "interrupt", "base")]
    if "app" not in way:
        ids.append(desk.submit("async_leave"))
    found = [outcome(await desk.result(job_id))[1] for job_id in ids]
    assert found == ["SystemExit", "KeyboardInterrupt", "BaseException", "SystemExit"][: len(ids)]
    assert await desk.value(desk.submit("echo", {"value": 1})) == 1
    assert desk.reports == []


async def test_an_exit_in_what_an_async_task_left_running_ends_no_process(desk_of: Open) -> None:
    desk = await desk_of(slots=2)
    await desk.result(desk.submit("async_leave_later"))
    await desk.value(desk.submit("rest_ms", {"ms": 50}))
    assert await desk.value(desk.submit("async_echo", {"value": 1})) == 1
    assert desk.reports == []


async def test_a_long_history_of_attempts_does_not_travel_to_the_worker(desk_of: Open) -> None:
    """300 jobs with 100 kB of tracebacks each would be more than a message may hold."""
    desk = await desk_of(app="tests.fakes:plain")
    await desk.value(desk.submit("echo", {"value": 0}))
    history = tuple(Attempt(n, "n1", "w0.1", 0, 0, "retried", JobFault("E", "", "x" * 10_000)) for n in range(10))
    jobs = [structs.replace(desk.job("echo", {"value": n}), attempts=history) for n in range(300)]
    desk.pool.dispatch(77, jobs)
    await desk.until(lambda: len(desk.results) + len(desk.returned) >= 301)  # what was called back and handed out again counts twice
    assert len(desk.results) > 200
    assert all(held.job.attempts == history for held in desk.pool.held.values())


async def test_progress_that_is_too_long_is_the_tasks_own_fault(desk_of: Open) -> None:
    desk = await desk_of()
    result = await desk.result(desk.submit("report_at_length", {"chars": 5000}, max_retries=0))
    assert outcome(result) == (ResultKind.FAILED, "ValueError")
    assert result.error is not None
    assert "the limit is 4096" in result.error.message


async def test_a_payload_that_does_not_fit_fails_for_good(desk_of: Open, way: dict[str, Any]) -> None:
    desk = await desk_of(**way)
    missing = await desk.result(desk.submit("add", {"b": 1}))
    unknown = await desk.result(desk.submit("add", {"a": 1, "c": 2}))
    assert outcome(missing) == outcome(unknown) == (ResultKind.FAILED, "PayloadMismatch")
    assert missing.error is not None
    assert "add(a: 'int', b: 'int' = 1)" in missing.error.message
    assert "'a'" in missing.error.message


async def test_a_payload_that_is_garbage_fails_for_good(desk_of: Open) -> None:
    desk = await desk_of()
    broken = desk.job("echo", {"value": 1})
    broken.spec = type(broken.spec)(broken.spec.id, "echo", b"\x81\xa5value\xc7\x01\x05x")
    assert outcome(await desk.result(desk.put(broken))) == (ResultKind.FAILED, "PayloadMismatch")


@pytest.mark.parametrize(
    ("task", "named"), [("return_object", "object"), ("return_int_keys", "int is not allowed for map key")]
)
async def test_a_result_that_cannot_be_packed_fails_the_job_and_says_what_is_allowed(
    desk_of: Open, way: dict[str, Any], task: str, named: str
) -> None:
    desk = await desk_of(**way)
    result = await desk.result(desk.submit(task))
    assert outcome(result) == (ResultKind.FAILED, "ResultNotSerialisable")
    assert result.error is not None
    assert named in result.error.message
    assert "the result is dict and cannot be packed" in result.error.message
    assert "list, tuple and dict with str keys" in result.error.message
    assert await desk.value(desk.submit("echo", {"value": "well"})) == "well"


async def test_a_result_over_the_limit_fails_without_a_retry(desk_of: Open) -> None:
    desk = await desk_of(max_result_bytes=1000)
    assert len(await desk.value(desk.submit("return_bytes", {"count": 990}))) == 990
    result = await desk.result(desk.submit("return_bytes", {"count": 1000}))
    assert outcome(result) == (ResultKind.FAILED, "ResultTooLarge")
    assert result.error is not None
    assert result.error.message.startswith("the result is 1003 bytes, the limit is 1000")


async def test_many_large_results_are_sent_within_the_limit_of_a_message(desk_of: Open) -> None:
    desk = await desk_of(slots=2)
    ids = desk.submit_many([("return_bytes", {"count": 1_000_000})] * 40)
    await desk.until(lambda: len(desk.results) == 40)
    assert all(len(desk.results[job_id].data) > 1_000_000 for job_id in ids)
    assert desk.reports == []


async def test_large_payloads_reach_the_workers(desk_of: Open) -> None:
    desk = await desk_of(slots=8, max_result_bytes=4 << 20)
    ids = desk.submit_many([("echo", {"value": bytes(3 << 20)})] * 8)
    await desk.until(lambda: len(desk.results) == 8)
    assert all(desk.results[job_id].kind == ResultKind.COMPLETED for job_id in ids)


async def test_exceptions_that_resist_are_told_all_the_same(desk_of: Open, way: dict[str, Any]) -> None:
    desk = await desk_of(**way)
    unprintable = await desk.result(desk.submit("fail_unprintably", max_retries=0))
    endless = await desk.result(desk.submit("fail_at_length", {"chars": 1_000_000, "depth": 200}, max_retries=0))
    assert outcome(unprintable) == (ResultKind.FAILED, "Unprintable")
    assert endless.error is not None
    assert len(endless.error.message) <= 2048
    assert len(endless.error.traceback) <= 16384
    assert "characters left out" in endless.error.traceback


async def test_an_unknown_task_is_reported_as_not_served_and_kills_nobody(desk_of: Open, way: dict[str, Any]) -> None:
    desk = await desk_of(**way)
    result = await desk.result(desk.submit("nobody_has_this"))
    assert outcome(result) == (ResultKind.UNSERVED, "UnknownTask")
    assert result.error is not None
    assert "known tasks: add" in result.error.message
    assert await desk.value(desk.submit("echo", {"value": 1})) == 1


async def test_a_task_that_takes_the_context_learns_about_its_job(desk_of: Open, way: dict[str, Any]) -> None:
    desk = await desk_of(**way, job_timeout_s=50.0)
    job_id = desk.put(desk.job("describe_context", {"marker": "m"}, retries=2, tags=("a", "b"), timeout_ms=9_000))
    seen = await desk.value(job_id)
    assert 8 < seen.pop("seconds_left") <= 9
    assert seen == {
        "marker": "m",
        "job_id": format_id(job_id),
        "type": "describe_context",
        "queue": "default",
        "attempt": 3,
        "fence": 1,
        "tags": ["a", "b"],
        "node": "n1",
        "worker": "w0.1",
        "cancelled": False,
    }


async def test_progress_is_passed_on_while_the_task_runs(desk_of: Open, way: dict[str, Any], tmp_path: Any) -> None:
    desk = await desk_of(**way)
    job_id = desk.submit("report_progress", {"steps": 500, "path": str(tmp_path / "go")})
    await desk.until(lambda: desk.progress.get(job_id) == {"done": 500, "total": 500, "note": "at it"})
    assert job_id not in desk.results
    (tmp_path / "go").touch()
    await desk.value(job_id)


async def test_a_gigabyte_printed_blocks_nobody(desk_of: Open, capfd: pytest.CaptureFixture[str]) -> None:
    with capfd.disabled(), _stdout_to_null():
        desk = await desk_of(slots=2, processes=2)
        loud = desk.submit("print_bytes", {"count": 1 << 30})
        quiet = desk.submit_many([("echo", {"value": n}) for n in range(100)])
        await desk.until(lambda: all(job_id in desk.results for job_id in quiet))
        assert await desk.value(loud) == 1 << 30
    assert desk.reports == []


class _stdout_to_null:  # noqa: N801
    def __enter__(self) -> None:
        import os

        self._kept = os.dup(1)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)

    def __exit__(self, *_: object) -> None:
        import os

        os.dup2(self._kept, 1)
        os.close(self._kept)


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_clock_that_is_set_while_a_job_runs_changes_no_run_time(step_s: int) -> None:
    clock = iter([0])
    settings = child_settings(
        PoolSettings(app=""), worker="w", slots=1, inbox="", outbox="", marks_path="", parent_pid=1, folder="", python_path=None
    )
    caller = Caller(settings, fakes.plain.tasks, lambda job_id, progress: None, wall_ns=lambda: next(clock))
    for task, payload in (("noop", {}), ("echo", {"value": 1}), ("fail", {})):
        clock = iter([1_700_000_000 * 10**9, (1_700_000_000 + step_s) * 10**9])
        job = StoredJob(JobSpec(make_id(1, 1, 1), task, msgpack.packb(payload)), 1)
        result = caller.call(1, job, lambda limit_s, function: function())
        assert result.started_us == 1_700_000_000 * 10**6
        assert 0 <= result.ended_us - result.started_us < allowed(1_000_000)
