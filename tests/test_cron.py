"""Ticks of cron expressions against a reference that knows nothing of readings: it looks at a zone's clock minute by minute."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zjp.cron import BadExpression, cron_ticks
from zjp.errors import InvalidJob
from zjp.job import Limits
from zjp.schedule import CRON_CHARS_MAX, Schedule
from zjp.ticks import begun

pytestmark = pytest.mark.covers("cluster:schedules")

DAY_S = 86_400
NOW_MS = 1_780_000_000_000
CHANGES = [
    ("Europe/Berlin", (2026, 3, 29)), ("Europe/Berlin", (2026, 10, 25)),
    ("America/New_York", (2026, 3, 8)), ("America/New_York", (2026, 11, 1)),
    ("Australia/Lord_Howe", (2026, 4, 4)), ("Australia/Lord_Howe", (2026, 10, 3)),  # half an hour
    ("Antarctica/Troll", (2026, 3, 29)), ("Antarctica/Troll", (2026, 10, 25)),  # two hours
    ("Africa/Casablanca", (2026, 2, 15)), ("Africa/Casablanca", (2026, 3, 22)),
    ("America/Havana", (2026, 3, 8)), ("America/Havana", (2026, 11, 1)),  # at midnight
    ("Africa/Cairo", (2026, 10, 29)), ("America/Asuncion", (2023, 10, 1)),
    ("Pacific/Apia", (2011, 12, 30)),  # a whole day
    ("America/Caracas", (2007, 12, 9)), ("America/Caracas", (2016, 5, 1)),
    ("Asia/Pyongyang", (2015, 8, 14)), ("Asia/Pyongyang", (2018, 5, 4)),
    ("Asia/Kathmandu", (2026, 1, 31)), ("UTC", (2026, 12, 31)),
]  # fmt: skip
FOUND = [
    "0,30 30 2 * * *", "0-2 30 2 * * *", "*/30 30 2 * * *", "15 30 2 * * *", "0,30 0 0 * * *", "0 */6 * * *", "*/10 9-17 * * *",
    "* 3 * * *", "*/15 2 * * *", "30 1-3 * * *", "0,30 1,2 * * *", "0 * * * *", "0-59 0-23 * * *", "30,45 59 23 * * *",
]  # fmt: skip
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True)
class Field:
    text: str
    fits: frozenset[int]


@dataclass(frozen=True)
class Expression:
    """With what each field means, as it was put together: nothing is parsed."""

    second: Field
    minute: Field
    hour: Field
    day: Field
    weekday: Field

    @property
    def text(self) -> str:
        fields = (self.second, self.minute, self.hour, self.day, Field("*", frozenset()), self.weekday)
        return " ".join(field.text for field in (fields if self.second.text else fields[1:]))

    def shows(self, wall: datetime) -> bool:
        return wall.minute in self.minute.fits and wall.hour in self.hour.fits and self._is_day(wall)

    def _is_day(self, wall: datetime) -> bool:
        fits = (wall.day in self.day.fits, (wall.weekday() + 1) % 7 in self.weekday.fits)
        return all(fits) if "*" in (self.day.text[0], self.weekday.text[0]) else any(fits)


def made_field(dice: random.Random, low: int, high: int, often_max: int) -> Field:
    """Numbers up to `often_max`; a star means all up to `high`."""
    first, last = sorted(dice.sample(range(low, often_max + 1), 2))
    step = dice.choice((2, 3, 7, 10, 15, 20, 30))
    several = frozenset(dice.sample(range(low, often_max + 1), dice.randint(1, 4)))
    return dice.choice(
        (
            Field("*", frozenset(range(low, high + 1))),
            Field(f"*/{step}", frozenset(range(low, high + 1, step))),
            Field(str(first), frozenset((first,))),
            Field(f"{first}-{last}", frozenset(range(first, last + 1))),
            Field(f"{first}-{last}/{step}", frozenset(range(first, last + 1, step))),
            Field(",".join(map(str, several)), several),
        )
    )


def made_expression(dice: random.Random) -> Expression:
    every_day, every_weekday = Field("*", frozenset(range(1, 32))), Field("*", frozenset(range(7)))
    weekday = dice.randrange(7)
    return Expression(
        made_field(dice, 0, 59, 59) if dice.random() < 0.5 else Field("", frozenset((0,))),
        made_field(dice, 0, 59, 59),
        made_field(dice, 0, 23, dice.choice((3, 23))),
        made_field(dice, 1, 31, 31) if dice.random() < 0.3 else every_day,
        Field(dice.choice((str(weekday), WEEKDAYS[weekday])), frozenset((weekday,)))
        if dice.random() < 0.3
        else every_weekday,
    )


def parsed(text: str) -> Expression:
    """Of FOUND: lists of numbers, ranges and stars with steps."""

    def field(part: str, high: int) -> Field:
        found: set[int] = set()
        for term in part.split(","):
            span, _, step = term.partition("/")
            first, _, last = span.replace("*", f"0-{high}").partition("-")
            found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
        return Field(part, frozenset(found))

    parts = text.split()
    second = field(parts.pop(0), 59) if len(parts) == 6 else Field("", frozenset((0,)))
    return Expression(
        second,
        field(parts[0], 59),
        field(parts[1], 23),
        Field("*", frozenset(range(1, 32))),
        Field("*", frozenset(range(7))),
    )


def walls(zone: str, from_s: int, until_s: int) -> list[tuple[int, datetime]]:
    """Each minute (Unix s) with what the clock shows in it."""
    info = ZoneInfo(zone)
    return [(at, datetime.fromtimestamp(at, info).replace(tzinfo=None, fold=0)) for at in range(from_s, until_s, 60)]


def reference(expression: Expression, clock: list[tuple[int, datetime]]) -> list[int]:
    """The ticks (Unix s) in these minutes."""
    is_named = not (expression.minute.text.startswith("*") or expression.hour.text.startswith("*"))
    minutes = set(_named(expression, clock) if is_named else _shown(expression, clock))
    return sorted({minute + second for minute in minutes for second in expression.second.fits})


def _shown(expression: Expression, clock: list[tuple[int, datetime]]) -> Iterator[int]:
    return (at for at, wall in clock if expression.shows(wall))


def _named(expression: Expression, clock: list[tuple[int, datetime]]) -> Iterator[int]:
    """Where the clock shows more than ever before, all it stepped over is due; else what was shown is over."""
    furthest = clock[0][1] - timedelta(minutes=1)
    for at, wall in clock:
        while furthest < wall:
            furthest += timedelta(minutes=1)
            if expression.shows(furthest):
                yield at


def ticks_between(text: str, zone: str, from_s: int, until_s: int) -> list[int]:
    found = cron_ticks(text, ZoneInfo(zone), from_s * 1000 - 1)
    return [tick // 1000 for tick in takewhile(lambda tick: tick < until_s * 1000, found)]


def spelled(ticks: set[int], zone: str) -> list[str]:
    return [datetime.fromtimestamp(tick, ZoneInfo(zone)).isoformat() for tick in sorted(ticks)[:5]]


@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_ticks_around_a_change_of_clocks_are_those_of_the_reference(zone: str, day: tuple[int, int, int]) -> None:
    start_s = round(datetime(*day, tzinfo=UTC).timestamp()) - DAY_S
    clock = walls(zone, start_s, start_s + 3 * DAY_S)
    dice = random.Random(f"{zone} {day}")
    for expression in (*map(parsed, FOUND), *(made_expression(dice) for _ in range(12))):
        expected = reference(expression, clock)
        found = ticks_between(expression.text, zone, start_s, start_s + 3 * DAY_S)
        missing, extra = set(expected) - set(found), set(found) - set(expected)
        assert found == expected, f"{expression.text}: missing {spelled(missing, zone)}, beyond {spelled(extra, zone)}"


@pytest.mark.parametrize(("zone", "day"), CHANGES)
def test_ticks_are_the_same_from_wherever_one_begins_to_look(zone: str, day: tuple[int, int, int]) -> None:
    start_s = round(datetime(*day, tzinfo=UTC).timestamp()) - DAY_S // 2
    until_s = start_s + 2 * DAY_S
    dice = random.Random(f"{day} {zone}")
    for text in (*FOUND, *(made_expression(dice).text for _ in range(5))):
        every = ticks_between(text, zone, start_s, until_s)
        for _ in range(12):
            after_s = dice.choice((dice.randrange(start_s, until_s), *every[:200])) + dice.choice((0, 0, 1))
            following = next(cron_ticks(text, ZoneInfo(zone), after_s * 1000), None)
            assert following is not None
            if following < until_s * 1000:
                assert following // 1000 == next(tick for tick in every if tick > after_s), f"{text} after {after_s}"


# ── what is written ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

fields = st.one_of(
    st.sampled_from(["*", "0", "5", "*/7", "1-5", "L", "LW", "MON#2", "5L", "FRI", "JAN"]),
    st.text("0123456789*/-,#L²٣MON", max_size=8),
)
written = st.one_of(
    st.lists(fields, min_size=4, max_size=7).map(" ".join), st.text(max_size=40), st.text(string.printable, max_size=40),
    st.sampled_from(["@hourly", "@DAILY", "@never"]),
)  # fmt: skip


@given(written)
@settings(max_examples=150, deadline=None)
@example("² 0 0 * * *")
@example("0 ² * * * *")
@example("٣ 0 0 * * *")
@example("0 0 * * ²L")
@example("60 0 0 * * *")
@example("-1 0 0 * * *")
@example("")
def test_whatever_is_written_has_ticks_or_is_refused_with_what_is_accepted(text: str) -> None:
    asked = Schedule("s", "t", cron=text or " ", zone="Europe/Berlin")
    try:
        next_ms = begun(asked, NOW_MS, Limits()).next_ms
    except InvalidJob as fault:
        next_ms, told = 0, str(fault)
    assert next_ms > NOW_MS or "is not understood (" in told or "never fires" in told


@pytest.mark.parametrize(
    ("text", "field"), [("² 0 0 * * *", "second"), ("60 0 0 * * *", "second"), ("² 0 * * *", "minute")]
)
def test_refusal_names_the_field(text: str, field: str) -> None:
    assert len(text) < CRON_CHARS_MAX
    with pytest.raises(BadExpression, match=f"Bad {field}"):
        next(cron_ticks(text, UTC, 0))
