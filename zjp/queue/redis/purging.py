"""Emptying a queue: every job that waits becomes a record, in steps that each leave the queue whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..layout import purge_limits

PURGE_CHUNK = 1_000
PURGE_WAIT_S = 0.05
Place = tuple[bytes, ...]
"""Due time and id of the last delayed job that was looked at: others may become due meanwhile, and ranks shift."""
FIRST: Place = (b"0", b"")


class Purges:
    """`note(ids, backlog count, bytes)` is called after each step, with what became final by it."""

    def __init__(
        self,
        ask: Callable[[str, list[Any]], Awaitable[Any]],
        outbox_limits: tuple[int, int],
        note: Callable[[Sequence[bytes], int, int], None],
    ) -> None:
        self._ask, self._limits, self._note = ask, purge_limits(*outbox_limits), note
        self._under_way: set[asyncio.Task[int]] = set()

    async def purge(self, queue: str) -> int:
        """How many. Once begun it goes on, whatever becomes of the caller."""
        task = asyncio.create_task(self._purge(queue), name="zjp-queue-purge")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    def end(self) -> None:
        """What has not been reached waits on."""
        for task in self._under_way:
            task.cancel()

    async def _purge(self, queue: str) -> int:
        """It takes no more than there was when it began."""
        known, ready, _ = await self._ask("purge", [queue, b"begin", 0, *self._limits])
        ended, place = 0, FIRST
        is_over = not known
        while not is_over and ended < ready:
            count, is_over, _ = await self._step(queue, b"ready", min(PURGE_CHUNK, ready - ended), FIRST)
            ended += count
        is_over = not known
        while not is_over:
            count, is_over, place = await self._step(queue, b"later", PURGE_CHUNK, place)
            ended += count
        return ended

    async def _step(self, queue: str, what: bytes, limit: int, place: Place) -> tuple[int, bool, Place]:
        """As many as the outbox takes of a purge, then as fast as the records take them."""
        # Any node may empty the outbox: there is no event to wait for.
        while len(reply := await self._ask("purge", [queue, what, limit, *self._limits, *place])) == 1:  # noqa: ASYNC110
            await asyncio.sleep(PURGE_WAIT_S)
        count, is_over, out_count, out_bytes, ids, *behind = reply
        self._note(ids, out_count, out_bytes)
        return count, bool(is_over), tuple(behind)
