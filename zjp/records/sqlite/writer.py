"""What the writer thread does to the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from ...job import Record
from ..store import RecordItem
from .reader import select_by_id
from .rows import BLOCK_ROWS, Block, flatten, insert_sql

_decoder = msgspec.msgpack.Decoder(Record)


class Writer:
    """As a context manager: one transaction, rolled back on any error. `count`: records in the file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.sql = connection
        self._load()

    def close(self) -> None:
        self.sql.close()

    def __enter__(self) -> None:
        self.sql.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._undo()
            return
        try:
            self.sql.execute("COMMIT")
        except sqlite3.Error:
            self._undo()
            raise

    def _undo(self) -> None:
        try:
            if self.sql.in_transaction:
                self.sql.execute("ROLLBACK")
            self._load()
        except sqlite3.Error:
            pass  # the same trouble again; the error that led here says more

    def _load(self) -> None:
        self.count: int = self.sql.execute("SELECT ifnull(sum(rows), 0) FROM blocks").fetchone()[0]
        last, block_last = self.sql.execute(
            "SELECT (SELECT max(row) FROM records), (SELECT max(last) FROM blocks)"
        ).fetchone()
        self._last: int = max(last or 0, block_last or 0)
        self._block = Block(self._last + 1)

    def append(self, items: Sequence[RecordItem]) -> None:
        try:
            self._insert(items)
        except sqlite3.IntegrityError:
            self._write_block()  # what went in before the conflict stays
            self._load()
            self._insert(self._sort_out(items))

    def _insert(self, items: Sequence[RecordItem]) -> None:
        start = 0
        while start < len(items):
            # The greatest power of two that is left: few different statements, so that each is prepared once.
            row_count = min(1 << (len(items) - start).bit_length() - 1, BLOCK_ROWS)
            if self._block.rows + row_count > BLOCK_ROWS:
                self._write_block()
                self._block = Block(self._last + 1)
            self._insert_chunk(items[start : start + row_count])
            start += row_count
        self._write_block()

    def _insert_chunk(self, items: Sequence[RecordItem]) -> None:
        flat, words = flatten(items, self._last + 1)
        self.sql.execute(insert_sql(len(items)), flat)
        self._last += len(items)
        self.count += len(items)
        self._block.add(flat, words)

    def _write_block(self) -> None:
        block = self._block
        if not block.rows:
            return
        self.sql.execute(
            "INSERT OR REPLACE INTO blocks(first, last, rows, created_min, created_max, finished_min) VALUES(?, ?, ?, ?, ?, ?)",
            (block.first, block.last, block.rows, block.created_min, block.created_max, block.finished_min),
        )
        if words := block.take_unwritten():
            self.sql.execute(
                "INSERT INTO seen(first, word) SELECT ?, value FROM json_each(?)", (block.first, str(list(words)))
            )

    def _sort_out(self, items: Sequence[RecordItem]) -> list[RecordItem]:
        """Those whose run is higher than that of the record there, which is removed; of an id that comes twice the higher run."""
        best: dict[bytes, RecordItem] = {}
        for item in items:
            job = item.record.job
            if job.spec.id not in best or job.run > best[job.spec.id].record.job.run:
                best[job.spec.id] = item
        stale = []
        for job_id, data in select_by_id(self.sql, "id, data", list(best)):
            if _decoder.decode(data).job.run < best[job_id].record.job.run:
                stale.append(job_id)
            else:
                del best[job_id]
        self.remove(stale)
        return list(best.values())

    def remove(self, ids: Sequence[bytes]) -> int:
        rows = [row for (row,) in select_by_id(self.sql, "row", list(dict.fromkeys(ids)))]
        for row in rows:
            self.sql.execute("DELETE FROM records WHERE row = ?", (row,))
            self._shrink(self._block_of(row), 1)
        return len(rows)

    def _block_of(self, row: int) -> int:
        first: int = self.sql.execute("SELECT max(first) FROM blocks WHERE first <= ?", (row,)).fetchone()[0]
        return first

    def prune(self, before_ms: int, limit: int) -> int:
        """Remove up to `limit` records that finished before. Each block is asked, not only the oldest: after a clock that ran
        ahead, its own records stay until they are due, and those that came later do not wait for them."""
        pruned = 0
        blocks = self.sql.execute(
            "SELECT first, last FROM blocks WHERE finished_min < ? ORDER BY first", (before_ms,)
        ).fetchall()
        for first, last in blocks:
            removed = self.sql.execute(
                "DELETE FROM records WHERE row IN (SELECT row FROM records WHERE row BETWEEN ? AND ? AND finished_ms < ? LIMIT ?)",
                (first, last, before_ms, limit - pruned),
            ).rowcount
            pruned += removed
            if removed:
                self._shrink(first, removed)
            if pruned >= limit:
                break
            self.sql.execute("UPDATE blocks SET finished_min = ? WHERE first = ?", (before_ms, first))
        return pruned

    def _shrink(self, first: int, removed: int) -> None:
        self.count -= removed
        if first == self._block.first:
            self._block = Block(self._last + 1)  # what is known of it here is no longer so: it is closed
        self.sql.execute("UPDATE blocks SET rows = rows - ? WHERE first = ?", (removed, first))
        if self.sql.execute("DELETE FROM blocks WHERE first = ? AND rows <= 0", (first,)).rowcount:
            self.sql.execute("DELETE FROM seen WHERE first = ?", (first,))
