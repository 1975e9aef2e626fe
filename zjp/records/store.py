"""What a record store promises: jobs that were, kept for reading, and nothing that the queue needs to go on.

Records arrive in bulk from the outbox, at least once each; a record with the id of one that is there replaces it only when its run is
higher, so repeats do no harm. There are no updates otherwise. When `append` returns, the records are durable.
Listing is newest first, by when they arrived; cursors are opaque and stay valid while records come and go.
Beside the records it keeps events (events.py), for EVENTS_TTL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from ..job import JobFilter, Record
from .events import Event, EventFilter, EventPage


class RecordItem(Protocol):
    """What `append` takes: a record and its encoding, made once when the job finished."""

    @property
    def record(self) -> Record: ...
    @property
    def data(self) -> bytes: ...


class Refusal(NamedTuple):
    """A record that the store will not take however often it is asked. `code`: the store's own."""

    item: RecordItem
    code: int
    reason: str


class RecordsRefused(Exception):
    """Some records were refused for good; all others of that call are written. For the outbox only: nobody else hears of it."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        super().__init__(f"{len(refusals)} records were refused, the first as: {refusals[0].reason} (code {refusals[0].code})")
        self.refusals = refusals


class RecordPage(msgspec.Struct, frozen=True):
    records: Sequence[Record]
    cursor: bytes
    scanned: int


class RecordStore(Protocol):
    async def open(self) -> None:
        """Raises: StoreUnavailable, ConfigError."""

    async def close(self) -> None: ...

    async def append(self, items: Sequence[RecordItem]) -> None:
        """Raises: StoreUnavailable, StoreFull; then some may have been written, and the same call may be repeated.
        RecordsRefused; then all but those it names are written."""

    async def get(self, ids: Sequence[bytes]) -> Mapping[bytes, Record]: ...

    async def list(self, wanted: JobFilter, cursor: bytes, limit: int) -> RecordPage:
        """At most REPLY_BYTES_MAX of encoded records, unless the first alone is larger. Raises: InvalidJob on a cursor that is none."""

    async def remove(self, ids: Sequence[bytes]) -> int: ...

    async def prune(self, limit: int) -> int:
        """Remove up to `limit` records that are older than RECORDS_TTL. Returns how many."""

    async def count(self) -> int: ...

    async def append_events(self, events: Sequence[Event]) -> None:
        """In any order; the same event again does no harm. Raises: StoreUnavailable, StoreFull; then some may have been written."""

    async def list_events(self, wanted: EventFilter, cursor: bytes, limit: int) -> EventPage:
        """A page may be short, and has a cursor as long as there may be more. Raises: InvalidJob on a cursor that is none."""

    async def prune_events(self, limit: int) -> int:
        """Remove up to `limit` of the oldest events that are older than EVENTS_TTL. Returns how many."""
