"""`client.schedules`: periodic jobs, the same for both clients.

    zjp.schedules.add("nightly", "backup", {"full": True}, cron="30 2 * * *", zone="Europe/Berlin")
    zjp.schedules.add("beat", "ping", every="30s", catch_up="skip")
    for one in zjp.schedules.list():
        print(one.name, one.next_at)
    zjp.schedules.pause("nightly")

What a schedule may be is checked by the node. Every call is safe to repeat.
"""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from ..errors import InvalidJob, NotFound
from ..job import JobSpec, Options, check_name, format_id
from ..schedule import NAME_CHARS_MAX, CatchUp, Removable, Schedule, ScheduleChange
from ..task import refuse_unknown
from ..wire import messages as m
from .calls import Outcome
from .deeds import expect
from .options import Duration, duration_ms, make_spec, typed
from .packing import pack_payload, unpack

J = TypeVar("J")


class ScheduleOptions(TypedDict, total=False):
    """Of each of its jobs; all optional, as for `submit`."""

    queue: str
    priority: int
    max_retries: int | None
    timeout: Duration | None
    soft_timeout: Duration | None
    unique_key: str | None
    """While a job with this key is not finished, a tick makes no further one."""
    tags: Iterable[str]


OPTION_NAMES = tuple(ScheduleOptions.__annotations__)


@dataclass(frozen=True, slots=True)
class ScheduleFacts:
    """A schedule as of the last look. Times are Unix seconds, None where there is none. `schedule`: all of it, as it is stored."""

    schedule: Schedule

    @property
    def name(self) -> str:
        return self.schedule.name

    @property
    def type(self) -> str:
        return self.schedule.type

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = unpack(self.schedule.payload, f"the payload of schedule {self.name}")
        return payload

    @property
    def cron(self) -> str:
        """Empty: it has an interval."""
        return self.schedule.cron

    @property
    def every_s(self) -> float:
        """0: it has a cron expression."""
        return self.schedule.every_ms / 1000

    @property
    def zone(self) -> str:
        return self.schedule.zone

    @property
    def catch_up(self) -> str:
        return self.schedule.catch_up.value

    @property
    def is_paused(self) -> bool:
        return self.schedule.is_paused

    @property
    def next_at(self) -> float | None:
        """None: it is paused, or there is no further tick."""
        return None if self.is_paused else _seconds(self.schedule.next_ms)

    @property
    def last_at(self) -> float | None:
        """The latest tick that was fired."""
        return _seconds(self.schedule.last_ms)

    @property
    def last_job(self) -> str | None:
        """The id of its job."""
        return format_id(self.schedule.last_id) if self.schedule.last_id else None


def _seconds(at_ms: int) -> float | None:
    return at_ms / 1000 if at_ms else None


# ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def adding(
    name: str, type: str, payload: Mapping[str, Any] | None, *, cron: str | None, every: Duration | None, zone: str, catch_up: str,
    paused: bool, options: ScheduleOptions,
) -> m.AddSchedule:  # fmt: skip
    """Raises: InvalidJob, PayloadTooLarge, TypeError (unknown option)."""
    spec = _spec(type, payload, options)
    return m.AddSchedule(
        Schedule(
            named(name), type, spec.payload, spec.queue, spec.priority, spec.options, _text("cron", cron) or "",
            0 if every is None else duration_ms("every", every), typed("zone", zone, str), _catch_up(catch_up),
            typed("paused", paused, bool),
        )
    )  # fmt: skip


def changing(
    name: str, *, type: str | None, payload: Mapping[str, Any] | None, cron: str | None, every: Duration | None, zone: str | None,
    catch_up: str | None, paused: bool | None, options: ScheduleOptions, without: Iterable[str] = (),
) -> m.ChangeSchedule:  # fmt: skip
    """Raises: InvalidJob, PayloadTooLarge, TypeError (unknown option)."""
    spec = _spec("any" if type is None else type, payload, options)
    of_job = spec.options or Options()
    change = ScheduleChange(
        type=type,
        payload=None if payload is None else spec.payload,
        queue=None if options.get("queue") is None else spec.queue,
        priority=None if options.get("priority") is None else spec.priority,
        max_retries=of_job.max_retries,
        timeout_ms=of_job.timeout_ms,
        soft_timeout_ms=of_job.soft_timeout_ms,
        unique_key=of_job.unique_key or None,
        tags=None if options.get("tags") is None else of_job.tags,
        cron=_text("cron", cron),
        every_ms=None if every is None else duration_ms("every", every),
        zone=_text("zone", zone),
        catch_up=None if catch_up is None else _catch_up(catch_up),
        is_paused=None if paused is None else typed("paused", paused, bool),
        without=_without(without, options),
    )
    return m.ChangeSchedule(named(name), change)


def _without(names: Iterable[str], options: ScheduleOptions) -> tuple[Removable, ...]:
    possible = [one.value for one in Removable]
    for name in (names := [names] if isinstance(names, str) else list(names)):
        if name not in possible:
            raise InvalidJob(f"without has {name!r:.200}; what can be taken away is {', '.join(possible)}")
        if options.get(name) is not None:
            raise InvalidJob(f"{Removable(name).value} is given and in without, too; give it alone where it is to become another")
    return tuple(map(Removable, dict.fromkeys(names)))


def named(name: str) -> str:
    """Raises: InvalidJob."""
    check_name("name", name, NAME_CHARS_MAX)
    return name


def _text(what: str, value: str | None) -> str | None:
    return None if value is None else str(typed(what, value, str))


def _spec(type: str, payload: Mapping[str, Any] | None, options: ScheduleOptions) -> JobSpec:
    refuse_unknown("option", options, OPTION_NAMES)
    return make_spec(bytes(16), type, pack_payload(payload), options)


def _catch_up(given: str) -> CatchUp:
    try:
        return CatchUp(given)
    except ValueError:
        raise InvalidJob(
            f"catch_up is {given!r}, it must be one of {', '.join(one.value for one in CatchUp)}"
        ) from None


def read_one(outcome: Outcome) -> ScheduleFacts:
    return read_all(outcome)[0][0]


def read_all(outcome: Outcome) -> tuple[list[ScheduleFacts], bool]:
    """(the schedules, whether there are more)"""
    reply = expect(m.Schedules, outcome)
    return [ScheduleFacts(schedule) for schedule in reply.schedules], reply.has_more


def check_removed(name: str, outcome: Outcome) -> None:
    """Raises: NotFound."""
    if not expect(m.Done, outcome).count:
        raise NotFound(f"no schedule {name!r}; it was removed before, or never added")


# ── how one waits for it ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Schedules(Generic[J]):
    """Of a `Client`. `run`: how it runs one now."""

    def __init__(self, ask: Callable[[m.Request], Outcome], run: Callable[[str], J]) -> None:
        self._ask, self._run = ask, run

    def add(
        self, name: str, type: str, payload: Mapping[str, Any] | None = None, /, *, cron: str | None = None, every: Duration | None = None,
        zone: str = "UTC", catch_up: str = "once", paused: bool = False, **options: Unpack[ScheduleOptions],
    ) -> ScheduleFacts:  # fmt: skip
        """From now on a job of `type` at each tick of `cron` (in `zone`) or `every` so long. `catch_up`: what becomes of ticks at which no
        node was there: skip, once, all. The very same once more changes nothing.

        Raises: InvalidJob, PayloadTooLarge, JobConflict (the name stands for another one).
        """
        request = adding(
            name, type, payload, cron=cron, every=every, zone=zone, catch_up=catch_up, paused=paused, options=options
        )
        return read_one(self._ask(request))

    def list(self) -> builtins.list[ScheduleFacts]:
        """All, by name."""
        found, has_more = read_all(self._ask(m.ListSchedules()))
        while has_more:
            more, has_more = read_all(self._ask(m.ListSchedules(after=found[-1].name)))
            found += more
        return found

    def get(self, name: str, /) -> ScheduleFacts:
        """Raises: NotFound."""
        return read_one(self._ask(m.ListSchedules(named(name))))

    def change(
        self, name: str, /, *, type: str | None = None, payload: Mapping[str, Any] | None = None, cron: str | None = None,
        every: Duration | None = None, zone: str | None = None, catch_up: str | None = None, paused: bool | None = None,
        without: Iterable[str] = (), **options: Unpack[ScheduleOptions],
    ) -> ScheduleFacts:  # fmt: skip
        """What is given becomes different, from the next tick on; None: it stays. `tags` takes the place of all there were, an empty list
        takes them away; `without` takes away what it names of max_retries, timeout, soft_timeout and unique_key. A new timing counts from
        now. Raises: NotFound, InvalidJob."""
        request = changing(
            name,
            type=type,
            payload=payload,
            cron=cron,
            every=every,
            zone=zone,
            catch_up=catch_up,
            paused=paused,
            options=options,
            without=without,
        )
        return read_one(self._ask(request))

    def pause(self, name: str, /) -> ScheduleFacts:
        """Ticks pass unfired until `resume`, and are not caught up. Raises: NotFound."""
        return self.change(name, paused=True)

    def resume(self, name: str, /) -> ScheduleFacts:
        """Raises: NotFound."""
        return self.change(name, paused=False)

    def remove(self, name: str, /) -> None:
        """Jobs that it made stay. Raises: NotFound."""
        check_removed(name, self._ask(m.RemoveSchedule(named(name))))

    def run(self, name: str, /) -> J:
        """Submit its job now, beside its ticks. Raises: NotFound."""
        return self._run(named(name))


