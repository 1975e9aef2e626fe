"""Submits over HTTP: the body's form, how it becomes a JobSpec, and the answer.

A job that this submit made is answered from what was asked for, without a second look at the node: its state follows from its time. A job
that was there already (same id, idempotency key or unique key) is looked up, and answered with 200.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import structs

from ..client.options import make_spec
from ..client.packing import check_plain, pack_payload
from ..errors import InvalidJob, ZjpError
from ..job import (
    BATCH_MAX,
    QUEUE_CHARS_MAX,
    TAG_CHARS_MAX,
    TAGS_MAX,
    TRACE_CHARS_MAX,
    TYPE_CHARS_MAX,
    UNIQUE_KEY_CHARS_MAX,
    JobSpec,
    JobState,
    JobView,
    Options,
)  # fmt: skip
from ..job_json import job_json, time_json
from ..wire.messages import SubmitKind
from .caller import Problem

encode = msgspec.json.Encoder().encode

IDEMPOTENCY_KEY_CHARS_MAX = 240
"""A batch adds the index of the item to it."""

Seconds = Annotated[
    float | str | None, msgspec.Meta(description="Seconds, or text such as 250ms, 5s, 2m, 1h.", examples=[30, "5m"])
]
Payload = Annotated[
    dict[str, Any], msgspec.Meta(description="The task's parameters.", examples=[{"recipient": "a@example.com"}])
]

# Said in the document; checked, with a better text, where all submits are (job.py).
TypeName = Annotated[
    str,
    msgspec.Meta(
        description="Which task.", examples=["email"], extra_json_schema={"minLength": 1, "maxLength": TYPE_CHARS_MAX}
    ),
]
QueueName = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": QUEUE_CHARS_MAX})]
UniqueKey = Annotated[
    str,
    msgspec.Meta(
        description="While a job with this key is not finished, another submit gives that job.",
        extra_json_schema={"minLength": 1, "maxLength": UNIQUE_KEY_CHARS_MAX},
    ),
]
Tag = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": TAG_CHARS_MAX})]
Tags = Annotated[list[Tag], msgspec.Meta(extra_json_schema={"maxItems": TAGS_MAX})]


class NewJob(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A job to be submitted. What is left out is up to the task, else to the node's settings."""

    type: TypeName
    payload: Payload = {}
    queue: QueueName = "default"
    priority: Annotated[int, msgspec.Meta(ge=1, le=10, description="1 (low) to 10 (high).")] = 5
    max_retries: Annotated[int, msgspec.Meta(ge=0, le=1000)] | None = None
    timeout: Seconds = None
    soft_timeout: Seconds = None
    delay: Seconds = None
    scheduled_at: Annotated[
        str | float | None,
        msgspec.Meta(description="RFC 3339 or Unix seconds; in the past: now.", examples=["2030-01-01T12:00:00Z"]),
    ] = None
    unique_key: UniqueKey | None = None
    tags: Tags = []
    id: Annotated[str | None, msgspec.Meta(description="A UUID made by the caller: makes it safe to repeat.")] = None


class NewBatch(msgspec.Struct, forbid_unknown_fields=True):
    """Up to 1,000 jobs in one durable write: all or none."""

    jobs: Annotated[list[NewJob], msgspec.Meta(min_length=1, max_length=BATCH_MAX)]


class BatchItem(msgspec.Struct):
    """`existed`: a job with this id, idempotency key or unique key was there; `id` is its."""

    id: str
    existed: bool


class BatchAnswer(msgspec.Struct):
    """In the order of the jobs. `durability`: what the acknowledgement is worth."""

    items: list[BatchItem]
    durability: str


_OPTIONAL = ("max_retries", "timeout", "soft_timeout", "delay", "unique_key", "id")


def options_of(job: NewJob, idempotency_key: str = "") -> dict[str, Any] | None:
    """For `client.submit`; None when there is nothing but type and payload."""
    if (
        job.queue == "default" and job.priority == 5 and job.max_retries is None and job.timeout is None and job.soft_timeout is None
        and job.delay is None and job.scheduled_at is None and job.unique_key is None and not job.tags and job.id is None
        and not idempotency_key
    ):  # fmt: skip
        return None
    options: dict[str, Any] = {"queue": job.queue, "priority": job.priority}
    for name in _OPTIONAL:
        value = getattr(job, name)
        if value is not None:
            options[name] = value
    if job.scheduled_at is not None:
        options["run_at"] = job.scheduled_at
    if job.tags:
        options["tags"] = job.tags
    if idempotency_key:
        options["idempotency_key"] = idempotency_key
    return options


def check_key(headers: Mapping[str, str]) -> str:
    """The Idempotency-Key, or nothing. Raises: InvalidJob."""
    key = headers.get("idempotency-key")
    if key is None:
        return ""
    if not 1 <= len(key) <= IDEMPOTENCY_KEY_CHARS_MAX or not key.isprintable():
        raise InvalidJob(
            f"Idempotency-Key has {len(key)} characters, it must have 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable ones"
        )
    return key


