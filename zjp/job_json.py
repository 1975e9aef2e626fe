"""A job as JSON: the field names and forms that the command line prints and the HTTP API answers with. Pure.

Times are RFC 3339 in UTC with milliseconds, or null where it has not happened; durations are text that a submit takes back
(`30s`); payload, progress and result are unpacked from msgpack. What msgpack can hold and JSON cannot becomes the nearest thing:
bytes become base64 text, numbers that are not finite become null, keys and times become text.
"""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime
from typing import Any

import msgspec

from .job import Attempt, JobFault, JobView, format_id
from .units import show_duration


def job_json(job: JobView) -> dict[str, Any]:
    """Every field is always there; `max_retries` and `timeout` are null where the job leaves them to its task."""
    return {
        "id": format_id(job.id),
        "type": job.type,
        "queue": job.queue,
        "priority": job.priority,
        "payload": unpacked(job.payload),
        "status": job.status.value,
        "max_retries": job.max_retries,
        "retry_count": job.retries,
        "scheduled_at": time_json(job.due_ms),
        "created_at": time_json(job.created_ms),
        "updated_at": time_json(updated_ms(job)),
        "started_at": time_json(job.started_ms),
        "completed_at": time_json(job.finished_ms),
        "timeout": None if job.timeout_ms is None else show_duration(job.timeout_ms / 1000),
        "unique_key": job.unique_key or None,
        "tags": list(job.tags),
        "progress": unpacked(job.progress),
        "result": unpacked(job.result),
        "error": fault_json(job.error),
        "node_id": job.node or None,
        "worker_id": job.worker or None,
        "attempts": [attempt_json(attempt) for attempt in job.attempts],
    }


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "node": attempt.node,
        "worker": attempt.worker,
        "start": time_json(attempt.started_ms),
        "end": time_json(attempt.ended_ms),
        "outcome": attempt.outcome,
        "fence": attempt.fence,
        "error": fault_json(attempt.error),
    }


def fault_json(fault: JobFault | None) -> dict[str, str] | None:
    return None if fault is None else {"type": fault.type, "message": fault.message, "traceback": fault.traceback}


def updated_ms(job: JobView) -> int:
    """When the job last moved, as far as its history tells."""
    moments = [job.created_ms, job.started_ms, job.finished_ms]
    moments += [max(attempt.started_ms, attempt.ended_ms) for attempt in job.attempts]
    return max(moments)


def time_json(at_ms: int) -> str | None:
    """1893456000123 -> `2030-01-01T00:00:00.123Z`; 0 -> None. To the millisecond: no float is in between."""
    if not at_ms:
        return None
    seconds, rest_ms = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ms:03d}Z"


def unpacked(data: bytes) -> Any:
    """msgpack as JSON's kinds of values; empty: None."""
    return plain(msgspec.msgpack.decode(data)) if data else None


def plain(value: Any) -> Any:
    """The nearest thing that JSON can say."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)


class Double(ValueError):
    """A name that stands twice in one object: JSON lets readers choose which of the two counts."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name!r} stands twice in one object")
        self.name = name


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """What a reader of JSON takes as its `object_pairs_hook`. Raises: Double."""
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        raise Double(next(name for name, _ in pairs if name in seen or seen.add(name)))  # type: ignore[func-returns-value]
    return made
