"""What tasks do to the process that runs them, and to whoever comes after: nobody else fails, waits for ever or loses an attempt."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests import mischief
from zjp.wire.messages import ResultKind
from zjp.worker import watch

from .conftest import Desk, Open

pytestmark = pytest.mark.covers("main-path:7")

WAYS = {
    "inline": {"app": "tests.mischief:plain", "slots": 1},
    "threads": {"app": "tests.mischief:plain", "slots": 2},
    "loop": {"app": "tests.mischief:app", "slots": 2},
}


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def untouched(desk: Desk, values: int = 4) -> None:
    """The process it began with runs what comes, in all its slots."""
    ids = [desk.submit("echo", {"value": number}) for number in range(values)]
    assert [await desk.value(job_id) for job_id in ids] == list(range(values))
    assert desk.reports == []


@pytest.mark.parametrize("kind", list(mischief.ODD))
async def test_an_exception_that_raises_when_it_is_looked_at_is_a_failure_like_any_other(
    desk_of: Open, way: str, kind: str
) -> None:
    desk = await desk_of(**WAYS[way])
    name = "async_raise_odd" if way == "loop" else "raise_odd"
    for _ in range(3):
        result = await desk.result(desk.submit(name, {"kind": kind}, max_retries=0))
        assert result.kind == ResultKind.FAILED
        assert result.error is not None
    assert result.error.type in (kind, "Exception")
    if kind.startswith("Snooze"):
        assert "super().__init__(delay)" in result.error.message
    await untouched(desk)


async def test_async_jobs_that_are_cancelled_before_they_began_end_and_leave_their_slots(desk_of: Open) -> None:
    """The loop is held up, so that it is told of them and of their end in one turn."""
    desk = await desk_of(app="tests.mischief:app", slots=6, cancel_grace_s=60.0)
    await desk.result(desk.submit("async_rest_ms", {"ms": 0}))
    desk.submit("block_ms", {"ms": 300})
    ids = [desk.submit("async_rest_ms", {"ms": 60_000}) for _ in range(5)]
    desk.is_handing_out = False
    desk.pool.cancel(ids)
    await desk.until(lambda: not desk.pool.held)
    told = [desk.results[job_id].error for job_id in ids if job_id in desk.results]
    assert told, "none was in a slot already: nothing was tried"
    assert {fault.type for fault in told if fault is not None} == {"Cancelled"}
    assert len(told) + sum(desk.returned[job_id] for job_id in ids) == len(ids)
    desk.is_handing_out = True
    desk._waiting.clear()
    await untouched(desk, 12)


async def test_values_that_run_code_while_they_are_packed_do_not_get_into_others(desk_of: Open) -> None:
    desk = await desk_of(app="tests.mischief:app", slots=10)
    slow = [desk.submit("return_slow_dict", {"number": number}) for number in range(10)]
    wanted: list[Any] = [number if number % 2 else {"number": [number]} for number in range(200)]
    plain = [desk.submit("echo", {"value": value}) for value in wanted]
    assert [await desk.value(job_id) for job_id in plain] == wanted
    assert [len((await desk.value(job_id))["inner"]) for job_id in slow] == [20] * 10


async def test_result_may_be_nested_as_deeply_as_a_payload(desk_of: Open, way: str) -> None:
    desk = await desk_of(**WAYS[way])
    await desk.value(desk.submit("return_nested", {"depth": 64}))
    for wanted in (65, 400, 2000):
        result = await desk.result(desk.submit("return_nested", {"depth": wanted}, max_retries=0))
        assert result.error is not None
        assert result.error.type == "ResultNotSerialisable"
    assert "nested more than 64 deep" in (await _message(desk, "return_nested", depth=65))


async def test_result_with_keys_that_are_no_text_is_refused(desk_of: Open) -> None:
    desk = await desk_of(app="tests.mischief:app")
    assert "keys that are no str" in await _message(desk, "return_bytes_keys")


@pytest.mark.parametrize("is_nested", [False, True])
async def test_a_time_of_msgpacks_own_is_no_plain_data(desk_of: Open, is_nested: bool) -> None:
    desk = await desk_of(app="tests.mischief:app")
    assert "pass a time as its isoformat()" in await _message(desk, "return_timestamp", is_nested=is_nested)


@pytest.mark.parametrize(("kind", "named"), [("keys", "int is not allowed"), ("object", "object"), ("time", "isoformat"), ("int", "range")])
async def test_progress_that_nobody_could_read_fails_the_attempt_and_says_what_it_may_hold(desk_of: Open, kind: str, named: str) -> None:
    desk = await desk_of(app="tests.mischief:app")
    result = await desk.result(desk.submit("report_note", {"kind": kind}, max_retries=0))
    assert result.error is not None
    assert result.error.type == "TypeError"
    for words in ("the progress cannot be packed", named, "it may hold None, bool, int"):
        assert words in result.error.message
    await desk.value(desk.submit("report_note", {"kind": "map"}, max_retries=0))


async def test_a_coroutine_that_cancels_itself_and_returns_is_told_once(desk_of: Open, capfd: pytest.CaptureFixture[str]) -> None:
    desk = await desk_of(app="tests.mischief:app")
    assert await desk.value(desk.submit("cancel_itself")) == 5
    assert await desk.value(desk.submit("echo", {"value": 1})) == 1
    await desk.pool.stop(10.0)
    assert "Exception in callback" not in capfd.readouterr().err


async def _message(desk: Desk, name: str, **payload: Any) -> str:
    result = await desk.result(desk.submit(name, payload, max_retries=0))
    assert result.error is not None
    return result.error.message


async def test_a_child_that_a_task_forked_can_be_terminated(desk_of: Open, way: str) -> None:
    desk = await desk_of(**WAYS[way])
    assert await desk.value(desk.submit("terminate_own_child")) == -signal.SIGTERM


async def test_a_soft_limit_holds_after_a_task_that_used_alarms_itself(desk_of: Open) -> None:
    desk = await desk_of(**WAYS["inline"])
    await desk.result(desk.submit("disarm_alarm"))
    result = await desk.result(desk.submit("rest_ms", {"ms": 30_000}, soft_timeout_ms=50, max_retries=0))
    assert result.error is not None
    assert result.error.type == "SoftTimeout"
    await untouched(desk)


async def test_jobs_wait_for_the_threads_there_are_where_the_system_gives_no_more(
    desk_of: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    desk = await desk_of(app="tests.mischief:plain", slots=60)
    await desk.result(desk.submit("leave_few_threads"))
    ids = [desk.submit("rest_ms", {"ms": 5}) for _ in range(300)]
    for job_id in ids:
        await desk.result(job_id)
    assert desk.reports == []
    assert "lower WORKER_COUNT" in capfd.readouterr().err


async def test_a_process_that_starts_nothing_of_what_it_holds_is_ended_and_nobody_is_charged(
    desk_of: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STUCK_S", 0.5)
    desk = await desk_of(app="tests.mischief:plain", slots=2)
    (stuck,) = desk.pool.states()
    os.kill(stuck.pid, signal.SIGSTOP)
    ids = [desk.submit("echo", {"value": number}) for number in range(5)]
    assert [await desk.value(job_id) for job_id in ids] == list(range(5))
    assert "started none of its" in desk.reports[0].cause
    assert not desk.charges
    assert not desk.dead
