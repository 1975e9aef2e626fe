"""The four strategies over real worker processes: how jobs are distributed while all have room, and while one is busy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.fakes import started
from zjp.balance import Balancer

from .conftest import Desk, Open

pytestmark = pytest.mark.covers("main-path:7")

STRATEGIES = sorted(Balancer.STRATEGIES)


def given(desk: Desk, ids: list[bytes]) -> Counter[str]:
    """Jobs of each process. Asked in the tick of the hand-out: a process that is slow to start them may have to give some back."""
    return Counter(desk.pool.held[job_id].worker for job_id in ids)


def distribution(desk: Desk, ids: list[bytes]) -> list[int]:
    """The same, fewest first."""
    counts = given(desk, ids)
    return sorted(counts[state.name] for state in desk.pool.states())


def hand_out(desk: Desk, count: int, priority: int = 5) -> list[bytes]:
    """In one batch, to the rooms as they are."""
    desk.pool._credit.learn("noop", 1, 1)
    jobs = [desk.job("noop", {}, priority=priority) for _ in range(count)]
    desk.fence += 1
    desk.pool.dispatch(desk.fence, jobs)
    return [job.spec.id for job in jobs]


async def make_one_busy(desk: Desk, path: Path) -> str:
    """One of the processes runs a long job in one of its two slots."""
    job_id = desk.submit("hold_until", {"path": str(path)})
    await desk.until(lambda: started(str(path)).exists())
    return desk.pool.held[job_id].worker


@pytest.mark.parametrize("strategy", ["round_robin", "least_loaded", "priority"])
async def test_idle_processes_get_the_same(desk_of: Open, strategy: str) -> None:
    desk = await desk_of(slots=3, processes=3, strategy=strategy)
    assert distribution(desk, hand_out(desk, 300)) == [100, 100, 100]
    assert desk.pool.skew() == 0.0


async def test_random_gives_each_about_the_same(desk_of: Open) -> None:
    desk = await desk_of(slots=3, processes=3, strategy="random")
    counts = distribution(desk, hand_out(desk, 900))
    assert sum(counts) == 900
    assert all(abs(count - 300) < 6 * (900 * 2 / 9) ** 0.5 for count in counts), counts  # six standard deviations
    assert desk.pool.skew() == pytest.approx(counts[-1] / 300 - 1)


@pytest.mark.parametrize(
    ("strategy", "priority", "of_busy"),
    [
        ("round_robin", 5, 60),
        ("round_robin", 9, 60),
        ("least_loaded", 5, 0),
        ("priority", 5, 60),
        ("priority", 8, 0),
        ("priority", 10, 0),
    ],
)
async def test_a_busy_process_gets_its_turn_or_nothing(
    desk_of: Open, tmp_path: Path, strategy: str, priority: int, of_busy: int
) -> None:
    """Room for 20 ms of work there, for 40 ms in each of the other two; the batch is 14 ms of work."""
    desk = await desk_of(slots=6, processes=3, strategy=strategy)
    busy = await make_one_busy(desk, tmp_path / "go")
    ids = hand_out(desk, 180, priority)
    counts = given(desk, ids)
    await desk.until(lambda: all(job_id in desk.results for job_id in ids))
    assert counts[busy] == of_busy
    assert {counts[state.name] for state in desk.pool.states() if state.name != busy} == {(180 - of_busy) // 2}
    (tmp_path / "go").touch()


async def test_random_gives_a_busy_process_its_share_while_it_has_room(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(slots=6, processes=3, strategy="random")
    busy = await make_one_busy(desk, tmp_path / "go")
    ids = hand_out(desk, 300)
    assert 50 < given(desk, ids)[busy] < 150
    await desk.until(lambda: all(job_id in desk.results for job_id in ids))
    (tmp_path / "go").touch()


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_no_strategy_gives_jobs_to_a_process_without_room(desk_of: Open, tmp_path: Path, strategy: str) -> None:
    desk = await desk_of(slots=3, processes=3, strategy=strategy)
    go = str(tmp_path / "go")
    long = desk.submit("hold_until", {"path": go})
    await desk.until(lambda: started(go).exists())
    busy = desk.pool.held[long].worker
    ids = desk.submit_many([("echo", {"value": n}) for n in range(200)], priority=9)
    await desk.until(lambda: all(job_id in desk.results for job_id in ids))
    assert busy not in {desk.workers[job_id] for job_id in ids}
    (tmp_path / "go").touch()
    await desk.value(long)
