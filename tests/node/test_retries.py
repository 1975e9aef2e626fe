"""Retries by hand: each makes one run, however often its request comes, to whichever node, and however late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.queue.making import BENCHES, Bench, Producer, RedisBench, add, run_all
from tests.records.making import START_MS
from zjp.errors import OutcomeUnknown, StoreFull, StoreUnavailable
from zjp.job import Record
from zjp.node.jobs import Jobs
from zjp.node.retries import ROUNDS_MAX
from zjp.queue import reruns
from zjp.queue.redis import store as redis_store
from zjp.queue.store import Live, QueueStore, RerunMark
from zjp.records.sqlite import SQLiteRecordStore

pytestmark = pytest.mark.covers("main-path:8")

NOBODY = b"?" * 16


class Stopped:
    """A node's view of its queue that stops before it asks for the requeue, as a node under SIGSTOP would, until `wakes` is set."""

    def __init__(self, queue: QueueStore) -> None:
        self._queue = queue
        self.has_looked, self.wakes = asyncio.Event(), asyncio.Event()

    async def requeue(self, records: Sequence[Record], *since: Any) -> list[bool]:
        self.has_looked.set()
        await self.wakes.wait()
        return await self._queue.requeue(records, *since)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


class Stage:
    """Nodes on the same queue and records. On SQLite there is one only: then `other` is a second request in the same process."""

    def __init__(self, queue: QueueStore, second: QueueStore, records: SQLiteRecordStore) -> None:
        self.queue, self.records = queue, records
        self.jobs, self.other = Jobs(queue, records), Jobs(second, records)
        self.stopped = Stopped(second)
        self.zombie = Jobs(self.stopped, records)
        self.producer = Producer()

    async def end(self, *, is_forgotten: bool = True) -> list[bytes]:
        """What is ready runs and finishes. `is_forgotten`: the records have it, and the queue knows it no more."""
        done = await run_all(self.queue)
        if is_forgotten:
            items = await self.queue.outbox(1000)
            await self.records.append(items)
            await self.queue.outbox_remove(items)
        return done

    async def finished(self, count: int = 1, *, is_forgotten: bool = True, **options: Any) -> list[bytes]:
        """So many jobs in their first run."""
        ids = await add(self.queue, *[self.producer.spec(**options) for _ in range(count)])
        assert await self.end(is_forgotten=is_forgotten) == ids
        return ids


@pytest.fixture(params=sorted(BENCHES))
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    bench: Bench = BENCHES[request.param](tmp_path)
    records = SQLiteRecordStore(tmp_path / "records.db", ttl_s=0, wall_ms=lambda: START_MS)
    await records.open()
    queue = await bench.open()
    yield Stage(queue, await bench.join("node-2") if isinstance(bench, RedisBench) else queue, records)
    await records.close()
    await bench.close()


# ── the same request again ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_forgotten", [False, True])
async def test_repeat_after_the_job_has_ended_again_runs_nothing_and_is_told_that_it_was_done(stage: Stage, is_forgotten: bool) -> None:
    """Its answer was lost. Fails on a node that goes by the run that the job is in when the repeat comes."""
    ids = await stage.finished(is_forgotten=is_forgotten)
    runs = await stage.jobs.runs(ids)
    assert runs == [1]
    assert await stage.jobs.requeue(ids, runs) == ["requeued"]
    for node in (stage.jobs, stage.other):
        assert await node.requeue(ids, runs) == ["requeued"], "it waits, and was done before"
    assert await stage.end(is_forgotten=is_forgotten) == ids
    for node in (stage.jobs, stage.other):
        assert await node.requeue(ids, runs) == ["requeued"]
        assert await node.runs(ids) == [2]
    assert await stage.end() == []


async def test_retries_one_after_the_other_make_one_run_each(stage: Stage) -> None:
    ids = await stage.finished()
    for run in range(1, 4):
        assert await stage.other.runs(ids) == [run]
        assert await stage.jobs.requeue(ids, [run]) == ["requeued"]
        assert await stage.end() == ids
    assert await stage.jobs.requeue(ids, [1]) == ["requeued"]
    assert await stage.end() == []


