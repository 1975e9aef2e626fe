"""The shapes that several routes take or answer with, as types: for decoding queries, and for the document.

Answers are built as plain maps (job_json.py and others); the types here say what is in them and are compared with real answers by a test.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

import msgspec

from ..errors import InvalidJob
from ..job import JobState
from ..wire.messages import LIST_LIMIT_MAX

CURSOR_CHARS_MAX = 512
Limit = Annotated[int, msgspec.Meta(ge=1, le=LIST_LIMIT_MAX)]
Cursor = Annotated[
    str, msgspec.Meta(max_length=CURSOR_CHARS_MAX, description="From the page before; empty: from the beginning.")
]
Moment = Annotated[str, msgspec.Meta(description="RFC 3339 or Unix seconds.", examples=["2030-01-01T12:00:00Z"])]
Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})] | None

ERRORS_OF_SUBMIT = {
    409: "The id exists with other content.",
    413: "The body or a payload is over its limit.",
    507: "Disk, memory or outbox is at its limit.",
}


def encode_cursor(cursor: bytes) -> str | None:
    return base64.urlsafe_b64encode(cursor).decode().rstrip("=") if cursor else None


def decode_cursor(text: str) -> bytes:
    """Raises: InvalidJob."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidJob("cursor is none that a listing gave; begin again without one") from None


class PageOf(msgspec.Struct, kw_only=True):
    """`cursor`: of the next page; null: that was all."""

    cursor: str | None


class FaultShape(msgspec.Struct):
    type: str
    message: str
    traceback: str


class AttemptShape(msgspec.Struct):
    """`outcome`: completed, failed, retried, snoozed, crashed, lost, timeout, cancelled."""

    node: str
    worker: str
    start: Time
    end: Time
    outcome: str
    fence: int
    error: FaultShape | None


class JobShape(msgspec.Struct):
    """A job. What has not happened, or is left to the task, is null."""

    id: str
    type: str
    queue: str
    priority: int
    payload: Any
    status: JobState
    max_retries: int | None
    retry_count: int
    scheduled_at: Time
    created_at: Time
    updated_at: Time
    started_at: Time
    completed_at: Time
    timeout: str | None
    unique_key: str | None
    tags: list[str]
    progress: Any
    result: Any
    error: FaultShape | None
    node_id: str | None
    worker_id: str | None
    attempts: list[AttemptShape]


class MadeJob(JobShape):
    """`existed`: it was there already. `durability`: what the acknowledgement is worth."""

    existed: bool
    durability: str


class QueueShape(msgspec.Struct):
    """`oldest_seconds`: age of the oldest job that is ready to run."""

    queue: str
    pending: int
    scheduled: int
    retrying: int
    running: int
    paused: bool
    oldest_seconds: float


class QueuePage(PageOf):
    items: list[QueueShape]


class DoneShape(msgspec.Struct):
    """`count`: how many jobs it was about."""

    count: int
