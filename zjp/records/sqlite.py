"""Finished jobs in one SQLite file.

What lives here: the file, its two threads, its SQL. What does not: how records get here (outbox.py), what they mean (job.py).

Theory of operation. One writer thread takes whatever was asked for while the last transaction was under way and makes it the next one
(WAL, `synchronous=FULL`); one reader thread answers look-ups and listings from its own connection. The event loop only passes calls.

    records   row (a counter: the order of arrival, which is the order of finishing), id, what listings filter by, the encoded record
    blocks    up to 1,024 rows in a row: how many are left, their least and greatest times
    seen      which types, queues, states and tags occur in a block

A listing walks the blocks from the newest, leaves out those where one of the wanted words was not seen, and scans the others, 10,000
rows at most for one page. So a rare type or tag is found among millions, while a bulk of 1,000 records writes about ten rows of
`seen`: three secondary indexes did the same for 1.3 us more CPU per record (4.0 against 5.3). Words are 31-bit checksums, not
names, so nothing must be interned, and every record found is compared with the filter itself.

Rows go in as one INSERT of 2**n rows at a time, since `executemany` leaves and takes the interpreter lock once per row: beside a busy
loop each taking may cost a switch interval (5 ms). Ids that are there already are rare (only after a crash between append and
removal, or for a second run), so they are not asked for: the INSERT fails on the unique index and the bulk is sorted out then.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NoReturn, TypeVar
from zlib import crc32

import msgspec

from ..errors import ConfigError, InvalidJob, StoreFull, StoreUnavailable, Unavailable
from ..job import JobFilter, JobState, Record
from .store import RecordItem, RecordPage

SCHEMA_VERSION = 1
APPLICATION_ID = 0x7A6A7072
"""`zjpr`: tells a records file from any other SQLite file."""

SCAN_MAX = 10_000
"""Rows that one page of a listing looks at: some 10 ms."""
PAGE_BYTES_MAX = 16 << 20
"""Encoded records in one page: 500 jobs with the largest payload and result would be a gigabyte."""
BLOCK_ROWS = 1024
"""More: fewer rows in `seen`, but more rows scanned to find a rare one."""

_SCHEMA = """
CREATE TABLE records(row INTEGER PRIMARY KEY, id BLOB NOT NULL, type INT NOT NULL, queue INT NOT NULL, state INT NOT NULL,
    created_ms INT NOT NULL, finished_ms INT NOT NULL, tags TEXT, data BLOB NOT NULL);
CREATE UNIQUE INDEX records_id ON records(id);
CREATE TABLE blocks(first INTEGER PRIMARY KEY, last INT NOT NULL, rows INT NOT NULL,
    created_min INT NOT NULL, created_max INT NOT NULL, finished_min INT NOT NULL);
