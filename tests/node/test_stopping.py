"""A node that is told to stop ends, whatever its stores do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from zjp.config import Settings
from zjp.errors import StoreUnavailable
from zjp.job import JobSpec, make_id
from zjp.node.node import Node
from zjp.queue.store import Outcome, Tended

pytestmark = pytest.mark.covers("main-path:8")

WITHIN_S = 30.0


class Faulty:
    """A real store whose chosen operations do not come through."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.renewals = 0
        self.tending = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class TakesNoOutcomes(Faulty):
    async def finish(self, outcomes: Sequence[Outcome]) -> list[bytes]:
        raise StoreUnavailable("the queue's file cannot be written")


class NeverTends(Faulty):
    async def tend(self, limit: int) -> Tended:
        self.tending.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def renew(self, progress: Any) -> Any:
        self.renewals += 1
        return await self._store.renew(progress)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(
        Settings(
            data_dir=tmp_path / "data", zmq_bind=f"ipc://{tmp_path}/door", app="tests.fakes:app", worker_count=1, worker_processes=1,
            lease_duration_s=2.0, api_enabled=False,
        )
    )  # fmt: skip
    await made.start()
    yield made
    if made._data._lock is not None:  # not stopped by the test
        await made.stop(0.0)


async def until(claim: Any) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not claim():  # noqa: ASYNC110 (the node tells nobody)
            await asyncio.sleep(0.005)


async def test_drain_in_a_hurry_ends_though_the_store_takes_no_outcomes(node: Node) -> None:
    node.dispatch._store = TakesNoOutcomes(node.queue)  # type: ignore[assignment]
    await node.queue.submit([JobSpec(make_id(1, 1, 1), "noop", b"\x80")])
    node.dispatch.wake()
    await until(lambda: node.dispatch._finishing)
    stopping = asyncio.create_task(node.stop(0.2))
    await asyncio.sleep(0)
    node.hand_back_now()
    async with asyncio.timeout(WITHIN_S):
        assert await stopping is False


async def test_lease_is_renewed_while_what_is_due_waits_for_the_disk(node: Node) -> None:
    store = NeverTends(node.queue)
    node.dispatch._store = store  # type: ignore[assignment]
    async with asyncio.timeout(WITHIN_S):
        await store.tending.wait()
        begun = store.renewals
        await until(lambda: store.renewals >= begun + 3)
