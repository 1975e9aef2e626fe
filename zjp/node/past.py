"""Look-ups in records that may be away, for a queue that must not wait for them.

The queue asks the records whether an id it does not know is of a finished job. Where they lie on another server than the queue, an answer
may take as long as a dead connection is believed in, and every submit and cancel that asks would wait for that. So one is given up after
`within_s`; from then on all are refused at once, with the reason, while the look-up that failed is tried again in the background
until it succeeds. Nobody pays for trying, and what is known of the records is never older than one try.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from ..errors import StoreUnavailable, Unavailable
from ..job import Record
from ..log import event
from ..queue.store import FinishedLookup

LOOK_S = 2.5
"""A little longer than the driver looks for a server, so that its reason is told. A healthy one answers within some ms."""
AGAIN_S = 1.0

log = logging.getLogger(__name__)


class RecordsAway(StoreUnavailable):
    """Whether a job has finished cannot be told. The queue itself answers."""


class Past:
    """`ask`: the records' look-up. Call `close` at the end."""

    def __init__(self, ask: FinishedLookup, *, within_s: float = LOOK_S, again_s: float = AGAIN_S) -> None:
        self._ask, self._within_s, self._again_s = ask, within_s, again_s
        self._trying: asyncio.Task[None] | None = None
        self._reason = ""
        """Why they are away; empty while they answer."""

    async def look(self, ids: Sequence[bytes]) -> Mapping[bytes, Record]:
        """The `FinishedLookup` of a queue. Raises: RecordsAway."""
        if not self._reason:
            try:
                return await self._bounded(ids)
            except Unavailable as fault:
                self._note_away(str(fault), ids)
        raise RecordsAway(f"whether the job has finished cannot be told, since the records are away: {self._reason}")

    async def close(self) -> None:
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.gather(self._trying, return_exceptions=True)

    async def _bounded(self, ids: Sequence[bytes]) -> Mapping[bytes, Record]:
        """Raises: Unavailable."""
        try:
            async with asyncio.timeout(self._within_s):
                return await self._ask(ids)
        except TimeoutError:
            raise StoreUnavailable(f"no answer within {self._within_s:g} s") from None

    def _note_away(self, reason: str, ids: Sequence[bytes]) -> None:
        if not self._reason:  # of several that were under way the first tells
            self._reason = reason
            event(log, logging.WARNING, "records.not_asked", reason=reason)
            self._trying = asyncio.create_task(self._try_again(ids[:1]), name="records-look")

    async def _try_again(self, ids: Sequence[bytes]) -> None:
        try:
            while True:
                await asyncio.sleep(self._again_s)
                try:
                    await self._bounded(ids)
                    break
                except Unavailable as fault:
                    self._reason = str(fault)
            event(log, logging.INFO, "records.asked_again")
        finally:  # also at a bug of ours: the next look-up shows it to who asks
            self._reason = ""