# ── a node that was stopped ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_forgotten", [False, True])
async def test_copy_that_lay_in_a_stopped_node_is_not_carried_out_when_it_wakes(stage: Stage, is_forgotten: bool) -> None:
    """It had looked the job up before it was stopped, and the queue has forgotten the later run by the time that it wakes. Fails on a store
    that has only the record to go by."""
    ids = await stage.finished()
    late = asyncio.create_task(stage.zombie.requeue(ids, [1]))
    await stage.stopped.has_looked.wait()
    assert await stage.jobs.requeue(ids, [1]) == ["requeued"]
    assert await stage.end(is_forgotten=is_forgotten) == ids
    stage.stopped.wakes.set()
    assert await late == ["requeued"]
    assert await stage.end() == []
    assert await stage.jobs.runs(ids) == [2]


async def test_copy_in_a_stopped_node_does_not_follow_a_second_retry_either(stage: Stage) -> None:
    ids = await stage.finished()
    late = asyncio.create_task(stage.zombie.requeue(ids, [1]))
    await stage.stopped.has_looked.wait()
    for run in (1, 2):
        assert await stage.jobs.requeue(ids, [run]) == ["requeued"]
        assert await stage.end() == ids
    stage.stopped.wakes.set()
    assert await late == ["requeued"]
    assert await stage.end() == []


