"""Finished jobs in MongoDB, for many nodes.

What lives here: the store, and below it the connection (server.py), what a record is there (documents.py), how it gets in (writing.py)
and out (reading.py), the indexes (indexes.py), and events (events.py). What does not: how records get here (outbox.py), what they mean
(job.py).

Theory of operation. Each node appends what its outbox holds: unordered inserts with the job's id as `_id`, acknowledged by a
majority with the journal written (`w: majority, j: true`), so a repeat is told by the server and no record doubles whoever writes it.
The encoded record is one binary field; what listings filter by stands beside it and in indexes. A TTL index ages them.

A server that is away does not keep a node from starting or working: what needs it raises StoreUnavailable within a bounded time, and
the next call that reaches it makes sure of the indexes first, since it may have come back empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from ...errors import ConfigError, StoreUnavailable, Unavailable
from ...job import JobFilter, Record
from ...log import event
from ..cursor import read_cursor
from ..events import EVENTS_TTL_S, Event, EventFilter, EventPage
from ..store import RecordItem, RecordPage
from . import reading, writing
from .documents import BY_FINISHED, BY_ORDER, ORDER_END, Arrivals, date_of, ids_of
from .events import COLLECTION, append_events, list_events, prune_events
from .indexes import prepare, prepare_events
from .reading import SCAN_MAX
from .server import Server, StoreDenied, check_uri

__all__ = ["SCAN_MAX", "MongoRecordStore"]

COUNT_S = 0.5
"""How long the number of records may be waited for: it is asked at each look at the node's figures."""
REMOVE_MAX = 1000

_log = logging.getLogger(__name__)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class MongoRecordStore:
    """See `RecordStore`. `ttl_s`, `events_ttl_s` 0: kept for ever. `timeout_s`: the longest that one call may take.

    `open` raises ConfigError on a URI that is none and on a user the server does not know; a server that is away is only logged.
    """

    def __init__(
        self,
        uri: str,
        *,
        database: str,
        ttl_s: float,
        timeout_s: float,
        events_ttl_s: float = EVENTS_TTL_S,
        wall_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        check_uri(uri)
        self._uri = uri
        self._database = database
        self._ttl_s, self._events_ttl_s = ttl_s, events_ttl_s
        self._timeout_s = timeout_s
        self._wall_ms = wall_ms
        self._server: Server | None = None
        self._arrivals = Arrivals()
        self._preparing = asyncio.Lock()
        self._prepared: int | None = None
        """`Server.losses` when the indexes were made sure of."""
        self._fault: StoreUnavailable | None = None
        """Of the last attempt to make sure of them."""
        self._count = 0

    async def open(self) -> None:
        self._server = Server(self._uri, database=self._database, timeout_s=self._timeout_s)
        self._preparing, self._prepared = asyncio.Lock(), None
        try:
            await self._ready()
        except (ConfigError, StoreDenied) as error:
            await self.close()
            raise ConfigError(str(error)) from error
        except Unavailable as fault:
            event(_log, logging.WARNING, "records.away", reason=str(fault))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """What is under way is cut off: it was not acknowledged and may be repeated. Closing twice does no harm."""
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def append(self, items: Sequence[RecordItem]) -> None:
        server = await self._ready()
        if items:
            await writing.append(server, items, self._arrivals, self._wall_ms())

    async def get(self, ids: Sequence[bytes]) -> Mapping[bytes, Record]:
        async with (await self._ready()).asked() as records:
            return await reading.get(records, ids)

    async def list(self, wanted: JobFilter, cursor: bytes, limit: int) -> RecordPage:
        """Raises: InvalidJob on a cursor that is none, StoreUnavailable."""
        below = read_cursor(cursor, ORDER_END)
        async with (await self._ready()).asked() as records:
            return await reading.list_page(records, wanted, below, limit)

    async def remove(self, ids: Sequence[bytes]) -> int:
        server, removed = await self._ready(), 0
        for start in range(0, len(ids), REMOVE_MAX):
            async with server.asked() as records:
                some = ids_of(ids[start : start + REMOVE_MAX])
                removed += (await records.delete_many({"_id": {"$in": some}})).deleted_count
        return removed

    async def prune(self, limit: int) -> int:
        """The server does it by itself, by its TTL index, once a minute; this is for one that does not, and finds nothing elsewhere."""
        if not self._ttl_s:
            return 0
        due = {"finished_at": {"$lt": date_of(self._wall_ms() - int(self._ttl_s * 1000))}}
        async with (await self._ready()).asked() as records:
            if await records.find_one(due, {"_id": 1}, hint=BY_FINISHED) is None:
                return 0
            oldest = records.find(due, {"_id": 1}, sort=[("order", 1)], hint=BY_ORDER, limit=limit)
            ids = [document["_id"] async for document in oldest]
            return (await records.delete_many({"_id": {"$in": ids}, **due})).deleted_count

    async def append_events(self, events: Sequence[Event]) -> None:
        await append_events(await self._ready(), events)

    async def list_events(self, wanted: EventFilter, cursor: bytes, limit: int) -> EventPage:
        async with (await self._ready()).asked() as records:
            return await list_events(records.database[COLLECTION], wanted, cursor, limit)

    async def prune_events(self, limit: int) -> int:
        """As `prune`."""
        if not self._events_ttl_s:
            return 0
        before_ms = self._wall_ms() - int(self._events_ttl_s * 1000)
        async with (await self._ready()).asked() as records:
            return await prune_events(records.database[COLLECTION], before_ms, limit)

    async def count(self) -> int:
        """From the collection's own figures. While the server is away: as it was last known, since the node's figures must not wait.

        It needs no index, so it makes sure of none."""
        server = self._server
        if server is None:
            self._refuse()
        with contextlib.suppress(Unavailable):
            async with server.asked(COUNT_S) as records:
                self._count = await records.estimated_document_count()
        return self._count

    async def _ready(self) -> Server:
        """The server, with its indexes there. Raises: StoreUnavailable, and ConfigError where the URI names nothing."""
        server = self._server
        if server is None:
            self._refuse()
        if self._prepared != server.losses:
            await self._prepare(server)
        return server

    async def _prepare(self, server: Server) -> None:
        """One at a time. Who waited for an attempt that failed fails with it: each waits for a server that is away once, not for those
        before it in turn."""
        former = self._fault
        async with self._preparing:
            if self._prepared == server.losses:
                return
            if self._fault is not None and self._fault is not former:
                raise type(self._fault)(str(self._fault)) from self._fault
            losses = server.losses
            try:
                async with server.asked() as records:
                    self._arrivals.note(await prepare(records, self._ttl_s))
                    await prepare_events(records.database[COLLECTION], self._events_ttl_s)
            except StoreUnavailable as fault:
                self._fault = fault
                raise
            self._prepared, self._fault = losses, None

    def _refuse(self) -> NoReturn:
        raise StoreUnavailable(f"records database {self._database} is not open; the node is starting or stopping")
