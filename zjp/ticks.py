"""When a schedule's ticks are, and which of them are to be fired now. Knows calendars and time zones; reads no clock, `now_ms` is told.

A cron expression has five fields (minute hour day month weekday), or six with the second in front, or is one of ALIASES. Days count as
Debian's cron counts them: where both day fields are restricted, one of them must fit. When the clocks change, an expression that names its
hour and minute fires once: what does not exist (02:30 in spring) fires at the end of the gap, what exists twice (02:30 in autumn) the
first time. What runs every hour, every so many minutes or seconds goes by real time. An interval knows no calendar.

A tick is on time for ON_TIME_MS: so long a change of leaders may take. Later ones were missed, and the schedule's catch-up decides:

    skip    the ticks that are on time
    once    those, or where there is none the latest that was missed
    all     every tick, the newest CATCH_UP_MAX

Zones come from the system, or from the package tzdata where it has none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from .errors import InvalidJob
from .job import Limits
from .schedule import TIMING, CatchUp, Schedule, ScheduleChange, changed, check_schedule, tick_id

ON_TIME_MS = 10_000
CATCH_UP_MAX = 1_000
"""Ticks of one schedule that `all` makes up for; the older ones are left out."""
WRITE_MAX = 100
"""Ticks that go into one step of the store; the others follow in the next."""
SPAN_MS, SPAN_FACTOR = 60_000, 4
"""How far back missed ticks are looked for at first, and how much further each time: never many more than are wanted."""
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class Due(NamedTuple):
    """`ticks`: to be fired, rising. `schedule`: as it is once they are. `has_more`: look again at once."""

    ticks: tuple[int, ...]
    schedule: Schedule
    has_more: bool


def due(schedule: Schedule, now_ms: int) -> Due | None:
    """What is to be done about a schedule now; None: nothing."""
    if schedule.is_paused or not 0 < schedule.next_ms <= now_ms:
        return None
    ticks = _wanted(schedule, now_ms)
    fired, has_more = ticks[:WRITE_MAX], len(ticks) > WRITE_MAX
    after_ms = fired[-1] if has_more else now_ms
    last = {"last_ms": fired[-1], "last_id": tick_id(schedule, fired[-1])} if fired else {}
    return Due(
        tuple(fired), msgspec.structs.replace(schedule, next_ms=next_after(schedule, after_ms), **last), has_more
    )


def _wanted(schedule: Schedule, now_ms: int) -> list[int]:
    first_ms = schedule.next_ms - 1
    if schedule.catch_up is CatchUp.ALL:
        return newest(schedule, first_ms, now_ms, CATCH_UP_MAX)
    on_time = newest(schedule, max(first_ms, now_ms - ON_TIME_MS), now_ms, CATCH_UP_MAX)
    if on_time or schedule.catch_up is CatchUp.SKIP:
        return on_time
    return newest(schedule, first_ms, now_ms, 1)


def next_after(schedule: Schedule, after_ms: int) -> int:
    """The first tick later than that; 0: there is none."""
    return next(_ticks(schedule, after_ms), 0)


def upcoming(schedule: Schedule, count: int) -> list[int]:
    """The next ticks, from `next_ms` on."""
    found = _ticks(schedule, schedule.next_ms - 1) if schedule.next_ms else iter(())
    return [tick for tick, _ in zip(found, range(count), strict=False)]


def newest(schedule: Schedule, after_ms: int, until_ms: int, count: int) -> list[int]:
    """The newest `count` ticks in (after, until], rising."""
    span_ms = SPAN_MS
    while True:
        start_ms = max(after_ms, until_ms - span_ms)
        found: deque[int] = deque(maxlen=count)
        for tick in _ticks(schedule, start_ms):
            if tick > until_ms:
                break
            found.append(tick)
        if len(found) == count or start_ms == after_ms:
            return list(found)
        span_ms *= SPAN_FACTOR


def _ticks(schedule: Schedule, after_ms: int) -> Iterator[int]:
    if schedule.every_ms:
        return _every(schedule.anchor_ms, schedule.every_ms, after_ms)
    return _cron(schedule.cron, ZoneInfo(schedule.zone), after_ms)


def _every(anchor_ms: int, every_ms: int, after_ms: int) -> Iterator[int]:
    tick = anchor_ms + max(1, (after_ms - anchor_ms) // every_ms + 1) * every_ms
    while True:
        yield tick
        tick += every_ms


def _cron(expression: str, zone: ZoneInfo, after_ms: int) -> Iterator[int]:
    """A single second in front is taken off and added to each tick, so that the clocks' changes count as without it."""
    fields = ALIASES.get(expression.lower(), expression).split()
    shift_ms = 0
    if len(fields) == 6 and fields[0].isdigit() and int(fields[0]) < 60:
        shift_ms, fields = int(fields[0]) * 1000, fields[1:]
    last_ms = after_ms
    for moment in CronSim(" ".join(fields), datetime.fromtimestamp((after_ms - shift_ms) // 1000, zone)):
        tick = round(moment.astimezone(UTC).timestamp()) * 1000 + shift_ms
        # In the hour that comes twice it names the first one, which may be over; in the gap it names the gap's end more than once.
        if tick > last_ms:
            last_ms = tick
            yield tick


# ── making and changing ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def begun(schedule: Schedule, now_ms: int, limits: Limits) -> Schedule:
    """A new schedule, checked, with its first tick. Raises: InvalidJob, PayloadTooLarge."""
    fresh = msgspec.structs.replace(schedule, created_ms=now_ms, last_ms=0, last_id=b"")
    return _timed(fresh, now_ms, limits)


def altered(schedule: Schedule, change: ScheduleChange, now_ms: int, limits: Limits) -> Schedule:
    """A changed schedule, checked. With a new timing, and when it goes on after a pause, its ticks begin now: nothing is caught up.

    Raises: InvalidJob, PayloadTooLarge.
    """
    new = changed(schedule, change)
    if any(getattr(new, field) != getattr(schedule, field) for field in TIMING):
        return _timed(new, max(now_ms, schedule.last_ms), limits)
    if msgspec.structs.replace(new, is_paused=schedule.is_paused) != schedule:  # what older versions took can still be paused
        check_schedule(new, limits)
    if schedule.is_paused and not new.is_paused:
        return msgspec.structs.replace(new, next_ms=next_after(new, max(now_ms, schedule.last_ms)))
    return new


def _timed(schedule: Schedule, now_ms: int, limits: Limits) -> Schedule:
    check_schedule(schedule, limits)
    _check_timing(schedule)
    timed = msgspec.structs.replace(schedule, anchor_ms=now_ms)
    next_ms = next_after(timed, now_ms)
    if not next_ms:
        raise InvalidJob(f"cron {schedule.cron!r} never fires; check its day and month")
    return msgspec.structs.replace(timed, next_ms=next_ms)


def _check_timing(schedule: Schedule) -> None:
    try:
        ZoneInfo(schedule.zone)
    except (KeyError, OSError, ValueError):  # it is looked for as a file
        raise InvalidJob(
            f"zone {schedule.zone!r} is no time zone; give an IANA name such as Europe/Berlin, or UTC (is the package tzdata installed?)"
        ) from None
    if not schedule.cron:
        return
    try:
        next(_cron(schedule.cron, ZoneInfo(schedule.zone), 0), None)
    except CronSimError as fault:
        raise InvalidJob(
            f"cron {schedule.cron!r} is not understood ({fault}); give minute hour day month weekday, as in '30 2 * * *', six fields with "
            f"the second in front, or one of {', '.join(sorted(ALIASES))}"
        ) from None
