"""The records alone: CPU per record appended in bulk, pages of listings over many records, pace of the outbox.

python -m benchmarks.record_store [sqlite] [mongo] [append] [list] [pace] [busy]       (default: sqlite, append and list)

CPU is that of this process, the writer. `mongo` is the Mongo-wire server of the tests, in memory, over TCP: what a mongod would
need of its own cores, and how fast its listings were, it does not tell.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from scripts.mongo_server import MongoServer
from zjp.job import Attempt, JobFilter, JobSpec, JobState, Options, Record, StoredJob, make_id
from zjp.records.mongo import MongoRecordStore
from zjp.records.outbox import OutboxDrain
from zjp.records.sqlite import SQLiteRecordStore
from zjp.records.store import RecordStore

SESSION = 0x2345678901
START_MS = 1_760_000_000_000
RARE_EVERY = 50_000
"""One record in so many is of the rare type, in the rare queue, failed and tagged."""
PAGE = 50
KINDS = ("sqlite", "mongo")
APPENDED = {"sqlite": 100_000, "mongo": 20_000}
"""Records in one run of `append`: the Mongo-wire server takes 0.1 ms or more for each."""
SWITCH_INTERVAL_S = 0.0002


@dataclass(frozen=True, slots=True)
class Item:
    record: Record
    data: bytes


def make_items(start: int, count: int) -> list[Item]:
    """As 60,000 jobs a second leave them: 8 types, ids in order, one attempt each."""
    encode = msgspec.msgpack.Encoder().encode
    records = [make_record(number) for number in range(start, start + count)]
    return [Item(record, encode(record)) for record in records]


def make_record(number: int) -> Record:
    now_ms = START_MS + number // 60
    rare = number % RARE_EVERY == RARE_EVERY // 2
    spec = JobSpec(
        id=make_id(now_ms, SESSION, number),
        type="rare" if rare else f"email-{number % 8}",
        payload=b"\x82\xa9recipient\xb0user@example.com\xa7subject\xa8Test Job",
        queue="rare" if rare else "default",
        options=Options(tags=("rare",)) if rare else None,
    )
    attempt = Attempt(1000 + number, "node-1", "node-1.1", now_ms + 5, now_ms + 6, "completed")
    job = StoredJob(spec=spec, created_ms=now_ms, attempts=(attempt,))
    return Record(job, JobState.FAILED if rare else JobState.COMPLETED, now_ms + 6, b"\xc0")


@asynccontextmanager
async def opened(kind: str) -> AsyncIterator[RecordStore]:
    """Open and empty; gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sqlite":
            store: RecordStore = SQLiteRecordStore(Path(folder) / "records.db", ttl_s=0)
            await store.open()
            yield store
            await store.close()
            return
        with MongoServer() as server:
            store = MongoRecordStore(server.uri, database="bench", ttl_s=0, timeout_s=60.0)
            await store.open()
            yield store
            await store.close()


async def time_append(kind: str, bulk: int, count: int, *, runs: int = 5) -> None:
    figures = []
    for _ in range(runs):
        async with opened(kind) as store:
            bulks = [make_items(start, bulk) for start in range(0, count, bulk)]
            cpu, wall = time.process_time(), time.perf_counter()
            for items in bulks:
                await store.append(items)
            figures.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu_us, wall_us = (statistics.median(column) / count * 1e6 for column in zip(*figures, strict=True))
    best_us = min(figures)[0] / count * 1e6
    print(
        f"append  {kind}, bulks of {bulk:5d}: {cpu_us:5.2f} us CPU a record (best {best_us:.2f}), {wall_us:5.2f} us wall, median of {runs}"
    )


LISTINGS = {
    "newest": JobFilter(),
    "completed": JobFilter(state=JobState.COMPLETED),
    "one type of 8": JobFilter(type="email-3"),
    "rare type": JobFilter(type="rare"),
    "rare queue": JobFilter(queue="rare"),
    "rare tag": JobFilter(tag="rare"),
    "failed": JobFilter(state=JobState.FAILED),
    "failed, wrong type": JobFilter(state=JobState.FAILED, type="email-3"),
    "unknown type": JobFilter(type="nothing"),
    "oldest 10 ms": JobFilter(created_before_ms=START_MS + 10),
}


