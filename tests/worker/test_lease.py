"""When the lease behind what the workers hold has ended: nothing of it is started, in the node or in its processes, until it is renewed."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from tests.fakes import started_pids
from zjp.wire.messages import ResultKind
from zjp.worker.marks import UNTIL, MarkFile

from .conftest import Desk, Open
from .test_outcomes import WAYS

pytestmark = pytest.mark.covers("main-path:7", "settings:LEASE_DURATION")

HELD, HELD_LEAST = 20, 5


def end_lease(desk: Desk) -> None:
    desk.pool.keep(time.monotonic() - 1)


async def held_behind(desk: Desk, path: Path, task: str = "noop") -> tuple[list[bytes], list[bytes]]:
    """(jobs that run in every slot until `path` is made, jobs that wait behind them in their process)"""
    free = path.with_name("free")
    free.touch()
    for _ in range(10):  # so that both are taken to be short
        await desk.result(desk.submit(task))
        await desk.result(desk.submit("hold_until", {"path": str(free)}))
    slots = desk.pool._settings.slots
    jobs = desk.submit_many([*[("hold_until", {"path": str(path)})] * slots, *[(task, {})] * HELD])
    await desk.until(lambda: len(started_pids(str(path))) == slots)
    waiting = [job_id for job_id in jobs[slots:] if job_id in desk.pool.held]
    assert len(waiting) >= HELD_LEAST
    return jobs[:slots], waiting


@pytest.mark.parametrize(("way", "task"), [*[(way, "noop") for way in WAYS], ("loop", "async_noop")])
async def test_process_starts_nothing_more_of_what_it_holds_and_gives_it_back(desk_of: Open, way: str, task: str, tmp_path: Path) -> None:
    desk = await desk_of(**WAYS[way])
    running, waiting = await held_behind(desk, tmp_path / "go", task)
    desk.is_handing_out = False
    end_lease(desk)
    (tmp_path / "go").touch()
    await desk.until(lambda: not desk.pool.held)
    assert {desk.results[job_id].kind for job_id in running} == {ResultKind.COMPLETED}, "what runs goes on: it has started"
    assert {desk.returned[job_id] for job_id in waiting} == {1}
    assert not desk.results.keys() & set(waiting)


@pytest.mark.parametrize("way", list(WAYS))
async def test_renewed_lease_has_them_run(desk_of: Open, way: str, tmp_path: Path) -> None:
    desk = await desk_of(**WAYS[way])
    _, waiting = await held_behind(desk, tmp_path / "go")
    end_lease(desk)
    (tmp_path / "go").touch()
    await desk.until(lambda: not desk.pool.held)
    assert desk.pool.credit() == 0
    desk.pool.keep(time.monotonic() + 60)
    desk._hand_out()
    await desk.until(lambda: desk.results.keys() >= set(waiting))
    assert {desk.given[job_id] for job_id in waiting} == {2}


async def test_pool_hands_nothing_out_and_has_credit_again_when_it_is_renewed(desk_of: Open) -> None:
    desk = await desk_of()
    end_lease(desk)
    assert desk.pool.credit() == 0
    desk.is_handing_out = False
    job = desk.job("noop", {})
    desk.pool.dispatch(1, [job])
    assert (desk.returned[job.spec.id], len(desk.pool.held)) == (1, 0), "a claim that was under way comes back"
    desk.is_handing_out = True
    desk.pool.keep(time.monotonic() + 60)  # which tells of credit
    await desk.until(lambda: job.spec.id in desk.results)


async def test_suspect_waits_for_the_lease(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of()
    suspect = desk.put(desk.job("hold_until", {"path": str(tmp_path / "go")}, suspicion=2))
    assert suspect in desk.pool.held, "its process is being started"
    end_lease(desk)
    await desk.until(lambda: sum(state.state == "ready" for state in desk.pool.states()) == 2)
    assert started_pids(str(tmp_path / "go")) == []
    desk.pool.keep(time.monotonic() + 60)
    (tmp_path / "go").touch()
    await desk.until(lambda: suspect in desk.results)
    assert desk.returned[suspect] == 0


async def test_process_that_was_recalled_keeps_the_former_limit_until_it_has_answered(desk_of: Open, tmp_path: Path) -> None:
    """Else it would start what was lost in the moment in which the lease has begun anew."""
    desk = await desk_of()
    await held_behind(desk, tmp_path / "go")
    desk.is_handing_out = False
    (child,) = desk.pool._crew.children.values()
    desk.pool.keep(5.0)
    desk.pool.recall()
    desk.pool.keep(math.inf)
    assert child.marks.lease[UNTIL] == 5.0
    await desk.until(lambda: not child.is_recalled)
    assert child.marks.lease[UNTIL] == math.inf
    (tmp_path / "go").touch()


def test_what_the_node_writes_is_seen_in_the_process(tmp_path: Path) -> None:
    node = MarkFile.create(tmp_path / "w.marks", 2)
    worker = MarkFile.open(tmp_path / "w.marks")
    assert worker.lease[UNTIL] == math.inf
    node.keep(12.5)
    worker.mark(0, b"a" * 16, 7)
    assert (worker.lease[UNTIL], node.read()) == (12.5, [(b"a" * 16, 7)])
    for file in (node, worker):
        file.close()
