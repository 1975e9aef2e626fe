"""An outbox in memory, the drain that empties it, and what arrived."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tests.records.making import Item, id_of
from zjp.job import JobFilter
from zjp.records.aside import Aside
from zjp.records.outbox import OutboxDrain
from zjp.records.store import RecordStore
from zjp.retry import RetryPolicy

AT_ONCE = RetryPolicy(kind="fixed", base_s=0, max_s=0)
T = TypeVar("T")


class Outbox:
    """A list that is drained; `emptied` when nothing is left. `before` and `after` see each call by name and number and may raise."""

    def __init__(self, store: RecordStore, items: Sequence[Item] = ()) -> None:
        self._store = store
        self.items = list(items)
        self.calls: list[str] = []
        self.appended: list[int] = []
        self.before: Callable[[str, int], None] = lambda name, number: None
        self.after: Callable[[str, int], None] = lambda name, number: None
        self.emptied = asyncio.Event()

    @property
    def count(self) -> int:
        return len(self.items)

    @property
    def data_bytes(self) -> int:
        return sum(len(item.data) for item in self.items)

    async def take(self, limit: int) -> Sequence[Item]:
        return await self._call("take", lambda: self._take(limit))

    async def append(self, items: Sequence[Item]) -> None:
        self.appended.append(len(items))
        await self._call("append", lambda: self._store.append(items))

    async def remove(self, items: Sequence[Item]) -> None:
        await self._call("remove", lambda: self._remove(items))

    async def _call(self, name: str, deed: Callable[[], Awaitable[T]]) -> T:
        self.calls.append(name)
        number = len(self.calls)
        self.before(name, number)
        result = await deed()
        self.after(name, number)
        return result

    async def _take(self, limit: int) -> Sequence[Item]:
        return self.items[:limit]

    async def _remove(self, items: Sequence[Item]) -> None:
        gone = {(id_of(item), item.record.job.run) for item in items}
        self.items = [item for item in self.items if (id_of(item), item.record.job.run) not in gone]
        if not self.items:
            self.emptied.set()


def drain_of(
    outbox: Outbox,
    *,
    batch_max: int = 10,
    pace_s: float = 0.0,
    backoff: RetryPolicy = AT_ONCE,
    aside: Aside | None = None,
) -> OutboxDrain[Item]:
    return OutboxDrain(
        outbox.take,
        outbox.remove,
        outbox.append,
        backlog=lambda: outbox,
        aside=aside,
        batch_max=batch_max,
        pace_s=pace_s,
        backoff=backoff,
    )


async def ids_in(store: RecordStore) -> list[bytes]:
    page = await store.list(JobFilter(), b"", 5000)
    assert page.cursor == b""
    assert len(page.records) == await store.count()
    return [record.job.spec.id for record in reversed(page.records)]


async def within(deadline_s: float, awaited: Awaitable[object]) -> None:
    async with asyncio.timeout(deadline_s):
        await awaited
