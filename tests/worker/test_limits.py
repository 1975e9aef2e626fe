"""Soft and hard time-outs and cancelling, on real processes, in each of the ways in which tasks are run."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.bounds import allowed
from tests.fakes import started
from zjp.task import SoftTimeout
from zjp.wire.messages import ResultKind
from zjp.worker.limits import ThreadLimits

from .conftest import Open
from .test_outcomes import WAYS, outcome

pytestmark = pytest.mark.covers("main-path:7", "settings:JOB_TIMEOUT", "settings:SOFT_TIMEOUT")

HANGS = ["hang_in_c", "hang_with_lock"]


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    return WAYS[request.param]


async def test_a_soft_limit_raises_in_the_task(desk_of: Open, way: dict[str, Any]) -> None:
    desk = await desk_of(**way)
    result = await desk.result(desk.submit("loop_for_ever", soft_timeout_ms=100, max_retries=0))
    assert outcome(result) == (ResultKind.FAILED, "SoftTimeout")
    assert result.error is not None
    assert result.error.message in ("the soft limit has passed", "the attempt ran longer than its soft limit of 100ms")
    assert "loop_for_ever" in result.error.traceback
    assert 100_000 <= result.ended_us - result.started_us < allowed(2_000_000)


async def test_a_task_may_use_its_soft_limit_to_end_well(desk_of: Open, way: dict[str, Any]) -> None:
    desk = await desk_of(**way)
    assert await desk.value(desk.submit("clean_up_at_limit", soft_timeout_ms=100)) == "cleaned up"


async def test_an_async_task_is_cancelled_at_its_soft_limit(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(slots=2)
    job_id = desk.submit("async_hold_until", {"path": str(tmp_path / "never")}, soft_timeout_ms=100, max_retries=0)
    assert outcome(await desk.result(job_id)) == (ResultKind.FAILED, "SoftTimeout")
    assert await desk.value(desk.submit("async_echo", {"value": 1})) == 1


async def test_a_soft_time_out_is_a_failure_that_is_retried(desk_of: Open) -> None:
    desk = await desk_of(soft_timeout_s=0.05)
    assert outcome(await desk.result(desk.submit("loop_for_ever"))) == (ResultKind.RETRY, "SoftTimeout")


async def test_no_soft_limit_reaches_the_job_after(desk_of: Open, way: dict[str, Any]) -> None:
    """Each job ends at about its own limit: some before, some after, none may hit another."""
    desk = await desk_of(**way, max_retries=0)
    wanted = [("burn_ms", {"ms": 3 + n % 5 / 10}) for n in range(150)]
    limited = [desk.submit(*each, soft_timeout_ms=3) for each in wanted]
    free = desk.submit_many([("burn_ms", {"ms": 0.1})] * 150)
    await desk.until(lambda: len(desk.results) == 300)
    assert {outcome(desk.results[job_id]) for job_id in limited} <= {(0, ""), (1, "SoftTimeout")}
    assert {outcome(desk.results[job_id]) for job_id in free} == {(0, "")}


def test_a_limit_that_passes_just_as_the_function_ends_leaves_nothing_behind() -> None:
    limits = ThreadLimits()
    for number in range(300):
        try:
            limits.call(0.0005, partial(burn, 0.0004 + number % 10 * 0.00004))
        except SoftTimeout:
            pass
        burn(0.0003)  # a late exception would come out here


def burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.mark.parametrize("hang", HANGS)
async def test_a_task_that_hangs_in_c_is_killed_at_its_hard_limit_while_others_go_on(
    desk_of: Open, way: dict[str, Any], hang: str
) -> None:
    desk = await desk_of(**{**way, "slots": way["slots"] * 2, "processes": 2})
    hung = desk.submit(hang, timeout_ms=400)
    begun = time.monotonic()
    others = desk.submit_many([("echo", {"value": n}) for n in range(200)])
    await desk.until(lambda: bool(desk.reports))
    assert 0.4 <= time.monotonic() - begun < allowed(1.4)
    await desk.until(lambda: all(job_id in desk.results for job_id in others))
    (report,) = desk.reports
    ((job, _, _, fault),) = report.timed_out
    assert job.spec.id == hung
    assert fault.type == "Timeout"
    assert "longer than its limit of 400ms" in fault.message
    assert "ran longer than its limit of 400ms" in report.cause
    assert report.charged is None
    assert not report.suspects
    assert {desk.results[job_id].kind for job_id in others} == {ResultKind.COMPLETED}
    assert set(desk.charges) == set()


async def test_the_hard_limit_of_the_task_counts_from_its_start_and_not_from_its_hand_out(desk_of: Open) -> None:
    """Hundreds of short jobs wait in one process for longer than their limit; none is timed out."""
    desk = await desk_of(job_timeout_s=0.3)
    await desk.value(desk.submit("burn_ms", {"ms": 0.1}))
    ids = desk.submit_many([("burn_ms", {"ms": 2})] * 400)
    await desk.until(lambda: all(job_id in desk.results for job_id in ids))
    assert desk.reports == []


async def test_every_job_that_overran_in_one_process_times_out_and_no_other(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(slots=4)
    go = str(tmp_path / "go")
    late = desk.submit_many([("hold_until", {"path": f"{go}{n}"}) for n in range(2)], timeout_ms=300)  # at once: found by one look
    patient = desk.submit("hold_until", {"path": go})
    await desk.until(lambda: bool(desk.reports))
    assert {job.spec.id for job, *_ in desk.reports[0].timed_out} == set(late)
    assert [job.spec.id for job, _ in desk.reports[0].innocent] == [patient]
    (tmp_path / "go").touch()
    await desk.value(patient)


async def test_a_cancelled_job_that_has_not_started_comes_back(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(app="tests.fakes:plain")
    await desk.value(desk.submit("count_run", {"path": str(tmp_path / "warm")}))
    desk.is_handing_out = False
    first = desk.job("hold_until", {"path": str(tmp_path / "go")})
    second = desk.job("count_run", {"path": str(tmp_path / "ran")})
    desk.pool._credit.learn("hold_until", 1, 1)
    desk.pool.dispatch(50, [first, second])
    await desk.until(lambda: started(str(tmp_path / "go")).exists())
    desk.pool.cancel([second.spec.id])
    await desk.until(lambda: desk.returned[second.spec.id] == 1)
    (tmp_path / "go").touch()
    await desk.result(first.spec.id)
    assert not (tmp_path / "ran").exists()


async def test_a_cancelled_task_is_told_and_its_result_still_reported(
    desk_of: Open, way: dict[str, Any], tmp_path: Path
) -> None:
    desk = await desk_of(**way)
    job_id = desk.submit("stop_when_told", {"path": str(tmp_path / "job")})
    await desk.until(lambda: started(str(tmp_path / "job")).exists())
    desk.pool.cancel([job_id])
    assert await desk.value(job_id) == "stopped"


async def test_a_cancelled_async_task_is_cancelled_at_once(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(slots=2)
    job_id = desk.submit("async_hold_until", {"path": str(tmp_path / "never")})
    await desk.until(lambda: started(str(tmp_path / "never")).exists())
    desk.pool.cancel([job_id])
    assert outcome(await desk.result(job_id)) == (ResultKind.FAILED, "Cancelled")


@pytest.mark.parametrize("hang", HANGS)
async def test_a_cancelled_task_that_does_not_listen_is_killed_after_the_grace_time(
    desk_of: Open, tmp_path: Path, hang: str
) -> None:
    desk = await desk_of(slots=2, cancel_grace_s=0.3)
    job_id = desk.submit(hang, {"path": str(tmp_path / "job")})
    await desk.until(lambda: started(str(tmp_path / "job")).exists())
    told_at = time.monotonic()
    desk.is_handing_out = False
    desk.pool.cancel([job_id])
    await desk.until(lambda: bool(desk.reports))
    assert 0.3 <= time.monotonic() - told_at < allowed(1.3)
    (report,) = desk.reports
    ((job, _, _, fault),) = report.cancelled
    assert (job.spec.id, fault.type) == (job_id, "Cancelled")
    assert "was cancelled and did not stop within 300ms" in report.cause
    assert "was cancelled and did not stop within 300ms" in fault.message
    assert report.charged is None


async def test_a_cancelled_job_that_is_killed_for_the_time_out_of_a_neighbour_says_it_was_cancelled(
    desk_of: Open, tmp_path: Path
) -> None:
    desk = await desk_of(slots=2, cancel_grace_s=60.0)
    cancelled = desk.submit("hang_in_c", {"path": str(tmp_path / "cancelled")})
    await desk.until(lambda: started(str(tmp_path / "cancelled")).exists())
    desk.pool.cancel([cancelled])
    late = desk.submit("hang_in_c", {"path": str(tmp_path / "late")}, timeout_ms=200)
    await desk.until(lambda: started(str(tmp_path / "late")).exists())
    desk.is_handing_out = False
    await desk.until(lambda: bool(desk.reports))
    (report,) = desk.reports
    assert [job.spec.id for job, *_ in report.timed_out] == [late]
    ((job, _, _, fault),) = report.cancelled
    assert (job.spec.id, fault.type) == (cancelled, "Cancelled")
    assert "was cancelled" in fault.message
    assert "limit" not in fault.message


async def test_cancelling_again_does_not_prolong_the_grace_time(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(slots=2, cancel_grace_s=0.3)
    job_id = desk.submit("hang_in_c", {"path": str(tmp_path / "job")})
    await desk.until(lambda: started(str(tmp_path / "job")).exists())
    desk.is_handing_out = False
    told_at = time.monotonic()

    def told_again() -> bool:
        desk.pool.cancel([job_id])
        return bool(desk.reports)

    await desk.until(told_again)
    assert time.monotonic() - told_at < allowed(1.3)


async def test_ids_that_are_not_here_are_passed_over(desk_of: Open) -> None:
    desk = await desk_of()
    desk.pool.cancel([bytes(16)])
    assert await desk.value(desk.submit("echo", {"value": 1})) == 1
