"""Every queue store, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.queue.making import BENCHES, Bench, Producer
from zjp.queue.store import QueueStore


@pytest.fixture(params=sorted(BENCHES))
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    made = BENCHES[request.param](tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def store(bench: Bench) -> QueueStore:
    """Open and empty."""
    return await bench.open()


@pytest.fixture
def producer() -> Producer:
    return Producer()