class AsyncSchedules(Generic[J]):
    """Of an `AsyncClient`: as `Schedules`, with await."""

    def __init__(self, ask: Callable[[m.Request], Awaitable[Outcome]], run: Callable[[str], Awaitable[J]]) -> None:
        self._ask, self._run = ask, run

    async def add(
        self, name: str, type: str, payload: Mapping[str, Any] | None = None, /, *, cron: str | None = None, every: Duration | None = None,
        zone: str = "UTC", catch_up: str = "once", paused: bool = False, **options: Unpack[ScheduleOptions],
    ) -> ScheduleFacts:  # fmt: skip
        """See Schedules.add."""
        request = adding(
            name, type, payload, cron=cron, every=every, zone=zone, catch_up=catch_up, paused=paused, options=options
        )
        return read_one(await self._ask(request))

    async def list(self) -> builtins.list[ScheduleFacts]:
        """All, by name."""
        found, has_more = read_all(await self._ask(m.ListSchedules()))
        while has_more:
            more, has_more = read_all(await self._ask(m.ListSchedules(after=found[-1].name)))
            found += more
        return found

    async def get(self, name: str, /) -> ScheduleFacts:
        """Raises: NotFound."""
        return read_one(await self._ask(m.ListSchedules(named(name))))

    async def change(
        self, name: str, /, *, type: str | None = None, payload: Mapping[str, Any] | None = None, cron: str | None = None,
        every: Duration | None = None, zone: str | None = None, catch_up: str | None = None, paused: bool | None = None,
        without: Iterable[str] = (), **options: Unpack[ScheduleOptions],
    ) -> ScheduleFacts:  # fmt: skip
        """See Schedules.change."""
        request = changing(
            name,
            type=type,
            payload=payload,
            cron=cron,
            every=every,
            zone=zone,
            catch_up=catch_up,
            paused=paused,
            options=options,
            without=without,
        )
        return read_one(await self._ask(request))

    async def pause(self, name: str, /) -> ScheduleFacts:
        """Ticks pass unfired until `resume`, and are not caught up. Raises: NotFound."""
        return await self.change(name, paused=True)

    async def resume(self, name: str, /) -> ScheduleFacts:
        """Raises: NotFound."""
        return await self.change(name, paused=False)

    async def remove(self, name: str, /) -> None:
        """Jobs that it made stay. Raises: NotFound."""
        check_removed(name, await self._ask(m.RemoveSchedule(named(name))))

    async def run(self, name: str, /) -> J:
        """Submit its job now, beside its ticks. Raises: NotFound."""
        return await self._run(named(name))
