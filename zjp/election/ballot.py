"""What a Bully voter has promised, and the numbers it may use. Pure.

One pair says it all: `promised`, the highest epoch granted or learnt of, and to whom. A grant is given for a higher epoch only, so of two
majorities for one epoch a member of both would have had to grant twice. The pair goes to the disk before anything is said that relies on
it, and what is on the disk is the pair's whole history, its last record alone being needed.

A claim that nobody refused for good may be made again with the number that it had: a node that is cut off and claims for hours does not
use up epochs, writes nothing, and disturbs nobody when it returns.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..wire.peers import Promise, Stored
from .core import EPOCH_JUMP_MAX, EPOCH_MAX, Batch, Effects

UNINSTALLED_MAX = 1000
"""More epochs than are granted before the store has installed one of them, even if it is away for long."""


class Ballot:
    """`top`: the highest epoch heard of, promised or not."""

    def __init__(self, me: str) -> None:
        self._me = me
        self.promised = 0
        self.promised_to = ""
        self.top = 0
        self._is_unused = False
        """The promise is one to this node itself, of this life, and may still win."""
        self._records: list[Stored] = []
        self._number = 0
        self.durable = 0

    def load(self, records: Sequence[Stored]) -> None:
        for record in records:
            if isinstance(record, Promise) and record.epoch >= self.promised:
                self.promised, self.promised_to = record.epoch, record.to
        self.top = self.promised

    def hear(self, epoch: int) -> bool:
        """Whether a message with this epoch may be believed."""
        if epoch > self.top + EPOCH_JUMP_MAX:
            return False
        self.top = max(self.top, epoch)
        return True

    def promise(self, epoch: int, to: str) -> None:
        """`epoch` must be above `promised`; the next batch holds it."""
        assert epoch > self.promised, f"{epoch} promised to {to} after {self.promised}"
        self.promised, self.promised_to = epoch, to
        self.top = max(self.top, epoch)
        self._is_unused = to == self._me
        self._records.append(Promise(epoch, to))

    def learn(self, epoch: int) -> None:
        """Somebody leads, or led, in this epoch: nothing at or below it will be granted."""
        if epoch >= self.promised:
            self.burn()
        if epoch > self.promised:
            self.promise(epoch, "")

    def claim(self) -> int:
        """The epoch to claim, promised to this node; 0: there are none left."""
        if self._is_unused and self.promised == self.top:
            return self.promised
        if self.top >= EPOCH_MAX:
            return 0
        self.promise(self.top + 1, self._me)
        return self.promised

    def burn(self) -> None:
        """The number claimed last has won, or never will."""
        self._is_unused = False

    @property
    def newest(self) -> int:
        """The number of the batch that makes all that was promised so far durable."""
        return self._number + bool(self._records)

    def hand_over(self, out: Effects) -> None:
        """At the end of each step."""
        if self._records:
            self._number += 1
            out.persist = Batch(self._number, tuple(self._records))
            self._records.clear()

    def records(self) -> tuple[Stored, ...]:
        return (Promise(self.promised, self.promised_to),) if self.promised else ()
