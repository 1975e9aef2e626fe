"""Worker processes that die: who is charged, who goes back unspent, and that everything else completes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.bounds import allowed
from tests.fakes import started, started_pids
from zjp.wire.messages import ResultKind

from .conftest import Open

pytestmark = pytest.mark.covers("main-path:7")


@pytest.mark.parametrize(
    ("task", "payload", "cause"),
    [
        ("segfault", {}, "killed by SIGSEGV"),
        ("exit_process", {"code": 0}, "ended with exit code 0"),
        ("exit_process", {"code": 7}, "ended with exit code 7"),
    ],
)
async def test_the_only_running_job_is_charged_and_dies_at_the_limit(
    desk_of: Open, task: str, payload: dict[str, int], cause: str
) -> None:
    desk = await desk_of()
    job_id = desk.submit(task, payload)
    await desk.until(lambda: desk.dead == [job_id])
    assert [report.charged[0].spec.id for report in desk.reports if report.charged is not None] == [job_id] * 3
    assert all(cause in report.cause for report in desk.reports)
    assert all(report.rss_bytes >= 0 for report in desk.reports)
    assert [report.worker[:2] for report in desk.reports] == ["w0", "w0", "q0"]
    assert await desk.value(desk.submit("echo", {"value": "alive"})) == "alive"


async def test_one_segfault_among_a_thousand_jobs_costs_the_others_nothing(desk_of: Open) -> None:
    desk = await desk_of(slots=10, processes=2)
    begun = time.monotonic()
    ids = desk.submit_many([("segfault", {}) if n == 500 else ("echo", {"value": n}) for n in range(1000)])
    bad = ids.pop(500)
    await desk.until(lambda: len(desk.results) == 999 and desk.dead == [bad], within_s=allowed(10))
    assert time.monotonic() - begun < allowed(10)
    assert {desk.results[job_id].kind for job_id in ids} == {ResultKind.COMPLETED}
    assert set(desk.charges) == {bad}
    assert desk.charges[bad] == 3


async def test_one_segfault_among_a_thousand_jobs_run_inline_costs_the_others_nothing(desk_of: Open) -> None:
    desk = await desk_of(app="tests.fakes:plain", slots=2, processes=2)
    ids = desk.submit_many([("segfault", {}) if n == 500 else ("echo", {"value": n}) for n in range(1000)])
    bad = ids.pop(500)
    await desk.until(lambda: len(desk.results) == 999 and desk.dead == [bad], within_s=allowed(10))
    assert set(desk.charges) == {bad}


async def test_several_running_jobs_are_suspects_and_are_told_apart_in_quarantine(
    desk_of: Open, tmp_path: Path
) -> None:
    desk = await desk_of(slots=4)
    go = str(tmp_path / "go")
    innocent = [desk.put(desk.job("hold_until", {"path": go}, suspicion=1)) for _ in range(3)]
    await desk.until(lambda: len(started_pids(go)) == 3)
    guilty = desk.put(desk.job("segfault_once", {"path": str(tmp_path / "once")}, suspicion=1))
    await desk.until(lambda: bool(desk.reports))
    first = desk.reports[0]
    assert first.charged is None
    assert {job.spec.id for job, *_ in first.suspects} == {*innocent, guilty}
    assert all(job.suspicion == 2 for job, *_ in first.suspects)
    (tmp_path / "go").touch()
    await desk.until(lambda: len(desk.results) == 4)
    assert {worker[0] for worker in desk.workers.values()} == {"q"}
    assert desk.charges == {}


async def test_suspects_run_each_alone_and_only_the_one_that_kills_its_process_is_charged(
    desk_of: Open, tmp_path: Path
) -> None:
    desk = await desk_of(slots=2)
    first = desk.put(desk.job("hold_until", {"path": str(tmp_path / "go")}, suspicion=2))
    second = desk.put(desk.job("segfault", {}, suspicion=2))
    third = desk.put(desk.job("echo", {"value": 3}, suspicion=3))
    assert await desk.value(third) == 3
    await desk.until(lambda: desk.dead == [second])
    assert desk.charges == {second: 3}
    (undisturbed,) = desk.pool.held.values()
    assert undisturbed.job.spec.id == first
    assert undisturbed.worker in ("q0.1", "q1.1")
    assert desk.workers[third][0] == "q"
    assert await desk.value(desk.submit("echo", {"value": "others go on"})) == "others go on"
    (tmp_path / "go").touch()
    await desk.value(first)


async def test_no_more_suspects_run_at_once_than_a_process_has_slots(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(slots=2, processes=2)
    go = str(tmp_path / "go")
    jobs = [desk.put(desk.job("hold_until", {"path": go}, suspicion=2)) for _ in range(2)]
    await desk.until(lambda: len(started_pids(go)) == 1)
    assert {held.worker for held in desk.pool.held.values()} == {"q0.1", ""}
    (tmp_path / "go").touch()
    for job_id in jobs:
        await desk.value(job_id)
    assert {desk.workers[job_id] for job_id in jobs} == {"q0.1", "q0.2"}


async def test_one_death_makes_all_its_suspects_run_again_at_once(desk_of: Open, tmp_path: Path) -> None:
    """None of them waits for another, however long that takes."""
    desk = await desk_of(slots=4)
    go = str(tmp_path / "go")
    ids = [desk.put(desk.job("hold_until", {"path": go}, suspicion=1)) for _ in range(4)]
    await desk.until(lambda: len(started_pids(go)) == 4)
    os.kill(desk.pool.states()[0].pid, signal.SIGKILL)
    await desk.until(lambda: len(started_pids(go)) == 8)
    assert len(set(started_pids(go)[4:])) == 4, "each in a process of its own"
    (tmp_path / "go").touch()
    for job_id in ids:
        await desk.value(job_id)


async def test_a_job_in_quarantine_can_be_cancelled_and_recalled(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of()
    desk.put(desk.job("hold_until", {"path": str(tmp_path / "go")}, suspicion=2))
    waiting = [desk.put(desk.job("echo", {"value": n}, suspicion=2)) for n in range(2)]
    await desk.until(lambda: started(str(tmp_path / "go")).exists())
    desk.is_handing_out = False
    desk.pool.cancel([waiting[0]])
    assert desk.returned == {waiting[0]: 1}
    desk.pool.recall()
    assert desk.returned == {waiting[0]: 1, waiting[1]: 1}


async def test_kill_9_charges_the_started_job_and_its_run_again_starts_within_a_second(
    desk_of: Open, tmp_path: Path
) -> None:
    desk = await desk_of(app="tests.fakes:plain", slots=2, processes=2)
    go = str(tmp_path / "go")
    job_id = desk.submit("hold_until", {"path": go})
    await desk.until(lambda: bool(started_pids(go)))
    (victim,) = started_pids(go)
    os.kill(victim, signal.SIGKILL)
    killed_at = time.monotonic()
    await desk.until(lambda: len(started_pids(go)) == 2)
    assert time.monotonic() - killed_at < allowed(1.0)
    assert desk.charges == {job_id: 1}
    assert desk.reports[0].pid == victim
    assert "killed by SIGKILL" in desk.reports[0].cause
    (tmp_path / "go").touch()
    await desk.value(job_id)


async def test_jobs_that_wait_in_a_killed_process_run_elsewhere_uncharged(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(app="tests.fakes:plain", slots=2, processes=2)
    for task in ("hold_until", "echo"):
        desk.pool._credit.learn(task, 1, 1)
    go = str(tmp_path / "go")
    jobs = [desk.job("hold_until", {"path": go})] + [desk.job("echo", {"value": n}) for n in range(60)]
    desk.fence = 70
    desk.pool.dispatch(70, jobs)
    await desk.until(lambda: bool(started_pids(go)))
    os.kill(started_pids(go)[0], signal.SIGKILL)
    await desk.until(lambda: len(desk.results) == 60)
    assert desk.charges == {jobs[0].spec.id: 1}
    (tmp_path / "go").touch()
    await desk.value(jobs[0].spec.id)


async def test_an_idle_process_that_is_killed_is_replaced_and_nobody_is_charged(desk_of: Open) -> None:
    desk = await desk_of()
    os.kill(desk.pool.states()[0].pid, signal.SIGKILL)
    await desk.until(lambda: bool(desk.reports))
    assert await desk.value(desk.submit("echo", {"value": 1})) == 1
    (report,) = desk.reports
    assert (report.charged, list(report.suspects), list(report.innocent)) == (None, [], [])
    assert [state.restarts for state in desk.pool.states()] == [1]


async def test_a_stopped_process_is_killed_at_the_hard_limit_of_what_it_runs(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of()
    go = str(tmp_path / "go")
    job_id = desk.submit("hold_until", {"path": go}, timeout_ms=300)
    await desk.until(lambda: started(go).exists())
    os.kill(desk.pool.states()[0].pid, signal.SIGSTOP)
    await desk.until(lambda: bool(desk.reports))
    assert [job.spec.id for job, *_ in desk.reports[0].timed_out] == [job_id]


async def test_what_a_killed_task_had_started_dies_with_it(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of()
    note = tmp_path / "grandchild"
    desk.submit("start_grandchild", {"path": str(note)})
    await desk.until(note.exists)
    grandchild = int(note.read_text())
    os.kill(desk.pool.states()[0].pid, signal.SIGKILL)
    desk.is_handing_out = False
    await desk.until(lambda: not is_alive(grandchild), within_s=allowed(1))


async def test_a_job_claimed_again_while_its_former_claim_runs_here_waits_for_it(desk_of: Open, tmp_path: Path) -> None:
    """The lease was lost, the store handed the job out again, to the same node."""
    desk = await desk_of(slots=2)
    go = str(tmp_path / "go")
    job = desk.job("stop_when_told", {"path": go})
    desk.pool.dispatch(1, [job])
    await desk.until(lambda: started(go).exists())
    desk.pool.dispatch(2, [job])
    await desk.until(lambda: len(desk.reported) == 1)
    desk.pool.cancel([job.spec.id])
    await desk.until(lambda: desk.reported == [(job.spec.id, 1), (job.spec.id, 2)])


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
