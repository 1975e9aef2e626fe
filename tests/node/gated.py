"""An intake with both doors in this process, and clients of each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.queue.making import SQLiteBench
from tests.records.making import START_MS
from zjp import AsyncClient
from zjp.job import Limits
from zjp.node.askers import Askers
from zjp.node.intake import Intake
from zjp.node.jobs import Jobs
from zjp.node.schedules import Schedules
from zjp.node.stats import NodeStats
from zjp.queue.store import QueueStore
from zjp.records.sqlite import SQLiteRecordStore
from zjp.records.store import RecordStore
from zjp.transport.gate import make_gate
from zjp.wire import messages as m

TOKEN = b"the token that came by the pipe"
LIMIT_S = 20.0


class Gated:
    """`address`: of the tcp door; `gate`: of the other. `done`: what was carried out, and for whom."""

    def __init__(self, intake: Intake, queue: QueueStore, records: RecordStore, stats: NodeStats, folder: Path) -> None:
        self.intake, self.queue, self.records, self.stats = intake, queue, records, stats
        self.address = intake.bind("tcp://127.0.0.1:*")
        self.gate = intake.bind_gate(make_gate(folder))
        self.done: list[tuple[str, str]] = []

    def client(self, address: str = "", gate: bytes = b"") -> AsyncClient:
        return AsyncClient(address or self.address, cluster="zjp", key_file="", timeout=LIMIT_S, gate=gate)

    def door(self) -> AsyncClient:
        """The HTTP door's own client."""
        return self.client(self.gate, TOKEN)

    def counted(self, name: str) -> dict[tuple[str, ...], float]:
        series = self.stats._counters.snapshot()[name]["series"]
        return {tuple(one["labels"]): one["value"] for one in series}


@asynccontextmanager
async def gated(folder: Path, *, is_auth_on: bool = False, **more: Any) -> AsyncIterator[Gated]:
    """`more`: further arguments of the Intake."""
    bench = SQLiteBench(_made(folder))
    queue = await bench.open()
    records = SQLiteRecordStore(folder / "records.db", ttl_s=0, wall_ms=lambda: START_MS)
    await records.open()
    stats = NodeStats("n1", 1)

    async def ask_stats() -> bytes:
        return b"\x80"

    async def ask_leader() -> m.LeaderReply:
        raise AssertionError("nobody asks")

    made: Gated
    intake = Intake(
        node="n1", boot=1, cluster="zjp", limits=Limits(), queue=queue, jobs=Jobs(queue, records), stats=stats, ask_stats=ask_stats,
        tasks=list, schedules=Schedules(queue, Limits(), list), ask_leader=ask_leader,
        askers=Askers(gate=TOKEN, is_auth_on=is_auth_on),
        on_done=lambda asker, request, reply: made.done.append((asker.name, type(request).__name__)), **more,
    )  # fmt: skip
    made = Gated(intake, queue, records, stats, folder)
    try:
        yield made
    finally:
        await intake.close(0)
        await records.close()
        await bench.close()


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
