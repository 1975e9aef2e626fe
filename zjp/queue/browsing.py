"""Reading the file without holding up the writer: look-ups, listings, the next rows of a level. Runs in the reader's thread.

What is read is a committed state that may be some milliseconds old; the loop joins it with what it knows (claims, outbox).
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..errors import InvalidJob
from ..job import JobFilter, JobSpec, JobState, StoredJob
from .database import AMONG, Database, among, fetch
from .layout import PRIORITY_BITS, ROW_BITS, queue_number
from .state import decode_job
from .window import Entry

READ_MAX = 5_000
READ_BYTES_MAX = 4 << 20
LIST_PART = 1_000
LATER_PART = 64
"""Rows of a listing that are read at once; the largest payloads make 64 MiB of them."""
CLAIMED, READY, LATER = range(3)


class Found(msgspec.Struct, frozen=True):
    """A live job on disk. `row` 0: delayed."""

    job: StoredJob
    row: int
    is_retry: bool = False


class Rows(msgspec.Struct, frozen=True):
    entries: list[Entry]
    data_bytes: int
    is_all: bool


def read_rows(db: Database, after: int, until: int) -> Rows:
    """The next rows in (after, until], as many as one read may bring."""
    with snapshot(db):
        last, is_all = _reach(db, after, until, READ_MAX)
        found = _jobs(db, after, last)
    entries = [(row, decode_job(data)) for row, data in found]
    return Rows(entries, sum(len(data) for _, data in found), is_all)


@contextlib.contextmanager
def snapshot(db: Database) -> Iterator[None]:
    """Several reads of one state. Where a transaction is open already (in memory: the writer's), it is that one's."""
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN")
    try:
        yield
    finally:
        db.execute("COMMIT")


def _reach(db: Database, after: int, until: int, rows_max: int) -> tuple[int, bool]:
    """How far one read in (after, until] may go: (its last row, whether that is all there is). It ends before a row that does not fit into
    READ_BYTES_MAX any more, unless that is the first."""
    source = "SELECT row, length(data) AS size FROM jobs WHERE row > ? AND row <= ? ORDER BY row LIMIT ?"
    found = fetch(db, source, (after, until, rows_max), numbers=["row", "size"], blobs=[])
    last, data_bytes = after, 0
    for row, size in found:
        data_bytes += size
        if data_bytes > READ_BYTES_MAX and last > after:
            return last, False
        last = row
    return last, len(found) < rows_max


def _jobs(db: Database, after: int, last: int) -> list[tuple[Any, ...]]:
    return fetch(db, "SELECT row, data FROM jobs WHERE row > ? AND row <= ? ORDER BY row", (after, last), numbers=["row"], blobs=["data"])


def find_live(db: Database, ids: Sequence[bytes]) -> dict[bytes, Found]:
    """In one snapshot, so that a job on its way from one table to the other is seen."""
    source = (
        f"SELECT id, data, row, 0 AS is_retry FROM jobs WHERE id {AMONG} "
        f"UNION ALL SELECT id, data, 0 AS row, is_retry FROM later WHERE id {AMONG}"
    )
    found = fetch(db, source, among(ids), numbers=["row", "is_retry"], blobs=["id", "data"])
    return {job_id: Found(decode_job(data), row, bool(is_retry)) for row, is_retry, job_id, data in found}


def find_rows(db: Database, ids: Sequence[bytes]) -> dict[bytes, int]:
    """Rows of those that are ready or claimed."""
    found = fetch(db, f"SELECT id, row FROM jobs WHERE id {AMONG}", among(ids), numbers=["row"], blobs=["id"])
    return {job_id: row for row, job_id in found}


def find_specs(db: Database, ids: Sequence[bytes]) -> dict[bytes, JobSpec]:
    return {job_id: found.job.spec for job_id, found in find_live(db, ids).items()}


# ── listings ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Cursor(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Where the next page begins: behind (`at`, `row`) of `phase`. `fence`: the highest claim when the listing began; what it and
    those before held was listed as claimed, what was claimed since is listed where it stood."""

    phase: int
    fence: int
    at: int = 0
    row: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Cursor).decode


def pack_cursor(cursor: Cursor) -> bytes:
    return _encode(cursor)


def unpack_cursor(data: bytes) -> Cursor:
    """Raises: InvalidJob."""
    try:
        cursor = _decode(data)
    except (msgspec.ValidationError, msgspec.DecodeError):
        cursor = None
    if cursor is None or not CLAIMED <= cursor.phase <= LATER:
        raise InvalidJob("cursor is none that a listing gave; begin again without one")
    return cursor


