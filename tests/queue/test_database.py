"""Rows of a SELECT that arrive in one step."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zjp.job import JobSpec, StoredJob
from zjp.queue.browsing import READ_BYTES_MAX, READ_MAX, read_rows
from zjp.queue.database import Database, fetch, insert_jobs
from zjp.queue.state import encode_job

pytestmark = pytest.mark.covers("main-path:5")

SOURCE = "SELECT row, id, data FROM jobs ORDER BY row DESC"


@pytest.fixture
def db() -> Iterator[Database]:
    opened = sqlite3.connect(":memory:", isolation_level=None)
    opened.execute("CREATE TABLE jobs(row INTEGER PRIMARY KEY, id BLOB NOT NULL, data BLOB NOT NULL)")
    yield opened
    opened.close()


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=300))))
def test_rows_come_as_they_are_whatever_bytes_they_hold(rows: list[tuple[bytes, bytes]]) -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE jobs(row INTEGER PRIMARY KEY, id BLOB NOT NULL, data BLOB NOT NULL)")
    db.executemany("INSERT INTO jobs(id, data) VALUES(?, ?)", rows)
    assert fetch(db, SOURCE, (), numbers=["row"], blobs=["id", "data"]) == db.execute(SOURCE).fetchall()
    db.close()


def test_rows_too_large_for_one_blob_come_all_the_same(db: Database) -> None:
    db.executemany("INSERT INTO jobs(id, data) VALUES(?, ?)", [(bytes([n]), bytes(900)) for n in range(9)])
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 5000)
    assert fetch(db, SOURCE, (), numbers=["row"], blobs=["id", "data"]) == db.execute(SOURCE).fetchall()


def stored(number: int, payload_bytes: int) -> StoredJob:
    return StoredJob(JobSpec(number.to_bytes(16, "big"), "noop", bytes(payload_bytes)), 1)


def put(db: Database, first_row: int, jobs: list[StoredJob]) -> None:
    insert_jobs(db, first_row, [job.spec.id for job in jobs], [encode_job(job) for job in jobs])


@pytest.mark.parametrize("payload_bytes", [1, READ_BYTES_MAX // 3, READ_BYTES_MAX + 1])
def test_reads_of_a_level_bring_every_row_once_in_order_and_in_bounded_parts(db: Database, payload_bytes: int) -> None:
    count = READ_MAX * 2 + 7 if payload_bytes == 1 else 7
    jobs = [stored(number, payload_bytes) for number in range(count)]
    put(db, 10, jobs)
    read: list[tuple[int, StoredJob]] = []
    after, is_all = 0, False
    while not is_all:
        rows = read_rows(db, after, 10 + count)
        assert rows.entries
        assert len(rows.entries) == 1 or rows.data_bytes < READ_BYTES_MAX + payload_bytes + 200
        read += rows.entries
        after, is_all = rows.entries[-1][0], rows.is_all
    assert read == list(zip(range(10, 10 + count), jobs, strict=True))


def test_a_read_of_nothing_is_all_there_is(db: Database) -> None:
    rows = read_rows(db, 0, 100)
    assert (rows.entries, rows.is_all) == ([], True)
