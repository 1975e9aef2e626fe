"""Events: what happened to the cluster rather than to a job: audit, elections, joins and leaves. Pure.

A node appends its own in bulk, once a second or so, straight to the records and not through the outbox. The outbox keeps a promise that
nobody gave for events: each would cost a durable write in the queue, whose bound they would share with finished jobs. So the last second
of them may go with a node that dies, and what the records refuse or cannot take is dropped by who made it.

Their order is that of their places: time (8 bytes), then id (16). A cursor is the place of the last event that was shown.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..errors import InvalidJob
from ..job import ID_BYTES
from ..wire.messages import REPLY_BYTES_MAX

EVENTS_TTL_S = 90 * 24 * 3600.0
TIME_BYTES = 8
PLACE_BYTES = TIME_BYTES + ID_BYTES
END = b"\xff" * PLACE_BYTES
"""Above every place."""
FIXED_BYTES = 64
"""Of an event in a reply, beside its texts and data."""


class Event(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`id`: made as a job's is. `kind`: a word such as `election`. `subject`: whom or what it is about. `data`: a map in msgpack."""

    id: bytes
    at_ms: int
    kind: str
    node: str
    subject: str = ""
    data: bytes = b"\x80"


class EventFilter(msgspec.Struct, frozen=True):
    """`since_ms` is within, `until_ms` is not; 0: no bound."""

    kind: str = ""
    since_ms: int = 0
    until_ms: int = 0


class EventPage(msgspec.Struct, frozen=True):
    """Newest first. An empty `cursor`: there are no more."""

    events: Sequence[Event]
    cursor: bytes


def place_of(event: Event) -> bytes:
    return event.at_ms.to_bytes(TIME_BYTES, "big") + event.id


def time_place(at_ms: int) -> bytes:
    """What its events are at or above. Before 1970 there were none: a long EVENTS_TTL, or a clock that was never set, reaches further."""
    return max(0, at_ms).to_bytes(TIME_BYTES, "big")


def span_of(wanted: EventFilter, cursor: bytes) -> tuple[bytes, bytes]:
    """(least, below): the places to be shown, half open. Raises: InvalidJob on a cursor that is none."""
    if cursor and len(cursor) != PLACE_BYTES:
        raise InvalidJob(f"cursor {cursor[:16].hex()!r} was not made by this store; begin again without one")
    below = cursor or END
    if wanted.until_ms:
        below = min(below, wanted.until_ms.to_bytes(TIME_BYTES, "big"))
    return wanted.since_ms.to_bytes(TIME_BYTES, "big"), below


def page_of(found: Sequence[Event], limit: int) -> EventPage:
    """`found`: from the newest on, more than `limit` if there are more. As many as fit into a reply, at least one."""
    left_bytes = REPLY_BYTES_MAX
    for count, event in enumerate(found):
        left_bytes -= FIXED_BYTES + 4 * (len(event.kind) + len(event.node) + len(event.subject)) + len(event.data)
        if count == limit or (count and left_bytes < 0):
            return EventPage(found[:count], place_of(found[count - 1]))
    return EventPage(found, b"")
