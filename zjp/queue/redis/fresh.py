"""What this node has just finished, kept until the records have it: its own drain need not read it back from the server. Pure.

Only a copy: the outbox is in Redis. What is not here (finished by others, by a cancel, in a former life, beyond the bounds) is read there.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from ...job import Record
from ..store import OutboxItem

FRESH_MAX, FRESH_BYTES_MAX = 20_000, 64 << 20
"""What a drain that keeps up never reaches."""


class Fresh:
    def __init__(self) -> None:
        self._items: dict[bytes, OutboxItem] = {}
        self._data_bytes = 0

    def add(self, record: Record, data: bytes) -> None:
        job_id = record.job.spec.id
        self.forget(job_id)
        if len(self._items) < FRESH_MAX and self._data_bytes < FRESH_BYTES_MAX:
            self._items[job_id] = OutboxItem(record, data)
            self._data_bytes += len(data)

    def __len__(self) -> int:
        return len(self._items)

    def oldest(self, limit: int) -> list[OutboxItem]:
        return list(islice(self._items.values(), limit))

    def remove(self, items: Iterable[OutboxItem]) -> None:
        for item in items:
            job_id = item.record.job.spec.id
            kept = self._items.get(job_id)
            if kept is not None and kept.record.job.run == item.record.job.run:
                self.forget(job_id)

    def forget(self, job_id: bytes) -> None:
        """It is in the records, or live again."""
        if (kept := self._items.pop(job_id, None)) is not None:
            self._data_bytes -= len(kept.data)
