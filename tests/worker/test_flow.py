"""How jobs flow: prefetch, recall, drain, recycling, restarts."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from tests.bounds import allowed
from tests.fakes import started, started_pids
from zjp.wire.messages import ResultKind
from zjp.worker.credit import HELD_MAX

from .conftest import Desk, Open

pytestmark = pytest.mark.covers("main-path:7", "settings:WORKER_MAX_JOBS", "settings:WORKER_MAX_RSS")


async def warm(desk: Desk, task: str = "burn_ms", **payload: object) -> None:
    """Let the pool measure the type."""
    for _ in range(4):
        await desk.value(desk.submit(task, payload))


def held_max(desk: Desk) -> int:
    return max(state.held for state in desk.pool.states())


async def test_a_type_never_seen_gets_no_more_than_the_free_slots(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(slots=5, processes=2)
    go = str(tmp_path / "go")
    ids = desk.submit_many([("hold_until", {"path": go})] * 50)
    await desk.until(lambda: len(started_pids(go)) == 5)
    assert len(desk.pool.held) == 5
    assert desk.pool.credit() == 0
    told = [state.current for state in desk.pool.states()]
    assert sorted(job_id for current in told for job_id in current) == sorted(desk.pool.held)
    (tmp_path / "go").touch()
    await desk.until(lambda: all(job_id in desk.results for job_id in ids))
    assert [state.current for state in desk.pool.states()] == [(), ()]


async def test_short_jobs_are_prefetched_by_the_hundred_and_never_above_the_limit(desk_of: Open) -> None:
    desk = await desk_of(app="tests.fakes:plain")
    await warm(desk, "noop")
    seen = []
    desk.submit_many([("noop", {})] * 5_000)
    await desk.until(lambda: (seen.append(held_max(desk)), len(desk.results) == 5_004)[1])
    assert 100 < max(seen) <= HELD_MAX + 1


async def test_prefetch_holds_about_20_ms_of_work(desk_of: Open) -> None:
    desk = await desk_of(app="tests.fakes:plain")
    await warm(desk, ms=4)
    seen = []
    desk.submit_many([("burn_ms", {"ms": 4})] * 40)
    await desk.until(lambda: (seen.append(held_max(desk)), len(desk.results) == 44)[1])
    assert 2 <= max(seen) <= 6


async def test_long_jobs_are_never_hoarded(desk_of: Open) -> None:
    desk = await desk_of(app="tests.fakes:plain", slots=2, processes=2)
    await warm(desk, ms=25)
    seen = []
    desk.submit_many([("burn_ms", {"ms": 25})] * 8)
    await desk.until(lambda: (seen.append(held_max(desk)), len(desk.results) == 12)[1])
    assert max(seen) == 1


async def test_what_waits_behind_an_unforeseen_long_job_is_called_back_after_100_ms(
    desk_of: Open, tmp_path: Path
) -> None:
    desk = await desk_of(app="tests.fakes:plain", slots=2, processes=2)
    await warm(desk, "echo", value=0)
    desk.pool._credit.learn("hold_until", 1, 1)
    go = str(tmp_path / "go")
    begun = time.monotonic()
    ids = desk.submit_many([("hold_until", {"path": go})] + [("echo", {"value": n}) for n in range(300)])
    long, short = ids[0], ids[1:]
    await desk.until(lambda: all(job_id in desk.results for job_id in short))
    assert time.monotonic() - begun < allowed(1.0)
    assert sum(desk.returned.values()) > 50
    assert max(desk.returned.values()) == 1, "nothing more may be put behind the long one"
    assert long not in desk.results
    (idle,) = (state.name for state in desk.pool.states() if not state.held)
    assert {desk.workers[job_id] for job_id in desk.returned} == {idle}
    (tmp_path / "go").touch()
    await desk.value(long)


async def test_results_of_short_jobs_do_not_wait_for_the_long_one_behind_them(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(app="tests.fakes:plain")
    for task in ("echo", "hold_until"):
        desk.pool._credit.learn(task, 1, 1)
    go = str(tmp_path / "go")
    jobs = [*(desk.job("echo", {"value": n}) for n in range(3)), desk.job("hold_until", {"path": go})]
    desk.pool.dispatch(1, jobs)
    await desk.until(lambda: len(desk.results) == 3)
    (tmp_path / "go").touch()
    await desk.value(jobs[3].spec.id)


async def test_a_recall_brings_back_everything_unstarted_and_nothing_that_runs(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(app="tests.fakes:plain")
    for task in ("count_run", "hold_until"):
        desk.pool._credit.learn(task, 1, 1)
    desk.is_handing_out = False
    go = str(tmp_path / "go")
    first = desk.job("hold_until", {"path": go})
    rest = [desk.job("count_run", {"path": str(tmp_path / "ran")}) for _ in range(30)]
    desk.pool.dispatch(1, [first, *rest])
    await desk.until(lambda: started(go).exists())
    desk.pool.recall()
    await desk.until(lambda: len(desk.returned) == 30)
    assert set(desk.pool.held) == {first.spec.id}
    (tmp_path / "go").touch()
    await desk.value(first.spec.id)
    assert not (tmp_path / "ran").exists()


async def test_a_process_holds_a_bounded_number_of_large_payloads(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(app="tests.fakes:plain", slots=1)
    for task in ("echo", "hold_until"):
        desk.pool._credit.learn(task, 1, 1)
    desk.is_handing_out = False
    go = str(tmp_path / "go")
    jobs = [desk.job("hold_until", {"path": go}), *(desk.job("echo", {"value": "x" * 500_000}) for _ in range(40))]
    desk.pool.dispatch(1, jobs)
    assert len(desk.returned) > 25
    (tmp_path / "go").touch()
    await desk.until(lambda: len(desk.results) + len(desk.returned) == 41)


async def test_jobs_of_one_claim_start_in_order_in_each_process(desk_of: Open) -> None:
    desk = await desk_of(app="tests.fakes:plain", slots=2, processes=2)
    await warm(desk, "noop")
    ids = desk.submit_many([("noop", {})] * 400)
    await desk.until(lambda: all(job_id in desk.results for job_id in ids))
    for worker in set(desk.workers.values()):
        starts = [desk.results[job_id].started_us for job_id in ids if desk.workers[job_id] == worker]
        assert starts == sorted(starts)


async def test_a_drain_lets_running_jobs_finish_and_hands_the_others_back(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(slots=2)
    for task in ("echo", "hold_until"):
        desk.pool._credit.learn(task, 1, 1)
    go = str(tmp_path / "go")
    jobs = [
        *(desk.job("hold_until", {"path": go}) for _ in range(2)),
        *(desk.job("echo", {"value": n}) for n in range(20)),
    ]
    desk.is_handing_out = False
    desk.pool.dispatch(1, jobs)
    await desk.until(lambda: len(started_pids(go)) == 2)
    (tmp_path / "go").touch()
    assert await desk.pool.stop(10.0) == []
    assert {desk.results[job.spec.id].kind for job in jobs[:2]} == {ResultKind.COMPLETED}
    assert len(desk.results) + len(desk.returned) == 22
    assert desk.pool.states() == []


async def test_a_drain_that_takes_too_long_is_cut_off_and_says_what_it_cut(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(slots=2, processes=2)
    done = desk.submit("echo", {"value": 1})
    await desk.value(done)
    desk.is_handing_out = False
    job = desk.job("hang_with_lock", {"path": str(tmp_path / "job")})
    desk.pool.dispatch(9, [job])
    await desk.until(lambda: started(str(tmp_path / "job")).exists())
    begun = time.monotonic()
    assert await desk.pool.stop(0.2) == [(job, 9)]
    assert 0.2 <= time.monotonic() - begun < allowed(1.5)
    assert desk.reports == []


async def test_a_pool_that_was_never_started_answers_and_stops(desk_of: Open) -> None:
    from zjp.worker.pool import PoolSettings

    pool = Desk(PoolSettings(app="tests.fakes:app")).pool
    assert (pool.credit(), pool.states(), dict(pool.held), pool.skew()) == (0, [], {}, 0.0)
    pool.cancel([bytes(16)])
    pool.recall()
    assert await pool.stop(1.0) == []


async def test_a_process_is_replaced_after_its_number_of_jobs_and_no_job_is_lost(desk_of: Open) -> None:
    desk = await desk_of(slots=2, processes=2, max_jobs=100)
    ids = desk.submit_many([("echo", {"value": n}) for n in range(1000)])
    await desk.until(lambda: len(desk.results) == 1000)
    assert {desk.results[job_id].kind for job_id in ids} == {ResultKind.COMPLETED}
    assert desk.reports == []
    of_each = Counter(desk.workers.values())
    assert set(of_each.values()) == {100}


async def test_a_process_for_each_single_job_is_possible(desk_of: Open) -> None:
    desk = await desk_of(app="tests.fakes:plain", max_jobs=1)
    ids = [desk.submit("count_run", {"path": "/dev/null"}) for _ in range(3)]
    assert len({await desk.value(job_id) for job_id in ids}) == 3


async def test_a_process_that_grew_too_large_is_replaced_and_no_job_is_lost(desk_of: Open) -> None:
    desk = await desk_of(app="tests.fakes:plain", max_rss_bytes=300 << 20)
    pids = set()
    for _ in range(8):
        pids.add(await desk.value(desk.submit("leak", {"count": 100 << 20})))
        await desk.until(lambda: desk.ready_count() == 1)
    assert len(pids) >= 2
    await desk.until(lambda: desk.pool.states()[0].rss_bytes < 400 << 20)
    assert desk.reports == []


async def test_an_application_above_the_limit_for_memory_runs_its_jobs_and_is_replaced_ever_more_rarely(
    desk_of: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """No successor would be any smaller."""
    begun = time.monotonic()
    desk = await desk_of(app="tests.fakes:plain", max_rss_bytes=8 << 20)
    (warning,) = [line for line in caplog.records if line.message == "worker.too_large_at_start"]
    assert warning.levelname == "WARNING"
    assert "WORKER_MAX_RSS is 8MiB: set it well above" in warning.fields["reason"]  # type: ignore[attr-defined]
    while (generation := int(desk.pool.states()[-1].name.removeprefix("w0."))) < 4:
        assert await desk.value(desk.submit("echo", {"value": generation})) == generation
    assert time.monotonic() - begun > 0.1 + 0.2 + 0.4


async def test_an_idle_process_above_the_limit_for_memory_is_left_alone(desk_of: Open) -> None:
    desk = await desk_of(app="tests.fakes:plain", max_rss_bytes=8 << 20)
    (child,) = desk.pool._crew.children.values()
    desk.pool._look(child, time.monotonic() + 3600)
    assert [(state.name, state.state) for state in desk.pool.states()] == [("w0.1", "ready")]


async def test_every_suspect_gets_a_quarantine_process_that_has_run_nothing(desk_of: Open) -> None:
    desk = await desk_of()
    ids = [desk.put(desk.job("echo", {"value": n}, suspicion=2)) for n in range(3)]
    await desk.until(lambda: all(job_id in desk.results for job_id in ids))
    assert [desk.workers[job_id] for job_id in ids] == ["q0.1", "q0.2", "q0.3"]
    await desk.until(lambda: [state.name for state in desk.pool.states()] == ["w0.1"])
    assert desk.reports == []


async def test_states_show_every_process(desk_of: Open) -> None:
    desk = await desk_of(slots=3, processes=2)
    await desk.value(desk.submit("echo", {"value": 1}))
    await desk.result(desk.submit("fail", max_retries=0))
    states = sorted(desk.pool.states(), key=lambda state: state.name)
    assert [(state.name, state.slots, state.state, state.busy) for state in states] == [
        ("w0.1", 2, "ready", 0),
        ("w1.1", 1, "ready", 0),
    ]
    assert (sum(state.done for state in states), sum(state.failed for state in states)) == (2, 1)
    assert all(state.rss_bytes > 5 << 20 for state in states)
    assert len({state.pid for state in states}) == 2
