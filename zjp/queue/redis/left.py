"""What others left in a shared outbox, and whether a node that has finished jobs of its own to move is to move some of that now.

Each node moves what it finished itself, without reading it back. That alone would leave the rest (of nodes that are gone, of cancels and
purges, of what is beyond the bounds of fresh.py) where it is for as long as a node never gets through with its own: records that take
their time and a steady load are enough. But most of what is not this node's own is another's who is just moving it, and to do so twice
would cost the records their time. So every second share is taken from the oldest of all when the oldest is older than this node's own
by more than LEFT_MS; or, since records bear the time of the clock of whoever made them, when it has been the oldest for LEFT_S.

Nothing is asked while nothing is there but this node's own, and where nothing was left the next look is LOOK_S later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..store import TURN_S, OutboxItem

LOOK_S = 0.5
LEFT_MS, LEFT_S = 1_000, 5.0
"""Nodes that keep up with the same load are not so far apart."""


class Left:
    """`outbox`: the oldest of all. `now_s`: a clock that only rises. `server_ms`: the server's time."""

    def __init__(
        self,
        ask: Callable[[str, list[Any], str], Awaitable[Any]],
        life: bytes,
        outbox: Callable[[int], Awaitable[Sequence[OutboxItem]]],
        now_s: Callable[[], float],
        server_ms: Callable[[], int],
    ) -> None:
        self._ask, self._life, self._outbox = ask, life, outbox
        self._now, self._server_ms = now_s, server_ms
        self._look_at = self._oldest_since = 0.0
        self._own_since = now_s()
        """When the last share of this node's own was taken that was all of it: what it has now is younger."""
        self._oldest: tuple[bytes, int] | None = None
        self._was_due = False

    async def has_turn(self) -> bool:
        """One node at a time moves what others left."""
        return bool(await self._ask("turn", [self._life, int(TURN_S * 1000)], "outbox"))

    async def is_due(self, others: int, *, is_all: bool) -> bool:
        """Whether what others left is to be taken instead of this node's own share, which is all that it has. `others`: how many there are
        that it does not have itself."""
        now = self._now()
        self._was_due = not self._was_due and others > 0 and now >= self._look_at and await self._look(now)
        if is_all and not self._was_due:
            self._own_since = now
        return self._was_due

    async def _look(self, now: float) -> bool:
        self._look_at = now + LOOK_S
        if not await self.has_turn() or not (found := await self._outbox(1)):
            return False
        record = found[0].record
        key = (record.job.spec.id, record.job.run)
        is_another = key != self._oldest
        if is_another:
            self._oldest, self._oldest_since = key, now
        is_older = self._server_ms() - record.finished_ms > (now - self._own_since) * 1000 + LEFT_MS
        if is_older and is_another:  # what stood before it has been moved: there may be many
            self._look_at = now
        return is_older or now - self._oldest_since >= LEFT_S