async def test_copy_in_a_stopped_node_is_not_carried_out_either_when_the_store_remembers_no_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More requeues came meanwhile than are kept. Fails on a store that takes what it has forgotten for what never was."""
    monkeypatch.setattr(redis_store, "RERUNS_KEPT", 3)
    if hasattr(stage.queue, "_state"):
        stage.queue._state.reruns = reruns.Reruns(3)
    ids = await stage.finished(5)
    late = asyncio.create_task(stage.zombie.requeue([*ids[:1], *ids[4:]], [1, 1]))
    await stage.stopped.has_looked.wait()
    for job_id in ids[:4]:
        assert await stage.jobs.requeue([job_id], [1]) == ["requeued"]
        await stage.end()
    stage.stopped.wakes.set()
    assert await late == ["requeued", "requeued"]
    assert await stage.end() == ids[4:], "what nobody had run again is, by a second look"


async def test_a_node_that_was_stopped_does_carry_out_what_no_other_did(stage: Stage) -> None:
    ids = await stage.finished(2)
    late = asyncio.create_task(stage.zombie.requeue(ids[:1], [1]))
    await stage.stopped.has_looked.wait()
    assert await stage.jobs.requeue(ids[1:], [1]) == ["requeued"]
    stage.stopped.wakes.set()
    assert await late == ["requeued"]
    assert sorted(await stage.end()) == sorted(ids)


async def test_a_job_whose_later_run_was_removed_can_be_run_again(stage: Stage) -> None:
    """As when it is made anew under its id, or the records are restored. Fails on a store that knows only that a second run was made."""
    ids = await stage.finished(is_forgotten=False)
    former = await stage.queue.outbox(1)
    for _ in range(2):
        await stage.records.append(former)
        await stage.queue.outbox_remove(former)
        assert await stage.jobs.requeue(ids, [1]) == ["requeued"]
        assert await stage.end() == ids
        await stage.records.remove(ids)


# ── what else may be asked for ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_job_of_a_request_is_told_what_it_is(stage: Stage) -> None:
    (keyed,) = await stage.finished(unique_key="k")
    done, in_outbox = (await stage.finished())[0], (await stage.finished(is_forgotten=False))[0]
    delayed, holder = await add(stage.queue, stage.producer.spec(delay_ms=60_000), stage.producer.spec(unique_key="k"))
    asked = [done, in_outbox, holder, delayed, keyed, NOBODY]
    runs = await stage.jobs.runs(asked)
    assert runs == [1, 1, 1, 1, 1, -1]
    assert await stage.jobs.requeue(asked, runs) == ["requeued", "requeued", "live", "live", "unique", "unknown"]
    assert await stage.jobs.requeue(asked, runs) == ["requeued", "requeued", "live", "live", "unique", "unknown"]


async def test_unique_key_that_two_jobs_of_one_request_have_is_the_first_ones(stage: Stage) -> None:
    (first,) = await stage.finished(unique_key="k")
    (second,) = await stage.finished(unique_key="k")
    assert await stage.jobs.requeue([second, first], [1, 1]) == ["requeued", "unique"]
    assert await stage.end() == [second]


async def test_id_that_stands_twice_is_run_again_once(stage: Stage) -> None:
    ids = await stage.finished()
    assert await stage.jobs.requeue(ids * 3, [1, 1, 0]) == ["requeued"] * 3
    assert await stage.end() == ids
    assert await stage.end() == []


async def test_run_that_nobody_can_know_of_is_unknown_and_one_that_was_lost_is_followed_once(stage: Stage) -> None:
    """-1: the client was told that there is no such job. Above the latest: the store has lost what the client saw. Fails on a node that
    then makes the run after the latest: a repeat would not find that it was made."""
    ids = await stage.finished()
    assert await stage.jobs.requeue([*ids, NOBODY], [-1, 4]) == ["unknown", "unknown"]
    assert await stage.end() == []
    assert await stage.jobs.requeue(ids, [4]) == ["requeued"]
    assert await stage.other.requeue(ids, [4]) == ["requeued"]
    assert await stage.end() == ids
    assert await stage.other.requeue(ids, [4]) == ["requeued"]
    assert await stage.end() == []
    assert await stage.jobs.runs(ids) == [5]


class Failing:
    """A queue that raises `fault` at the `at`-th call of the method `name`."""

    def __init__(self, queue: QueueStore, name: str, at: int, fault: Exception) -> None:
        self._queue, self._name, self._left, self._fault = queue, name, at, fault

    def __getattr__(self, name: str) -> Any:
        if name == self._name:
            self._left -= 1
            if not self._left:
                raise self._fault
        return getattr(self._queue, name)


@pytest.mark.parametrize(
    ("at", "fault", "told"),
    [
        (1, StoreUnavailable("away"), StoreUnavailable),
        (2, StoreUnavailable("away"), OutcomeUnknown),
        (2, StoreFull("full"), OutcomeUnknown),
    ],
)
async def test_store_that_goes_away_half_way_is_told_as_nothing_done_only_when_nothing_was(
    stage: Stage, at: int, fault: Exception, told: type[Exception]
) -> None:
    """The second look is for the one whose unique key is held, when the other one runs again already."""
    (keyed,) = await stage.finished(unique_key="k")
    (plain,) = await stage.finished()
    await add(stage.queue, stage.producer.spec(unique_key="k"))
    failing = Jobs(Failing(stage.queue, "look", at, fault), stage.records)
    with pytest.raises(told):
        await failing.requeue([keyed, plain], [1, 1])
    (found,) = await stage.queue.get([plain])
    assert isinstance(found, Live) == (told is OutcomeUnknown)


async def test_what_another_request_did_is_told_as_done_when_it_is_as_durable_as_the_level_says(stage: Stage) -> None:
    """Fails on a node that tells what it has seen: at level `replica` no replica may have it yet."""
    ids = await stage.finished()
    unconfirmed = Failing(stage.queue, "confirm", 1, OutcomeUnknown("no replica has confirmed it"))
    node = Jobs(unconfirmed, stage.records)
    assert await node.requeue(ids, [1]) == ["requeued"]
    with pytest.raises(OutcomeUnknown, match="no replica"):
        await node.requeue(ids, [1])
    assert await node.requeue(ids, [1]) == ["requeued"]


class Overtaking:
    """Each look is overtaken, or the first so many."""

    def __init__(self, queue: QueueStore, count: int = ROUNDS_MAX) -> None:
        self._queue, self._count, self.looks = queue, count, 0

    async def look(self, ids: Sequence[bytes]) -> tuple[RerunMark, list[Live | Record | None]]:
        self.looks += 1
        mark, found = await self._queue.look(ids)
        return RerunMark(-1, mark.server) if self.looks <= self._count else mark, found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


async def test_looks_that_are_overtaken_again_and_again_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "RERUNS_KEPT", 1)
    if hasattr(stage.queue, "_state"):
        stage.queue._state.reruns = reruns.Reruns(1)
    ids = await stage.finished(3)
    assert await stage.jobs.requeue(ids[:2], [1, 1]) == ["requeued"] * 2
    last = Overtaking(stage.queue, ROUNDS_MAX - 1)
    assert await Jobs(last, stage.records).requeue([*ids[2:], NOBODY], [1, 1]) == ["requeued", "unknown"]
    await stage.end()
    overtaking = Overtaking(stage.queue)
    with pytest.raises(StoreUnavailable, match="too many other jobs are being run again"):
        await Jobs(overtaking, stage.records).requeue(ids[2:], [2])
    assert overtaking.looks == ROUNDS_MAX
