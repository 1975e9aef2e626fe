"""What a schedule is: a job that is submitted again and again, at the ticks of a cron expression or an interval. Pure.

What lies here is the schedule as it is stored and travels, what makes it valid as far as no calendar is needed, and the identity of its
ticks. When the ticks are is worked out in ticks.py.

A schedule is one document in the queue's store. `next_ms` is the first tick about which nothing has been decided: everything before it was
fired or left out for good. Whoever fires moves it on in the same atomic step that stores the jobs, so a tick is decided once.

The job of a tick has an id made from the schedule and the tick alone (`tick_id`): whoever works it out again gets the same job.
"""

from __future__ import annotations

import hashlib
from enum import Enum
from typing import Annotated

import msgspec

from .errors import InvalidJob
from .job import TAGS_MAX, TAGS_READ_MAX, JobSpec, Limits, Options, check_name, check_spec, id_prefix

NAME_CHARS_MAX = 48
"""With TAG_PREFIX it is a tag."""
TAG_PREFIX = "schedule:"
"""Before the schedule's name: the tag that its jobs carry."""
PAYLOAD_BYTES_MAX = 64 << 10
"""Of a schedule: every node reads all of them, and a catch-up stores many jobs with it at once."""
CRON_CHARS_MAX = 256
ZONE_CHARS_MAX = 64
EVERY_MS_MIN, EVERY_MS_MAX = 1_000, 366 * 24 * 3600 * 1000
SCHEDULES_MAX = 1_000
"""In one queue store."""


class CatchUp(str, Enum):
    """What becomes of ticks that nobody fired at their time: nodes were down, or had no leader."""

    SKIP = "skip"
    """They are left out."""
    ONCE = "once"
    """One run makes up for all of them."""
    ALL = "all"
    """Each is run, the newest CATCH_UP_MAX at most."""


