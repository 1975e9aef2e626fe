"""Laws of ticks: they rise, they do not depend on where one begins to look, and a catch-up is bounded and complete."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zjp.job import Limits
from zjp.schedule import CatchUp, Schedule
from zjp.ticks import CATCH_UP_MAX, ON_TIME_MS, WRITE_MAX, begun, due, newest, next_after, upcoming

pytestmark = pytest.mark.covers("cluster:schedules")

NOW_MS = 1_780_000_000_000
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "Africa/Casablanca"]
EXPRESSIONS = [
    "30 2 * * *", "0,30 1,2,3 * * *", "*/20 * * * *", "15 * * * *", "0 0 1 * *", "@hourly", "@weekly", "*/7 2 * * *", "0 12 13 * FRI",
    "30 */2 * * 1-5", "0 0 L * *", "15 30 2 * * *", "*/20 30 2 * * *",
]  # fmt: skip
crons = st.builds(lambda cron, zone: Schedule("s", "t", cron=cron, zone=zone), st.sampled_from(EXPRESSIONS), st.sampled_from(ZONES))
intervals = st.builds(
    lambda every, anchor: Schedule("s", "t", every_ms=every, anchor_ms=anchor), st.integers(1000, 10**8), st.integers(1, NOW_MS)
)
schedules = st.one_of(crons, intervals)
moments = st.integers(1_700_000_000_000, 1_900_000_000_000)
CHANGES = ((2026, 3, 29), (2026, 10, 25), (2026, 11, 1), (2026, 4, 5), (2026, 3, 8))
near_changes = st.sampled_from([round(datetime(*day, tzinfo=UTC).timestamp() * 1000) for day in CHANGES])
starts = st.one_of(moments, st.builds(lambda day, shift: day + shift, near_changes, st.integers(-86_400_000, 86_400_000)))


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
def test_next_tick_is_the_same_from_wherever_before_it_one_looks(schedule: Schedule, start_ms: int, back_ms: int) -> None:
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
def test_tick_is_fired_at_most_once_and_as_the_policy_says(schedule: Schedule, catch_up: CatchUp, start_ms: int, pauses: list[int]) -> None:
    """Looked at again and again after pauses of any length, as leaders come and go."""
    made = begun(msgspec.structs.replace(schedule, catch_up=catch_up), start_ms, Limits())
    now_ms, fired = start_ms, list[int]()
    for pause in pauses:
        now_ms += pause
        round_of: list[int] = []
        first_ms = made.next_ms
        while (found := due(made, now_ms)) is not None:
            assert len(found.ticks) <= WRITE_MAX
            round_of += found.ticks
            assert found.schedule.next_ms > (found.ticks[-1] if found.has_more else now_ms)
            made = found.schedule
        missed = newest(made, first_ms - 1, now_ms, CATCH_UP_MAX)
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
    assert times(nightly(cron="0,30 2 * * *"), datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == ["29 03:00:00 CEST", "30 02:00:00 CEST"]


def test_second_in_front_changes_nothing_about_it() -> None:
    assert times(nightly(cron="15 30 2 * * *"), datetime(2026, 3, 28, 12, tzinfo=UTC), 2) == ["29 03:00:15 CEST", "30 02:30:15 CEST"]
    assert times(nightly(cron="15 30 2 * * *"), datetime(2026, 10, 24, 12, tzinfo=UTC), 2) == ["25 02:30:15 CEST", "26 02:30:15 CET"]


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
