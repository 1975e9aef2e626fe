"""Processes that are replaced by number of jobs or by memory: how many jobs run at once meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import started_pids
from zjp.wire.messages import ResultKind

from .conftest import Desk, Open

pytestmark = pytest.mark.covers("main-path:7", "settings:WORKER_COUNT", "settings:WORKER_MAX_JOBS", "settings:WORKER_MAX_RSS")

LARGE = 200 << 20
LIMIT = 150 << 20


def states(desk: Desk) -> list[tuple[str, str]]:
    return sorted((state.name, state.state) for state in desk.pool.states())


async def test_few_jobs_for_each_process_leave_no_slot_idle(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(slots=4, max_jobs=6)
    go = str(tmp_path / "go")
    desk.submit_many([("hold_until", {"path": go})] * 4)
    await desk.until(lambda: len(started_pids(go)) == 4)
    (tmp_path / "go").touch()
    await desk.until(lambda: len(desk.results) == 4)


async def test_a_claim_holds_no_more_jobs_than_are_left_to_a_process(desk_of: Open) -> None:
    desk = await desk_of(slots=4, processes=2, max_jobs=3)
    await desk.value(desk.submit("echo", {"value": 1}))
    desk.submit_many([("echo", {"value": 1})] * 19)
    await desk.until(lambda: len(desk.results) == 20)
    assert not desk.returned
    assert max(list(desk.workers.values()).count(worker) for worker in desk.workers.values()) == 3


async def test_more_slots_than_a_process_may_hold_jobs_do_not_raise_the_number_that_it_runs(desk_of: Open) -> None:
    desk = await desk_of(slots=2_000, max_jobs=3)
    desk.submit_many([("echo", {"value": 1})] * 12)
    await desk.until(lambda: len(desk.results) == 12)
    assert sorted(list(desk.workers.values()).count(f"w0.{n}") for n in range(1, 5)) == [3, 3, 3, 3]


async def test_the_last_long_job_of_a_process_holds_up_no_others(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(slots=2, max_jobs=5)
    go = str(tmp_path / "go")
    long = desk.submit("hold_until", {"path": go})
    await desk.until(lambda: len(started_pids(go)) == 1)
    short = desk.submit_many([("echo", {"value": n}) for n in range(12)])
    await desk.until(lambda: all(job_id in desk.results for job_id in short))
    assert long not in desk.results
    (tmp_path / "go").touch()
    assert (await desk.result(long)).kind == ResultKind.COMPLETED
    assert (desk.workers[long], desk.reports) == ("w0.1", [])


async def test_no_more_jobs_run_at_once_than_there_are_slots_while_large_processes_are_replaced(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(slots=2, max_rss_bytes=LIMIT)
    paths = [tmp_path / str(n) for n in range(4)]
    ids = desk.submit_many([("hold_memory", {"path": str(path), "count": LARGE}) for path in paths])
    await desk.until(lambda: states(desk) == [("w0.1", "retiring"), ("w0.2", "ready")])
    assert (desk.pool.credit(), len(desk.pool.held)) == (0, 2)
    paths[0].touch()
    await desk.until(lambda: len(started_pids(str(paths[2]))) == 1)
    await desk.until(lambda: states(desk) == [("w0.1", "retiring"), ("w0.2", "retiring"), ("w0.3", "ready")])
    assert (desk.pool.credit(), len(desk.pool.held)) == (0, 2)
    assert started_pids(str(paths[3])) == []
    for path in paths:
        path.touch()
    await desk.until(lambda: all(job_id in desk.results for job_id in ids))
    assert desk.reports == []


async def test_a_large_job_in_quarantine_makes_no_room_for_another_one(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(slots=1, max_rss_bytes=LIMIT)
    paths = [tmp_path / str(n) for n in range(2)]
    ids = [desk.put(desk.job("hold_memory", {"path": str(path), "count": LARGE}, suspicion=2)) for path in paths]
    await desk.until(lambda: any(state.rss_bytes > LARGE for state in desk.pool.states()))
    for _ in range(3):  # in each of them the pool looks at that process
        former = desk.pool._timer
        await desk.until(lambda: desk.pool._timer is not former)  # noqa: B023
    assert states(desk) == [("q0.1", "ready"), ("w0.1", "ready")]
    for path in paths:
        path.touch()
    await desk.until(lambda: all(job_id in desk.results for job_id in ids))
