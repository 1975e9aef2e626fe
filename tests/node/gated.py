"""An intake with both doors, its desk and its audit in this process, and clients of each door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.queue.making import SQLiteBench
from tests.records.making import START_MS
from zjp import AsyncClient
from zjp.job import Limits
from zjp.node.askers import Asker, Askers
from zjp.node.audit import Audit
from zjp.node.chronicle import Chronicle
from zjp.node.desk import NodeDesk
from zjp.node.feed import FeedDesk
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

    def __init__(self, queue: QueueStore, records: RecordStore, folder: Path, *, is_auth_on: bool) -> None:
        self.queue, self.records = queue, records
        self.stats, self.feed = NodeStats("n1", 1), FeedDesk()
        self.chronicle = Chronicle("n1", records, self.stats)
        self.done: list[tuple[str, str]] = []
        self._audit = Audit(self.chronicle)
        jobs = Jobs(queue, records)
        self.desk = NodeDesk(
            queue, records, self.chronicle, self.feed, list_jobs=jobs.list, cancel=lambda ids: self.intake.cancel(ids)
        )  # fmt: skip
        self.intake = Intake(
            node="n1", boot=1, cluster="zjp", limits=Limits(), queue=queue, jobs=jobs, stats=self.stats,
            ask_stats=_nothing, tasks=list, schedules=Schedules(queue, Limits(), list), ask_leader=_nobody,
            askers=Askers(gate=TOKEN, is_auth_on=is_auth_on), desk=self.desk.answers, feed=self.feed, on_done=self._on_done,
        )  # fmt: skip
        self.address = self.intake.bind("tcp://127.0.0.1:*")
        self.gate = self.intake.bind_gate(make_gate(folder))
        self.desk.start()

    def _on_done(self, asker: Asker, request: m.Request, reply: m.Reply) -> None:
        self.done.append((asker.name, type(request).__name__))
        self._audit.done(asker, request, reply)

    def client(self, address: str = "", gate: bytes = b"") -> AsyncClient:
        return AsyncClient(address or self.address, cluster="zjp", key_file="", timeout=LIMIT_S, gate=gate)

    def door(self) -> AsyncClient:
        """The HTTP door's own client."""
        return self.client(self.gate, TOKEN)

    def counted(self, name: str) -> dict[tuple[str, ...], float]:
        series = self.stats._counters.snapshot()[name]["series"]
        return {tuple(one["labels"]): one["value"] for one in series}


@asynccontextmanager
async def gated(folder: Path, *, is_auth_on: bool = False) -> AsyncIterator[Gated]:
    bench = SQLiteBench(_made(folder))
    queue = await bench.open()
    records = SQLiteRecordStore(folder / "records.db", ttl_s=0, wall_ms=lambda: START_MS)
    await records.open()
    made = Gated(queue, records, folder, is_auth_on=is_auth_on)
    try:
        yield made
    finally:
        await made.desk.stop()
        await made.intake.close(0)
        await records.close()
        await bench.close()


async def _nothing() -> bytes:
    return b"\x80"


async def _nobody() -> m.LeaderReply:
    raise AssertionError("nobody asks")


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder
