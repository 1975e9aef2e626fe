"""What a node keeps of what happened to the cluster: in bulk to the records, from memory while they are away; the time without a leader."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from zjp.election.core import MS, SECOND, Happened, Kind
from zjp.errors import StoreUnavailable
from zjp.node.chronicle import APPEND_MAX, HELD_MAX, Chronicle
from zjp.node.stats import NodeStats
from zjp.records.events import Event, EventFilter, EventPage
from zjp.records.sqlite import SQLiteRecordStore
from zjp.wire.seen import Change

pytestmark = pytest.mark.covers("cluster:seen")

ELECTED = Happened(Kind.LEADER_ELECTED, "a", 3, "timeout", 40 * MS)
LOST = Happened(Kind.LEADER_LOST, "b", 2, "crash")


class Clock:
    def __init__(self) -> None:
        self.wall_ms, self.mono = 1_000_000, 0

    def pass_ms(self, ms: int) -> None:
        self.wall_ms += ms
        self.mono += ms * MS


class Away:
    """Records that do not answer, until they do."""

    def __init__(self) -> None:
        self.is_away, self.batches = True, list[list[Event]]()

    async def append_events(self, events: Sequence[Event]) -> None:
        self._answer()
        self.batches.append(list(events))

    async def list_events(self, wanted: EventFilter, cursor: bytes, limit: int) -> EventPage:
        self._answer()
        return EventPage([], b"")

    def _answer(self) -> None:
        if self.is_away:
            raise StoreUnavailable("gone")


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[SQLiteRecordStore]:
    store = SQLiteRecordStore(tmp_path / "records.db", ttl_s=0)
    await store.open()
    yield store
    await store.close()


def chronicle_of(records: Any, clock: Clock, node: str = "a", stats: NodeStats | None = None) -> Chronicle:
    return Chronicle(node, records, stats or NodeStats(node, 1), wall_ms=lambda: clock.wall_ms, now=lambda: clock.mono)


def figure(stats: NodeStats, name: str) -> Any:
    return stats._counters.snapshot()[name]["series"]


async def test_history_has_cause_and_duration_and_how_long_nobody_led(records: SQLiteRecordStore) -> None:
    clock = Clock()
    kept = chronicle_of(records, clock)
    kept.leader_is("b")
    kept.told(LOST)
    kept.leader_is("")
    clock.pass_ms(700)
    kept.told(ELECTED)
    kept.leader_is("a")
    assert await kept.history(10) == [
        Change(1_000_700, "leader_elected", "a", 3, "timeout", 40, 700), Change(1_000_000, "leader_lost", "b", 2, "crash", 0, 0),
    ]  # fmt: skip
    assert len(await kept.history(1)) == 1


async def test_a_leader_that_fell_silent_led_nobody_since_it_was_heard_last() -> None:
    """The metric counts as it says: how long this node knew of none."""
    clock, stats = Clock(), NodeStats("a", 1)
    kept = chronicle_of(Away(), clock, stats=stats)
    kept.leader_is("b")
    clock.pass_ms(9000)
    kept.leader_is("", silent=600 * MS)
    clock.pass_ms(4)
    kept.leader_is("", silent=0)
    kept.told(ELECTED)
    kept.leader_is("a")
    assert (await kept.history(1))[0].leaderless_ms == 604
    assert figure(stats, "zjp_leaderless_seconds_total")[0]["value"] == pytest.approx(0.004)


async def test_next_life_reads_it_from_the_records_and_leaves_out_what_other_nodes_saw(records: SQLiteRecordStore) -> None:
    clock = Clock()
    for node in ("a", "b"):
        kept = chronicle_of(records, clock, node)
        kept.told(ELECTED)
        kept.told(Happened(Kind.MEMBER_DEAD, "c"))
        kept.met("c", True)
        kept.did("transfer", "c", "ada")
        await kept.flush()
        clock.pass_ms(5)
    assert [change.at_ms for change in await chronicle_of(records, clock).history(10)] == [1_000_000]
    page = await records.list_events(EventFilter(), b"", 100)
    told = {(one.kind, one.subject, msgspec.msgpack.decode(one.data)["what"]) for one in page.events}
    assert told == {
        ("election", "a", "leader_elected"), ("member", "c", "member_dead"), ("mesh", "c", "met"), ("audit", "c", "transfer"),
    }  # fmt: skip
    assert len(page.events) == 8


async def test_history_is_told_from_memory_while_the_records_are_away_and_written_when_they_are_back() -> None:
    clock, store = Clock(), Away()
    kept = chronicle_of(store, clock)
    for _ in range(APPEND_MAX + 1):
        kept.met("b", True)
    kept.told(ELECTED)
    await kept.flush()
    assert [change.kind for change in await kept.history(10)] == ["leader_elected"]
    store.is_away = False
    await kept.flush()
    await kept.flush()
    assert [len(batch) for batch in store.batches] == [APPEND_MAX, 2]


async def test_what_waits_for_the_records_is_bounded_and_the_oldest_goes() -> None:
    clock, store = Clock(), Away()
    kept = chronicle_of(store, clock)
    kept.did("drain", "first", "ada")
    for _ in range(HELD_MAX):
        kept.met("b", True)
    store.is_away = False
    await kept.flush()
    written = [one for batch in store.batches for one in batch]
    assert (len(written), {one.subject for one in written}) == (HELD_MAX, {"b"})


async def test_stop_writes_what_is_left(records: SQLiteRecordStore) -> None:
    kept = chronicle_of(records, Clock())
    kept.start()
    kept.told(ELECTED)
    await kept.stop()
    assert len((await records.list_events(EventFilter(), b"", 10)).events) == 1


async def test_metrics_count_the_time_without_a_leader_and_the_elections_won() -> None:
    clock, stats = Clock(), NodeStats("a", 1)
    kept = chronicle_of(Away(), clock, stats=stats)
    clock.pass_ms(1500)
    kept.count()
    kept.count()
    assert figure(stats, "zjp_leaderless_seconds_total")[0]["value"] == pytest.approx(1.5)
    clock.pass_ms(500)
    kept.leader_is("a")
    clock.pass_ms(9000)
    kept.leader_is("")
    clock.pass_ms(1000)
    kept.count()
    assert figure(stats, "zjp_leaderless_seconds_total")[0]["value"] == pytest.approx(3.0)
    kept.told(ELECTED)
    kept.told(Happened(Kind.LEADER_ELECTED, "b", 4))  # somebody else won: it tells how long
    assert sum(figure(stats, "zjp_election_duration_seconds")[0]["counts"]) == 1
    assert figure(stats, "zjp_election_duration_seconds")[0]["sum"] == pytest.approx(40 * MS / SECOND)
