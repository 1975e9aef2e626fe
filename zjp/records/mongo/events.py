"""Events in a collection of their own, aged by a TTL index.

    _id                    the event's place, whose order is theirs
    at, kind, node, subject, data      as in the event; `at` is for the TTL and for people with a shell
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from bson.binary import Binary
from pymongo.asynchronous.collection import AsyncCollection

from ...log import event as log_event
from ..events import PLACE_BYTES, TIME_BYTES, Event, EventFilter, EventPage, page_of, place_of, span_of, time_place
from .documents import date_of
from .server import Server, is_there

COLLECTION = "events"
BY_KIND = "by_kind"
BY_TIME = "by_time"
INSERT_MAX = 512

Events = AsyncCollection[dict[str, Any]]
_log = logging.getLogger(__name__)


async def append_events(server: Server, events: Sequence[Event]) -> None:
    for start in range(0, len(events), INSERT_MAX):
        documents = [_document_of(event) for event in events[start : start + INSERT_MAX]]
        async with server.asked() as records:
            for error in await server.command(records, {"insert": COLLECTION, "documents": documents}):
                if not is_there(error):  # nobody was promised an event: it must not hold up the others
                    kind, reason = documents[error["index"]]["kind"], server.reason(error)
                    log_event(_log, logging.WARNING, "events.refused", kind=kind, code=error["code"], reason=reason)


async def list_events(events: Events, wanted: EventFilter, cursor: bytes, limit: int) -> EventPage:
    """Raises: InvalidJob."""
    least, below = span_of(wanted, cursor)
    where: dict[str, Any] = {"_id": {"$gte": _key(least), "$lt": _key(below)}}
    if wanted.kind:
        where["kind"] = wanted.kind
    found = events.find(where, sort=[("_id", -1)], limit=limit + 1, hint=BY_KIND if wanted.kind else "_id_")
    async with found:
        return page_of([_event_of(document) async for document in found], limit)


async def prune_events(events: Events, before_ms: int, limit: int) -> int:
    due = events.find({"_id": {"$lt": _key(time_place(before_ms))}}, {"_id": 1}, sort=[("_id", 1)], limit=limit)
    keys = [document["_id"] async for document in due]
    return (await events.delete_many({"_id": {"$in": keys}})).deleted_count if keys else 0


def _key(place: bytes) -> Binary:
    """Of full length: the server orders by length first."""
    return Binary(place.ljust(PLACE_BYTES, b"\0"))


def _document_of(event: Event) -> dict[str, Any]:
    return {
        "_id": Binary(place_of(event)), "at": date_of(event.at_ms), "kind": event.kind, "node": event.node, "subject": event.subject,
        "data": event.data,
    }  # fmt: skip


def _event_of(document: dict[str, Any]) -> Event:
    place = bytes(document["_id"])
    at_ms = int.from_bytes(place[:TIME_BYTES], "big")
    return Event(place[TIME_BYTES:], at_ms, document["kind"], document["node"], document["subject"], bytes(document["data"]))
