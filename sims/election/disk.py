"""A node's folder: records that are durable, and batches that are not yet. A crash decides what becomes of the latter.

lost   nothing of the unsynced suffix is there
torn   it breaks off somewhere: the records before the break are there, the broken one and all after it are not
kept   all of it is there, though no one was told so
"""

from __future__ import annotations

from collections.abc import Sequence

from zjp.election.core import Batch
from zjp.wire.peers import Stored

TAILS = ("lost", "torn", "kept")


class Disk:
    __slots__ = ("pending", "records")

    def __init__(self) -> None:
        self.records: list[Stored] = []
        self.pending: list[Batch] = []

    def append(self, batch: Batch) -> None:
        self.pending.append(batch)

    def sync(self, number: int) -> list[Stored]:
        """What is durable now and was not before."""
        fresh: list[Stored] = []
        while self.pending and self.pending[0].number <= number:
            fresh += self.pending.pop(0).records
        self.records += fresh
        return fresh

    def crash(self, tail: str, share: float) -> list[Stored]:
        """What of the unsynced suffix is there after all. `share`: where a torn one breaks off, in [0, 1)."""
        unsynced = [record for batch in self.pending for record in batch.records]
        self.pending = []
        kept = {"lost": 0, "torn": int(share * len(unsynced)), "kept": len(unsynced)}[tail]
        self.records += unsynced[:kept]
        return unsynced[:kept]

    def wipe(self) -> None:
        self.records, self.pending = [], []

    def rewrite(self, records: Sequence[Stored]) -> None:
        self.records = list(records)
