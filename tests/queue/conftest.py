"""Every queue store, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sims.proxy import FaultProxy
from tests.queue.making import BENCHES, Bench, Producer, RedisBench
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import QueueStore
from zjp.redis import lane

PATIENT_S = 15.0
"""For an answer of a server that is there: on a machine that does other work as well it may take longer than a node would wait."""


@pytest.fixture(params=sorted(BENCHES))
async def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(lane, "CALL_S", PATIENT_S)
    made = BENCHES[request.param](tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def redis_bench(tmp_path: Path) -> AsyncIterator[RedisBench]:
    """For what is so in Redis alone: without a store that is open, and with a node's patience."""
    made = RedisBench(tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def proxy(redis_bench: RedisBench) -> AsyncIterator[FaultProxy]:
    """Before the server."""
    async with FaultProxy("127.0.0.1", redis_bench.server.port) as made:
        yield made


@pytest.fixture
async def one(redis_bench: RedisBench) -> RedisQueueStore:
    return await redis_bench.open()


@pytest.fixture
async def two(redis_bench: RedisBench, one: RedisQueueStore) -> RedisQueueStore:
    return await redis_bench.join("node-2")


@pytest.fixture
async def store(bench: Bench) -> QueueStore:
    """Open and empty."""
    return await bench.open()


@pytest.fixture
def producer() -> Producer:
    return Producer()

