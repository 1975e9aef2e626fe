"""The queue's file: opening it, its tables, its lock, and the statements that move whole batches. The one place that names sqlite3.

    jobs      ready and claimed jobs; the row number says the level and the place in it (layout.py)
    later     delayed jobs and retries, by due time
    claims    fence -> the rows it holds; written behind, read only at the next start
    outbox    finished jobs, one row per batch
    sessions  producer session -> its last id;   idem: idempotency keys and ids made by callers, for a day;   uniq: unique keys held
    queues    numbers and pauses;   facts: single values
    progress, cancelling: of claimed jobs
    lead      at most one row: the leadership as installed;   documents: users and schedules

A batch is one statement, however many jobs: sqlite3 gives up the GIL once per step, and a thread that gives it up per job can
wait 5 ms for it each time. So rows travel as one blob with a JSON array of (offset << SIZE_BITS | size), unpacked by `json_each`:
1.4 us a job with its unique index, 3.1 us by `executemany`. The id is a column with a unique index in the same table: a narrow table
of its own cost the same and one statement more.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from array import array
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import ConfigError, StoreFull, StoreUnavailable, Unavailable

Database = sqlite3.Connection
DatabaseError = sqlite3.Error
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
Constraint = sqlite3.IntegrityError

MEMORY = ":memory:"
SCHEMA_VERSION = 2
SIZE_BITS = 26
"""64 MiB for one job with its attempts; a message is at most 20 MiB."""
CHECKPOINT_PAGES = 4_000
"""16 MiB of journal, then it is copied into the file: rarer is cheaper, but each one stalls the commits longer."""
JOURNAL_BYTES_KEPT = 64 << 20
"""A journal that grew beyond (a long read held it up) is cut back to this."""
CHECK_BYTES_MAX = 64 << 20
"""A file up to this size is checked whole at each start (0.2 s); larger ones are checked as far as they are read."""

SINCE_2 = """
CREATE TABLE lead(only INTEGER PRIMARY KEY CHECK(only = 1), epoch INTEGER NOT NULL, owner TEXT NOT NULL, until_ms INTEGER NOT NULL);
CREATE TABLE documents(kind TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL, version INTEGER NOT NULL, PRIMARY KEY(kind, name))
    WITHOUT ROWID;
"""
SCHEMA = f"""
CREATE TABLE jobs(row INTEGER PRIMARY KEY, id BLOB NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX jobs_id ON jobs(id);
CREATE TABLE later(row INTEGER PRIMARY KEY, due_ms INTEGER NOT NULL, level INTEGER NOT NULL, is_retry INTEGER NOT NULL,
                   id BLOB NOT NULL, data BLOB NOT NULL);
CREATE UNIQUE INDEX later_id ON later(id);
CREATE INDEX later_due ON later(due_ms);
CREATE TABLE claims(fence INTEGER PRIMARY KEY, claimed_ms INTEGER NOT NULL, node TEXT NOT NULL, held BLOB NOT NULL);
CREATE TABLE outbox(row INTEGER PRIMARY KEY, items BLOB NOT NULL);
CREATE TABLE sessions(session BLOB PRIMARY KEY, last_id BLOB NOT NULL, seen_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE idem(key BLOB PRIMARY KEY, id BLOB NOT NULL, content BLOB NOT NULL, until_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX idem_until ON idem(until_ms);
CREATE TABLE uniq(key TEXT PRIMARY KEY, id BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE queues(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, is_paused INTEGER NOT NULL DEFAULT 0);
CREATE TABLE facts(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE progress(id BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE cancelling(id BLOB PRIMARY KEY) WITHOUT ROWID;
{SINCE_2}
PRAGMA user_version = {SCHEMA_VERSION};
"""


class Lock:
    """Keeps a second process out. The kernel lets go of it when the process dies, however it dies."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be made: {error.strerror}; see that DATA_DIR exists and is writable") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 20).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise StoreUnavailable(
                f"{path.with_suffix('')} is in use by process {holder}; stop that node, or give this one another DATA_DIR"
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        os.close(self._file)


def open_database(path: str) -> Database:
    """The writer's connection; makes the tables when there are none. Raises: StoreUnavailable, ConfigError."""
    try:
        if path != MEMORY:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # sqlite3 would make it readable by all
        db = _connect(path)
        try:
            _prepare(db, path)
        except BaseException:
            db.close()
            raise
        return db
    except (DatabaseError, OSError) as error:
        is_damaged = isinstance(error, IsADirectoryError) or (isinstance(error, DatabaseError) and _code(error) in _DAMAGED)
        raise (ConfigError if is_damaged else StoreUnavailable)(  # what no second start would mend, or may
            f"{path} cannot be used as the queue: {error}; nothing was changed. Restore it from a backup, or move it away to start empty"
        ) from error


def open_reader(path: str) -> Database:
    db = _connect(path)
    db.execute("PRAGMA query_only=1")
    return db


def _connect(path: str) -> Database:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
    db.execute("PRAGMA cache_size=-65536")
    db.execute("PRAGMA temp_store=MEMORY")
    db.execute("PRAGMA secure_delete=0")  # Debian's library overwrites what is deleted, at 1.5 us a job
    return db


def _prepare(db: Database, path: str) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"{path} has schema version {version}, this version of zjp knows up to {SCHEMA_VERSION}; start a newer zjp, or another DATA_DIR"
        )
    if path != MEMORY and os.path.getsize(path) <= CHECK_BYTES_MAX:
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            corrupt = sqlite3.DatabaseError(f"it is corrupt ({verdict})")
            corrupt.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise corrupt
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    db.execute(f"PRAGMA journal_size_limit={JOURNAL_BYTES_KEPT}")
    if version == 0:
        db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
    elif version == 1:
        db.executescript(f"BEGIN IMMEDIATE; {SINCE_2} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def empty_log(db: Database) -> bool:
    """Copy the write-ahead log into the file, so that the next transactions take its room again instead of more. True when all of it is."""
    try:
        is_busy, frames, copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    except DatabaseError:  # the file would have to grow
        return False
    return not is_busy and frames == copied


def unavailable(error: Exception) -> Unavailable:
    """What a failed transaction is to the caller."""
    if isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_FULL:
        return StoreFull("the queue's disk is full; free some space: submits are taken again by themselves")
    return StoreUnavailable(f"the queue's file cannot be written: {error}; see the node's log and the disk")


def breaks_transaction(error: Exception) -> bool:
    """Whether the disk or the file failed, and with it the whole transaction, rather than one statement being wrong."""
    return isinstance(error, sqlite3.Error) and _code(error) in _BROKEN


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


_BROKEN = frozenset(
    {
        sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL,
    }
)  # fmt: skip


# ── batches ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def json_text(values: Iterable[Any]) -> str:
    return msgspec.json.encode(list(values)).decode()


def _places(datas: Sequence[bytes]) -> list[int]:
    places: list[int] = []
    offset = 1 << SIZE_BITS  # substr counts from 1
    for data in datas:
        size = len(data)
        places.append(offset | size)
        offset += size << SIZE_BITS
    return places


_SIZE_MASK = (1 << SIZE_BITS) - 1
_INSERT_JOBS = (
    f"INSERT INTO jobs SELECT ?1 + key, substr(?2, key * 16 + 1, 16), substr(?3, value >> {SIZE_BITS}, value & {_SIZE_MASK}) "
    "FROM json_each(?4)"
)
_INSERT_LATER = (
    "INSERT INTO later(due_ms, level, is_retry, id, data) SELECT value ->> 1, value ->> 2, value ->> 3, substr(?1, key * 16 + 1, 16), "
    f"substr(?2, (value ->> 0) >> {SIZE_BITS}, (value ->> 0) & {_SIZE_MASK}) FROM json_each(?3)"
)

_UPDATE_JOBS = (
    f"UPDATE jobs SET data = substr(?1, (new.value ->> 0) >> {SIZE_BITS}, (new.value ->> 0) & {_SIZE_MASK}) "
    "FROM json_each(?2) AS new WHERE jobs.row = new.value ->> 1"
)


def insert_jobs(db: Database, first_row: int, ids: Sequence[bytes], datas: Sequence[bytes]) -> None:
    """Into rows `first_row` and following."""
    db.execute(_INSERT_JOBS, (first_row, b"".join(ids), b"".join(datas), json_text(_places(datas))))


def insert_later(db: Database, entries: Sequence[tuple[int, int, bool]], ids: Sequence[bytes], datas: Sequence[bytes]) -> None:
    """`entries`: (due_ms, level, is_retry) of each."""
    places = [(place, *entry) for place, entry in zip(_places(datas), entries, strict=True)]
    db.execute(_INSERT_LATER, (b"".join(ids), b"".join(datas), json_text(places)))


def update_jobs(db: Database, rows: Sequence[int], datas: Sequence[bytes]) -> None:
    places = json_text(zip(_places(datas), rows, strict=True))
    db.execute(_UPDATE_JOBS, (b"".join(datas), places))


def delete_jobs(db: Database, rows: Sequence[int]) -> None:
    first, last = min(rows, default=0), max(rows, default=-1)
    if last - first + 1 == len(rows):  # no row comes twice, so these are all in between: 0.6 us a job instead of 1.1
        db.execute("DELETE FROM jobs WHERE row BETWEEN ? AND ?", (first, last))
    else:
        db.execute(f"DELETE FROM jobs WHERE row {ROWS}", (json_text(rows),))


def delete_later(db: Database, rows: Sequence[int]) -> None:
    db.execute(f"DELETE FROM later WHERE row {ROWS}", (json_text(rows),))


def fetch(db: Database, source: str, parameters: Sequence[Any], *, numbers: Sequence[str], blobs: Sequence[str]) -> list[tuple[Any, ...]]:
    """All rows of the SELECT `source`, in its order, as tuples of its columns `numbers` (integers) and then `blobs`; none may be NULL.

    They come in one step, each column of numbers as a JSON array and each of blobs as one long blob. Row by row the thread would leave
    and take the interpreter lock once per row: beside a busy loop that is 195 us a row, against 1.5 so. What is too much for one blob
    (1 GB) is read row by row after all.
    """
    columns = [f"json_group_array({number})" for number in numbers]
    for blob in blobs:
        columns += [f"json_group_array(length({blob}))", f"CAST(group_concat({blob}, '') AS BLOB)"]
    try:
        found = db.execute(f"SELECT {', '.join(columns)} FROM ({source})", parameters).fetchone()
    except sqlite3.DataError:
        return db.execute(f"SELECT {', '.join([*numbers, *blobs])} FROM ({source})", parameters).fetchall()
    read = [msgspec.json.decode(column) for column in found[: len(numbers)]]
    for at in range(len(numbers), len(found), 2):
        read.append(_cut(found[at + 1], msgspec.json.decode(found[at])))
    return list(zip(*read, strict=True))


def _cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    parts, end = [], 0
    for size in sizes:
        start, end = end, end + size
        parts.append(data[start:end])
    return parts


ROWS = "IN (SELECT value FROM json_each(?))"
"""For the one parameter `json_text(rows)`."""
AMONG = "IN (SELECT substr(?1, value * 16 + 1, 16) FROM json_each(?2))"
"""For the parameters of `among`."""


def among(ids: Sequence[bytes]) -> tuple[bytes, str]:
    return b"".join(ids), json_text(range(len(ids)))


def pack_rows(rows: Sequence[int]) -> bytes:
    return array("q", rows).tobytes()


def unpack_rows(data: bytes) -> list[int]:
    rows = array("q")
    rows.frombytes(data)
    return rows.tolist()


def put_fact(db: Database, name: str, value: int) -> None:
    db.execute("INSERT INTO facts VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value", (name, value))


def read_fact(db: Database, name: str) -> int:
    row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return 0 if row is None else int(row[0])
