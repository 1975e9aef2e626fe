"""Laws of ticks: they rise, they do not depend on where one begins to look, and a catch-up is bounded and complete."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zjp.job import Limits
from zjp.schedule import CatchUp, Schedule, ScheduleChange
from zjp.ticks import (
    CATCH_UP_MAX,
    ON_TIME_MS,
    SPANS_MAX,
    WRITE_MAX,
    altered,
    begun,
    due,
    newest,
    next_after,
    pulled_back,
    upcoming,
)

pytestmark = pytest.mark.covers("cluster:schedules")

NOW_MS = 1_780_000_000_000
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Africa/Casablanca",
]
EXPRESSIONS = [
    "30 2 * * *", "0,30 1,2,3 * * *", "*/20 * * * *", "15 * * * *", "0 0 1 * *", "@hourly", "@weekly", "*/7 2 * * *", "0 12 13 * FRI",
    "30 */2 * * 1-5", "0 0 L * *", "15 30 2 * * *", "*/20 30 2 * * *",
]  # fmt: skip
crons = st.builds(
    lambda cron, zone: Schedule("s", "t", cron=cron, zone=zone), st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES)
)
intervals = st.builds(
    lambda every, anchor: Schedule("s", "t", every_ms=every, anchor_ms=anchor),
    st.integers(1000, 10**8),
    st.integers(1, NOW_MS),
)
schedules = st.one_of(crons, intervals)
moments = st.integers(1_700_000_000_000, 1_900_000_000_000)
CHANGES = ((2026, 3, 29), (2026, 10, 25), (2026, 11, 1), (2026, 4, 5), (2026, 3, 8))
near_changes = st.sampled_from([round(datetime(*day, tzinfo=UTC).timestamp() * 1000) for day in CHANGES])
starts = st.one_of(
    moments, st.builds(lambda day, shift: day + shift, near_changes, st.integers(-86_400_000, 86_400_000))
)


def times(schedule: Schedule, start: datetime, count: int) -> list[str]:
    zone = ZoneInfo(schedule.zone)
    at_ms = round(start.timestamp() * 1000)
    ticks = upcoming(msgspec.structs.replace(schedule, next_ms=next_after(schedule, at_ms)), count)
    return [datetime.fromtimestamp(tick / 1000, zone).strftime("%d %H:%M:%S %Z") for tick in ticks]


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(schedules, starts)
@settings(max_examples=300)
def test_ticks_rise_strictly(schedule: Schedule, start_ms: int) -> None:
    at_ms = start_ms
    for _ in range(8):
        following = next_after(schedule, at_ms)
        assert following > at_ms
        at_ms = following


@given(schedules, starts, st.integers(0, 20_000_000))
@settings(max_examples=300)
def test_next_tick_is_the_same_from_wherever_before_it_one_looks(
    schedule: Schedule, start_ms: int, back_ms: int
) -> None:
    """So leaders that begin to look at different moments agree on each tick."""
    tick = next_after(schedule, start_ms)
    seen = newest(schedule, start_ms - back_ms, tick, 10_000)
    assert seen[-1] == tick
    assert [other for other in seen if other > start_ms] == [tick]


@given(schedules, starts, st.integers(1, 30 * 86_400_000), st.integers(1, 50))
@settings(max_examples=200)
def test_newest_ticks_are_the_end_of_all_ticks(schedule: Schedule, start_ms: int, span_ms: int, count: int) -> None:
    every: list[int] = []
    at_ms = start_ms
    while (at_ms := next_after(schedule, at_ms)) <= start_ms + span_ms and len(every) < 3000:
        every.append(at_ms)
    if len(every) < 3000:
        assert newest(schedule, start_ms, start_ms + span_ms, count) == every[-count:]


@given(schedules, st.sampled_from(CatchUp), moments, st.lists(st.integers(0, 500_000_000), min_size=1, max_size=6))
@settings(max_examples=200)
def test_tick_is_fired_at_most_once_and_as_the_policy_says(
    schedule: Schedule, catch_up: CatchUp, start_ms: int, pauses: list[int]
) -> None:
    """Looked at again and again after pauses of any length, as leaders come and go."""
    made = begun(msgspec.structs.replace(schedule, catch_up=catch_up), start_ms, Limits())
    now_ms, fired = start_ms, list[int]()
    for pause in pauses:
        now_ms += pause
        round_of: list[int] = []
        first_ms, unfired = made.next_ms, made
        while (found := due(made, now_ms)) is not None:
            assert len(found.ticks) <= WRITE_MAX
            round_of += found.ticks
            assert found.schedule.next_ms > (found.ticks[-1] if found.has_more else now_ms)
            made = found.schedule
        missed = newest(unfired, first_ms - 1, now_ms, CATCH_UP_MAX)
        on_time = [tick for tick in missed if tick > now_ms - ON_TIME_MS]
        expected = {CatchUp.ALL: missed, CatchUp.SKIP: on_time, CatchUp.ONCE: on_time or missed[-1:]}
        assert round_of == expected[catch_up]
        fired += round_of
    assert fired == sorted(set(fired))
    assert all(start_ms < tick <= now_ms for tick in fired)


# ── the clocks change ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def nightly(zone: str = "Europe/Berlin", cron: str = "30 2 * * *") -> Schedule:
    return Schedule("s", "t", cron=cron, zone=zone)


def test_time_that_does_not_exist_fires_at_the_end_of_the_gap() -> None:
    assert times(nightly(), datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == ["29 03:00:00 CEST", "30 02:30:00 CEST"]


def test_time_that_exists_twice_fires_the_first_time() -> None:
    assert times(nightly(), datetime(2026, 10, 24, 12, tzinfo=UTC), 2) == ["25 02:30:00 CEST", "26 02:30:00 CET"]


@pytest.mark.parametrize("minute", range(0, 60, 7))
def test_looking_within_the_hour_that_comes_twice_brings_nothing_back(minute: int) -> None:
    second_hour = datetime(2026, 10, 25, 1, minute, tzinfo=UTC)
    assert times(nightly(), second_hour, 1) == ["26 02:30:00 CET"]


def test_two_times_within_the_gap_are_one_tick() -> None:
    assert times(nightly(cron="0,30 2 * * *"), datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == [
        "29 03:00:00 CEST",
        "30 02:00:00 CEST",
    ]


def test_second_in_front_changes_nothing_about_it() -> None:
    assert times(nightly(cron="15 30 2 * * *"), datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == [
        "29 03:00:15 CEST",
        "30 02:30:15 CEST",
    ]
    assert times(nightly(cron="15 30 2 * * *"), datetime(2026, 10, 24, 12, tzinfo=UTC), 2) == [
        "25 02:30:15 CEST",
        "26 02:30:15 CET",
    ]


def test_what_runs_every_hour_goes_by_real_time() -> None:
    hourly = times(nightly(cron="30 * * * *"), datetime(2026, 10, 25, 0, tzinfo=UTC), 3)
    assert hourly == ["25 02:30:00 CEST", "25 02:30:00 CET", "25 03:30:00 CET"]


# ── catching up ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def every_second(catch_up: CatchUp) -> Schedule:
    return begun(Schedule("s", "t", every_ms=1000, catch_up=catch_up), NOW_MS, Limits())


def test_catch_up_of_all_is_bounded_to_the_newest() -> None:
    made, fired = every_second(CatchUp.ALL), list[int]()
    while (found := due(made, NOW_MS + 7_200_000)) is not None:
        fired += found.ticks
        made = found.schedule
    assert fired == list(range(NOW_MS + 7_200_000 - (CATCH_UP_MAX - 1) * 1000, NOW_MS + 7_200_001, 1000))


def test_daily_run_that_was_missed_is_made_up_for_once() -> None:
    made = begun(nightly(), NOW_MS, Limits())
    found = due(made, NOW_MS + 10 * 86_400_000)
    assert found is not None
    assert (len(found.ticks), found.has_more) == (1, False)
    assert found.schedule.next_ms > NOW_MS + 10 * 86_400_000
    assert (found.schedule.last_ms, found.schedule.last_id[:6]) == (found.ticks[0], found.ticks[0].to_bytes(6, "big"))


def test_missed_run_is_left_out_when_it_is_to_be_skipped() -> None:
    made = begun(msgspec.structs.replace(nightly(), catch_up=CatchUp.SKIP), NOW_MS, Limits())
    found = due(made, made.next_ms + ON_TIME_MS + 1)
    assert found is not None
    assert found.ticks == ()
    assert due(found.schedule, made.next_ms + ON_TIME_MS + 1) is None


def test_paused_schedule_is_never_due() -> None:
    assert due(msgspec.structs.replace(every_second(CatchUp.ALL), is_paused=True), NOW_MS + 10_000) is None


# ── a clock that is wrong for a while ────────────────────────────────────────────────────────────────────────────────────────────────

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


class Leader:
    """Does what the duty does, at each moment that it is told."""

    def __init__(self, schedule: Schedule, now_ms: int) -> None:
        self.schedule = begun(schedule, now_ms, Limits())
        self.fired: list[int] = []

    def turn(self, now_ms: int) -> list[int]:
        self.schedule = pulled_back(self.schedule, now_ms) or self.schedule
        fired = list[int]()
        while (found := due(self.schedule, now_ms)) is not None:
            self.schedule = found.schedule
            fired += found.ticks
        self.fired += fired
        return fired

    def run(self, from_ms: int, until_ms: int, step_ms: int = 1000) -> list[int]:
        return [tick for now_ms in range(from_ms, until_ms + 1, step_ms) for tick in self.turn(now_ms)]


@pytest.mark.parametrize("catch_up", CatchUp)
def test_schedule_goes_on_when_a_clock_that_was_ahead_is_right_again(catch_up: CatchUp) -> None:
    leader = Leader(Schedule("s", "t", every_ms=1000, catch_up=catch_up), NOW_MS)
    leader.run(NOW_MS, NOW_MS + 4_000)
    ahead = leader.run(NOW_MS + HOUR_MS + 5_000, NOW_MS + HOUR_MS + 9_000)
    assert leader.run(NOW_MS + 10_000, NOW_MS + 15_000) == list(range(NOW_MS + 11_000, NOW_MS + 15_001, 1000))
    later = leader.run(NOW_MS + 16_000, NOW_MS + HOUR_MS + 60_000)
    assert not set(ahead) & set(later)
    assert set(range(NOW_MS + 16_000, NOW_MS + HOUR_MS + 60_001, 1000)) == {*ahead, *later}
    assert len(leader.schedule.fired) <= 2


@pytest.mark.parametrize("catch_up", CatchUp)
def test_run_of_tonight_that_was_fired_early_under_a_wrong_clock_is_not_repeated(catch_up: CatchUp) -> None:
    evening = round(datetime(2026, 6, 1, 18, tzinfo=UTC).timestamp() * 1000)
    leader = Leader(msgspec.structs.replace(nightly(), catch_up=catch_up), evening)
    tick = leader.schedule.next_ms
    assert leader.turn(tick + 5_000) == [tick]
    assert leader.turn(evening + 60_000) == []
    assert leader.schedule.next_ms == tick + DAY_MS
    assert leader.run(evening + 120_000, tick + DAY_MS + 60_000, 60_000) == [tick + DAY_MS]


def test_run_that_a_wrong_clock_left_out_comes_at_its_time() -> None:
    leader = Leader(msgspec.structs.replace(nightly(), catch_up=CatchUp.SKIP), NOW_MS)
    tick = leader.schedule.next_ms
    assert leader.turn(tick + 10 * DAY_MS - 60_000) == []
    assert leader.turn(NOW_MS + 60_000) == []
    assert upcoming(leader.schedule, 1) == [tick]
    assert leader.turn(tick + 1_000) == [tick]


@pytest.mark.parametrize("catch_up", CatchUp)
def test_clock_that_was_behind_for_a_while_brings_nothing_back_that_was_over(catch_up: CatchUp) -> None:
    """The machine was down at 02:30 of day 3, which was made up for or not; later its clock starts long before that."""
    leader = Leader(msgspec.structs.replace(nightly(), catch_up=catch_up), NOW_MS)
    first = leader.schedule.next_ms
    for day in (0, 1, 2, 5, 6):
        leader.turn(first + day * DAY_MS + 20_000 * (day == 5))
    before = list(leader.fired)
    leader.turn(first + DAY_MS // 2)
    leader.turn(first + 6 * DAY_MS + 3_600_000)
    assert leader.fired == before
    assert leader.turn(first + 7 * DAY_MS) == [first + 7 * DAY_MS]


def test_interval_that_was_set_by_a_clock_ahead_keeps_its_grid_and_begins_within_two() -> None:
    leader = Leader(Schedule("s", "t", every_ms=60_000), NOW_MS + DAY_MS + 7_000)
    assert leader.turn(NOW_MS) == []
    assert leader.schedule.next_ms == NOW_MS + 67_000


def test_clock_set_back_by_a_moment_just_after_the_schedule_was_made_fires_nothing() -> None:
    every_minute = begun(nightly(cron="* * * * *"), NOW_MS - NOW_MS % 60_000 + 20, Limits())
    for schedule in (every_minute, begun(Schedule("s", "t", every_ms=DAY_MS), NOW_MS, Limits())):
        assert pulled_back(schedule, schedule.created_ms - 40) is None


def test_change_of_timing_begins_at_once_after_a_wrong_clock() -> None:
    leader = Leader(Schedule("s", "t", every_ms=1000), NOW_MS)
    leader.turn(NOW_MS + DAY_MS)
    changed = altered(leader.schedule, ScheduleChange(every_ms=2000), NOW_MS + 5_500, Limits())
    assert upcoming(changed, 2) == [NOW_MS + 7_500, NOW_MS + 9_500]


def test_notes_of_what_was_fired_are_bounded() -> None:
    leader = Leader(msgspec.structs.replace(nightly(cron="* * * * *"), catch_up=CatchUp.ONCE), NOW_MS)
    for day in range(3 * SPANS_MAX):
        leader.turn(NOW_MS + day * DAY_MS)
    assert len(leader.schedule.fired) == SPANS_MAX
    assert leader.schedule.fired[0][0] == leader.fired[0]


jumps = st.lists(st.tuples(st.integers(-2 * DAY_MS, 2 * DAY_MS), st.integers(0, 4)), max_size=3)


@given(schedules, st.sampled_from(CatchUp), starts, jumps)
@settings(max_examples=150, deadline=None)
def test_however_the_clock_jumps_no_tick_fires_early_or_twice_and_all_do_once_it_goes_steadily(
    schedule: Schedule, catch_up: CatchUp, start_ms: int, jumps: list[tuple[int, int]]
) -> None:
    leader = Leader(msgspec.structs.replace(schedule, catch_up=catch_up), start_ms)
    now_ms = start_ms
    for jump_ms, turns in [*jumps, (0, 0)]:
        now_ms += jump_ms
        for _ in range(turns + 1):
            assert all(tick <= now_ms for tick in leader.turn(now_ms))
            now_ms += ON_TIME_MS // 2
    settled_ms = max(now_ms, start_ms) + 2 * schedule.every_ms
    for _ in range(5):
        if not 0 < leader.schedule.next_ms - now_ms < 30 * DAY_MS:
            break
        now_ms = max(leader.schedule.next_ms, now_ms + 1)
        leader.turn(now_ms)
    assert len(leader.fired) == len(set(leader.fired))
    bare = msgspec.structs.replace(leader.schedule, fired=(), last_ms=0)
    assert set(newest(bare, settled_ms, now_ms, 5_000)) <= set(leader.fired)
