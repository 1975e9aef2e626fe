"""What a job is: as asked for, as stored, as finished, and as shown; its states and what is a valid one. Pure.

Four views of one thing, each holding the one before it:

    JobSpec    what the producer asked for; travels and is stored as it came, the payload opaque (a msgpack map in `bytes`)
    StoredJob  plus what zjp knows while it is not finished: when it came, which run, failures and crashes so far
    Record     plus how it ended: what the outbox and the records keep
    JobView    the flat picture that readers get (client, command line, HTTP)

They are msgspec Structs in array form: the field order IS the wire and storage format, so fields are only ever added at the end,
with a default.

The life of a job (`TRANSITIONS` is the table; stores and the model test obey it):

    submit ──► scheduled ──► pending ──► running ──► completed
                  ▲             ▲           ├──────► failed        retries used up, Discard, timeout, CRASH_LIMIT
                  │             ├───────────┤                      handed back, worker or node lost
                  └── retrying ◄────────────┤                      failed, retries left (retrying ──► pending when due)
                                            └─► cancelling ──► cancelled
    pending, scheduled, retrying ──► cancelled;   completed, failed, cancelled ──► pending   (run again: same id, next run)
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Annotated

import msgspec

from .errors import InvalidJob, JobConflict, PayloadTooLarge

ID_BYTES = 16
"""In the shape of a UUIDv7: 48 bits ms of the submit, version, 12 + 30 bits of the producer session, 32 bits counter."""
TYPE_CHARS_MAX = 128
QUEUE_CHARS_MAX = 64
UNIQUE_KEY_CHARS_MAX = 256
TRACE_CHARS_MAX = 512
"""Of each: what W3C Trace Context asks everybody to carry of a tracestate; a traceparent has 55."""
TAG_CHARS_MAX = 64
TAGS_MAX = 16
TAGS_READ_MAX = 64
"""More are not even decoded; up to here check_spec says how many there are."""
DEPTH_MAX = 64
"""Of payloads and results: both are read by recursion, by others than whoever made them."""
DELAY_MS_MAX = 10 * 366 * 24 * 3600 * 1000
"""Ten years: a longer delay is a mistake in the unit."""
RETRIES_MAX = 1000
BATCH_MAX = 1000
"""Jobs in one request: what one transaction or script should hold, and the HTTP batch's limit."""


class Priority(IntEnum):
    LOW = 1
    NORMAL = 5
    HIGH = 10


class JobState(str, Enum):
    PENDING = "pending"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    RETRYING = "retrying"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in FINAL_STATES


FINAL_STATES = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.SCHEDULED: frozenset({JobState.PENDING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {
            JobState.COMPLETED,
            JobState.FAILED,
            JobState.RETRYING,
            JobState.SCHEDULED,  # snoozed: waits again without having failed
            JobState.PENDING,
            JobState.CANCELLING,
        }
    ),
    JobState.RETRYING: frozenset({JobState.PENDING, JobState.CANCELLED}),
    JobState.CANCELLING: frozenset({JobState.CANCELLED}),
    JobState.COMPLETED: frozenset({JobState.PENDING}),
    JobState.FAILED: frozenset({JobState.PENDING}),
    JobState.CANCELLED: frozenset({JobState.PENDING}),
}


