"""The node's door for producers, over a real socket."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.queue.making import SQLiteBench
from tests.records.making import START_MS
from zjp import AsyncClient
from zjp.errors import PayloadTooLarge
from zjp.job import Limits
from zjp.node.intake import Intake
from zjp.node.jobs import Jobs
from zjp.node.schedules import Schedules
from zjp.node.stats import NodeStats
from zjp.records.sqlite import SQLiteRecordStore
from zjp.wire.messages import MESSAGE_BYTES_MAX, LeaderReply

pytestmark = pytest.mark.covers("main-path:8")


async def test_an_answer_that_no_message_carries_is_refused_with_its_size(tmp_path: Path) -> None:
    """Sent as it is, it would cut the client's link, and the client would ask for it again and again."""

    async def ask_stats() -> bytes:
        return bytes(MESSAGE_BYTES_MAX)

    async def ask_leader() -> LeaderReply:
        raise AssertionError("nobody asks")

    bench = SQLiteBench(tmp_path)
    queue = await bench.open()
    records = SQLiteRecordStore(tmp_path / "records.db", ttl_s=0, wall_ms=lambda: START_MS)
    intake = Intake(
        node="n1", boot=1, cluster="zjp", limits=Limits(), queue=queue, jobs=Jobs(queue, records),
        stats=NodeStats("n1", 1), ask_stats=ask_stats, tasks=list, schedules=Schedules(queue, Limits(), list), ask_leader=ask_leader,
    )  # fmt: skip
    async with AsyncClient(intake.bind("tcp://127.0.0.1:*"), cluster="zjp", timeout=20) as client:
        with pytest.raises(PayloadTooLarge, match=r"the answer \(Stats\) is 2097\d+ bytes, one message carries 20971520"):
            await client.stats()
        assert (await client.ping()).node == "n1"
    await intake.close(0)
    await bench.close()
