"""Finished jobs on their way to the records, as the loop sees them: batches, oldest first.

On disk one row holds the records of one batch (a msgpack array of the encodings made when the jobs finished), so finishing costs one
insert, and a row goes when the last of its items is removed. After a crash a row that was partly removed delivers all its items again;
the records ignore what they have. A job that was run again and finished again replaces its older item: the records keep the highest run.

Nearly always a batch leaves as it came, some milliseconds later, and nobody has looked for any of its jobs. So nothing is done per job
until somebody looks: then the batches that came since the last look are put into the index of ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby, islice, repeat
from operator import attrgetter
from typing import cast

import msgspec

from ..job import Record
from .database import ROWS, Database, json_text
from .store import Backlog, OutboxItem, OutboxPage

encode_record = msgspec.msgpack.Encoder().encode
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_row = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode


class Kept(OutboxItem, frozen=True, gc=False):
    """With the row that holds it on disk."""

    row: int


_row_of = attrgetter("row")


class Outbox:
    def __init__(self) -> None:
        self._batches: dict[int, list[Kept]] = {}
        """row -> items not yet removed"""
        self._index: dict[bytes, Kept] = {}
        self._unindexed: set[int] = set()
        """Rows of the batches that are not in the index yet."""
        self._spent: list[int] = []
        self._count = self._data_bytes = 0
        self._next_row = 1

    def reserve_row(self) -> int:
        row = self._next_row
        self._next_row = row + 1
        return row

    def add(self, row: int, records: Sequence[Record], datas: Sequence[bytes]) -> None:
        """A batch that was just stored under `row`. Call `drop` first for those of its ids that may be here already."""
        self._next_row = max(self._next_row, row + 1)
        self._batches[row] = list(map(Kept, records, datas, repeat(row)))
        self._unindexed.add(row)
        self._count += len(records)
        self._data_bytes += sum(map(len, datas))

    def get(self, job_id: bytes) -> Kept | None:
        return self._indexed().get(job_id)

    def ids(self) -> Iterable[bytes]:
        return self._indexed().keys()

    def _indexed(self) -> dict[bytes, Kept]:
        for row in sorted(self._unindexed):
            self._index.update({item.record.job.spec.id: item for item in self._batches[row]})
        self._unindexed.clear()
        return self._index

    def oldest(self, limit: int) -> list[OutboxItem]:
        return list(islice(chain.from_iterable(self._batches.values()), limit))

    def newest(self, older: int, limit: int) -> OutboxPage:
        items: list[OutboxItem] = []
        at = self._count
        first = min(older, at)
        for batch in reversed(self._batches.values()):
            at -= len(batch)
            if at < first:
                items += batch[: first - len(items) - at][::-1]
            if len(items) >= limit:
                break
        del items[limit:]
        places = range(first - 1, first - 1 - len(items), -1)
        return OutboxPage(items, places, first - len(items), len(items))

    def drop(self, ids: Iterable[bytes]) -> None:
        """These have a later run now."""
        for item in [item for job_id in ids if (item := self.get(job_id)) is not None]:
            self._take_out(item.row, [item])

    def remove(self, items: Sequence[OutboxItem]) -> list[int]:
        """Of what `oldest` gave. Returns the rows that can go from disk."""
        for row, mine in groupby(cast(Sequence[Kept], items), _row_of):
            self._take_out(row, list(mine))
        spent, self._spent = self._spent, []
        return spent

    def _take_out(self, row: int, gone: Sequence[Kept]) -> None:
        """Those of `gone` that are here still."""
        items = self._batches.get(row)
        if items is None:
            return
        left: list[Kept] = []
        if gone != items:
            here = set(map(id, gone))
            left = [item for item in items if id(item) not in here]
            gone = [item for item in items if id(item) in here]
        self._count -= len(gone)
        self._data_bytes -= sum([len(item.data) for item in gone])
        if row not in self._unindexed:
            self._unindex(gone)
        if left:
            self._batches[row] = left
        else:
            del self._batches[row]
            self._unindexed.discard(row)
            self._spent.append(row)

    def _unindex(self, gone: Sequence[Kept]) -> None:
        for item in gone:
            job_id = item.record.job.spec.id
            if self._index.get(job_id) is item:
                del self._index[job_id]

    def backlog(self) -> Backlog:
        return Backlog(self._count, self._data_bytes)


def insert_outbox(db: Database, row: int, datas: Sequence[bytes]) -> None:
    header = b"\xdd" + len(datas).to_bytes(4, "big")  # msgpack: array 32
    db.execute("INSERT INTO outbox VALUES(?, ?)", (row, header + b"".join(datas)))


def delete_outbox(db: Database, rows: Sequence[int]) -> None:
    db.execute(f"DELETE FROM outbox WHERE row {ROWS}", (json_text(rows),))


def read_outbox(db: Database) -> Iterator[tuple[int, list[Record], list[bytes]]]:
    for row, data in db.execute("SELECT row, items FROM outbox ORDER BY row"):
        datas = [bytes(raw) for raw in _decode_row(data)]
        yield row, [_decode_record(item) for item in datas], datas