class Options(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """What few jobs carry. A map on the wire, so an unset option costs nothing."""

    delay_ms: int = 0
    """Relative; resolved by the store's clock. Not together with run_at_ms."""
    run_at_ms: int = 0
    """Unix ms; in the past means now."""
    max_retries: int | None = None
    """None: the task's own, else the setting."""
    timeout_ms: int | None = None
    soft_timeout_ms: int | None = None
    unique_key: str = ""
    tags: Annotated[tuple[str, ...], msgspec.Meta(max_length=TAGS_READ_MAX)] = ()
    idempotency_key: str = ""
    caller_id: bool = False
    """The id was made by the caller, not by a producer session: it is remembered for a day."""
    traceparent: str = ""
    """The span that submitted it, and `tracestate`: as in W3C Trace Context. Carried, and read by workers that trace."""
    tracestate: str = ""


class JobSpec(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What the producer asked for."""

    id: bytes
    type: str
    payload: bytes
    queue: str = "default"
    priority: int = 5
    options: Options | None = None


class JobFault(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Why an attempt failed: the exception's class name, its text, its traceback (bounded by the worker)."""

    type: str
    message: str = ""
    traceback: str = ""


class Attempt(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One claim of a job that was started, or lost. `outcome`: completed, failed, retried, snoozed, crashed, lost, timeout, cancelled."""

    fence: int
    node: str
    worker: str
    started_ms: int
    ended_ms: int
    outcome: str
    error: JobFault | None = None


class StoredJob(msgspec.Struct, array_like=True, gc=False):
    """A job that is not finished.

    `run` rises when a finished job is run again. `retries` counts failures of the function, `crashes` deaths of the process that
    were charged to it, `suspicion` deaths that could not be charged: from SUSPICION_LIMIT on it runs alone, in quarantine.
    """

    spec: JobSpec
    created_ms: int
    due_ms: int = 0
    run: int = 1
    retries: int = 0
    crashes: int = 0
    suspicion: int = 0
    attempts: tuple[Attempt, ...] = ()
    progress: bytes = b""


ATTEMPTS_KEPT = 100
"""Of one job; a job that snoozes for ever must not grow for ever."""


def add_attempt(job: StoredJob, attempt: Attempt) -> StoredJob:
    job.attempts = (*job.attempts[-ATTEMPTS_KEPT + 1 :], attempt) if job.attempts else (attempt,)
    return job


SUSPICION_LIMIT = 2
"""A loss of its node, or a death of a process that was running others, or had run it already, adds 1: one proves nothing."""


class Record(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A finished job. `result` is msgpack (empty unless completed)."""

    job: StoredJob
    state: JobState
    finished_ms: int
    result: bytes = b""
    error: JobFault | None = None


class JobView(msgspec.Struct, omit_defaults=True, gc=False):
    """What a reader sees, live or from the records. Times are Unix ms, 0 where it has not happened."""

    id: bytes
    type: str
    queue: str
    priority: int
    status: JobState
    payload: bytes
    created_ms: int
    run: int = 1
    due_ms: int = 0
    started_ms: int = 0
    finished_ms: int = 0
    max_retries: int | None = None
    retries: int = 0
    crashes: int = 0
    timeout_ms: int | None = None
    unique_key: str = ""
    tags: tuple[str, ...] = ()
    progress: bytes = b""
    result: bytes = b""
    error: JobFault | None = None
    node: str = ""
    worker: str = ""
    attempts: tuple[Attempt, ...] = ()


TimeMs = Annotated[int, msgspec.Meta(le=(1 << 63) - 1)]
"""msgpack has unsigned 64-bit numbers, databases do not."""


class JobFilter(msgspec.Struct, frozen=True, array_like=True):
    """What a listing asks for; None or empty: any. Times in Unix ms, half open [after, before)."""

    state: JobState | None = None
    type: str = ""
    queue: str = ""
    tag: str = ""
    created_after_ms: TimeMs = 0
    created_before_ms: TimeMs = 0

    def accepts(self, job: StoredJob, state: JobState) -> bool:
        spec = job.spec
        return (
            (self.state is None or self.state is state)
            and (not self.type or self.type == spec.type)
            and (not self.queue or self.queue == spec.queue)
            and (not self.tag or (spec.options is not None and self.tag in spec.options.tags))
            and job.created_ms >= self.created_after_ms
            and (not self.created_before_ms or job.created_ms < self.created_before_ms)
        )


def view_live(job: StoredJob, state: JobState, *, node: str = "", worker: str = "", started_ms: int = 0) -> JobView:
    view = _view(job, state)
    view.node, view.worker, view.started_ms = node, worker, started_ms
    return view


def view_record(record: Record) -> JobView:
    view = _view(record.job, record.state)
    view.finished_ms, view.result, view.error = record.finished_ms, record.result, record.error
    if record.job.attempts:
        last = record.job.attempts[-1]
        view.node, view.worker, view.started_ms = last.node, last.worker, last.started_ms
    return view


def _view(job: StoredJob, state: JobState) -> JobView:
    spec, options = job.spec, job.spec.options or _NO_OPTIONS
    return JobView(
        id=spec.id,
        type=spec.type,
        queue=spec.queue,
        priority=spec.priority,
        status=state,
        payload=spec.payload,
        created_ms=job.created_ms,
        run=job.run,
        due_ms=job.due_ms,
        max_retries=options.max_retries,
        retries=job.retries,
        crashes=job.crashes,
        timeout_ms=options.timeout_ms,
        unique_key=options.unique_key,
        tags=options.tags,
        progress=job.progress,
        attempts=job.attempts,
    )


_NO_OPTIONS = Options()


def same_content(one: JobSpec, other: JobSpec) -> bool:
    """Whether a repeat of an id asks for the same thing. Options may differ: a delay is relative to its submit."""
    return one.type == other.type and one.payload == other.payload and one.queue == other.queue


def check_repeat(spec: JobSpec, known: JobSpec) -> None:
    """`known`: the job that has its id. Raises: JobConflict."""
    if not same_content(spec, known):
        raise JobConflict(
            f"job {format_id(spec.id)} exists with another type, queue or payload; a repeat must be the same, a new job needs a new id"
        )


def key_conflict(key: bytes, holder: bytes) -> JobConflict:
    """`key`: b"key:" and an idempotency key, or b"id:" and an id that the caller made. `holder`: the job that was submitted with it."""
    kind, _, value = key.partition(b":")
    shown = value.decode() if kind == b"key" else format_id(value)
    return JobConflict(
        f"{kind.decode()} {shown!r} belongs to job {format_id(holder)} by a request whose type, queue or payload differs; use another, "
        "or repeat the first request as it was"
    )


class Limits(msgspec.Struct, frozen=True):
    payload_bytes_max: int = 1 << 20


def check_spec(spec: JobSpec, limits: Limits) -> None:
    """Raises: InvalidJob, PayloadTooLarge."""
    if len(spec.id) != ID_BYTES:
        raise InvalidJob(f"id is {len(spec.id)} bytes, it must be {ID_BYTES}; leave it out to have one made")
    check_name("type", spec.type, TYPE_CHARS_MAX)
    check_queue(spec.queue)
    if not 1 <= spec.priority <= 10:
        raise InvalidJob(f"priority is {spec.priority}, it must be 1 (low) to 10 (high)")
    if len(spec.payload) > limits.payload_bytes_max:
        raise PayloadTooLarge(
            f"payload is {len(spec.payload)} bytes, the limit is {limits.payload_bytes_max}; "
            "store it elsewhere and pass a reference, or raise MAX_PAYLOAD"
        )
    # 0x80-0x8f, 0xde, 0xdf: the msgpack maps. Looking at one byte keeps the payload opaque and still refuses what no task can take.
    if not spec.payload or not (0x80 <= spec.payload[0] <= 0x8F or spec.payload[0] in (0xDE, 0xDF)):
        raise InvalidJob('payload is not a msgpack map; pass keyword arguments, as in {"recipient": ...}')
    if spec.options is not None:
        check_options(spec.options)


def check_name(what: str, value: object, chars_max: int) -> None:
    if not isinstance(value, str):
        raise InvalidJob(f"{what} is {value!r:.200} of type {type(value).__name__}, it must be text of 1 to {chars_max} characters")
    if not value or len(value) > chars_max:
        raise InvalidJob(f"{what} has {len(value)} characters, it must have 1 to {chars_max}")
    if not value.isprintable() or " " in value:
        raise InvalidJob(
            f"{what} {value!r} holds spaces or control characters; use letters, digits, '.', '-', '_' or ':'"
        )


def check_queue(name: str) -> None:
    """Where jobs may be sent. Who acts on a queue that is there asks `check_name` alone: older versions took more names.

    Raises: InvalidJob.
    """
    check_name("queue", name, QUEUE_CHARS_MAX)
    _, colon, tail = name.rpartition(":")
    if name == "*" or "," in name or (colon and tail.isdecimal()):  # by other names the jobs would wait until a node serves all queues
        raise InvalidJob(
            f"queue {name!r} cannot be named in QUEUES, where ',' stands between queues, a last ':' and number are a weight, and '*' is "
            "all of them; use letters, digits, '.', '-' or '_'"
        )


def check_options(options: Options) -> None:
    if options.delay_ms and options.run_at_ms:
        raise InvalidJob("delay and run_at are both set; give one of them")
    _check_range("delay", options.delay_ms, 0, DELAY_MS_MAX, "ms")
    _check_range("run_at", options.run_at_ms, 0, 1 << 43, "Unix ms")
    if options.max_retries is not None:
        _check_range("max_retries", options.max_retries, 0, RETRIES_MAX, "")
    for what, value in (("timeout", options.timeout_ms), ("soft_timeout", options.soft_timeout_ms)):
        if value is not None:
            _check_range(what, value, 1, DELAY_MS_MAX, "ms")
    for what, key in (("unique_key", options.unique_key), ("idempotency_key", options.idempotency_key)):
        if len(key) > UNIQUE_KEY_CHARS_MAX:
            raise InvalidJob(f"{what} has {len(key)} characters, the limit is {UNIQUE_KEY_CHARS_MAX}; hash it first")
        if any("\ud800" <= sign <= "\udfff" for sign in key):
            raise InvalidJob(f"{what} {key!r} holds half a surrogate pair, which is no text; decode it properly or hash it")
    for what, text in (("traceparent", options.traceparent), ("tracestate", options.tracestate)):
        if len(text) > TRACE_CHARS_MAX:
            raise InvalidJob(f"{what} has {len(text)} characters, the limit is {TRACE_CHARS_MAX}; leave it out")
    if len(options.tags) > TAGS_MAX:
        raise InvalidJob(f"there are {len(options.tags)} tags, the limit is {TAGS_MAX}")
    for tag in options.tags:
        check_name("tag", tag, TAG_CHARS_MAX)


def _check_range(what: str, value: int, low: int, high: int, unit: str) -> None:
    if not low <= value <= high:
        raise InvalidJob(f"{what} is {value} {unit}".rstrip() + f", it must be {low} to {high}")


def make_id(now_ms: int, session: int, counter: int) -> bytes:
    """The contract's layout. `session` has 42 bits, `counter` 32."""
    return id_prefix(now_ms, session) + (counter & 0xFFFFFFFF).to_bytes(4, "big")


def id_prefix(now_ms: int, session: int) -> bytes:
    """The first 12 bytes, the same for all ids that one session makes in one ms."""
    high = 0x7000 | (session >> 30) & 0xFFF
    low = 0x80000000 | session & 0x3FFFFFFF
    return now_ms.to_bytes(6, "big") + high.to_bytes(2, "big") + low.to_bytes(4, "big")


def format_id(job_id: bytes) -> str:
    text = job_id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def parse_id(text: str) -> bytes:
    """Raises: InvalidJob."""
    plain = text.replace("-", "")
    try:
        job_id = bytes.fromhex(plain)
    except ValueError:
        job_id = b""
    if len(job_id) != ID_BYTES or len(plain) != 2 * ID_BYTES:
        raise InvalidJob(f"job id {text!r} is not a UUID; it looks like 0197a3f0-0000-7000-8000-000000000000")
    return job_id
