"""Finished jobs in Redis, when there is no other place that all nodes see: bounded in number and age.

    r      hash         id -> mark (8 bytes), run (4 bytes), record
    rows   sorted set   a batch (mark, ids) -> the place of its first in the order of arrival; what listings walk, from the newest
    times  sorted set   that place -> when its records finished; what pruning walks
    events sorted set   place and event, all with score 0: in the order of their bytes

Records come in batches, so their order costs a record its id and a share of an entry, not two entries of its own. An id in a batch counts
while its record bears the batch's mark. Most come without `append`: the queue in the same server writes what a claim finished (its fence
is the mark) in the step that ends the job.

A listing decodes and filters up to SCAN_MAX records a page; there is no index, since memory is what Redis has least of. More than
`count_max` push out the oldest that finished `dedup_s` ago or before, of events more than EVENTS_MAX. Durable as the server's settings
say, like the queue beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from ..errors import ConfigError, StoreUnavailable
from ..job import JobFilter, Record
from ..redis.address import connections
from ..redis.lane import Lane, LoginRefused, NotPermitted
from ..redis.rights import lacking, refuse_unknown
from ..redis.script import Scripts
from ..wire.messages import REPLY_BYTES_MAX
from .cursor import read_cursor, write_cursor
from .events import EVENTS_TTL_S, PLACE_BYTES, Event, EventFilter, EventPage, page_of, place_of, span_of, time_place
from .store import RecordItem, RecordPage

PACKAGE = "zjp.records"
SCAN_MAX = 10_000
CHUNK_MIN, CHUNK = 16, 500
"""Records that a listing reads at first, and at most: a page that ends for its bytes has not read 500 large ones."""
APPEND_CHUNK = 1_000
EVENTS_MAX = 50_000
"""Some 15 MB. What a page of them looks at is bounded as with records."""
ROW_END = (1 << 53) - 1
RUN_BYTES, RECORD_AT = 4, 12
_decode = msgspec.msgpack.Decoder(Record).decode
_encode_event = msgspec.msgpack.Encoder().encode
_decode_event = msgspec.msgpack.Decoder(Event).decode


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class RedisRecordStore:
    """See `RecordStore`. `ttl_s` 0: as long as there is room. `count_max`: of records at once, unless more than that finished within
    `dedup_s`: for so long a repeat of a finished job is told by its record."""

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "zjp",
        password: str | None = None,
        db: int = 0,
        ttl_s: float,
        count_max: int,
        dedup_s: float = 0.0,
        events_ttl_s: float = EVENTS_TTL_S,
        events_max: int = EVENTS_MAX,
        wall_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        self._prefix = f"{{zjp:{namespace}}}:records:".encode()
        self._address = connections(url, password=password, db=db, name=f"zjp-{namespace}-records")
        self._ttl_ms, self._wall_ms = int(ttl_s * 1000), wall_ms
        self._bounds = (count_max, int(dedup_s * 1000))
        self._events_ttl_ms, self._events_max = int(events_ttl_s * 1000), events_max
        self._scripts = Scripts(PACKAGE, self._prefix, has_flags=False)
        self._writing: Lane | None = None
        self._reading: Lane | None = None

    async def open(self) -> None:
        """Raises: ConfigError, StoreUnavailable."""
        self._writing, self._reading = Lane(self._address), Lane(self._address)
        try:
            await self._writing.call(lambda _: (b"PING",))
        except LoginRefused as refusal:
            await self.close()
            raise ConfigError(str(refusal)) from refusal
        except NotPermitted as fault:
            found = await lacking(self._writing, self._prefix.removesuffix(b"records:"), str(fault))
            await self.close()
            raise found from fault
        except StoreUnavailable:
            await self.close()
            raise
        except ResponseError as fault:
            await self.close()
            refuse_unknown(fault)
            raise

    async def close(self) -> None:
        """What was asked for before is done first. Closing twice does no harm."""
        lanes = (self._writing, self._reading)
        self._writing = self._reading = None
        for lane in lanes:
            if lane is not None:
                await lane.close()

    async def append(self, items: Sequence[RecordItem]) -> None:
        for at in range(0, len(items), APPEND_CHUNK):
            arguments: list[Any] = [*self._bounds]
            for item in items[at : at + APPEND_CHUNK]:
                job = item.record.job
                arguments += (job.spec.id, job.run.to_bytes(RUN_BYTES, "big"), item.record.finished_ms, item.data)
            await self._scripts("append", _open(self._writing), arguments)
        _open(self._writing)

    async def get(self, ids: Sequence[bytes]) -> Mapping[bytes, Record]:
        lane = _open(self._reading)
        found: dict[bytes, Record] = {}
        for at in range(0, len(ids), CHUNK):
            chunk = ids[at : at + CHUNK]
            command = (b"HMGET", self._prefix + b"r", *chunk)
            for job_id, value in zip(chunk, await lane.call(lambda _, command=command: command), strict=True):  # type: ignore[misc]
                if value is not None:
                    found[job_id] = _decode(value[RECORD_AT:])
        return found

    async def remove(self, ids: Sequence[bytes]) -> int:
        lane = _open(self._writing)
        return int(await self._scripts("remove", lane, list(ids))) if ids else 0

    async def prune(self, limit: int) -> int:
        before_ms = self._wall_ms() - self._ttl_ms if self._ttl_ms else 0
        return int(await self._scripts("prune", _open(self._writing), [before_ms, limit, *self._bounds]))

    async def count(self) -> int:
        return int(await _open(self._reading).call(lambda _: (b"HLEN", self._prefix + b"r")))

    async def list(self, wanted: JobFilter, cursor: bytes, limit: int) -> RecordPage:
        """Raises: InvalidJob on a cursor that is none, StoreUnavailable."""
        below, scanned, left_bytes, step = read_cursor(cursor, ROW_END), 0, REPLY_BYTES_MAX, CHUNK_MIN
        records: list[Record] = []
        while True:
            asked, step = min(step, SCAN_MAX - scanned) + 1, min(step * 4, CHUNK)
            rows, values = await self._scripts("list", _open(self._reading), [below, asked])
            is_last = len(rows) < asked
            for row, value in zip(rows, values if is_last else values[:-1], strict=False):
                if not value:
                    below, scanned = row, scanned + 1
                    continue
                record = _decode(value[RECORD_AT:])
                is_wanted = wanted.accepts(record.job, record.state)
                left_bytes -= len(value) if is_wanted else 0
                if len(records) == limit or (is_wanted and records and left_bytes < 0):
                    return RecordPage(records, write_cursor(below), scanned)
                below, scanned = row, scanned + 1
                if is_wanted:
                    records.append(record)
            if is_last:
                return RecordPage(records, b"", scanned)
            if len(records) == limit or scanned >= SCAN_MAX:
                return RecordPage(records, write_cursor(below), scanned)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def append_events(self, events: Sequence[Event]) -> None:
        lane = _open(self._writing)
        for at in range(0, len(events), APPEND_CHUNK):
            members = [place_of(event) + _encode_event(event) for event in events[at : at + APPEND_CHUNK]]
            await self._scripts("append_events", lane, [self._events_max, *members])

    async def list_events(self, wanted: EventFilter, cursor: bytes, limit: int) -> EventPage:
        """Raises: InvalidJob on a cursor that is none, StoreUnavailable."""
        least, below = span_of(wanted, cursor)
        found: list[Event] = []
        for _ in range(SCAN_MAX // CHUNK):
            command = (b"ZREVRANGEBYLEX", self._prefix + b"events", b"(" + below, b"[" + least, b"LIMIT", 0, CHUNK)
            members = await _open(self._reading).call(lambda _, command=command: command)  # type: ignore[misc]
            events = [_decode_event(member[PLACE_BYTES:]) for member in members]
            found += [event for event in events if wanted.kind in ("", event.kind)]
            if len(members) < CHUNK or len(found) > limit:
                return page_of(found, limit)
            below = members[-1][:PLACE_BYTES]
        page = page_of(found, limit)
        return page if page.cursor else EventPage(page.events, below)

    async def prune_events(self, limit: int) -> int:
        lane = _open(self._writing)
        if not self._events_ttl_ms:
            return 0
        before = time_place(self._wall_ms() - self._events_ttl_ms)
        return int(await self._scripts("prune_events", lane, [before, limit]))


def _open(lane: Lane | None) -> Lane:
    if lane is None:
        raise StoreUnavailable("the records store in Redis is not open; the node is starting or stopping")
    return lane
