"""Tasks that return and ruin their process all the same: it dies later, while others run, or before their result has left it."""

from __future__ import annotations

import pytest

from tests.bounds import allowed
from zjp.job import SUSPICION_LIMIT
from zjp.wire.messages import ResultKind
from zjp.worker import watch

from .conftest import CRASH_LIMIT, Desk, Open

pytestmark = pytest.mark.covers("main-path:7")

DEATHS_MAX = SUSPICION_LIMIT + CRASH_LIMIT
"""First as one of those that may have done it, then alone."""
WAYS = {
    "inline": {"app": "tests.mischief:plain", "slots": 2, "processes": 2},
    "one slot": {"app": "tests.mischief:app", "slots": 2, "processes": 2},
    "four slots": {"app": "tests.mischief:app", "slots": 4, "processes": 1},
    "ten slots": {"app": "tests.mischief:app", "slots": 10, "processes": 2},
}
INNOCENT = 200


def cases(*tasks: str) -> pytest.MarkDecorator:
    """Every task in every way that has it."""
    found = [(way, task) for way in WAYS for task in tasks if way != "inline" or not task.startswith("async")]
    return pytest.mark.parametrize(("way", "task"), found)


async def run_among_innocent(desk: Desk, task: str, payload: dict[str, float], count: int) -> bytes:
    """One such job among `count` others, most of them behind it, which all complete uncharged. The answer is its id."""
    wanted = [("rest_ms", {"ms": number % 5}) for number in range(count)]
    wanted.insert(count // 4, (task, payload))
    ids = desk.submit_many(wanted)
    bad = ids.pop(count // 4)
    await desk.until(
        lambda: desk.results.keys() >= set(ids) and (bad in desk.dead or bad in desk.results), within_s=allowed(20)
    )
    assert all(desk.results[job_id].kind == ResultKind.COMPLETED for job_id in ids)
    assert desk.charges.keys() <= {bad}
    assert len(desk.reports) <= DEATHS_MAX
    return bad


@pytest.mark.parametrize("count", [0, INNOCENT])
@cases("close_all", "async_close_all")
async def test_a_job_that_closes_all_descriptors_and_returns_is_charged_and_dies_at_the_limit(
    desk_of: Open, way: str, task: str, count: int
) -> None:
    desk = await desk_of(**WAYS[way])
    bad = await run_among_innocent(desk, task, {}, count)
    assert desk.dead == [bad]
    assert desk.charges == {bad: CRASH_LIMIT}


@pytest.mark.parametrize("ms", [0, 5, 20])
@cases("die_in_ms", "async_die_in_ms")
async def test_a_job_that_returns_before_its_process_dies_is_charged_unless_its_result_came(
    desk_of: Open, way: str, task: str, ms: float
) -> None:
    desk = await desk_of(**WAYS[way])
    bad = await run_among_innocent(desk, task, {"ms": ms}, INNOCENT)
    assert desk.dead == ([] if bad in desk.results else [bad])


@pytest.mark.parametrize("slots", [1, 4])
@pytest.mark.parametrize(("app", "task"), [("plain", "die_in_ms"), ("app", "die_in_ms"), ("app", "async_die_in_ms")])
async def test_a_job_that_runs_alone_where_a_finished_one_ends_the_process_is_not_charged(
    desk_of: Open, app: str, task: str, slots: int
) -> None:
    desk = await desk_of(app=f"tests.mischief:{app}", slots=slots)
    await desk.result(desk.submit(task, {"ms": 200}))
    innocent = desk.submit("rest_ms", {"ms": 500})
    assert (await desk.result(innocent)).kind == ResultKind.COMPLETED
    (report,) = desk.reports
    assert [job.spec.id for job, *_ in report.suspects] == [innocent]
    assert desk.charges == {}


@pytest.mark.parametrize("way", list(WAYS))
async def test_a_job_whose_process_falls_silent_when_it_returns_is_charged_and_dies_at_the_limit(
    desk_of: Open, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STUCK_S", 0.5)
    desk = await desk_of(**WAYS[way])
    bad = await run_among_innocent(desk, "deafen_all", {}, 20)
    assert desk.charges == {bad: CRASH_LIMIT}
    assert any("reported none" in report.cause for report in desk.reports)