CREATE TABLE seen(first INT NOT NULL, word INT NOT NULL, PRIMARY KEY(first, word)) WITHOUT ROWID;
"""
_COLUMNS = 9
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000", "journal_size_limit=67108864", "cache_size=-16000")
_QUEUE, _TAG, _STATE = 1 << 32, 2 << 32, 3 << 32
"""Which kind of word a number in `seen` stands for; a type has none of these bits."""
_STATES = {JobState.COMPLETED: 0, JobState.FAILED: 1, JobState.CANCELLED: 2}
_IDS_PER_SELECT = 256

_decode: Callable[[bytes], Record] = msgspec.msgpack.Decoder(Record).decode
T = TypeVar("T")


class SQLiteRecordStore:
    """See `RecordStore`. `ttl_s` 0: kept for ever. `bytes_max`: a limit on the file beside that of the disk, 0 for none."""

    def __init__(
        self, path: Path, *, ttl_s: float, bytes_max: int = 0, wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        self._path = path
        self._ttl_ms = int(ttl_s * 1000)
        self._bytes_max = bytes_max
        self._wall_ms = wall_ms
        self._writer: _Writer | None = None
        self._reader: _Reader | None = None
        self._writing: _Lane | None = None
        self._reading: _Lane | None = None

    async def open(self) -> None:
        writing, reading = _Lane("records-writer", self._commit), _Lane("records-reader", _answer)
        try:
            self._writer = await reading.call(lambda: _open_writer(self._path, self._bytes_max))
            self._reader = await reading.call(lambda: _Reader(_connect(self._path)))
        except BaseException:
            writing.stop()
            reading.stop()
            if self._writer is not None:
                self._writer.close()
            raise
        self._writing, self._reading = writing, reading

    async def close(self) -> None:
        """What was asked for before is done first. Closing twice does no harm."""
        writing, reading, self._writing, self._reading = self._writing, self._reading, None, None
        if writing is None or reading is None or self._writer is None or self._reader is None:
            return
        reader, writer = self._reader, self._writer
        await reading.call(reader.close)
        await writing.call(lambda: None)
        await reading.call(writer.close)
        reading.stop()
        writing.stop()

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
        below = _read_cursor(cursor)
        return await self._read(lambda reader: reader.list(wanted, below, limit))

    async def count(self) -> int:
        if self._writing is None or self._writer is None:
            self._refuse()
        return self._writer.count

    async def _write(self, deed: Callable[[_Writer], T]) -> T:
        writer = self._writer
        if self._writing is None or writer is None:
            self._refuse()
        return await self._writing.call(lambda: deed(writer))

    async def _read(self, deed: Callable[[_Reader], T]) -> T:
        reader = self._reader
        if self._reading is None or reader is None:
            self._refuse()
        try:
            return await self._reading.call(lambda: deed(reader))
        except sqlite3.Error as error:
            raise _unavailable(self._path, error) from error

    def _refuse(self) -> NoReturn:
        raise StoreUnavailable(f"records file {self._path} is not open; the node is starting or stopping")

    def _commit(self, calls: list[_Call]) -> None:
        """One transaction for all; where that fails, one for each, so that one bad call fails alone."""
        writer = self._writer
        assert writer is not None
        try:
            with writer:
                for call in calls:
                    call.run()
        except sqlite3.Error as error:
            if len(calls) == 1:
                calls[0].error = _unavailable(self._path, error)
                return
            for call in calls:
                self._commit([call])


def _answer(calls: list[_Call]) -> None:
    for call in calls:
        try:
            call.run()
        except sqlite3.Error as error:
            call.error = error


class _Block:
    """The block that rows go into now."""

    def __init__(self, first: int) -> None:
        self.first = self.last = first
        self.rows = 0
        self.created_min = self.finished_min = 1 << 62
        self.created_max = 0
        self.words: set[int] = set()
        self.unwritten: set[int] = set()

    def add(self, flat: list[Any], words: set[int]) -> None:
        """`flat`: rows of `_COLUMNS` values, one after the other."""
        self.last = flat[-_COLUMNS]
        self.rows += len(flat) // _COLUMNS
        created = flat[5::_COLUMNS]
        self.created_min = min(self.created_min, *created)
        self.created_max = max(self.created_max, *created)
        self.finished_min = min(self.finished_min, *flat[6::_COLUMNS])
        self.unwritten |= words - self.words
        self.words |= words


class _Writer:
    """What the writer thread does. As a context manager: one transaction, rolled back on an error of SQLite."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection
        self._load()

    def _load(self) -> None:
        self.count: int = self._sql.execute("SELECT ifnull(sum(rows), 0) FROM blocks").fetchone()[0]
        self._last: int = self._sql.execute(
            "SELECT max(ifnull((SELECT max(row) FROM records), 0), ifnull((SELECT max(last) FROM blocks), 0))"
        ).fetchone()[0]
        self._block = _Block(self._last + 1)

    def __enter__(self) -> None:
        self._sql.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            try:
                self._sql.execute("COMMIT")
                return
            except sqlite3.Error:
                self._undo()
                raise
        self._undo()

    def _undo(self) -> None:
        try:
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
            self._load()
        except sqlite3.Error:
            pass  # the same trouble; the error that led here says more

    def close(self) -> None:
        self._sql.close()

    def append(self, items: Sequence[RecordItem]) -> None:
        try:
            self._insert(items)
        except sqlite3.IntegrityError:
            self._write_block()
            self._load()
            self._insert(self._sort_out(items))

    def _insert(self, items: Sequence[RecordItem]) -> None:
        start = 0
        while start < len(items):
            row_count = min(1 << (len(items) - start).bit_length() - 1, BLOCK_ROWS)
            if self._block.rows + row_count > BLOCK_ROWS:
                self._write_block()
                self._block = _Block(self._last + 1)
            self._insert_chunk(items[start : start + row_count])
            start += row_count
        self._write_block()

    def _insert_chunk(self, items: Sequence[RecordItem]) -> None:
        flat, words = _flatten(items, self._last + 1)
        self._sql.execute(_insert_sql(len(items)), flat)
        self._last += len(items)
        self.count += len(items)
        self._block.add(flat, words)

    def _write_block(self) -> None:
        block = self._block
        if not block.rows:
            return
        self._sql.execute(
            "INSERT INTO blocks VALUES(?, ?, ?, ?, ?, ?) ON CONFLICT(first) DO UPDATE SET last = excluded.last, rows = excluded.rows,"
            " created_min = excluded.created_min, created_max = excluded.created_max, finished_min = excluded.finished_min",
            (block.first, block.last, block.rows, block.created_min, block.created_max, block.finished_min),
        )
        self._sql.executemany("INSERT INTO seen VALUES(?, ?)", [(block.first, word) for word in block.unwritten])
        block.unwritten.clear()

    def _sort_out(self, items: Sequence[RecordItem]) -> list[RecordItem]:
        """Those whose run is higher than what is there, which is removed; of an id that comes twice the highest run."""
        best: dict[bytes, RecordItem] = {}
        for item in items:
            job = item.record.job
            if job.spec.id not in best or job.run > best[job.spec.id].record.job.run:
                best[job.spec.id] = item
        stale = []
        for job_id, data in _select_by_id(self._sql, "id, data", list(best)):
            if _decode(data).job.run < best[job_id].record.job.run:
                stale.append(job_id)
            else:
                del best[job_id]
        self.remove(stale)
        return list(best.values())

    def remove(self, ids: Sequence[bytes]) -> int:
        rows = [row for (row,) in _select_by_id(self._sql, "row", ids)]
        for row in rows:
            self._sql.execute("DELETE FROM records WHERE row = ?", (row,))
            self._shrink(self._block_of(row), 1)
        return len(rows)

    def _block_of(self, row: int) -> int:
        first: int = self._sql.execute("SELECT max(first) FROM blocks WHERE first <= ?", (row,)).fetchone()[0]
        return first

    def prune(self, before_ms: int, limit: int) -> int:
        """Block by block, so that a clock that once ran ahead keeps its own records only, not all that came after them."""
        pruned = 0
        blocks = self._sql.execute("SELECT first, last FROM blocks WHERE finished_min < ? ORDER BY first", (before_ms,)).fetchall()
        for first, last in blocks:
            if pruned >= limit:
                break
            removed = self._sql.execute(
                "DELETE FROM records WHERE row IN (SELECT row FROM records WHERE row BETWEEN ? AND ? AND finished_ms < ? LIMIT ?)",
                (first, last, before_ms, limit - pruned),
            ).rowcount
            pruned += removed
            if pruned < limit:  # all of this block that was due is gone; else the next call looks at it again
                self._sql.execute("UPDATE blocks SET finished_min = ? WHERE first = ?", (before_ms, first))
            self._shrink(first, removed)
        return pruned

    def _shrink(self, first: int, removed: int) -> None:
        self.count -= removed
        if first == self._block.first:
            self._block = _Block(self._last + 1)  # what is known of it in memory is no longer so
        self._sql.execute("UPDATE blocks SET rows = rows - ? WHERE first = ?", (removed, first))
        if self._sql.execute("DELETE FROM blocks WHERE first = ? AND rows <= 0", (first,)).rowcount:
            self._sql.execute("DELETE FROM seen WHERE first = ?", (first,))


