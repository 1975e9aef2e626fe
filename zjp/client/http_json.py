"""Jobs, schedules and nodes between the forms of the wire and the API's JSON. Pure.

What the API answers is read into Structs first, so an answer of another shape is one WireError here and never a KeyError further on. Fields
that are not known are left alone: a newer API may say more.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from ..errors import InvalidJob, WireError
from ..job import Attempt, JobFault, JobSpec, JobState, JobView, Options, parse_id
from ..job_json import time_json
from ..schedule import CatchUp, Schedule, ScheduleChange
from ..units import parse_duration_s
from ..wire.codec import plain
from ..wire.messages import QueueCount
from ..wire.seen import Change, ClusterNode
from .packing import pack_value, unpack

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def read(body: bytes, kind: type[T]) -> T:
    """Raises: WireError."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
        raise WireError(f"the answer cannot be read: {fault}; it is no zjp API, or of another version") from None


def write(value: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=plain)


def ms(at: datetime | None) -> int:
    """Unix ms, 0 where it has not happened."""
    return 0 if at is None else (at - _EPOCH) // _MS


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class FaultJson(msgspec.Struct):
    type: str
    message: str = ""
    traceback: str = ""

    def fault(self) -> JobFault:
        return JobFault(self.type, self.message, self.traceback)


class AttemptJson(msgspec.Struct):
    node: str
    worker: str
    outcome: str
    start: datetime | None = None
    end: datetime | None = None
    fence: int = 0
    error: FaultJson | None = None

    def attempt(self) -> Attempt:
        fault = self.error.fault() if self.error else None
        return Attempt(self.fence, self.node, self.worker, ms(self.start), ms(self.end), self.outcome, fault)


class JobJson(msgspec.Struct):
    """`existed` and `durability`: of a submit's answer only."""

    id: str
    type: str
    queue: str
    priority: int
    status: JobState
    payload: Any = None
    max_retries: int | None = None
    retry_count: int = 0
    scheduled_at: datetime | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    timeout: str | None = None
    unique_key: str | None = None
    tags: tuple[str, ...] = ()
    progress: Any = None
    result: Any = None
    error: FaultJson | None = None
    node_id: str | None = None
    worker_id: str | None = None
    attempts: tuple[AttemptJson, ...] = ()

    def view(self) -> JobView:
        return JobView(
            id=parse_id(self.id),
            type=self.type,
            queue=self.queue,
            priority=self.priority,
            status=self.status,
            payload=pack_value(self.payload),
            created_ms=ms(self.created_at),
            due_ms=ms(self.scheduled_at),
            started_ms=ms(self.started_at),
            finished_ms=ms(self.completed_at),
            max_retries=self.max_retries,
            retries=self.retry_count,
            timeout_ms=None if self.timeout is None else _duration_ms(self.timeout),
            unique_key=self.unique_key or "",
            tags=self.tags,
            progress=b"" if self.progress is None else pack_value(self.progress),
            result=pack_value(self.result) if self.status is JobState.COMPLETED else b"",
            error=self.error.fault() if self.error else None,
            node=self.node_id or "",
            worker=self.worker_id or "",
            attempts=tuple(one.attempt() for one in self.attempts),
        )


def submit_json(spec: JobSpec) -> dict[str, Any]:
    """What a submit asks for; the idempotency key is told elsewhere. Raises: InvalidJob."""
    options = spec.options or Options()
    told = {"type": spec.type, "payload": payload_json(spec.payload), "queue": spec.queue, "priority": spec.priority}
    told |= _options_json(options)
    if options.delay_ms:
        told["delay"] = options.delay_ms / 1000
    if options.run_at_ms:
        told["scheduled_at"] = time_json(options.run_at_ms)
    return told


def _options_json(options: Options) -> dict[str, Any]:
    """What jobs and schedules have in common, where it is set."""
    told: dict[str, Any] = {}
    if options.max_retries is not None:
        told["max_retries"] = options.max_retries
    if options.timeout_ms is not None:
        told["timeout"] = options.timeout_ms / 1000
    if options.soft_timeout_ms is not None:
        told["soft_timeout"] = options.soft_timeout_ms / 1000
    if options.unique_key:
        told["unique_key"] = options.unique_key
    if options.tags:
        told["tags"] = list(options.tags)
    return told


def payload_json(packed: bytes) -> Any:
    """Raises: InvalidJob for what JSON has no words for: over ZeroMQ it would arrive as it is, here as something else."""
    payload = unpack(packed, "the payload")
    _check_json(payload, "payload")
    return payload


