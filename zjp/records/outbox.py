"""From the outbox to the records: what has finished is appended in bulk, and leaves the outbox only when the records have it.

What lives here: when, how much at a time, and what to do while one of the two sides is away. What does not: the stores. They are
passed as callables, since the queue and the records know nothing of each other.

    take ──► append ──► remove ──► take ...        one round at a time; a failure anywhere begins it anew, after a delay

Nothing is lost, since removal comes last; nothing doubles, since `append` takes a record that is there already as done.

Pace. Nobody waits for records (an item in the outbox is found by every look-up), so rounds are rated by what is cheapest: the first
one after a rest begins at once, and while the outbox keeps filling the next begins `pace_s` after the last began, or as soon as a full
batch waits. Without that a busy node would write a hundred small transactions a second, each with an fsync.

A records' store that is so slow that a batch does not get through in its time would never take one: each failure halves the next batch,
each success doubles it again. A record that is refused for good is passed over and tried again later (aside.py): the others go on.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from ..errors import StoreUnavailable, Unavailable
from ..log import event
from ..retry import RetryPolicy
from .aside import Aside, key_of
from .store import RecordItem, RecordsRefused, Refusal

BATCH_MAX = 4096
"""Records in one round: beyond it the cost of each falls no further, and a crash repeats more."""
BATCH_MIN = 1
"""A few records may be all that a thin line carries within the limit of one call: they may have some MiB each."""
TAKE_BYTES = 16 << 20
"""About as much is taken at once: a thousand records of a MiB each would keep everybody else from a shared queue for seconds."""
PACE_S = 0.05
LOOK_S = 5.0
"""Between two looks at the whole of a shared outbox, while nothing but refused records is left of this node's own."""
BACKOFF = RetryPolicy(base_s=0.1, max_s=5.0, multiplier=2.0, jitter_factor=0.3)

Item = TypeVar("Item", bound=RecordItem)
_log = logging.getLogger(__name__)


class Waiting(Protocol):
    """What waits in the outbox."""

    @property
    def count(self) -> int: ...
    @property
    def data_bytes(self) -> int: ...


