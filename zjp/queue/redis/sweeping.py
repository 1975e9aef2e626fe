"""Dropping what cancelled jobs left in the lists of levels, where nobody submits or claims any more.

Each step is one script and bounded (sweep.lua); whoever tends the queue makes a few of them. Where a pass has come to stands in the
server, so any node goes on with it, and several at once do no work twice. A version that did not sweep left no note of where to: that is
looked for once in a life.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from ...errors import StoreUnavailable

STEP = 500
"""Entries that one step looks at: 1 to 2 ms of the server's time."""
STEPS_MAX = 40
"""In one turn of tending, of which there are one or two a second."""
QUEUES_AT_ONCE = 50


class Sweeping:
    """`ask`: a script or command, over the lane of that name."""

    def __init__(self, ask: Callable[[str, list[Any], str], Awaitable[Any]]) -> None:
        self._ask = ask
        self._has_looked = False
        self._cursor: bytes = b"0"

    async def sweep(self, *, is_noted: bool) -> None:
        """`is_noted`: whether there is a note of something to sweep. A server that goes away meanwhile is no fault of the tending."""
        with contextlib.suppress(StoreUnavailable):
            if not self._has_looked:
                is_noted = await self._note_older() or is_noted
                self._has_looked = True
            steps = STEPS_MAX if is_noted else 0
            while steps > 0:
                self._cursor, more, _ = await self._ask("sweep", [STEP, self._cursor], "renew")
                steps = steps - 1 if more else 0

    async def _note_older(self) -> bool:
        if not await self._ask("EXISTS", [b"stale"], "renew"):
            return False
        queues = await self._ask("SMEMBERS", [b"queues"], "renew")
        names = sorted(queues)
        for at in range(0, len(names), QUEUES_AT_ONCE):
            await self._ask("remains", names[at : at + QUEUES_AT_ONCE], "renew")
        return True
