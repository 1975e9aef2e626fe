"""The way from the outbox into the records: everything arrives, once, whatever fails on the way."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.records.making import Item, id_of, make_item
from tests.records.outboxes import Outbox, drain_of, ids_in, within
from zjp.errors import StoreFull, StoreUnavailable, Unavailable
from zjp.records.outbox import OutboxDrain
from zjp.records.sqlite import SQLiteRecordStore
from zjp.retry import RetryPolicy

pytestmark = pytest.mark.covers("main-path:6")

ROOT = Path(__file__).parent.parent.parent
DEADLINE_S = 20.0
NEVER_S = 3600.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteRecordStore]:
    opened = SQLiteRecordStore(tmp_path / "records.db", ttl_s=0)
    await opened.open()
    yield opened
    await opened.close()


async def test_everything_arrives_in_order_and_leaves_the_outbox(store: SQLiteRecordStore) -> None:
    items = [make_item(number) for number in range(95)]
    outbox = Outbox(store, items)
    drain = drain_of(outbox)
    running = asyncio.create_task(drain.run())
    assert drain.backlog == 95
    drain.wake()
    await within(DEADLINE_S, outbox.emptied.wait())
    assert await drain.stop(DEADLINE_S) == 0
    await running
    assert await ids_in(store) == [id_of(item) for item in items]
    assert outbox.appended == [10] * 9 + [5]
    assert (drain.moved, drain.backlog, drain.fault) == (95, 0, None)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", range(1, 12))
async def test_whichever_call_fails_nothing_is_lost_or_doubled(store: SQLiteRecordStore, nth: int, when: str) -> None:
    """Three rounds are nine calls and a last look. `after`: it was done, but the answer was lost."""
    items = [make_item(number) for number in range(25)]
    outbox = Outbox(store, items)

    def fail(name: str, number: int) -> None:
        if number == nth:
            raise StoreUnavailable(f"{name} does not answer")

    setattr(outbox, when, fail)
    drain = drain_of(outbox)
    running = asyncio.create_task(drain.run())
    drain.wake()
    await within(DEADLINE_S, outbox.emptied.wait())
    assert await drain.stop(DEADLINE_S) == 0
    await running
    assert await ids_in(store) == [id_of(item) for item in items]


@pytest.mark.parametrize("every", [3, 4, 5, 7])
async def test_when_every_nth_call_fails_all_arrives_all_the_same(store: SQLiteRecordStore, every: int) -> None:
    items = [make_item(number) for number in range(200)]
    outbox = Outbox(store, items)

    def fail(name: str, number: int) -> None:
        if number % every == 0:
            raise StoreFull(f"no room for {name}")

    # A round has three calls: were every third to fail before its deed, nothing would ever be removed.
    setattr(outbox, "before" if every > 3 else "after", fail)
    drain = drain_of(outbox, batch_max=7)
    running = asyncio.create_task(drain.run())
    drain.wake()
    await within(DEADLINE_S, outbox.emptied.wait())
    outbox.before = outbox.after = lambda name, number: None
    assert await drain.stop(DEADLINE_S) == 0
    await running
    assert await ids_in(store) == [id_of(item) for item in items]


@pytest.mark.parametrize(("limit", "count", "batches"), [(40, 600, [256, 128, 64, 32]), (1, 40, [40, 20, 10, 5, 2, 1])])
async def test_batch_shrinks_until_a_slow_store_takes_it_in_its_time_and_grows_again_afterwards(
    store: SQLiteRecordStore, limit: int, count: int, batches: list[int]
) -> None:
    items = [make_item(number) for number in range(count)]
    outbox = Outbox(store, items)

    def slow(name: str, number: int) -> None:
        if name == "append" and outbox.appended[-1] > limit:
            raise StoreUnavailable("records did not answer in time")

    outbox.before = slow
    drain = drain_of(outbox, batch_max=256)
    running = asyncio.create_task(drain.run())
    drain.wake()
    await within(DEADLINE_S, outbox.emptied.wait())
    assert outbox.appended[: len(batches)] == batches
    assert await drain.stop(DEADLINE_S) == 0
    await running
    assert await ids_in(store) == [id_of(item) for item in items]


async def test_of_large_records_fewer_are_taken_at_once(store: SQLiteRecordStore) -> None:
    """Fails on a drain that counts only: a batch of a thousand would be read in one reply, whatever they hold."""
    payload = b"\x81\xa1x\xc6" + (1 << 20).to_bytes(4, "big") + bytes(1 << 20)
    outbox = Outbox(store, [make_item(number, payload=payload) for number in range(40)])
    drain = drain_of(outbox, batch_max=1000)
    assert await drain.stop(DEADLINE_S) == 0
    assert outbox.appended == [15, 15, 10]


async def test_records_away_for_a_while_are_caught_up_with_and_logged_once(
    store: SQLiteRecordStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "zjp.records.outbox")
    outbox = Outbox(store, [make_item(number) for number in range(20)])
    tried = asyncio.Event()

    def away(name: str, number: int) -> None:
        if name == "append":
            if len(outbox.appended) >= 30:
                tried.set()
            raise StoreUnavailable("records do not answer")

    outbox.before = away
    drain = drain_of(outbox)
    running = asyncio.create_task(drain.run())
    drain.wake()
    await within(DEADLINE_S, tried.wait())
    assert isinstance(drain.fault, StoreUnavailable)
    assert drain.backlog == 20
    outbox.items += [make_item(number) for number in range(20, 45)]
    drain.wake()
    outbox.before = lambda name, number: None
    await within(DEADLINE_S, outbox.emptied.wait())
    await drain.stop(DEADLINE_S)
    await running
    assert await ids_in(store) == [id_of(make_item(number)) for number in range(45)]
    assert [line.message for line in caplog.records] == ["outbox.stuck", "outbox.moves_again"]
    assert drain.fault is None


async def test_a_change_of_the_fault_is_logged_again(
    store: SQLiteRecordStore, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(store, [make_item(0)])

    def fail(name: str, number: int) -> None:
        fault: Unavailable = StoreUnavailable("away") if number < 10 else StoreFull("full")
        if number < 20:
            raise fault

    outbox.before = fail
    drain = drain_of(outbox)
    running = asyncio.create_task(drain.run())
    drain.wake()
    await within(DEADLINE_S, outbox.emptied.wait())
    await drain.stop(DEADLINE_S)
    await running
    stuck = [line for line in caplog.records if line.message == "outbox.stuck"]
    assert [line.fields["code"] for line in stuck] == ["store-unavailable", "store-full"]  # type: ignore[attr-defined]


async def test_the_first_round_after_a_rest_begins_at_once_and_a_full_batch_does_not_wait(
    store: SQLiteRecordStore,
) -> None:
    outbox = Outbox(store, [make_item(0)])
    drain = drain_of(outbox, pace_s=NEVER_S)
    running = asyncio.create_task(drain.run())
    drain.wake()
    await within(DEADLINE_S, outbox.emptied.wait())
    outbox.emptied.clear()
    outbox.items += [make_item(number) for number in range(1, 11)]
    drain.wake()
    await within(DEADLINE_S, outbox.emptied.wait())
    assert outbox.appended == [1, 10]
    await drain.stop(DEADLINE_S)
    await running


async def test_what_trickles_in_is_gathered_and_a_stop_does_not_wait_for_the_pace(store: SQLiteRecordStore) -> None:
    outbox = Outbox(store, [make_item(0)])
    drain = drain_of(outbox, batch_max=100, pace_s=NEVER_S)
    running = asyncio.create_task(drain.run())
    drain.wake()
    await within(DEADLINE_S, outbox.emptied.wait())
    for number in range(1, 51):
        outbox.items.append(make_item(number))
        drain.wake()
        await store.get([])  # gives the drain its turns
    assert outbox.appended == [1]
    assert await drain.stop(DEADLINE_S) == 0
    await running
    assert outbox.appended == [1, 50]


async def test_a_stop_ends_at_its_deadline_and_says_what_is_left(
    store: SQLiteRecordStore, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = Outbox(store, [make_item(number) for number in range(12)])

    def away(name: str, number: int) -> None:
        if name == "append":
            raise StoreUnavailable("records do not answer")

    outbox.before = away
    drain = drain_of(outbox, backoff=RetryPolicy(kind="fixed", base_s=0.005))
    running = asyncio.create_task(drain.run())
    drain.wake()
    assert await drain.stop(0.05) == 12
    await running
    left = [line.fields for line in caplog.records if line.message == "outbox.not_emptied"]  # type: ignore[attr-defined]
    assert left == [{"left": 12, "reason": "records do not answer"}]


async def test_a_stop_cuts_off_an_append_that_hangs(store: SQLiteRecordStore) -> None:
    outbox = Outbox(store, [make_item(0)])
    hanging = asyncio.Event()

    async def hang(items: Sequence[Item]) -> None:
        hanging.set()
        await asyncio.Event().wait()

    drain = OutboxDrain(outbox.take, outbox.remove, hang, backlog=lambda: outbox)
    running = asyncio.create_task(drain.run())
    drain.wake()
    await within(DEADLINE_S, hanging.wait())
    assert await drain.stop(0.02) == 1
    await within(DEADLINE_S, running)


async def test_a_stop_without_a_run_and_before_its_first_step_moves_everything(store: SQLiteRecordStore) -> None:
    outbox = Outbox(store, [make_item(number) for number in range(25)])
    assert await drain_of(outbox).stop(DEADLINE_S) == 0
    outbox.items += [make_item(number) for number in range(25, 50)]
    drain = drain_of(outbox)
    running = asyncio.create_task(drain.run())
    assert await drain.stop(DEADLINE_S) == 0
    await within(DEADLINE_S, running)
    assert outbox.appended == [10, 10, 5, 10, 10, 5]


async def test_a_bug_in_a_store_ends_the_run_with_its_error(store: SQLiteRecordStore) -> None:
    outbox = Outbox(store, [make_item(0)])

    def broken(name: str, number: int) -> None:
        raise AssertionError("a bug")

    outbox.before = broken
    drain = drain_of(outbox)
    running = asyncio.create_task(drain.run())
    drain.wake()
    with pytest.raises(AssertionError, match="a bug"):
        await running
    assert await drain.stop(NEVER_S) == 1


KILLS = [
    (name, number, at_once)
    for name in ("append", "appended", "remove", "removed")
    for number, at_once in ((1, True), (3, False))
]


@pytest.mark.system
def test_a_process_killed_at_any_step_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """`kill -9` in each of the four places, at the step itself or just after it went on (so inside the next deed)."""
    count = 600
    for kill in KILLS:
        assert drained_until(tmp_path, count, kill) is None
    assert drained_until(tmp_path, count, None) == "left 0"
    assert asyncio.run(_ids_in_file(tmp_path / "records.db")) == [id_of(make_item(number)) for number in range(count)]


async def _ids_in_file(path: Path) -> list[bytes]:
    store = SQLiteRecordStore(path, ttl_s=0)
    await store.open()
    try:
        return await ids_in(store)
    finally:
        await store.close()


def drained_until(folder: Path, count: int, kill: tuple[str, int, bool] | None) -> str | None:
    """Run the draining process until the `number`-th step of that name, and kill it. Returns what it said last when it got through."""
    command = [sys.executable, "-m", "tests.records.draining", str(folder), str(count)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        seen: list[str] = []
        for line in process.stdout:
            seen.append(line.strip())
            is_there = kill is not None and seen[-1] == kill[0] and seen.count(kill[0]) == kill[1]
            if not is_there or (kill is not None and not kill[2]):
                process.stdin.write("\n")
                process.stdin.flush()
            if is_there:
                process.kill()
                return None
        assert process.wait() == 0
        return seen[-1]
