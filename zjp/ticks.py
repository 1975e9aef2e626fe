"""When a schedule's ticks are, and which of them are to be fired now. Reads no clock, `now_ms` is told.

A cron expression's ticks are worked out in cron.py. An interval knows no calendar: its ticks are a grid through the moment it was set.

A tick is on time for ON_TIME_MS: so long a change of leaders may take. Later ones were missed, and the schedule's catch-up decides:

    skip    the ticks that are on time
    once    those, or where there is none the latest that was missed
    all     every tick, the newest CATCH_UP_MAX

**The clock may go back.** Under one that was ahead, `next_ms` went on with it, and left to itself would be waited for until that time has
come. So whoever fires also asks whether the next tick is further away than the clock allows, and pulls it back (`pulled_back`). Two notes
in the schedule keep that from firing anything twice, or what had been left out for good:

    fired        spans in which every tick was fired: they are never ticks again, whatever the clock shows. A tick that follows the last
                 one without one between them that was not fired lengthens its span, so there is a new one for each pause or leap only
    passed_ms    where `next_ms` was pulled back from. Once nothing but later ticks would be next, a clock that was behind is right again:
                 what lies before was decided then, and is not caught up
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from .cron import ALIASES, BadExpression, cron_ticks
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
SPANS_MAX = 8
"""In `fired`. Of more the two oldest become one, with what lies between them."""


class Due(NamedTuple):
    """`ticks`: to be fired, rising. `schedule`: as it is once they are. `has_more`: look again at once."""

    ticks: tuple[int, ...]
    schedule: Schedule
    has_more: bool


def due(schedule: Schedule, now_ms: int) -> Due | None:
    """What is to be done about a schedule now; None: nothing."""
    if schedule.is_paused or not 0 < schedule.next_ms <= now_ms:
        return None
    following_ms = next_after(schedule, now_ms)
    ticks = _wanted(schedule, now_ms, following_ms)
    fired, has_more = ticks[:WRITE_MAX], len(ticks) > WRITE_MAX
    next_ms = ticks[WRITE_MAX] if has_more else following_ms
    passed_ms = schedule.passed_ms if next_ms < schedule.passed_ms else 0
    left = msgspec.structs.replace(_noted(schedule, fired), next_ms=next_ms, passed_ms=passed_ms)
    return Due(tuple(fired), left, has_more)


def _wanted(schedule: Schedule, now_ms: int, following_ms: int) -> list[int]:
    first_ms, on_time_ms = schedule.next_ms - 1, now_ms - ON_TIME_MS
    if schedule.passed_ms and not 0 < following_ms < schedule.passed_ms:
        first_ms = max(first_ms, min(schedule.passed_ms - 1, on_time_ms))
    if schedule.catch_up is CatchUp.ALL:
        return newest(schedule, first_ms, now_ms, CATCH_UP_MAX)
    on_time = newest(schedule, max(first_ms, on_time_ms), now_ms, CATCH_UP_MAX)
    if on_time or schedule.catch_up is CatchUp.SKIP:
        return on_time
    return newest(schedule, first_ms, now_ms, 1)


def _noted(schedule: Schedule, ticks: list[int]) -> Schedule:
    """With them as fired; between them there is none that was not."""
    if not ticks:
        return schedule
    first, last = ticks[0], ticks[-1]
    if schedule.last_ms < first == next_after(schedule, schedule.last_ms):
        first = min([first, *(start for start, end in schedule.fired if end == schedule.last_ms)])
    spans = sorted([(first, last), *(span for span in schedule.fired if not first <= span[0] <= last)])
    if len(spans) > SPANS_MAX:
        spans[:2] = [(spans[0][0], spans[1][1])]
    return msgspec.structs.replace(schedule, fired=tuple(spans), last_ms=last, last_id=tick_id(schedule, last))


def pulled_back(schedule: Schedule, now_ms: int) -> Schedule | None:
    """As it is to be when its next tick was set by a clock that was ahead of this one; None: it is right."""
    if schedule.is_paused or schedule.next_ms <= now_ms:
        return None
    first_ms = _first(schedule, now_ms)
    if not 0 < first_ms < schedule.next_ms:
        return None
    passed_ms = max(schedule.passed_ms, schedule.next_ms)
    return msgspec.structs.replace(schedule, next_ms=first_ms, passed_ms=passed_ms)


def _first(schedule: Schedule, now_ms: int) -> int:
    """The first tick from now on. By this clock the timing may not have been set yet."""
    ahead_ms = schedule.anchor_ms - now_ms
    if ahead_ms <= 0:
        return next_after(schedule, now_ms)
    if ahead_ms <= ON_TIME_MS:  # not worth a tick that had passed when it was set
        return next_after(schedule, schedule.anchor_ms)
    return next_after(schedule, now_ms + max(0, schedule.every_ms - 1))


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
    """Those that were not fired."""
    found = _planned(schedule, after_ms)
    while (tick := next(found, 0)) > 0:
        if end := _fired_until(schedule, tick):
            found = _planned(schedule, end)
        else:
            yield tick


def _fired_until(schedule: Schedule, tick: int) -> int:
    """The end of the span that it lies in; 0: in none."""
    if tick == schedule.last_ms:
        return tick
    for first, last in schedule.fired:
        if first <= tick <= last:
            return last
    return 0


def _planned(schedule: Schedule, after_ms: int) -> Iterator[int]:
    if schedule.every_ms:
        return _every(schedule.anchor_ms, schedule.every_ms, after_ms)
    return cron_ticks(schedule.cron, ZoneInfo(schedule.zone), after_ms)


def _every(anchor_ms: int, every_ms: int, after_ms: int) -> Iterator[int]:
    tick = anchor_ms + ((after_ms - anchor_ms) // every_ms + 1) * every_ms
    while True:
        yield tick
        tick += every_ms


# ── making and changing ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def begun(schedule: Schedule, now_ms: int, limits: Limits) -> Schedule:
    """A new schedule, checked, with its first tick. Raises: InvalidJob, PayloadTooLarge."""
    fresh = msgspec.structs.replace(schedule, created_ms=now_ms, last_ms=0, last_id=b"", fired=(), passed_ms=0)
    return _timed(fresh, now_ms, limits)


def altered(schedule: Schedule, change: ScheduleChange, now_ms: int, limits: Limits) -> Schedule:
    """A changed schedule, checked. With a new timing, and when it goes on after a pause, its ticks begin now: nothing is caught up,
    and a time at which it has fired already is left out, should the clock have been set back.

    Raises: InvalidJob, PayloadTooLarge.
    """
    new = changed(schedule, change)
    if any(getattr(new, field) != getattr(schedule, field) for field in TIMING):
        return _timed(new, now_ms, limits)
    if msgspec.structs.replace(new, is_paused=schedule.is_paused) != schedule:  # what older versions took can still be paused
        check_schedule(new, limits)
    if schedule.is_paused and not new.is_paused:
        return msgspec.structs.replace(new, next_ms=_first(new, now_ms), passed_ms=0)
    return new


def _timed(schedule: Schedule, now_ms: int, limits: Limits) -> Schedule:
    check_schedule(schedule, limits)
    _check_timing(schedule)
    timed = msgspec.structs.replace(schedule, anchor_ms=now_ms, passed_ms=0)
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
    if schedule.cron:
        check_cron(schedule.cron)


def check_cron(expression: str) -> None:
    """Raises: InvalidJob."""
    try:
        next(cron_ticks(expression, UTC, 0), None)
    except BadExpression as fault:
        raise InvalidJob(
            f"cron {expression!r} is not understood ({fault}); give minute hour day month weekday, as in '30 2 * * *', six fields with "
            f"the second in front, or one of {', '.join(sorted(ALIASES))}"
        ) from None
