"""What others left in a shared outbox, and whether a node that has finished jobs of its own to move is to move some of that now.

Each node moves what it finished itself, without reading it back. That alone would leave the rest (of nodes that are gone, of cancels and
purges, of what is beyond the bounds of fresh.py) where it is for as long as a node never gets through with its own: records that take
their time and a steady load are enough. But most of what is not this node's own is another's who is just moving it, and to do so twice
would cost the records their time. So every second share is taken from the oldest of all when the oldest is older than this node's own
oldest by more than LEFT_MS; or, since the clocks of nodes differ, when it has been the oldest for LEFT_S.

Nothing is asked while nothing is there but this node's own, and where nothing was left the next look is LOOK_S later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..store import TURN_S, OutboxItem

LOOK_S = 1.0
LEFT_MS, LEFT_S = 2_000, 5.0
"""Nodes that keep up with the same load are not so far apart."""


class Left:
    """`outbox`: the oldest of all. `now`: of a clock that only rises."""

    def __init__(
        self,
        ask: Callable[[str, list[Any], str], Awaitable[Any]],
        life: bytes,
        outbox: Callable[[int], Awaitable[Sequence[OutboxItem]]],
    ) -> None:
        self._ask, self._life, self._outbox = ask, life, outbox
        self._look_at = 0.0
        self._was_due = False
        self._oldest: tuple[bytes, int] | None = None
        self._oldest_since = 0.0

    async def has_turn(self) -> bool:
        """One node at a time moves what others left."""
        return bool(await self._ask("turn", [self._life, int(TURN_S * 1000)], "outbox"))

    async def is_due(self, others: int, own: OutboxItem, now: float) -> bool:
        """Instead of this node's own, of which `own` is the oldest. `others`: how many there are that it does not have itself."""
        if self._was_due or others <= 0 or now < self._look_at:
            self._was_due = False
            return False
        self._look_at = now + LOOK_S
        if await self.has_turn() and (oldest := await self._outbox(1)):
            self._was_due = self._is_left(oldest[0], own, now)
        return self._was_due

    def _is_left(self, oldest: OutboxItem, own: OutboxItem, now: float) -> bool:
        key = (oldest.record.job.spec.id, oldest.record.job.run)
        is_another = key != self._oldest
        if is_another:
            self._oldest, self._oldest_since = key, now
        is_left = oldest.record.finished_ms < own.record.finished_ms - LEFT_MS or now - self._oldest_since >= LEFT_S
        if is_left and is_another:  # what came before it has been moved: there may be many
            self._look_at = now
        return is_left
