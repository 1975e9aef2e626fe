"""What every store of records does. THE suite: see `making.OPENERS`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.records.making import START_MS, Item, Opener, id_of, make_item
from zjp.errors import InvalidJob, StoreUnavailable
from zjp.job import JobFilter, JobState, Record
from zjp.records.store import RecordStore

pytestmark = pytest.mark.covers("main-path:6", "settings:RECORDS_TTL")

ANY = JobFilter()


async def read_all(store: RecordStore, wanted: JobFilter = ANY, limit: int = 7) -> list[Record]:
    """Page after page until the cursor is empty."""
    found: list[Record] = []
    cursor = b""
    while True:
        page = await store.list(wanted, cursor, limit)
        assert len(page.records) <= limit
        assert page.scanned >= len(page.records)
        found += page.records
        cursor = page.cursor
        if not cursor:
            return found


def newest_first(items: Sequence[Item]) -> list[Record]:
    return [item.record for item in reversed(items)]


async def test_what_was_appended_is_found_by_id_whole(store: RecordStore) -> None:
    items = [make_item(0), make_item(1, state=JobState.FAILED, tags=("a", "b")), make_item(2, state=JobState.CANCELLED)]
    await store.append(items)
    unknown = id_of(make_item(99))
    found = await store.get([*map(id_of, items), unknown])
    assert found == {id_of(item): item.record for item in items}
    failed = found[id_of(items[1])]
    assert failed.error is not None
    assert failed.error.traceback
    assert [attempt.outcome for attempt in failed.job.attempts] == ["crashed", "failed"]


async def test_nothing_is_found_where_nothing_is_asked_or_there(store: RecordStore) -> None:
    assert await store.get([]) == {}
    assert await store.get([id_of(make_item(0))]) == {}
    assert await store.remove([]) == 0
    await store.append([])
    assert await store.count() == 0
    assert await read_all(store) == []


async def test_thousands_of_ids_are_looked_up_at_once(store: RecordStore) -> None:
    items = [make_item(number) for number in range(2500)]
    await store.append(items)
    assert await store.get([id_of(item) for item in items]) == {id_of(item): item.record for item in items}


@pytest.mark.parametrize("count", [1, 2, 3, 1023, 1024, 1025, 3000])
async def test_a_bulk_of_any_size_arrives_in_order(store: RecordStore, count: int) -> None:
    items = [make_item(number) for number in range(count)]
    await store.append(items)
    assert await store.count() == count
    assert await read_all(store, limit=500) == newest_first(items)


async def test_a_repeat_changes_nothing(store: RecordStore) -> None:
    items = [make_item(number) for number in range(50)]
    await store.append(items)
    await store.append(items[20:])
    await store.append(items)
    assert await store.count() == 50
    assert await read_all(store) == newest_first(items)


@pytest.mark.parametrize(
    ("count", "there"), [(3, slice(2, 3)), (7, slice(4, 6)), (700, slice(600, 650)), (3000, slice(1000, 1500))]
)
async def test_repeats_among_new_ones_let_the_new_ones_in(store: RecordStore, count: int, there: slice) -> None:
    items = [make_item(number) for number in range(count)]
    await store.append(items[there])
    await store.append(items)
    assert await store.count() == count
    others = [*items[: there.start], *items[there.stop :]]
    assert await read_all(store, limit=500) == newest_first([*items[there], *others])
    await store.close()
    await store.open()
    assert await store.count() == count


async def test_a_higher_run_replaces_and_is_the_newest_and_a_lower_one_does_not(store: RecordStore) -> None:
    items = [make_item(number) for number in range(10)]
    await store.append(items)
    again = make_item(3, run=2, state=JobState.FAILED, type="other")
    await store.append([again])
    await store.append([items[3]])
    assert await store.count() == 10
    assert (await store.get([id_of(again)]))[id_of(again)] == again.record
    assert await read_all(store) == [again.record, *(item.record for item in reversed(items) if item is not items[3])]
    assert await read_all(store, JobFilter(state=JobState.FAILED)) == [again.record]


@pytest.mark.parametrize("runs", [(1, 2), (2, 1), (1, 1), (1, 3, 2)])
async def test_of_one_id_twice_in_a_bulk_the_highest_run_stays(store: RecordStore, runs: tuple[int, ...]) -> None:
    await store.append([make_item(0), *(make_item(5, run=run) for run in runs), make_item(9)])
    assert await store.count() == 3
    found = await store.get([id_of(make_item(5))])
    assert [record.job.run for record in found.values()] == [max(runs)]


async def test_removed_records_are_gone_and_counted(store: RecordStore) -> None:
    items = [make_item(number) for number in range(30)]
    await store.append(items)
    gone = [id_of(item) for item in items[5:10]]
    assert await store.remove([*gone, gone[0], id_of(make_item(99))]) == 5
    assert await store.remove(gone) == 0
    assert await store.count() == 25
    assert await store.get(gone) == {}
    assert await read_all(store) == newest_first([*items[:5], *items[10:]])
    await store.append(items[5:10])
    assert await store.count() == 30


async def test_all_is_there_after_a_reopen(opener: Opener, tmp_path: Path) -> None:
    items = [make_item(number, tags=("t",) if number % 7 == 0 else ()) for number in range(40)]
    for part in (items[:25], items[25:]):
        store = opener(tmp_path)
        await store.open()
        await store.append(part)
        await store.close()
    store = opener(tmp_path)
    await store.open()
    assert await store.count() == 40
    assert await read_all(store) == newest_first(items)
    assert await read_all(store, JobFilter(tag="t")) == newest_first(items[::7])
    await store.close()


async def test_a_cursor_goes_on_where_it_was_while_records_come_and_go(store: RecordStore) -> None:
    items = [make_item(number) for number in range(30)]
    await store.append(items)
    first = await store.list(ANY, b"", 10)
    await store.append([make_item(number) for number in range(30, 40)])
    await store.remove([id_of(item) for item in (items[20], items[19], items[5])])
    second = await store.list(ANY, first.cursor, 10)
    third = await store.list(ANY, second.cursor, 10)
    assert list(first.records) == newest_first(items[20:])
    assert [*second.records, *third.records] == newest_first([*items[:5], *items[6:19]])
    assert third.cursor == b""


@pytest.mark.parametrize("cursor", [b"x", b"\xff" * 8, b"123456789"])
async def test_a_cursor_that_is_none_is_refused(store: RecordStore, cursor: bytes) -> None:
    with pytest.raises(InvalidJob, match="was not made by this store"):
        await store.list(ANY, cursor, 10)


async def test_an_empty_cursor_says_that_this_was_all(store: RecordStore) -> None:
    await store.append([make_item(number) for number in range(10)])
    assert (await store.list(ANY, b"", 10)).cursor == b""
    assert (await store.list(ANY, b"", 9)).cursor != b""


async def test_a_rare_record_among_many_is_found_within_the_scan_bound(store: RecordStore) -> None:
    items = [make_item(number) for number in range(24_000)]
    rare = [
        make_item(number, type="rare", queue="slow", state=JobState.FAILED, tags=("odd",))
        for number in (30_000, 90_000)
    ]
    await store.append([rare[0], *items, rare[1]])
    wanted = [JobFilter(type="rare"), JobFilter(queue="slow"), JobFilter(state=JobState.FAILED), JobFilter(tag="odd")]
    for one in (*wanted, JobFilter(type="rare", queue="slow", state=JobState.FAILED, tag="odd")):
        cursor = b""
        found: list[Record] = []
        for _ in range(4):
            page = await store.list(one, cursor, 50)
            assert page.scanned <= 10_000
            found += page.records
            cursor = page.cursor
            if not cursor:
                break
        assert found == newest_first(rare)


async def test_a_listing_without_a_match_ends_after_bounded_pages(store: RecordStore) -> None:
    await store.append([make_item(number, created_ms=START_MS + number % 2 * 1000) for number in range(24_000)])
    wanted = JobFilter(created_after_ms=START_MS + 100, created_before_ms=START_MS + 200)
    first = await store.list(wanted, b"", 50)
    assert list(first.records) == []
    assert first.scanned <= 10_000
    assert first.scanned >= 5_000 or not first.cursor  # a store that knows at once that there is none may say so
    assert await read_all(store, wanted) == []


async def test_records_older_than_the_ttl_are_pruned_in_bounded_steps(opener: Opener, tmp_path: Path) -> None:
    now_ms = START_MS
    store = opener(tmp_path, ttl_s=60, wall_ms=lambda: now_ms)
    await store.open()
    items = [make_item(number) for number in range(3000)]
    await store.append(items)
    assert await store.prune(1000) == 0
    now_ms = items[2499].record.finished_ms + 60_001
    assert [await store.prune(1000) for _ in range(4)] == [1000, 1000, 500, 0]
    assert await store.count() == 500
    assert await read_all(store, limit=500) == newest_first(items[2500:])
    now_ms += 3_600_000
    assert await store.prune(1000) == 500
    assert await store.count() == 0
    await store.append(items[:3])
    assert await read_all(store) == newest_first(items[:3])
    await store.close()


async def test_nothing_is_pruned_where_records_are_kept_for_ever(opener: Opener, tmp_path: Path) -> None:
    store = opener(tmp_path, ttl_s=0, wall_ms=lambda: START_MS * 2)
    await store.open()
    await store.append([make_item(0)])
    assert await store.prune(1000) == 0
    assert await store.count() == 1
    await store.close()


async def test_a_clock_that_ran_ahead_does_not_keep_what_came_later(opener: Opener, tmp_path: Path) -> None:
    now_ms = START_MS
    store = opener(tmp_path, ttl_s=60, wall_ms=lambda: now_ms)
    await store.open()
    ahead = make_item(900_000_000)
    await store.append([make_item(0), ahead, make_item(1)])
    now_ms += 120_000
    assert await store.prune(1000) == 2
    assert await read_all(store) == [ahead.record]
    await store.close()


async def test_calls_at_the_same_time_all_get_their_own_answer(store: RecordStore) -> None:
    items = [make_item(number) for number in range(200)]
    await asyncio.gather(*(store.append([item]) for item in items))
    answers = await asyncio.gather(*(store.get([id_of(item)]) for item in items))
    assert [dict(answer) for answer in answers] == [{id_of(item): item.record} for item in items]
    assert await store.count() == 200


async def test_a_store_that_is_not_open_says_so_and_closing_twice_does_no_harm(opener: Opener, tmp_path: Path) -> None:
    store = opener(tmp_path)
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.append([make_item(0)])
    await store.open()
    await store.append([make_item(0)])
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.get([id_of(make_item(0))])
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.count()


made_items = st.lists(
    st.tuples(
        st.sampled_from(["email", "sms"]),
        st.sampled_from(["default", "slow"]),
        st.sampled_from([JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED]),
        st.sets(st.sampled_from(["a", "aa", "b"])),
        st.integers(0, 40),
    ),
    max_size=40,
)
filters = st.builds(
    JobFilter,
    state=st.none() | st.sampled_from(list(JobState)),
    type=st.sampled_from(["", "email", "sms", "none"]),
    queue=st.sampled_from(["", "default", "slow"]),
    tag=st.sampled_from(["", "a", "aa", "b", "c"]),
    created_after_ms=st.just(0) | st.integers(START_MS, START_MS + 50),
    created_before_ms=st.just(0) | st.integers(START_MS, START_MS + 50),
)


@settings(max_examples=60, deadline=None)
@given(made_items, st.lists(filters, min_size=1, max_size=4), st.integers(1, 12), st.integers(1, 15))
def test_listing_page_by_page_gives_what_the_filter_accepts_in_order(
    opener: Opener, made: list[tuple[str, str, JobState, set[str], int]], wanted: list[JobFilter], limit: int, bulk: int
) -> None:
    items = [
        make_item(number, type=type, queue=queue, state=state, tags=tuple(sorted(tags)), created_ms=START_MS + created)
        for number, (type, queue, state, tags, created) in enumerate(made)
    ]

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = opener(Path(folder))
            await store.open()
            for start in range(0, len(items), bulk):
                await store.append(items[start : start + bulk])
            for one in wanted:
                expected = [record for record in newest_first(items) if one.accepts(record.job, record.state)]
                assert await read_all(store, one, limit) == expected
            await store.close()

    asyncio.run(run())


bulks = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 3)), max_size=9, unique_by=lambda one: one[0])
deeds = st.one_of(
    st.tuples(st.just("append"), bulks),
    st.tuples(st.just("remove"), st.lists(st.integers(0, 30), max_size=6)),
    st.tuples(st.just("prune"), st.tuples(st.integers(1, 6), st.integers(0, 120))),
    st.tuples(st.just("reopen"), st.none()),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(deeds, min_size=3, max_size=15))
def test_any_order_of_deeds_leaves_what_a_plain_dict_would_hold(opener: Opener, made: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_compare_with_a_dict(opener, Path(folder), made))


async def _compare_with_a_dict(opener: Opener, folder: Path, made: list[tuple[str, object]]) -> None:
    model: dict[bytes, Record] = {}  # in the order of arrival
    now_ms = START_MS + 60_000
    store = opener(folder, ttl_s=60, wall_ms=lambda: now_ms)
    await store.open()
    for deed, what in made:
        match deed, what:
            case "append", list(some):
                items = [make_item(number, run=run) for number, run in some]
                await store.append(items)
                _append_to_model(model, items)
            case "remove", list(numbers):
                gone = {id_of(make_item(number)) for number in numbers}
                assert await store.remove(list(gone)) == len(gone & model.keys())
                model = {job_id: record for job_id, record in model.items() if job_id not in gone}
            case "prune", (int(limit), int(passed_ms)):
                now_ms += passed_ms
                due = [job_id for job_id, record in model.items() if record.finished_ms < now_ms - 60_000][:limit]
                assert await store.prune(limit) == len(due)
                model = {job_id: record for job_id, record in model.items() if job_id not in due}
            case _:
                await store.close()
                await store.open()
        assert await store.count() == len(model)
        assert await read_all(store, limit=4) == list(reversed(model.values()))
        assert await store.get(list(model)) == model
    await store.close()


def _append_to_model(model: dict[bytes, Record], items: Sequence[Item]) -> None:
    for item in items:
        there = model.get(id_of(item))
        if there is None or there.job.run < item.record.job.run:
            model.pop(id_of(item), None)
            model[id_of(item)] = item.record