_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def traced(spec: JobSpec, headers: Mapping[str, str]) -> JobSpec:
    """With the span of the request, as W3C Trace Context tells it; what is not in its form is no fault of the job and is left out."""
    parent, state = headers["traceparent"], headers.get("tracestate", "")
    if not _TRACEPARENT.fullmatch(parent):
        return spec
    if len(state) > TRACE_CHARS_MAX or not state.isascii():
        state = ""
    return structs.replace(spec, options=structs.replace(spec.options or _NO_OPTIONS, traceparent=parent, tracestate=state))


def spec_of(job: NewJob, made_id: bytes, key: str) -> JobSpec:
    """Raises: InvalidJob, PayloadTooLarge."""
    return make_spec(made_id, job.type, pack_plain(job.payload), options_of(job, key))


def specs_of(jobs: list[NewJob], ids: list[bytes], key: str) -> list[JobSpec]:
    """Raises: InvalidJob, with the place in the batch; PayloadTooLarge."""
    specs: list[JobSpec] = []
    for index, (job, made_id) in enumerate(zip(jobs, ids, strict=True)):
        try:
            specs.append(spec_of(job, made_id, f"{key}/{index}" if key else ""))
        except InvalidJob as fault:
            raise InvalidJob(f"jobs[{index}]: {fault}") from None
    return specs


_SCALARS = frozenset({str, int, float, bool, type(None)})


def pack_plain(payload: dict[str, Any]) -> bytes:
    """What came as JSON is plain but for its depth and its largest numbers. Raises: InvalidJob, PayloadTooLarge."""
    for value in payload.values():
        if type(value) not in _SCALARS:
            check_plain(payload, "payload")
            break
    return pack_payload(payload)


_PLAIN = (
    b'","type":%b,"queue":"default","priority":5,"payload":%b,"status":"pending","max_retries":null,"retry_count":0,'
    b'"scheduled_at":null,"created_at":"%b","updated_at":"%b","started_at":null,"completed_at":null,"timeout":null,"unique_key":null,'
    b'"tags":[],"progress":null,"result":null,"error":null,"node_id":null,"worker_id":null,"attempts":[],"existed":false,"durability":"%b"}'
)
"""What made_json says of a job without options; a test compares them."""


def made_body(job: NewJob, spec: JobSpec, shown_id: str, durability: str) -> bytes:
    """The answer to a submit that made its job. The usual job takes the short way."""
    if spec.options is not None or spec.queue != "default" or spec.priority != 5:
        return encode(made_json(job, spec, durability))
    now = _now_text()
    return (
        b'{"id":"'
        + shown_id.encode()
        + _PLAIN % (encode(spec.type), encode(job.payload), now, now, durability.encode())
    )


_second = (0, b"")
"""The latest second as text: most requests come in the same one as another."""


def _now_text() -> bytes:
    global _second
    seconds, rest_ms = divmod(time.time_ns() // 1_000_000, 1000)
    known, text = _second
    if seconds != known:
        text = (time_json(seconds * 1000) or "")[:-5].encode()
        _second = seconds, text
    return text + b".%03dZ" % rest_ms


def made_json(job: NewJob, spec: JobSpec, durability: str) -> dict[str, Any]:
    """Of a job that was just created."""
    now_ms = time.time_ns() // 1_000_000
    options = spec.options or _NO_OPTIONS
    due_ms = now_ms + options.delay_ms if options.delay_ms else options.run_at_ms
    is_later = due_ms > now_ms
    view = JobView(
        spec.id, spec.type, spec.queue, spec.priority, JobState.SCHEDULED if is_later else JobState.PENDING, b"", now_ms,
        due_ms=due_ms if is_later else 0, max_retries=options.max_retries, timeout_ms=options.timeout_ms, unique_key=options.unique_key,
        tags=options.tags,
    )  # fmt: skip
    told = job_json(view)
    told["payload"] = job.payload
    told["existed"] = False
    told["durability"] = durability
    return told


_NO_OPTIONS = Options()


def is_there(kind: SubmitKind | None) -> bool:
    return kind is not SubmitKind.CREATED


def record_gone(shown_id: str, durability: str) -> Problem:
    """What is told, instead of a job, of one that was there already and is not any more. Its members are those of the answer with one."""
    return Problem(
        410,
        "Gone",
        f"an earlier request with this id or key made job {shown_id}; its record is gone: it was removed, or is older than RECORDS_TTL. "
        "Nothing was stored now",
        id=shown_id,
        existed=True,
        durability=durability,
    )


def record_unread(shown_id: str, durability: str, fault: ZjpError) -> Problem:
    """The same, of one that cannot be looked at: the queue knows that it was there, and only the records how it ended."""
    return Problem(
        503,
        "Service Unavailable",
        f"an earlier request with this id or key made job {shown_id}, which cannot be looked at now: {fault}. Nothing was stored now",
        id=shown_id,
        existed=True,
        durability=durability,
    )


def found_json(found: JobView, durability: str) -> dict[str, Any]:
    """Of a job that was there already."""
    return {**job_json(found), "existed": True, "durability": durability}
