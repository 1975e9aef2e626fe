"""What a core wants on the disk, and what is there already."""

from __future__ import annotations

from ...wire.peers import Stored
from ..core import Batch, Effects


class Journal:
    """One batch a step. `durable`: batches up to this number are on the disk."""

    def __init__(self) -> None:
        self._number = 0
        self._records: list[Stored] = []
        self.durable = 0

    def write(self, record: Stored) -> int:
        """The number of the batch that this record will be in: durable once `durable` has reached it."""
        self._records.append(record)
        return self._number + 1

    def flush(self, out: Effects) -> None:
        """At the end of each step."""
        if self._records:
            self._number += 1
            out.persist = Batch(self._number, tuple(self._records))
            self._records = []

    def on_persisted(self, number: int) -> None:
        if self.durable < number <= self._number:
            self.durable = number
