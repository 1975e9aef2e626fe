"""What the records refuse for good is passed over, for longer each time, and no more of it than the bound allows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.records.making import Item, id_of, make_item
from tests.records.outboxes import AT_ONCE, Outbox, drain_of, ids_in, within
from zjp.records.aside import Aside
from zjp.records.outbox import OutboxDrain
from zjp.records.sqlite import SQLiteRecordStore
from zjp.records.store import RecordItem, RecordsRefused, Refusal
from zjp.retry import RetryPolicy

pytestmark = pytest.mark.covers("main-path:6")

DEADLINE_S = 20.0
PAUSES = RetryPolicy(base_s=10, max_s=60, multiplier=2, jitter_factor=0)
NEVER = RetryPolicy(kind="fixed", base_s=3600, max_s=3600)
ITEMS = [make_item(number) for number in range(40)]


def refusals_of(items: Sequence[RecordItem]) -> list[Refusal]:
    return [Refusal(item, 121, "Document failed validation") for item in items]


def test_a_refused_record_is_passed_over_for_longer_each_time_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    aside, now = Aside(pauses=PAUSES), 100.0
    for pause_s in (10, 20, 40, 60, 60):
        assert aside.others(ITEMS, now) == ITEMS
        assert aside.add(refusals_of(ITEMS[:1]), now, 0.5)
        assert aside.others(ITEMS, now + pause_s - 0.1) == ITEMS[1:]
        assert aside.due_at == now + pause_s
        now += pause_s
    assert [line.message for line in caplog.records] == ["outbox.refused"]
    aside.forget(ITEMS)
    assert len(aside) == 0


def test_another_run_of_a_refused_job_is_tried() -> None:
    aside = Aside(pauses=NEVER)
    aside.add(refusals_of(ITEMS[:1]), 0.0, 0.5)
    again = make_item(0, run=2)
    assert aside.others([ITEMS[0], again], 1.0) == [again]


def test_no_more_are_passed_over_than_the_bound() -> None:
    aside = Aside(pauses=NEVER, count_max=3)
    assert aside.add(refusals_of(ITEMS[:3]), 0.0, 0.5)
    assert not aside.add(refusals_of(ITEMS[2:5]), 0.0, 0.5)
    assert aside.others(ITEMS, 1.0) == ITEMS[3:]


class Refusing(Outbox):
    """Its records refuse the jobs numbered in `refused`, as long as they stand there."""

    def __init__(self, store: SQLiteRecordStore, items: Sequence[Item], refused: set[int]) -> None:
        super().__init__(store, items)
        self.refused = refused

    async def append(self, items: Sequence[Item]) -> None:
        bad = {id_of(ITEMS[number]) for number in self.refused}
        await super().append([item for item in items if id_of(item) not in bad])
        if found := [item for item in items if id_of(item) in bad]:
            raise RecordsRefused(refusals_of(found))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteRecordStore]:
    opened = SQLiteRecordStore(tmp_path / "records.db", ttl_s=0)
    await opened.open()
    yield opened
    await opened.close()


async def test_more_refused_records_than_a_batch_holds_do_not_stop_the_others_and_a_stop_ends_at_once(
    store: SQLiteRecordStore,
) -> None:
    outbox = Refusing(store, ITEMS, set(range(25)))
    drain = drain_of(outbox, aside=Aside(pauses=NEVER))
    assert await drain.stop(DEADLINE_S) == 25
    assert await ids_in(store) == [id_of(item) for item in ITEMS[25:]]
    assert (drain.moved, drain.refused, drain.fault) == (15, 25, None)


async def test_beyond_the_bound_the_outbox_is_stuck_and_says_why_until_the_records_are_mended(
    store: SQLiteRecordStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    outbox = Refusing(store, ITEMS, set(range(40)))
    drain = drain_of(outbox, aside=Aside(pauses=RetryPolicy(kind="fixed", base_s=0.01, max_s=0.01), count_max=5))
    stuck = asyncio.Event()

    def look(name: str, number: int) -> None:
        if drain.fault is not None:
            stuck.set()

    outbox.before = look
    running = asyncio.create_task(drain.run())
    drain.wake()
    await within(DEADLINE_S, stuck.wait())
    assert (
        "refuse more finished jobs than the 5 that are passed over, with Document failed validation (code 121)"
        in str(drain.fault)
    )
    assert len(outbox.items) == 40
    outbox.refused = set()
    await within(DEADLINE_S, outbox.emptied.wait())
    assert await drain.stop(DEADLINE_S) == 0
    await running
    assert len(await ids_in(store)) == 40
    assert {"outbox.stuck", "outbox.moves_again", "outbox.taken_after_all"} <= {line.message for line in caplog.records}


async def test_a_share_of_which_all_is_refused_does_not_keep_the_next_one_waiting(store: SQLiteRecordStore) -> None:
    """Fails on a drain that takes it for the end: what this node finished itself would wait for the next thing that happens."""
    outbox = Refusing(store, ITEMS, {0, 1})
    shares = 0

    async def share(limit: int) -> Sequence[Item]:
        nonlocal shares
        shares += 1
        return [item for item in outbox.items if (item in ITEMS[:2]) == (shares % 2 == 1)][:limit]

    drain = OutboxDrain(
        share,
        outbox.remove,
        outbox.append,
        backlog=lambda: outbox,
        aside=Aside(pauses=NEVER),
        backoff=AT_ONCE,
        batch_max=7,
    )
    assert await drain.stop(DEADLINE_S) == 2
    assert await ids_in(store) == [id_of(item) for item in ITEMS[2:]]


async def test_what_others_left_in_a_shared_outbox_is_moved_by_a_node_whose_own_share_is_refused(
    store: SQLiteRecordStore,
) -> None:
    outbox = Refusing(store, ITEMS, {0, 1})

    async def share(limit: int) -> Sequence[Item]:
        return [item for item in outbox.items if item in ITEMS[:3]][:limit]

    drain = OutboxDrain(
        share,
        outbox.remove,
        outbox.append,
        backlog=lambda: outbox,
        look=outbox.take,
        aside=Aside(pauses=NEVER),
        backoff=AT_ONCE,
    )
    assert await drain.stop(DEADLINE_S) == 2
    assert await ids_in(store) == [id_of(item) for item in ITEMS[2:]]
