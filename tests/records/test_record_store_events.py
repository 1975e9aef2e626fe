"""What every store of records does with events: the second part of the suite."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.records.making import START_MS, Opener, make_item
from tests.redis import shared_redis
from zjp.errors import InvalidJob, StoreUnavailable
from zjp.job import make_id
from zjp.records.events import Event, EventFilter
from zjp.records.redis import RedisRecordStore
from zjp.records.store import RecordStore
from zjp.wire.messages import REPLY_BYTES_MAX

pytestmark = pytest.mark.covers("records:events")

ANY = EventFilter()


def make(number: int, kind: str = "joined", *, at_ms: int | None = None, data: bytes = b"\x81\xa1n\x01") -> Event:
    """The `number`-th event, a second after the one before it."""
    at_ms = START_MS + number * 1000 if at_ms is None else at_ms
    return Event(make_id(at_ms, 7, number), at_ms, kind, f"node-{number % 3}", "ümläut", data)


async def read_all(store: RecordStore, wanted: EventFilter = ANY, limit: int = 7) -> list[Event]:
    found: list[Event] = []
    cursor = b""
    while True:
        page = await store.list_events(wanted, cursor, limit)
        assert len(page.events) <= limit
        found += page.events
        cursor = page.cursor
        if not cursor:
            return found


def newest_first(events: Sequence[Event]) -> list[Event]:
    return sorted(events, key=lambda event: (event.at_ms, event.id), reverse=True)


async def test_events_are_listed_whole_newest_first_whatever_order_they_came_in(store: RecordStore) -> None:
    events = [make(number) for number in range(50)]
    shuffled = random.Random(1).sample(events, len(events))
    await store.append_events(shuffled[:20])
    await store.append_events(shuffled[20:])
    await store.append_events([])
    assert await read_all(store) == newest_first(events)
    assert await store.count() == 0, "they are no records"


async def test_the_same_event_again_does_no_harm(store: RecordStore) -> None:
    events = [make(number) for number in range(10)]
    await store.append_events(events)
    await store.append_events([*events[5:], make(10)])
    assert await read_all(store) == newest_first([*events, make(10)])


async def test_thousands_of_events_in_one_millisecond_are_paged(store: RecordStore) -> None:
    events = [make(number, at_ms=START_MS) for number in range(2500)]
    await store.append_events(events)
    assert await read_all(store, limit=499) == newest_first(events)


async def test_events_are_found_by_kind_and_time(store: RecordStore) -> None:
    events = [make(number, "elected" if number % 4 == 0 else "joined") for number in range(40)]
    await store.append_events(events)
    assert await read_all(store, EventFilter(kind="elected")) == newest_first(events[::4])
    between = EventFilter(since_ms=events[10].at_ms, until_ms=events[20].at_ms)
    assert await read_all(store, between) == newest_first(events[10:20])
    assert await read_all(store, EventFilter("elected", events[10].at_ms, events[20].at_ms)) == newest_first(events[12:20:4])
    assert await read_all(store, EventFilter(kind="left")) == []


async def test_a_rare_kind_among_many_is_found_page_by_page(store: RecordStore) -> None:
    rare = [make(number, "elected") for number in (0, 15_000)]
    await store.append_events([*rare, *(make(number) for number in range(1, 15_000))])
    assert await read_all(store, EventFilter(kind="elected")) == newest_first(rare)


async def test_a_cursor_goes_on_where_it_was_while_events_come_and_go(store: RecordStore) -> None:
    events = [make(number) for number in range(30)]
    await store.append_events(events)
    first = await store.list_events(ANY, b"", 10)
    await store.append_events([make(number) for number in range(30, 40)])
    second = await store.list_events(ANY, first.cursor, 10)
    assert [*first.events, *second.events] == newest_first(events[10:])


@pytest.mark.parametrize("cursor", [b"x", b"\xff" * 23, b"\xff" * 25])
async def test_a_cursor_that_is_none_is_refused(store: RecordStore, cursor: bytes) -> None:
    with pytest.raises(InvalidJob, match="was not made by this store"):
        await store.list_events(ANY, cursor, 10)


async def test_a_page_ends_where_a_reply_would_be_too_large(store: RecordStore) -> None:
    large = REPLY_BYTES_MAX // 3
    events = [make(number, data=b"\xc6" + large.to_bytes(4, "big") + bytes(large)) for number in range(5)]
    for event in events:
        await store.append_events([event])
    page = await store.list_events(ANY, b"", 10)
    assert list(page.events) == newest_first(events[3:])
    assert await read_all(store) == newest_first(events)


async def test_events_older_than_their_ttl_are_pruned_in_bounded_steps(opener: Opener, tmp_path: Path) -> None:
    now_ms = START_MS
    store = opener(tmp_path, events_ttl_s=60, wall_ms=lambda: now_ms)
    await store.open()
    events = [make(number) for number in range(1500)]
    await store.append_events(events)
    await store.append([make_item(0)])
    assert await store.prune_events(1000) == 0
    now_ms = events[1199].at_ms + 60_001
    assert [await store.prune_events(1000) for _ in range(3)] == [1000, 200, 0]
    assert await read_all(store, limit=500) == newest_first(events[1200:])
    assert await store.count() == 1, "records have a time of their own"
    await store.close()


async def test_nothing_is_pruned_where_events_are_kept_for_ever(opener: Opener, tmp_path: Path) -> None:
    store = opener(tmp_path, events_ttl_s=0, wall_ms=lambda: START_MS * 2)
    await store.open()
    await store.append_events([make(0)])
    assert await store.prune_events(1000) == 0
    await store.close()


async def test_a_time_to_live_that_reaches_back_beyond_1970_prunes_nothing(opener: Opener, tmp_path: Path) -> None:
    store = opener(tmp_path, events_ttl_s=100 * 365 * 86_400, wall_ms=lambda: START_MS)
    await store.open()
    await store.append_events([make(0)])
    assert await store.prune_events(1000) == 0
    assert await read_all(store, limit=500) == [make(0)]
    await store.close()


async def test_events_are_there_after_a_reopen_and_not_before_the_store_is_open(opener: Opener, tmp_path: Path) -> None:
    store = opener(tmp_path)
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.append_events([make(0)])
    await store.open()
    await store.append_events([make(0)])
    await store.close()
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.list_events(ANY, b"", 1)
    store = opener(tmp_path)
    await store.open()
    assert await read_all(store) == [make(0)]
    await store.close()


times = st.integers(START_MS, START_MS + 20)
filters = st.builds(EventFilter, st.sampled_from(["", "joined", "left", "none"]), st.just(0) | times, st.just(0) | times)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(times, st.sampled_from(["joined", "left"])), max_size=30),
    st.lists(filters, min_size=1, max_size=4),
    st.integers(1, 8),
)
def test_listing_page_by_page_gives_what_the_filter_names(
    opener: Opener, made: list[tuple[int, str]], wanted: list[EventFilter], limit: int
) -> None:
    events = [make(number, kind, at_ms=at_ms) for number, (at_ms, kind) in enumerate(made)]

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = opener(Path(folder))
            await store.open()
            await store.append_events(events)
            for one in wanted:
                named = [event for event in events if one.kind in ("", event.kind) and event.at_ms >= one.since_ms]
                expected = [event for event in named if not one.until_ms or event.at_ms < one.until_ms]
                assert await read_all(store, one, limit) == newest_first(expected)
            await store.close()

    asyncio.run(run())


async def test_in_redis_the_oldest_events_make_room_for_the_newest(tmp_path: Path) -> None:
    store = RedisRecordStore(shared_redis().unix_url, namespace=str(tmp_path), ttl_s=0, count_max=10, events_max=20)
    await store.open()
    events = [make(number) for number in range(50)]
    for start in range(0, 50, 15):
        await store.append_events(events[start : start + 15])
    assert await read_all(store) == newest_first(events[-20:])
    await store.close()
