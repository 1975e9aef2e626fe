"""This node's own incarnation. Only the node itself raises it: at each start, and to refute what is said of it.

No incarnation may be said in two lives, or the second life would be taken for the first, or its refutation for an old one. So they are
reserved in blocks: Reserved(n) is durable before one from n - BLOCK on is told, and the next life begins at n.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...wire.peers import Alive, Reserved, Stored
from ..core import Config
from .journal import Journal

BLOCK = 1000
"""Refutations between two writes to the disk. The next block is asked for when half of this one is used: a refutation is urgent."""
JUMP_MAX = 1 << 20
"""An incarnation that is further above the one known than this is refused: a damaged message must not use them up."""


class Identity:
    def __init__(self, config: Config, journal: Journal) -> None:
        self._journal = journal
        self._me = config.me
        self._reserved = 0
        self._asked = 0
        self._asked_in = 0
        """The batch that holds Reserved(_asked)."""
        self.word = Alive(config.me, 0, config.priority)
        """What this node says of itself."""
        self.is_reserved = False
        """False: the current incarnation may not be told before the disk has it."""

    @property
    def incarnation(self) -> int:
        return self.word.incarnation

    def on_durable(self) -> None:
        if self._journal.durable >= self._asked_in:
            self._reserved = self._asked
        self.is_reserved = self.word.incarnation < self._reserved

    def start(self, records: Sequence[Stored]) -> None:
        self._asked = max((record.incarnation for record in records if isinstance(record, Reserved)), default=0)
        self.rise(self._asked, self.word.priority)

    def rise(self, incarnation: int, priority: int) -> None:
        """To this incarnation, or to the next one when that is passed already."""
        self.word = Alive(self._me, max(incarnation, self.word.incarnation + 1), priority)
        self.is_reserved = self.word.incarnation < self._reserved
        if self.word.incarnation + BLOCK // 2 >= self._asked:
            self._asked = self.word.incarnation + BLOCK
            self._asked_in = self._journal.write(Reserved(self._asked))

    def durable(self) -> Reserved:
        return Reserved(self._asked)


class Numbers:
    """Numbers of pings. Those of another life are others, so that an answer from then fits none of this."""

    def __init__(self, boot: int) -> None:
        self.last = (boot & (1 << 29) - 1) << 32

    def next(self) -> int:
        self.last += 1
        return self.last
