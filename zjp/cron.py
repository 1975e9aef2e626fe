"""When the ticks of a cron expression are, in a time zone. Reads no clock; zones come from the system, or from the package tzdata.

An expression has five fields (minute hour day month weekday), or six with the second in front, or is one of ALIASES. Days count as
Debian's cron counts them: where both day fields are restricted, one of them must fit.

The library walks over *readings*, what a clock on the wall shows, a minute each, and knows no zone. Each reading is then looked up in the
zone, and the seconds are added to what is found:

    reading                    of a time that is named               of one that is not
    shown once                 then                                  then
    shown twice (autumn)       the first time                        both times
    never shown (spring)       at the end of the gap                 not at all

A time is named when neither the minute nor the hour begins with `*`. What is shown twice comes back after readings that are later on the
wall, so the second times wait in a queue until it is their turn. Nothing here takes a shift for a whole hour, or a zone for one that has
two offsets only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from copy import copy
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache

from cronsim import CronSim, CronSimError

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_EPOCH = datetime(1970, 1, 1)
_SECOND = timedelta(seconds=1)


class BadExpression(ValueError):
    """The message says which field."""


def cron_ticks(expression: str, zone: tzinfo, after_ms: int) -> Iterator[int]:
    """Unix ms, rising, later than `after_ms`. Raises: BadExpression, at the first."""
    walk, seconds, is_named = _parsed(expression)
    readings = copy(walk)
    # A minute back, as the seconds of that one may not be over: on the wall that may be before a gap.
    readings.dt = _earliest_reading(after_ms // 1000 - 60, zone)
    last_ms = after_ms
    for moment in _named(readings, zone) if is_named else _shown(readings, zone):
        for second in seconds:
            tick = (moment + second) * 1000
            if tick > last_ms:  # all that is named within a gap is one tick
                last_ms = tick
                yield tick


@lru_cache(maxsize=1_000)
def _parsed(expression: str) -> tuple[CronSim, list[int], bool]:
    """The walk over readings, to be copied and given its beginning; the seconds; whether a time is named. Raises: BadExpression."""
    fields = ALIASES.get(expression.lower(), expression).split()
    try:
        seconds = [0]
        if len(fields) == 6:
            seconds, fields = sorted(CronSim(f"{fields[0]} * * * * *", _EPOCH).seconds), fields[1:]
        walk = CronSim(" ".join(fields), _EPOCH)
    except CronSimError as fault:
        raise BadExpression(str(fault)) from None
    return walk, seconds, not (fields[0].startswith("*") or fields[1].startswith("*"))


def _earliest_reading(at_s: int, zone: tzinfo) -> datetime:
    """Of all that the clock shows from then on. When it is about to be set back, that is less than what it shows now."""
    now = datetime.fromtimestamp(at_s, zone)
    shift_s = _offset_s(now) - _offset_s(now.replace(fold=1))
    return now.replace(tzinfo=None, fold=0) - timedelta(seconds=max(0, shift_s))


def _named(readings: Iterable[datetime], zone: tzinfo) -> Iterator[int]:
    """A moment for each (Unix s), never falling."""
    for reading in readings:
        first_s, second_s = _moments(reading, zone)
        yield first_s if first_s <= second_s else _gap_end(second_s, first_s, zone)


def _shown(readings: Iterable[datetime], zone: tzinfo) -> Iterator[int]:
    """The moments (Unix s) at which the clock shows them, rising."""
    again: deque[int] = deque()
    for reading in readings:
        first_s, second_s = _moments(reading, zone)
        if first_s > second_s:
            continue  # never shown
        while again and again[0] < first_s:
            yield again.popleft()
        yield first_s
        if second_s > first_s:
            again.append(second_s)
    yield from again


def _moments(reading: datetime, zone: tzinfo) -> tuple[int, int]:
    """By the offset before a change of the clocks, and by the one after it (Unix s). The same: none is near. The second is later: the
    reading is shown twice. It is earlier: never, and the change lies between them."""
    here = reading.replace(tzinfo=zone)
    plain_s = (reading - _EPOCH) // _SECOND
    return plain_s - _offset_s(here), plain_s - _offset_s(here.replace(fold=1))


def _gap_end(before_s: int, after_s: int, zone: tzinfo) -> int:
    """The moment of the change (Unix s); `before_s` lies before it, `after_s` does not."""
    offset_s = _offset_s(datetime.fromtimestamp(before_s, zone))
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if _offset_s(datetime.fromtimestamp(middle_s, zone)) == offset_s:
            before_s = middle_s
        else:
            after_s = middle_s
    return after_s


def _offset_s(at: datetime) -> int:
    offset = at.utcoffset()
    assert offset is not None
    return offset // _SECOND
