"""Finished jobs in one SQLite file.

What lives here: the store, and below it the file (file.py), what its two threads do (writer.py, reader.py, lane.py) and how a record
becomes a row (rows.py). What does not: how records get here (outbox.py), what they mean (job.py).

Theory of operation. One writer thread takes whatever was asked for while the last transaction was under way and makes it the next one
(WAL, `synchronous=FULL`); one reader thread answers look-ups and listings from its own connection. The event loop only passes calls.

    records   row (a counter: the order of arrival, which is the order of finishing), id, what listings filter by, the encoded record
    blocks    runs of up to 1,024 rows: how many are left, their least and greatest times
    seen      which types, queues, states and tags occur in a block
    events    beside them; see events.py

A listing walks the blocks from the newest, leaves out those where one of the wanted words was not seen, and scans the others, 10,000
rows at most for one page. So a rare type or tag is found among millions, while a bulk of 1,000 records writes about ten rows of
`seen`. Three secondary indexes did the same for 1.3 us more CPU per record (5.3 against 4.0).

Rows go in as one INSERT of 2**n rows at a time, since `executemany` leaves and takes the interpreter lock once per row: beside a busy
loop each taking may cost a switch interval. Ids that are there already are rare (only after a crash between append and
removal, or for a second run), so they are not asked for: the INSERT fails on the unique index and the bulk is sorted out then.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from ...errors import StoreUnavailable
from ...job import JobFilter, Record
from ..cursor import read_cursor
from ..events import EVENTS_TTL_S, Event, EventFilter, EventPage
from ..store import RecordItem, RecordPage
from .events import append_events, list_events, prune_events
from .file import connect, open_file, unavailable
from .lane import Call, Lane
from .reader import SCAN_MAX, Reader
from .rows import ROW_END
from .writer import Writer

__all__ = ["SCAN_MAX", "SQLiteRecordStore"]

T = TypeVar("T")


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class SQLiteRecordStore:
    """See `RecordStore`. `ttl_s`, `events_ttl_s` 0: kept for ever. `bytes_max`: a limit on the file beside that of the disk, 0 for none."""

    def __init__(
        self,
        path: Path,
        *,
        ttl_s: float,
        events_ttl_s: float = EVENTS_TTL_S,
        bytes_max: int = 0,
        wall_ms: Callable[[], int] = _wall_ms,
    ) -> None:
        self._path = path
        self._events_ttl_ms = int(events_ttl_s * 1000)
        self._ttl_ms = int(ttl_s * 1000)
        self._bytes_max = bytes_max
        self._wall_ms = wall_ms
        self._parts: _Parts | None = None

    async def open(self) -> None:
        self._parts = await _open_parts(self._path, self._bytes_max)

    async def close(self) -> None:
        """What was asked for before is done first. Closing twice does no harm."""
        parts, self._parts = self._parts, None
        if parts is not None:
            await parts.close()

    async def append(self, items: Sequence[RecordItem]) -> None:
        if items:
            await self._write(lambda writer: writer.append(items))

    async def remove(self, ids: Sequence[bytes]) -> int:
        return await self._write(lambda writer: writer.remove(ids))

    async def prune(self, limit: int) -> int:
        if not self._ttl_ms:
            return 0
        before_ms = self._wall_ms() - self._ttl_ms
        return await self._write(lambda writer: writer.prune(before_ms, limit))

    async def get(self, ids: Sequence[bytes]) -> Mapping[bytes, Record]:
        return await self._read(lambda reader: reader.get(ids))

    async def list(self, wanted: JobFilter, cursor: bytes, limit: int) -> RecordPage:
        """Raises: InvalidJob on a cursor that is none, StoreUnavailable."""
        below = read_cursor(cursor, ROW_END)
        return await self._read(lambda reader: reader.list(wanted, below, limit))

    async def count(self) -> int:
        return self._open_parts().writer.count

    async def append_events(self, events: Sequence[Event]) -> None:
        if events:
            await self._write(lambda writer: append_events(writer.sql, events))

    async def list_events(self, wanted: EventFilter, cursor: bytes, limit: int) -> EventPage:
        return await self._read(lambda reader: list_events(reader.sql, wanted, cursor, limit))

    async def prune_events(self, limit: int) -> int:
        if not self._events_ttl_ms:
            return 0
        before_ms = self._wall_ms() - self._events_ttl_ms
        return await self._write(lambda writer: prune_events(writer.sql, before_ms, limit))

    async def _write(self, deed: Callable[[Writer], T]) -> T:
        parts = self._open_parts()
        return await parts.writing.call(lambda: deed(parts.writer))

    async def _read(self, deed: Callable[[Reader], T]) -> T:
        parts = self._open_parts()
        return await parts.reading.call(lambda: deed(parts.reader))

    def _open_parts(self) -> _Parts:
        if self._parts is None:
            self._refuse()
        return self._parts

    def _refuse(self) -> NoReturn:
        raise StoreUnavailable(f"records file {self._path} is not open; the node is starting or stopping")


class _Parts:
    """An open file: each connection with the thread that uses it."""

    def __init__(self, path: Path, writer: Writer, reader: Reader) -> None:
        self._path = path
        self.writer = writer
        self.reader = reader
        self.writing = Lane("records-writer", self._commit)
        self.reading = Lane("records-reader", self._answer)

    async def close(self) -> None:
        await self.writing.call(lambda: None)  # all that was asked for before is committed
        self.writing.stop()
        await self.reading.call(self.reader.close)
        await self.reading.call(self.writer.close)
        self.reading.stop()

    def _commit(self, calls: Sequence[Call]) -> None:
        """One transaction for all; where that fails, one for each, so that a bad call fails alone."""
        try:
            with self.writer:
                for call in calls:
                    call.run()
        except Exception as error:
            if len(calls) == 1:
                calls[0].error = self._translated(error)
                return
            for call in calls:
                self._commit([call])

    def _answer(self, calls: Sequence[Call]) -> None:
        for call in calls:
            try:
                call.run()
            except Exception as error:
                call.error = self._translated(error)

    def _translated(self, error: Exception) -> Exception:
        """The file's troubles are the world's; what SQLite says of a wrong statement or value is a bug of ours and stays one."""
        is_bug = isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.DataError)
        return unavailable(self._path, error) if isinstance(error, sqlite3.Error) and not is_bug else error


async def _open_parts(path: Path, bytes_max: int) -> _Parts:
    opening = Lane("records-opening", _run_all)  # the check of a file may take long: not in the loop

    def open_both() -> _Parts:
        connection = open_file(path, bytes_max)
        try:
            return _Parts(path, Writer(connection), Reader(connect(path)))
        except sqlite3.Error as error:
            connection.close()
            raise unavailable(path, error) from error
        except BaseException:
            connection.close()
            raise

    try:
        return await opening.call(open_both)
    finally:
        opening.stop()


def _run_all(calls: Sequence[Call]) -> None:
    for call in calls:
        try:
            call.run()
        except Exception as error:
            call.error = error