def _check_json(value: Any, place: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_json(inner, f"{place}[{key!r}]")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_json(inner, f"{place}[{index}]")
    elif isinstance(value, bytes):
        raise InvalidJob(f"{place} is bytes, which JSON cannot carry; pass text (base64), or use a tcp:// address")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidJob(f"{place} is {value}, which JSON cannot carry; pass None or text, or use a tcp:// address")


def _duration_ms(text: str) -> int:
    try:
        return round(parse_duration_s(text) * 1000)
    except ValueError as fault:
        raise WireError(f"the answer cannot be read: {fault}") from None


# ── queues, cluster ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class QueueJson(msgspec.Struct):
    queue: str
    pending: int
    scheduled: int
    retrying: int
    running: int
    paused: bool
    oldest_seconds: float = 0.0

    def count(self) -> QueueCount:
        return QueueCount(
            self.queue, self.pending, self.scheduled, self.retrying, self.running, self.paused, self.oldest_seconds
        )


class NodeJson(msgspec.Struct):
    id: str
    address: str | None = None
    role: str = ""
    status: str = "alive"
    priority: int | None = None
    boot: int | None = None
    since: datetime | None = None
    is_draining: bool | None = None

    def node(self) -> ClusterNode:
        """`is_up`, the mesh's own view, is not told: who is alive counts as reachable."""
        return ClusterNode(
            self.id, self.boot or 0, self.address or "", self.role, self.status, ms(self.since), self.priority or 0,
            self.status == "alive",
        )  # fmt: skip


class ChangeJson(msgspec.Struct):
    kind: str
    at: datetime | None = None
    node: str | None = None
    epoch: int | None = None
    why: str | None = None
    took_ms: int | None = None
    leaderless_ms: int | None = None

    def change(self) -> Change:
        return Change(
            ms(self.at),
            self.kind,
            self.node or "",
            self.epoch or 0,
            self.why or "",
            self.took_ms or 0,
            self.leaderless_ms or 0,
        )


# ── schedules ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class ScheduleJson(msgspec.Struct):
    name: str
    type: str
    queue: str
    priority: int
    payload: Any = None
    cron: str | None = None
    every: str | None = None
    zone: str = "UTC"
    catch_up: CatchUp = CatchUp.ONCE
    paused: bool = False
    max_retries: int | None = None
    timeout: str | None = None
    soft_timeout: str | None = None
    unique_key: str | None = None
    tags: tuple[str, ...] = ()
    created_at: datetime | None = None
    next_at: datetime | None = None
    last_at: datetime | None = None
    last_job: str | None = None

    def schedule(self) -> Schedule:
        options = Options(
            max_retries=self.max_retries,
            timeout_ms=None if self.timeout is None else _duration_ms(self.timeout),
            soft_timeout_ms=None if self.soft_timeout is None else _duration_ms(self.soft_timeout),
            unique_key=self.unique_key or "",
            tags=self.tags,
        )
        return Schedule(
            self.name, self.type, pack_value(self.payload or {}), self.queue, self.priority,
            None if options == Options() else options, self.cron or "", _duration_ms(self.every) if self.every else 0, self.zone,
            self.catch_up, self.paused, ms(self.created_at), next_ms=ms(self.next_at), last_ms=ms(self.last_at),
            last_id=parse_id(self.last_job) if self.last_job else b"",
        )  # fmt: skip


def schedule_body(schedule: Schedule) -> dict[str, Any]:
    """Raises: InvalidJob."""
    told = {
        "name": schedule.name,
        "type": schedule.type,
        "payload": payload_json(schedule.payload),
        "queue": schedule.queue,
        "priority": schedule.priority,
        "catch_up": schedule.catch_up.value,
        "paused": schedule.is_paused,
        "zone": schedule.zone,
        **_options_json(schedule.options or Options()),
    }
    if schedule.cron:
        told["cron"] = schedule.cron
    if schedule.every_ms:
        told["every"] = schedule.every_ms / 1000
    return told


def change_body(change: ScheduleChange) -> dict[str, Any]:
    """Raises: InvalidJob."""
    told: dict[str, Any] = {
        "type": change.type,
        "payload": None if change.payload is None else payload_json(change.payload),
        "queue": change.queue,
        "priority": change.priority,
        "max_retries": change.max_retries,
        "timeout": None if change.timeout_ms is None else change.timeout_ms / 1000,
        "soft_timeout": None if change.soft_timeout_ms is None else change.soft_timeout_ms / 1000,
        "unique_key": change.unique_key,
        "tags": None if change.tags is None else list(change.tags),
        "cron": change.cron,
        "every": None if change.every_ms is None else change.every_ms / 1000,
        "zone": change.zone,
        "catch_up": None if change.catch_up is None else change.catch_up.value,
        "paused": change.is_paused,
        "without": [one.value for one in change.without] or None,
    }
    return {name: value for name, value in told.items() if value is not None}
