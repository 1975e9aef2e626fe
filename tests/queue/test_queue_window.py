"""The window on a level against a disk played by a dict: whatever the order of commits, reads, claims and cancels, each job is given
once, in order, unless it was taken out."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.queue.making import Producer
from zjp.job import StoredJob
from zjp.queue import window
from zjp.queue.layout import level_number
from zjp.queue.window import Entry, Level, Queue

pytestmark = pytest.mark.covers("main-path:5")


class LevelMachine(RuleBasedStateMachine):
    """`committed` rows are on disk; `unapplied` ones are, too, but the loop has not heard of it yet."""

    @initialize()
    def begin(self) -> None:
        queue = Queue("q", 1)
        self.level = Level(queue, 5, level_number(1, 5))
        self.producer = Producer()
        self.disk: dict[int, StoredJob] = {}
        self.unapplied: list[list[Entry]] = []
        self.claimed: dict[int, StoredJob] = {}
        self.given: list[int] = []
        self.leaving: list[int] = []
        self.read: tuple[list[Entry], bool] | None = None
        self.never_claimed_from = 0

    @rule(count=st.integers(1, 9))
    def commit(self, count: int) -> None:
        first = self.level.reserve(count + 1)  # a row is left out, as when a job is refused
        entries = [(first + at, StoredJob(self.producer.spec(), 0)) for at in range(count)]
        self.disk.update(entries)
        self.unapplied.append(entries)

    @precondition(lambda self: self.unapplied)
    @rule()
    def apply(self) -> None:
        entries = self.unapplied.pop(0)
        self.level.add(entries, 100 * len(entries), 0.0)

    @precondition(lambda self: self.level.needs_rows and self.read is None)
    @rule(limit=st.integers(1, 12))
    def begin_read(self, limit: int) -> None:
        after, until = self.level.begin_read()
        rows = sorted(row for row in self.disk if after < row <= until)
        entries = [(row, self.disk[row]) for row in rows[:limit]]
        self.read = entries, len(rows) < limit

    @precondition(lambda self: self.read is not None)
    @rule(fails=st.sampled_from((False, False, False, True)))
    def end_read(self, fails: bool) -> None:
        assert self.read is not None
        (entries, is_all), self.read = self.read, None
        if fails:
            self.level.abandon_read()
        else:
            self.level.end_read(entries, 100 * len(entries), is_all=is_all)

    @rule(count=st.integers(1, 15))
    def take(self, count: int) -> None:
        entries = self.level.take(count, 0.0)
        rows = [row for row, _ in entries]
        assert rows == sorted(rows)
        waiting = self.waiting()
        assert rows == waiting[: len(rows)], "the front, nothing skipped, nothing twice"
        self.claimed.update(entries)
        assert all(self.disk[row] is job for row, job in entries)

    def waiting(self) -> list[int]:
        unknown = {row for entries in self.unapplied for row, _ in entries}
        return sorted(row for row in self.disk if row not in self.claimed and row not in unknown and row not in self.leaving)

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(sorted(self.claimed)))
        del self.claimed[row], self.disk[row]

    @precondition(lambda self: self.claimed)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        rows = data.draw(st.lists(st.sampled_from(sorted(self.claimed)), unique=True))
        self.level.give_back([(row, self.claimed.pop(row)) for row in rows], 0.0)

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        row = data.draw(st.sampled_from(self.waiting()))
        assert self.level.withdraw(row)
        assert not self.level.withdraw(row)
        self.leaving.append(row)

    @precondition(lambda self: self.leaving)
    @rule()
    def forget(self) -> None:
        row = self.leaving.pop(0)
        del self.disk[row]
        self.level.forget(row)

    @precondition(lambda self: not self.leaving)
    @rule()
    def purge(self) -> None:
        until = self.level.purge()
        unapplied = sum(len(entries) for entries in self.unapplied)
        gone = [row for row in self.disk if row <= until and row not in self.claimed]
        for row in gone:
            del self.disk[row]
        while self.unapplied:  # committed before the purge, so applied before it
            self.apply()
        assert unapplied <= len(gone)
        self.level.waiting -= len(gone)

    @invariant()
    def waiting_is_counted(self) -> None:
        if hasattr(self, "level"):
            assert self.level.waiting == len(self.waiting())
            assert len(self.level.ready) <= window.WINDOW_MAX + window.WINDOW_LOW + 12

    @invariant()
    def rows_taken_out_are_forgotten(self) -> None:
        """Those kept in mind are about to leave the disk, or are still met in memory or by the read under way."""
        if hasattr(self, "level"):
            level = self.level
            met = {row for row, _ in (*level.ready, *level.returned, *(level.tail or ()), *(self.read or ((), False))[0])}
            assert level.withdrawn <= met | set(self.leaving) | set(level.gone)

    @invariant()
    def everything_comes_in_the_end(self) -> None:
        """What is left can be claimed to the last job once reads are through."""
        if hasattr(self, "level") and self.read is None and not self.level.needs_rows and not self.level.ready:
            assert len(self.level.returned) >= len(self.waiting())


# ── the interleavings that matter, one by one ────────────────────────────────────────────────────────────────────────────────────────


class Deep:
    """A level with 12 jobs, of which memory holds the first 6; a read of the others is under way."""

    def __init__(self) -> None:
        producer = Producer()
        self.level = Level(Queue("q", 1), 5, level_number(1, 5))
        first = self.level.reserve(20)
        self.entries = [(first + at, StoredJob(producer.spec(), 0)) for at in range(20)]
        self.level.add(self.entries[:6], 600, 0.0)
        self.level.add(self.entries[6:12], 600, 0.0)
        self.rows = [row for row, _ in self.entries]
        assert self.taken(3) == self.rows[:3]
        assert self.level.begin_read() == (self.rows[5], self.rows[11])

    def taken(self, count: int = 100) -> list[int]:
        return [row for row, _ in self.level.take(count, 0.0)]


def test_job_taken_out_while_its_row_is_being_read_does_not_come_in() -> None:
    deep = Deep()
    assert deep.level.withdraw(deep.rows[8])
    deep.level.forget(deep.rows[8])
    deep.level.end_read(deep.entries[6:12], 600, is_all=True)
    assert deep.taken() == [row for row in deep.rows[3:12] if row != deep.rows[8]]
    assert deep.level.withdrawn == set()


def test_row_that_left_the_disk_before_it_was_read_is_forgotten() -> None:
    deep = Deep()
    assert deep.level.withdraw(deep.rows[11])
    deep.level.forget(deep.rows[11])
    deep.level.end_read(deep.entries[6:9], 300, is_all=False)
    assert deep.level.withdrawn == set()


def test_jobs_added_during_a_read_follow_it_directly() -> None:
    deep = Deep()
    deep.level.add(deep.entries[12:14], 200, 0.0)
    deep.level.end_read(deep.entries[6:12], 600, is_all=True)
    assert not deep.level.needs_rows
    assert deep.taken() == deep.rows[3:14]


def test_jobs_added_during_a_read_that_stopped_early_wait_on_disk() -> None:
    deep = Deep()
    deep.level.add(deep.entries[12:14], 200, 0.0)
    deep.level.end_read(deep.entries[6:8], 200, is_all=False)
    assert deep.taken() == deep.rows[3:8]
    assert deep.level.begin_read() == (deep.rows[7], deep.rows[13])


def test_purge_during_a_read_lets_nothing_of_it_in() -> None:
    deep = Deep()
    deep.level.add(deep.entries[12:13], 100, 0.0)
    deep.level.purge()
    deep.level.end_read(deep.entries[6:12], 600, is_all=True)
    assert deep.taken() == []


def test_job_handed_back_after_a_purge_and_taken_out_does_not_come_back() -> None:
    deep = Deep()
    deep.level.purge()
    deep.level.end_read([], 0, is_all=True)
    deep.level.give_back([deep.entries[0]], 0.0)
    assert deep.level.withdraw(deep.rows[0])
    deep.level.forget(deep.rows[0])
    assert (deep.taken(), deep.level.withdrawn) == ([], set())


def test_job_taken_out_on_its_way_back_does_not_come_back() -> None:
    deep = Deep()
    assert deep.level.withdraw(deep.rows[0], is_waiting=False)
    deep.level.give_back([deep.entries[0]], 0.0)
    assert deep.taken(1) == [deep.rows[3]]


def test_read_that_failed_is_asked_for_again() -> None:
    deep = Deep()
    deep.level.abandon_read()
    assert deep.level.needs_rows
    assert deep.level.begin_read() == (deep.rows[5], deep.rows[11])


@pytest.fixture(autouse=True)
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "WINDOW_MAX", 6)
    monkeypatch.setattr(window, "WINDOW_LOW", 4)


TestLevel = LevelMachine.TestCase
TestLevel.settings = settings(max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
