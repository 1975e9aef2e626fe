"""What this node has just finished, kept until the records have it: its own drain need not read it back from the server. Pure.

Only a copy: the outbox is in Redis, and what is not here (finished by others, by a cancel, in a former life, beyond the bound) is read
there.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from ...job import Record
from ..store import OutboxItem

FRESH_MAX = 20_000
"""Some 20 MB of small records: what a drain that keeps up never reaches."""


class Fresh:
    def __init__(self) -> None:
        self._items: dict[bytes, OutboxItem] = {}

    def add(self, record: Record, data: bytes) -> None:
        if len(self._items) < FRESH_MAX:
            job_id = record.job.spec.id
            self._items.pop(job_id, None)
            self._items[job_id] = OutboxItem(record, data)

    def oldest(self, limit: int) -> list[OutboxItem]:
        return list(islice(self._items.values(), limit))

    def remove(self, items: Iterable[OutboxItem]) -> None:
        for item in items:
            job_id = item.record.job.spec.id
            kept = self._items.get(job_id)
            if kept is not None and kept.record.job.run == item.record.job.run:
                del self._items[job_id]

    def forget(self, job_id: bytes) -> None:
        """It is live again."""
        self._items.pop(job_id, None)