class Schedule(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`cron` or `every_ms`, not both. `zone`: an IANA name, for cron. From `created_ms` on the nodes fill in."""

    name: str
    type: str
    payload: bytes = b"\x80"
    queue: str = "default"
    priority: int = 5
    options: Options | None = None
    cron: str = ""
    every_ms: int = 0
    zone: str = "UTC"
    catch_up: CatchUp = CatchUp.ONCE
    is_paused: bool = False
    created_ms: int = 0
    anchor_ms: int = 0
    """Intervals are counted from here: from when the timing was set."""
    next_ms: int = 0
    """The next tick; 0: there is none any more. It stays as it is while paused."""
    last_ms: int = 0
    """The latest tick that was fired."""
    last_id: bytes = b""
    """Its job."""
    fired: tuple[tuple[int, int], ...] = ()
    """Spans (first and last tick) in which every tick was fired. See ticks.py, as for the next."""
    passed_ms: int = 0
    """The `next_ms` under a clock that was ahead; 0: there was none, or that is over."""


class Removable(str, Enum):
    """An option that a change can take away, by the name that clients give it."""

    MAX_RETRIES = "max_retries"
    TIMEOUT = "timeout"
    SOFT_TIMEOUT = "soft_timeout"
    UNIQUE_KEY = "unique_key"

    @property
    def field(self) -> str:
        """Of Options."""
        return f"{self.value}_ms" if "timeout" in self.value else self.value


class ScheduleChange(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """What is to become different; None: it stays. Empty tags, or an empty key: none any more. `without`: options taken away.

    `cron` takes the place of an interval, and the other way round."""

    type: str | None = None
    payload: bytes | None = None
    queue: str | None = None
    priority: int | None = None
    max_retries: int | None = None
    timeout_ms: int | None = None
    soft_timeout_ms: int | None = None
    unique_key: str | None = None
    tags: Annotated[tuple[str, ...], msgspec.Meta(max_length=TAGS_READ_MAX)] | None = None
    cron: str | None = None
    every_ms: int | None = None
    zone: str | None = None
    catch_up: CatchUp | None = None
    is_paused: bool | None = None
    without: Annotated[tuple[Removable, ...], msgspec.Meta(max_length=len(Removable))] = ()


OF_OPTIONS = frozenset(ScheduleChange.__struct_fields__) & frozenset(Options.__struct_fields__)
TIMING = frozenset({"cron", "every_ms", "zone"})
_NO_OPTIONS = Options()


def changed(schedule: Schedule, change: ScheduleChange) -> Schedule:
    """As asked, not yet checked; what follows from it (`next_ms`, `anchor_ms`) is for ticks.py."""
    told = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
    of_job = {name: told.pop(name) for name in OF_OPTIONS & told.keys()}
    of_job |= {one.field: getattr(_NO_OPTIONS, one.field) for one in told.pop("without")}
    options = msgspec.structs.replace(schedule.options or _NO_OPTIONS, **of_job)
    told["options"] = None if options == Options() else options  # as it is added: see is_same_plan
    if told.get("cron"):
        told.setdefault("every_ms", 0)
    elif told.get("every_ms"):
        told.setdefault("cron", "")
    return msgspec.structs.replace(schedule, **told)


def is_same_plan(one: Schedule, other: Schedule) -> bool:
    """Whether both ask for the same: a repeat of an `add` is none of the nodes' business twice."""
    bare = {"created_ms": 0, "anchor_ms": 0, "next_ms": 0, "last_ms": 0, "last_id": b"", "fired": (), "passed_ms": 0}
    return msgspec.structs.replace(one, **bare) == msgspec.structs.replace(other, **bare)


def tick_id(schedule: Schedule, tick_ms: int) -> bytes:
    """The id of that tick's job, in the shape of all ids: the tick's time, the schedule as the session, the tick's second as the counter.

    Ticks of one schedule are a second or more apart. A schedule that is removed and made anew under its old name is another one.
    """
    identity = hashlib.blake2b(f"{schedule.created_ms}:{schedule.name}".encode(), digest_size=6).digest()
    return id_prefix(tick_ms, int.from_bytes(identity, "big") & ((1 << 42) - 1)) + (
        tick_ms // 1000 & 0xFFFFFFFF
    ).to_bytes(4, "big")


def tick_of(job_id: bytes) -> int:
    """The tick's time (Unix ms) from the id of its job."""
    return int.from_bytes(job_id[:6], "big")


def job_of(schedule: Schedule, job_id: bytes) -> JobSpec:
    """The job as it is submitted; it carries the schedule's name as a tag."""
    options = schedule.options or Options()
    tagged = msgspec.structs.replace(options, tags=(*options.tags, TAG_PREFIX + schedule.name))
    return JobSpec(job_id, schedule.type, schedule.payload, schedule.queue, schedule.priority, tagged)


def check_schedule(schedule: Schedule, limits: Limits) -> None:
    """All but whether the expression and the zone mean something. Raises: InvalidJob, PayloadTooLarge."""
    check_name("name", schedule.name, NAME_CHARS_MAX)
    _check_options(schedule.options or Options())
    payload_max = min(PAYLOAD_BYTES_MAX, limits.payload_bytes_max)
    check_spec(job_of(schedule, bytes(16)), msgspec.structs.replace(limits, payload_bytes_max=payload_max))
    if bool(schedule.cron) == bool(schedule.every_ms):
        both = "both are set" if schedule.cron else "none of them is"
        raise InvalidJob(f"a schedule has a cron expression or an interval (every), {both}; give one of them")
    if schedule.every_ms and not EVERY_MS_MIN <= schedule.every_ms <= EVERY_MS_MAX:
        raise InvalidJob(
            f"every is {schedule.every_ms} ms, it must be {EVERY_MS_MIN} (a second) to {EVERY_MS_MAX} (366 days)"
        )
    for what, text, chars_max in (("cron", schedule.cron, CRON_CHARS_MAX), ("zone", schedule.zone, ZONE_CHARS_MAX)):
        if len(text) > chars_max:
            raise InvalidJob(f"{what} has {len(text)} characters, the limit is {chars_max}")


def _check_options(options: Options) -> None:
    for what, value in (
        ("delay", options.delay_ms), ("run_at", options.run_at_ms), ("idempotency_key", options.idempotency_key), ("id", options.caller_id),
    ):  # fmt: skip
        if value:
            raise InvalidJob(f"{what} is for one job; a schedule makes many, each with an id and a time of its own")
    if len(options.tags) >= TAGS_MAX:
        raise InvalidJob(
            f"there are {len(options.tags)} tags, the limit for a schedule is {TAGS_MAX - 1}: its name is one more"
        )
