"""Finished jobs on their way to the records, as the loop sees them: id -> item, oldest first.

On disk one row holds the records of one batch (a msgpack array of the encodings made when the jobs finished), so finishing costs one
insert, and a row goes when the last of its items is removed. After a crash a row that was partly removed delivers all its items again;
the records ignore what they have. A job that was run again and finished again replaces its older item: the records keep the highest run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from ..job import Record
from .database import ROWS, Database, json_text
from .store import Backlog, OutboxItem

encode_record = msgspec.msgpack.Encoder().encode
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_row = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


class Kept(OutboxItem, frozen=True, gc=False):
    """With the row that holds it on disk."""

    row: int


class Outbox:
    def __init__(self) -> None:
        self._items: dict[bytes, Kept] = {}
        self._left: dict[int, int] = {}
        """row -> items not yet removed"""
        self._spent: list[int] = []
        self._data_bytes = 0
        self._next_row = 1

    def reserve_row(self) -> int:
        row = self._next_row
        self._next_row = row + 1
        return row

    def add(self, row: int, records: Sequence[Record], datas: Sequence[bytes]) -> None:
        """A batch that was just stored under `row`."""
        items = self._items
        self._next_row = max(self._next_row, row + 1)
        self._left[row] = len(records)
        for record, data in zip(records, datas, strict=True):
            job_id = record.job.spec.id
            if job_id in items:
                self._replace(items.pop(job_id))
            items[job_id] = Kept(record, data, row)
            self._data_bytes += len(data)

    def _replace(self, item: Kept) -> None:
        self._data_bytes -= len(item.data)
        self._count_off(item.row)

    def _count_off(self, row: int) -> None:
        self._left[row] -= 1
        if not self._left[row]:
            del self._left[row]
            self._spent.append(row)

    def get(self, job_id: bytes) -> Kept | None:
        return self._items.get(job_id)

    def oldest(self, limit: int) -> list[OutboxItem]:
        return list(islice(self._items.values(), limit))

    def ids(self) -> Iterable[bytes]:
        return self._items.keys()

    def remove(self, items: Iterable[OutboxItem]) -> list[int]:
        """Rows that can go from disk. An item that was replaced by a later run stays."""
        for item in items:
            job_id = item.record.job.spec.id
            kept = self._items.get(job_id)
            if kept is not None and kept.record.job.run == item.record.job.run:
                del self._items[job_id]
                self._data_bytes -= len(kept.data)
                self._count_off(kept.row)
        spent, self._spent = self._spent, []
        return spent

    def backlog(self) -> Backlog:
        return Backlog(len(self._items), self._data_bytes)


def insert_outbox(db: Database, row: int, datas: Sequence[bytes]) -> None:
    header = b"\xdd" + len(datas).to_bytes(4, "big")  # msgpack: array 32
    db.execute("INSERT INTO outbox VALUES(?, ?)", (row, header + b"".join(datas)))


def delete_outbox(db: Database, rows: Sequence[int]) -> None:
    db.execute(f"DELETE FROM outbox WHERE row {ROWS}", (json_text(rows),))


def read_outbox(db: Database) -> Iterator[tuple[int, list[Record], list[bytes]]]:
    for row, data in db.execute("SELECT row, items FROM outbox ORDER BY row"):
        datas = [bytes(raw) for raw in _decode_row(data)]
        yield row, [_decode_record(item) for item in datas], datas
