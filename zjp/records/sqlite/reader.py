"""What the reader thread asks the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from ...job import JobFilter, Record
from ...wire.messages import REPLY_BYTES_MAX
from ..cursor import write_cursor
from ..store import RecordPage
from .rows import blocks_sql, rows_sql, select_sql

SCAN_MAX = 10_000
"""Rows that one page of a listing looks at: some 10 ms."""
_IDS_PER_SELECT = 256

_decoder = msgspec.msgpack.Decoder(Record)


class Reader:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self.sql = connection

    def close(self) -> None:
        self.sql.close()

    def get(self, ids: Sequence[bytes]) -> dict[bytes, Record]:
        return {job_id: _decoder.decode(data) for job_id, data in select_by_id(self.sql, "id, data", ids)}

    def list(self, wanted: JobFilter, below: int, limit: int) -> RecordPage:
        """`below`: the row to begin under."""
        self.sql.execute("BEGIN")  # one snapshot for the blocks and their rows
        try:
            return self._page(wanted, below, limit)
        finally:
            self.sql.execute("ROLLBACK")

    def _page(self, wanted: JobFilter, below: int, limit: int) -> RecordPage:
        page = _Page(wanted, limit)
        for first, last, rows in self.sql.execute(*blocks_sql(wanted, below)):
            if page.scanned + rows > SCAN_MAX:
                return page.ended(write_cursor(last + 1))
            top = min(last, below - 1)
            if not page.fill(self.sql.execute(*rows_sql(wanted, first, top))):
                page.scanned += self._count_rows(page.row, top)
                return page.ended(write_cursor(page.row))
            page.scanned += self._count_rows(first, top)
        return page.ended(b"")

    def _count_rows(self, first: int, last: int) -> int:
        count: int = self.sql.execute(
            "SELECT count(*) FROM records WHERE row BETWEEN ? AND ?", (first, last)
        ).fetchone()[0]
        return count


class _Page:
    """A page in the making. `row`: that of the last record on it."""

    def __init__(self, wanted: JobFilter, limit: int) -> None:
        self._wanted = wanted
        self._limit = limit
        self._records: list[Record] = []
        self._data_bytes = 0
        self.scanned = 0
        self.row = 0

    def fill(self, found: sqlite3.Cursor) -> bool:
        """Take what there is room for. False: more was found than that."""
        for row, data in found:
            record = _decoder.decode(data)
            if not self._wanted.accepts(record.job, record.state):
                continue  # another name with the same checksum
            is_too_much = self._data_bytes + len(data) > REPLY_BYTES_MAX and self._records
            if len(self._records) >= self._limit or is_too_much:
                return False
            self._records.append(record)
            self._data_bytes += len(data)
            self.row = row
        return True

    def ended(self, cursor: bytes) -> RecordPage:
        return RecordPage(records=self._records, cursor=cursor, scanned=self.scanned)


def select_by_id(connection: sqlite3.Connection, columns: str, ids: Sequence[bytes]) -> Sequence[Any]:
    """In no order; ids that are not there are left out."""
    found: list[Any] = []
    for start in range(0, len(ids), _IDS_PER_SELECT):
        some = ids[start : start + _IDS_PER_SELECT]
        padded = 1 << (len(some) - 1).bit_length()  # few different statements; naming an id twice does no harm
        found += connection.execute(select_sql(columns, padded), [*some, *[some[0]] * (padded - len(some))])
    return found
