"""Every queue store, one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.queue.making import BENCHES, Bench, Producer
from hypothesis import HealthCheck, settings
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


settings.register_profile("queue", max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
settings.register_profile("long", max_examples=2000, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck))