class _Reader:
    """What the reader thread does."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._sql = connection

    def close(self) -> None:
        self._sql.close()

    def get(self, ids: Sequence[bytes]) -> dict[bytes, Record]:
        return {job_id: _decode(data) for job_id, data in _select_by_id(self._sql, "id, data", ids)}

    def list(self, wanted: JobFilter, below: int, limit: int) -> RecordPage:
        """`below`: the row to begin under."""
        self._sql.execute("BEGIN")  # one snapshot for the blocks and their rows
        try:
            return self._page(wanted, below, limit)
        finally:
            self._sql.execute("ROLLBACK")

    def _page(self, wanted: JobFilter, below: int, limit: int) -> RecordPage:
        conditions, values = _row_conditions(wanted)
        records: list[Record] = []
        scanned = data_bytes = row = 0
        blocks = self._sql.execute(*_blocks_sql(wanted, below))
        for first, last, rows in blocks:
            if scanned + min(rows, last - first + 1) > SCAN_MAX:
                return RecordPage(records=records, cursor=_write_cursor(last + 1), scanned=scanned)
            top = min(last, below - 1)
            found = self._sql.execute(
                f"SELECT row, data FROM records WHERE row BETWEEN ? AND ?{conditions} ORDER BY row DESC", (first, top, *values)
            )
            for next_row, data in found:
                record = _decode(data)
                if not wanted.accepts(record.job, record.state):
                    continue  # another name with the same checksum
                if len(records) >= limit or data_bytes > PAGE_BYTES_MAX:
                    scanned += self._count_rows(row, top)
                    return RecordPage(records=records, cursor=_write_cursor(row), scanned=scanned)
                records.append(record)
                data_bytes += len(data)
                row = next_row
            scanned += self._count_rows(first, top)
        return RecordPage(records=records, cursor=b"", scanned=scanned)

    def _count_rows(self, first: int, last: int) -> int:
        count: int = self._sql.execute("SELECT count(*) FROM records WHERE row BETWEEN ? AND ?", (first, last)).fetchone()[0]
        return count


def _open_writer(path: Path, bytes_max: int) -> _Writer:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        os.chmod(path, 0o600)  # SQLite gives its -wal and -shm files the same
    except OSError as error:
        raise ConfigError(f"records file {path} cannot be opened: {error.strerror}; check DATA_DIR and its owner") from error
    connection = _connect(path)
    try:
        _check_schema(connection, path)
        if bytes_max:
            page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={max(1, bytes_max // page_bytes)}")
        return _Writer(connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _refusal(path, error) from error
    except BaseException:
        connection.close()
        raise


def _connect(path: Path) -> sqlite3.Connection:
    # autocommit: transactions are begun by hand; the lanes pass a connection from the thread that opened it to the one that uses it
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise _refusal(path, error) from error
    return connection


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not application and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        connection.executescript(
            f"BEGIN IMMEDIATE;{_SCHEMA};PRAGMA application_id={APPLICATION_ID};PRAGMA user_version={SCHEMA_VERSION};COMMIT"
        )
    elif application != APPLICATION_ID:
        raise ConfigError(f"{path} is an SQLite file, but holds no records of zjp; move it away or set another DATA_DIR")
    elif version > SCHEMA_VERSION:
        raise ConfigError(
            f"records file {path} has schema {version}, this version knows up to {SCHEMA_VERSION}; run the newer zjp or move the file away"
        )


def _refusal(path: Path, error: sqlite3.Error) -> ConfigError | Unavailable:
    if _primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return ConfigError(f"records file {path} is damaged ({error}); move it away: finished jobs in it are lost, waiting ones are not")
    return _unavailable(path, error)


def _unavailable(path: Path, error: sqlite3.Error) -> Unavailable:
    if _primary_code(error) == sqlite3.SQLITE_FULL:
        return StoreFull(f"records file {path} cannot grow: {error}; free disk space or lower RECORDS_TTL")
    return StoreUnavailable(f"records file {path} does not answer: {error}; check the disk, and that one node only uses the folder")


def _primary_code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _select_by_id(connection: sqlite3.Connection, columns: str, ids: Sequence[bytes]) -> list[Any]:
    """In no order; ids that are not there are left out."""
    return list(chain.from_iterable(_select_some(connection, columns, ids[i : i + _IDS_PER_SELECT]) for i in range(0, len(ids), _IDS_PER_SELECT)))


def _select_some(connection: sqlite3.Connection, columns: str, ids: Sequence[bytes]) -> list[Any]:
    padded = 1 << (len(ids) - 1).bit_length()  # few different statements, so that they stay prepared
    sql = f"SELECT {columns} FROM records WHERE id IN ({', '.join('?' * padded)})"
    return connection.execute(sql, [*ids, *[ids[0]] * (padded - len(ids))]).fetchall()


