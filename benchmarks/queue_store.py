"""The queue store alone: CPU per job of submit + claim + finish, durable, at 10^4 and 10^6 waiting jobs, and memory.

    python -m benchmarks.queue_store [--jobs 200000] [--waiting 10000 1000000] [--batch 100] [--json FILE]

One process, both of its threads counted (`process_time`); no workers, no sockets. Producers submit batches, a consumer claims up to
500 and finishes what it claimed, an archiver empties the outbox, all at the same time, so commits gather as they do in a node.
Figures: us of CPU per job for the whole cycle, jobs per second by the wall clock, jobs per commit, resident memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import uvloop

from zjp.job import JobSpec, JobState, Record, make_id
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.queue.store import Life, Outcome, OutcomeKind

PAYLOAD = b"\x82\xa9recipient\xb1user@example.com \xa7subject\xd9\x60" + b"x" * 96
PRODUCERS = 4
CLAIM_MAX = 500


async def _nothing(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    return {}


class Producer:
    def __init__(self, session: int) -> None:
        self._session = session
        self._count = 0

    def specs(self, count: int) -> list[JobSpec]:
        first, self._count = self._count, self._count + count
        now_ms = time.time_ns() // 1_000_000
        return [JobSpec(make_id(now_ms, self._session, first + at), "noop", PAYLOAD) for at in range(count)]


async def _fill(store: SQLiteQueueStore, count: int) -> None:
    producer = Producer(99)
    for _ in range(count // 1000):
        await store.submit(producer.specs(1000))


async def _produce(store: SQLiteQueueStore, batches: list[list[JobSpec]]) -> None:
    for batch in batches:
        await store.submit(batch)


async def _consume(store: SQLiteQueueStore, count: int) -> None:
    under_way: set[asyncio.Task[list[bytes]]] = set()
    ready = asyncio.Event()
    store.on_ready = ready.set
    while count > 0:
        ready.clear()
        claim = await store.claim(min(count, CLAIM_MAX), {"*": 1})
        if not claim.jobs:
            await ready.wait()
            continue
        count -= len(claim.jobs)
        now_ms = time.time_ns() // 1_000_000
        outcomes = [Outcome(claim.fence, job, OutcomeKind.FINISH, Record(job, JobState.COMPLETED, now_ms, b"\xc0")) for job in claim.jobs]
        under_way.add(asyncio.create_task(store.finish(outcomes)))
        if len(under_way) >= 4:
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            assert not any(task.result() for task in done)
    if under_way:
        await asyncio.wait(under_way)


async def _archive(store: SQLiteQueueStore) -> None:
    while True:
        items = await store.outbox(2000)
        if items:
            await store.outbox_remove(items)
        await asyncio.sleep(0.01)


async def _cycle(folder: str, waiting: int, jobs: int, batch: int) -> dict[str, float]:
    store = SQLiteQueueStore(
        Path(folder) / f"queue-{waiting}.db", lease_s=3600, starvation_s=60, dedup_s=600, outbox_count_max=10**7,
        outbox_bytes_max=1 << 32, disk_reserve_bytes=0, finished=_nothing,
    )  # fmt: skip
    await store.open(Life("bench", 1), frozenset())
    fill_cpu = time.process_time()
    await _fill(store, waiting)
    fill_us = (time.process_time() - fill_cpu) / max(waiting, 1) * 1e6
    rss_bytes = _rss_bytes()
    producers = [Producer(at + 1) for at in range(PRODUCERS)]
    work = [[producer.specs(batch) for _ in range(jobs // batch // PRODUCERS)] for producer in producers]
    total = sum(len(one) for mine in work for one in mine)
    archiver = asyncio.create_task(_archive(store))
    commits, cpu, wall = store.commits, time.process_time(), time.perf_counter()
    await asyncio.gather(*(_produce(store, mine) for mine in work), _consume(store, total))
    cpu, wall, commits = time.process_time() - cpu, time.perf_counter() - wall, store.commits - commits
    archiver.cancel()
    await store.close()
    return {
        "waiting": waiting, "batch": batch, "jobs": total, "cpu_us": cpu / total * 1e6, "jobs_per_s": total / wall,
        "jobs_per_commit": total / commits, "fill_us": fill_us, "rss_bytes": rss_bytes,
    }  # fmt: skip


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU per job of the SQLite queue store")
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--waiting", type=int, nargs="+", default=[0, 10_000, 1_000_000])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--folder", default=None, help="where the files go; default: a temporary folder")
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args()
    rows = []
    for waiting in asked.waiting:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            row = uvloop.run(_cycle(folder, waiting, asked.jobs, asked.batch))
        rows.append(row)
        print(
            f"waiting {waiting:>9,}  batch {asked.batch:>4}: {row['cpu_us']:6.2f} us/job  {row['jobs_per_s']:>9,.0f} jobs/s  "
            f"{row['jobs_per_commit']:6.0f} jobs/commit  fill {row['fill_us']:.2f} us/job  rss {row['rss_bytes'] / 2**20:.0f} MiB",
            flush=True,
        )
    if asked.json is not None:
        asked.json.write_text(json.dumps({"cpus": os.cpu_count(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