class OutboxDrain(Generic[Item]):
    """Run `run` as a task, `wake` it whenever something was put into the outbox, `stop` it at the end.

    `take`: the oldest items, up to so many, again until removed. `backlog`: how much waits, asked often and answered from memory.
    `batch_max`: lower costs more per record, higher repeats more after a crash. `pace_s`: higher makes larger batches, and lists show
    finished jobs of the records that much later. `look`: as `take`, of a shared outbox whatever share of it is this node's.
    """

    def __init__(
        self,
        take: Callable[[int], Awaitable[Sequence[Item]]],
        remove: Callable[[Sequence[Item]], Awaitable[None]],
        append: Callable[[Sequence[Item]], Awaitable[None]],
        *,
        backlog: Callable[[], Waiting],
        look: Callable[[int], Awaitable[Sequence[Item]]] | None = None,
        aside: Aside | None = None,
        batch_max: int = BATCH_MAX,
        pace_s: float = PACE_S,
        backoff: RetryPolicy = BACKOFF,
    ) -> None:
        self._take = take
        self._remove = remove
        self._append = append
        self._look = look
        self._look_at = 0.0
        self._aside = Aside() if aside is None else aside
        self._backlog = backlog
        self._batch_max = self._batch = batch_max
        self._pace_s = pace_s
        self._backoff = backoff
        self._woken = asyncio.Event()
        self._full = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._is_running = False
        self._limit = asyncio.timeout(None)
        """Set by `stop`; it also ends a call that hangs."""
        self._failures = 0
        self.moved = 0
        """Records that arrived since the start."""
        self.fault: Unavailable | None = None
        """Why nothing moves; None while all is well."""

    @property
    def backlog(self) -> int:
        """Finished jobs that the records do not have yet."""
        return self._backlog().count

    @property
    def refused(self) -> int:
        """Those of them that the records refuse, as far as this node tried."""
        return len(self._aside)

    def wake(self) -> None:
        """Something was put into the outbox. Cheap: once per batch of outcomes is fine."""
        self._woken.set()
        if self._is_full():
            self._full.set()

    def _is_full(self) -> bool:
        return self._backlog().count - len(self._aside) >= self._batch_max

    async def run(self) -> None:
        """Until `stop`, or cancelled. Raises what neither store should: a bug of ours."""
        if self._is_running:  # `stop` came first and does it all
            await self._ended.wait()
            return
        self._is_running = True
        try:
            async with self._limit:
                while not self._stopping.is_set():
                    await self._rest()
                    await self._drain()
                await self._drain_last()
        except TimeoutError:
            if not self._limit.expired():
                raise
            event(
                _log, logging.WARNING, "outbox.not_emptied", left=self.backlog, reason=str(self.fault or "out of time")
            )
        finally:
            self._ended.set()

    async def stop(self, within_s: float) -> int:
        """Move what can be moved within `within_s`. Returns what is left, which stays in the outbox for the next start."""
        deadline = asyncio.get_running_loop().time() + within_s
        for awaited in (self._stopping, self._woken, self._full):
            awaited.set()
        if self._is_running and not self._ended.is_set():
            self._limit.reschedule(deadline)
            await self._ended.wait()
        elif not self._is_running:
            self._limit = asyncio.timeout_at(deadline)
            await self.run()
        return self.backlog

    async def _rest(self) -> None:
        """Until there is something to do."""
        if len(self._aside):
            await _wait(self._woken, self._aside.due_at)
        else:
            await self._woken.wait()

    async def _drain(self) -> None:
        """Round after round until the outbox is empty or `stop` is called."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            next_at = loop.time() + self._pace_s
            self._woken.clear()
            self._full.clear()
            count = await self._round()
            if count is None:
                await _wait(self._stopping, loop.time() + self._delay_s())
            elif count == 0:
                return
            elif count < self._batch and not self._is_full() and not self._stopping.is_set():
                await _wait(self._full, next_at)

    async def _drain_last(self) -> None:
        while (count := await self._round()) != 0:
            if count is None:
                await asyncio.sleep(self._delay_s())

    async def _round(self) -> int | None:
        """Move one batch. Returns its size, None when a store was away."""
        now = asyncio.get_running_loop().time()
        items: Sequence[Item] = ()
        try:
            items = await self._take_others(now)
            if items:
                await self._move(items, now)
            else:
                self._aside.forget_due(now)
        except Unavailable as fault:
            self._note_fault(fault, len(items) or self._batch)
            return None
        self._note_success()
        return len(items)

    async def _take_others(self, now: float) -> Sequence[Item]:
        """All but what is passed over."""
        limit = self._count_to_take() + len(self._aside)
        taken = await self._take(limit)
        items = self._aside.others(taken, now)
        if taken and not items:
            # A share of what others left, and all of it refused: the next one is of this node's own.
            items = self._aside.others(await self._take(limit), now)
        if not items and len(self._aside) and self._look is not None and now >= min(self._look_at, self._aside.due_at):
            # Of its share a node may see what it finished itself only, until the last of that is gone; and what others left is not to wait.
            items = self._aside.others(await self._look(limit), now)
            if not items:
                self._look_at = now + LOOK_S
        return items[: self._batch]

    def _count_to_take(self) -> int:
        """By what those that wait hold on average."""
        waiting = self._backlog()
        each_bytes = waiting.data_bytes // max(1, waiting.count)
        return max(BATCH_MIN, min(self._batch, TAKE_BYTES // max(1, each_bytes)))

    async def _move(self, items: Sequence[Item], now: float) -> None:
        """Raises: Unavailable."""
        refusals = await self._refusals_of(items)
        if refusals:
            refused = {key_of(refusal.item) for refusal in refusals}
            items = [item for item in items if key_of(item) not in refused]
        if items:
            await self._remove(items)
            self.moved += len(items)
            self._aside.forget(items)
        if not self._aside.add(refusals, now, random.random()):
            raise StoreUnavailable(
                f"the records refuse more finished jobs than the {len(self._aside)} that are passed over, with {refusals[-1].reason} "
                f"(code {refusals[-1].code}); the lines outbox.refused of the log name jobs"
            )

    async def _refusals_of(self, items: Sequence[Item]) -> Sequence[Refusal]:
        try:
            await self._append(items)
        except RecordsRefused as refused:
            return refused.refusals
        return ()

    def _delay_s(self) -> float:
        return self._backoff.delay_s(self._failures - 1, random.random())

    def _note_fault(self, fault: Unavailable, tried: int) -> None:
        if self.fault is None or self.fault.code != fault.code:
            event(_log, logging.WARNING, "outbox.stuck", reason=str(fault), code=fault.code, waiting=self.backlog)
        self.fault = fault
        self._failures += 1
        self._batch = max(BATCH_MIN, tried // 2)

    def _note_success(self) -> None:
        if self.fault is not None:
            event(_log, logging.INFO, "outbox.moves_again", failures=self._failures, waiting=self.backlog)
        self.fault = None
        self._failures = 0
        self._batch = min(self._batch_max, self._batch * 2)


async def _wait(awaited: asyncio.Event, until: float) -> None:
    """For the event or the loop's time, whichever comes first."""
    try:
        async with asyncio.timeout_at(until):
            await awaited.wait()
    except TimeoutError:
        pass
