"""What a node has gathered of progress is stored for the attempt that told it, and for no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.node.test_stats import Desk, opened_desk
from zjp.job import StoredJob
from zjp.queue.store import Live
from zjp.wire.messages import ResultKind

pytestmark = pytest.mark.covers("main-path:9")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with opened_desk(tmp_path) as made:
        yield made


def hold(desk: Desk, job: StoredJob, fence: int) -> None:
    assert desk.dispatch.pool is not None
    desk.dispatch.pool._ledger.held[job.spec.id] = (job, fence, None, 0.0, 0)


async def stored(desk: Desk, job: StoredJob) -> bytes:
    await desk.dispatch._renew_once()
    (found,) = await desk.store.get([job.spec.id])
    assert isinstance(found, Live)
    return found.job.progress


async def test_progress_of_what_runs_is_stored_with_the_next_renewal(desk: Desk) -> None:
    ((job, fence),) = await desk.claim(1)
    hold(desk, job, fence)
    desk.dispatch.on_progress({job.spec.id: b"\x01"})
    assert await stored(desk, job) == b"\x01"


async def test_progress_of_an_attempt_that_has_ended_is_not_stored_for_the_next_one(desk: Desk) -> None:
    ((job, fence),) = await desk.claim(1)
    hold(desk, job, fence)
    desk.dispatch.on_progress({job.spec.id: b"\x01"})
    desk.reported([(job, fence)], ResultKind.RETRY)
    await desk.write()
    again = await desk.store.claim(1, {"*": 1})
    assert [one.spec.id for one in again.jobs] == [job.spec.id]
    hold(desk, again.jobs[0], again.fence)
    assert await stored(desk, job) == b""
    desk.dispatch.on_progress({job.spec.id: b"\x02"})
    assert await stored(desk, job) == b"\x02"