class Room(msgspec.Struct, frozen=True):
    """What a page may still take: jobs, rows to be looked at, bytes. `is_empty`: its first job fits, whatever its size."""

    jobs: int
    rows: int
    data_bytes: int
    is_empty: bool


class Page(msgspec.Struct):
    """What one look at the file brought. `cursor` None: that phase is through."""

    room: Room
    found: list[Found] = []
    scanned: int = 0
    data_bytes: int = 0
    cursor: Cursor | None = None

    def fits(self, size: int) -> bool:
        return self.data_bytes + size <= self.room.data_bytes or (self.room.is_empty and not self.found)

    def take(self, one: Found, size: int) -> None:
        self.found.append(one)
        self.data_bytes += size

    def is_full(self) -> bool:
        return len(self.found) >= self.room.jobs or self.scanned >= self.room.rows

    def ended(self, cursor: Cursor | None) -> Page:
        self.cursor = cursor
        return self


def list_claimed(
    db: Database, rows: Sequence[int], cursor: Cursor, wanted: JobFilter, states: Mapping[int, JobState], room: Room
) -> Page:
    """`rows` in order of listing; `states`: row -> what its job is now."""
    page, last = Page(room), cursor.row
    for row in rows:
        stored = db.execute("SELECT data FROM jobs WHERE row = ?", (row,)).fetchone()
        if stored is not None and wanted.accepts(job := decode_job(stored[0]), states[row]):
            if not page.fits(len(stored[0])):
                return page.ended(Cursor(CLAIMED, cursor.fence, 0, last))
            page.take(Found(job, row), len(stored[0]))
        page.scanned, last = page.scanned + 1, row
        if len(page.found) >= room.jobs:
            return page.ended(Cursor(CLAIMED, cursor.fence, 0, row))
    return page


def list_ready(
    db: Database, levels: Sequence[int], cursor: Cursor, wanted: JobFilter, claimed: Mapping[int, JobState], *, skip: Container[int],
    room: Room,
) -> Page:  # fmt: skip
    """`levels` in order of listing. `claimed`: rows claimed meanwhile; `skip`: rows listed as claimed before."""
    page, last = Page(room), cursor
    for level in levels:
        order = list_order(level)
        if order < cursor.at:
            continue
        first = level << ROW_BITS
        for row, data in _level_rows(db, cursor.row if order == cursor.at else first, first + (1 << ROW_BITS) - 1):
            if row not in skip and wanted.accepts(job := decode_job(data), claimed.get(row, JobState.PENDING)):
                if not page.fits(len(data)):
                    return page.ended(last)
                page.take(Found(job, row), len(data))
            page.scanned, last = page.scanned + 1, Cursor(READY, cursor.fence, order, row)
            if page.is_full():
                return page.ended(last)
    return page


def _level_rows(db: Database, after: int, until: int) -> Iterator[tuple[int, bytes]]:
    """Rows in (after, until], read in parts, since who asks may stop anywhere."""
    is_all = False
    while not is_all:
        last, is_all = _reach(db, after, until, LIST_PART)
        yield from _jobs(db, after, last)
        after = last


def list_order(level: int) -> int:
    """By priority, highest first, then by queue. Not by what is there now, so that a cursor keeps its place."""
    return ((1 << PRIORITY_BITS) - level % (1 << PRIORITY_BITS)) << 16 | queue_number(level)


def list_later(db: Database, cursor: Cursor, wanted: JobFilter, room: Room) -> Page:
    page, last = Page(room), cursor
    for due_ms, row, is_retry, data in _later_rows(db, cursor.at, cursor.row):
        if wanted.accepts(job := decode_job(data), later_state(bool(is_retry))):
            if not page.fits(len(data)):
                return page.ended(last)
            page.take(Found(job, 0, bool(is_retry)), len(data))
        page.scanned, last = page.scanned + 1, Cursor(LATER, cursor.fence, due_ms, row)
        if page.is_full():
            return page.ended(last)
    return page


def _later_rows(db: Database, due_ms: int, row: int) -> Iterator[tuple[int, int, int, bytes]]:
    source = "SELECT due_ms, row, is_retry, data FROM later WHERE (due_ms, row) > (?, ?) ORDER BY due_ms, row LIMIT ?"
    while part := fetch(db, source, (due_ms, row, LATER_PART), numbers=["due_ms", "row", "is_retry"], blobs=["data"]):
        yield from part
        due_ms, row, *_ = part[-1]


def later_state(is_retry: bool) -> JobState:
    return JobState.RETRYING if is_retry else JobState.SCHEDULED