async def time_listings(kind: str, count: int) -> None:
    async with opened(kind) as store:
        for start in range(0, count, 1000):
            await store.append(make_items(start, 1000))
        print(f"list    {kind}, {count} records")
        for name, wanted in LISTINGS.items():
            await time_listing(store, name, wanted)
        ids = [make_record(number).job.spec.id for number in range(0, count, count // 500)]
        started = time.perf_counter()
        found = await store.get(ids)
        print(f"get     {len(found)} records by id: {(time.perf_counter() - started) * 1e3:.1f} ms")
        await store.close()
        started = time.perf_counter()
        await store.open()
        print(f"open    {(time.perf_counter() - started) * 1e3:.1f} ms")


async def time_listing(store: RecordStore, name: str, wanted: JobFilter) -> None:
    times, pages, found, scanned, cursor = [], 0, 0, 0, b""
    while True:
        started = time.perf_counter()
        page = await store.list(wanted, cursor, PAGE)
        times.append((time.perf_counter() - started) * 1e3)
        pages, found, scanned, cursor = pages + 1, found + len(page.records), scanned + page.scanned, page.cursor
        if not cursor or pages >= 20:
            break
    print(
        f"list    {name:20s} {pages:3d} pages: {found:5d} found, {scanned:6d} scanned, worst page {max(times):5.1f} ms"
    )


class Outbox:
    """What the drain moves here: a list that fills at a given rate."""

    def __init__(self, items: list[Item], per_s: int) -> None:
        self._items = items
        self._per_s = per_s
        self._removed = 0
        self._started = time.perf_counter()

    @property
    def count(self) -> int:
        return min(len(self._items), int((time.perf_counter() - self._started) * self._per_s)) - self._removed

    @property
    def data_bytes(self) -> int:
        return self.count * len(self._items[0].data)

    async def take(self, limit: int) -> Sequence[Item]:
        return self._items[self._removed : self._removed + min(limit, self.count)]

    async def remove(self, items: Sequence[Item]) -> None:
        self._removed += len(items)


async def time_pace(kind: str, per_s: int, pace_s: float, seconds: float = 4.0) -> None:
    items = make_items(0, int(per_s * seconds))
    async with opened(kind) as store:
        outbox = Outbox(items, per_s)
        drain = OutboxDrain(outbox.take, outbox.remove, store.append, backlog=lambda: outbox, pace_s=pace_s)
        running = asyncio.create_task(drain.run())
        cpu = time.process_time()
        while drain.moved < len(items):
            await asyncio.sleep(0.005)
            drain.wake()
        cpu = time.process_time() - cpu
        await drain.stop(5.0)
        await running
    print(
        f"pace    {kind}, {per_s:6d} records/s, pace {pace_s * 1e3:4.0f} ms: {cpu / len(items) * 1e6:6.2f} us CPU a record"
    )


async def time_beside_a_busy_loop(kind: str, bulk: int, seconds: float = 3.0) -> None:
    """The loop never rests: what the writer's thread still gets done. Hardly anything with the interpreter's own switch interval."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    async with opened(kind) as store:
        items = make_items(0, 200_000)
        appended, until = 0, time.perf_counter() + seconds
        pending = asyncio.ensure_future(store.append(items[:bulk]))
        while time.perf_counter() < until and appended + bulk < len(items):
            _burn(0.001)
            await asyncio.sleep(0)
            if pending.done():
                appended += bulk
                pending = asyncio.ensure_future(store.append(items[appended : appended + bulk]))
        await pending
    print(f"busy    {kind}, bulks of {bulk:5d} beside a loop that never rests: {appended / seconds:7.0f} records/s")


def _burn(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


async def main(parts: Sequence[str]) -> None:
    count = int(os.environ.get("RECORDS", "1000000"))
    for kind in [kind for kind in KINDS if kind in parts] or KINDS[:1]:
        await time_store(kind, [part for part in parts if part not in KINDS] or ["append", "list"], count)


async def time_store(kind: str, parts: Sequence[str], count: int) -> None:
    if "append" in parts:
        for bulk in (500, 1000, 2000):
            await time_append(kind, bulk, APPENDED[kind])
    if "busy" in parts:
        for bulk in (500, 1000, 2000):
            await time_beside_a_busy_loop(kind, bulk)
    if "pace" in parts:
        for per_s in (200, 2_000, 20_000):
            for pace_s in (0.0, 0.02, 0.05, 0.1):
                await time_pace(kind, per_s, pace_s)
    if "list" in parts:
        await time_listings(kind, count)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
