"""The records' file: made, opened, checked, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ...errors import ConfigError, StoreFull, StoreUnavailable, Unavailable
from .events import SCHEMA as EVENTS_SCHEMA

SCHEMA_VERSION = 1
APPLICATION_ID = 0x7A6A7072
"""`zjpr`: tells a records file from any other SQLite file."""

_SCHEMA = """
CREATE TABLE records(row INTEGER PRIMARY KEY, id BLOB NOT NULL, type INT NOT NULL, queue INT NOT NULL, state INT NOT NULL,
    created_ms INT NOT NULL, finished_ms INT NOT NULL, tags TEXT, data BLOB NOT NULL);
CREATE UNIQUE INDEX records_id ON records(id);
CREATE TABLE blocks(first INTEGER PRIMARY KEY, last INT NOT NULL, rows INT NOT NULL,
    created_min INT NOT NULL, created_max INT NOT NULL, finished_min INT NOT NULL);
CREATE TABLE seen(first INT NOT NULL, word INT NOT NULL, PRIMARY KEY(first, word)) WITHOUT ROWID;
"""
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "wal_autocheckpoint=4000",  # pages: 16 MB, so that the pages of the id index are copied back once for many bulks
    "journal_size_limit=67108864",
    "cache_size=-16000",
)
_BUSY_S = 1.0
"""Nobody else should be writing: DATA_DIR is held by one node."""
_STATEMENTS_KEPT = 128
"""Prepared ones per connection: the INSERTs and SELECTs of 2**n rows, and the listings by combination of filters."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def open_file(path: Path, bytes_max: int) -> sqlite3.Connection:
    """Make the file where it is missing. Raises: ConfigError, StoreUnavailable, StoreFull."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        os.chmod(path, 0o600)  # SQLite gives its -wal and -shm files the same
    except OSError as error:
        raise ConfigError(
            f"records file {path} cannot be opened: {error.strerror}; check DATA_DIR and its owner"
        ) from error
    connection = connect(path)
    try:
        _check_schema(connection, path)
        if bytes_max:
            page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count={max(1, bytes_max // page_bytes)}")
    except sqlite3.Error as error:
        connection.close()
        raise _refusal(path, error) from error
    except ConfigError:
        connection.close()
        raise
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """Autocommit; a lane's thread takes over what another has opened."""
    try:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=_BUSY_S, cached_statements=_STATEMENTS_KEPT
        )
    except sqlite3.Error as error:
        raise _refusal(path, error) from error
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
    except sqlite3.Error as error:
        connection.close()
        raise _refusal(path, error) from error
    return connection


def unavailable(path: Path, error: sqlite3.Error) -> Unavailable:
    if _primary_code(error) == sqlite3.SQLITE_FULL:
        return StoreFull(f"records file {path} cannot grow: {error}; free disk space or lower RECORDS_TTL")
    return StoreUnavailable(
        f"records file {path} does not answer: {error}; check the disk, and that one node only uses the folder"
    )


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not application and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        connection.executescript(
            f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA application_id={APPLICATION_ID};PRAGMA user_version={SCHEMA_VERSION};COMMIT"
        )
    elif application != APPLICATION_ID:
        raise ConfigError(f"{path} is an SQLite file, but not one of records; move it away or set another DATA_DIR")
    elif version > SCHEMA_VERSION:
        raise ConfigError(
            f"records file {path} has schema {version}, this version knows up to {SCHEMA_VERSION}; run the newer zjp or move the file away"
        )
    connection.executescript(EVENTS_SCHEMA)  # where a version without them made the file
    connection.execute(
        "SELECT (SELECT count(*) FROM blocks), (SELECT max(row) FROM records), (SELECT max(id) FROM records)"
    )


def _refusal(path: Path, error: sqlite3.Error) -> ConfigError | Unavailable:
    if _primary_code(error) in _DAMAGED:
        return ConfigError(
            f"records file {path} is damaged ({error}); move it away: what waits in the queue is not in it"
        )
    return unavailable(path, error)


def _primary_code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
