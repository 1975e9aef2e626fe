"""The queue store alone: CPU per job of submit + claim + finish, durable, at 10^4 and 10^6 waiting jobs, and memory.

    python -m benchmarks.queue_store [--store sqlite] [--jobs 200000] [--waiting 10000 1000000] [--batch 100] [--json FILE]
    python -m benchmarks.queue_store --store redis --waiting 0 --batch 1 10 100 500

One process, both of its threads counted (`process_time`); no workers, no sockets. Producers submit batches, a consumer claims up to
500 and finishes what it claimed, an archiver empties the outbox, all at the same time, so commits gather as they do in a node.
Figures: us of CPU per job for the whole cycle, jobs per second by the wall clock, jobs per commit, resident memory. With Redis (append-only
file, fsync each second, over its Unix socket): us of this process and of the server apart, and the server's bytes per waiting job.
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

from scripts.redis_server import RedisServer
from zjp.job import JobSpec, JobState, Record, make_id
from zjp.queue.redis import RedisQueueStore
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.queue.store import Life, Outcome, OutcomeKind, QueueStore

from .running import cpu_s

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


async def _fill(store: QueueStore, count: int) -> None:
    producer = Producer(99)
    for _ in range(count // 1000):
        await store.submit(producer.specs(1000))


async def _produce(store: QueueStore, batches: list[list[JobSpec]]) -> None:
    for batch in batches:
        await store.submit(batch)


async def _consume(store: QueueStore, count: int) -> None:
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


async def _archive(store: QueueStore) -> None:
    while True:
        items = await store.outbox(2000)
        if items:
            await store.outbox_remove(items)
        await asyncio.sleep(0.01)


async def _cycle(folder: str, waiting: int, jobs: int, batch: int, server: RedisServer | None = None) -> dict[str, float]:
    store: SQLiteQueueStore | RedisQueueStore
    if server is None:
        store = SQLiteQueueStore(
            Path(folder) / f"queue-{waiting}.db", lease_s=3600, starvation_s=60, dedup_s=600, outbox_count_max=10**7,
            outbox_bytes_max=1 << 32, disk_reserve_bytes=0, finished=_nothing,
        )  # fmt: skip
    else:
        store = RedisQueueStore(
            server.unix_url, namespace=f"{waiting}-{batch}", lease_s=3600, starvation_s=60, dedup_s=600, outbox_count_max=10**7,
            outbox_bytes_max=1 << 32, finished=_nothing,
        )  # fmt: skip
    used_bytes = _used_bytes(server)
    await store.open(Life("bench", 1), {})
    fill_cpu = time.process_time()
    await _fill(store, waiting)
    fill_us = (time.process_time() - fill_cpu) / max(waiting, 1) * 1e6
    rss_bytes = _rss_bytes()
    producers = [Producer(at + 1) for at in range(PRODUCERS)]
    work = [[producer.specs(batch) for _ in range(jobs // batch // PRODUCERS)] for producer in producers]
    total = sum(len(one) for mine in work for one in mine)
    archiver = asyncio.create_task(_archive(store))
    held_bytes = _used_bytes(server) - used_bytes
    server_s = cpu_s(server.pid) if server is not None else 0.0
    commits, cpu, wall = _commits(store), time.process_time(), time.perf_counter()
    await asyncio.gather(*(_produce(store, mine) for mine in work), _consume(store, total))
    cpu, wall, commits = time.process_time() - cpu, time.perf_counter() - wall, _commits(store) - commits
    server_s = cpu_s(server.pid) - server_s if server is not None else 0.0
    archiver.cancel()
    await store.close()
    return {
        "waiting": waiting, "batch": batch, "jobs": total, "cpu_us": cpu / total * 1e6, "jobs_per_s": total / wall,
        "jobs_per_commit": total / max(1, commits), "fill_us": fill_us, "rss_bytes": rss_bytes, "server_us": server_s / total * 1e6,
        "server_bytes_per_job": held_bytes / max(waiting, 1),
    }  # fmt: skip


def _commits(store: SQLiteQueueStore | RedisQueueStore) -> int:
    return store.commits if isinstance(store, SQLiteQueueStore) else 0


def _used_bytes(server: RedisServer | None) -> int:
    if server is None:
        return 0
    facts = server.send(b"INFO", b"memory").decode()
    return next(int(line.partition(":")[2]) for line in facts.splitlines() if line.startswith("used_memory:"))


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _run(kind: str, parent: str | None, waiting: int, batch: int, jobs: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        if kind == "sqlite":
            return uvloop.run(_cycle(folder, waiting, jobs, batch))
        server = RedisServer(folder=Path(folder), options={"appendonly": "yes", "appendfsync": "everysec"})
        try:
            server.start()
            return uvloop.run(_cycle(folder, waiting, jobs, batch, server))
        finally:
            server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU per job of a queue store")
    parser.add_argument("--store", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--waiting", type=int, nargs="+", default=[0, 10_000, 1_000_000])
    parser.add_argument("--batch", type=int, nargs="+", default=[100])
    parser.add_argument("--folder", default=None, help="where the files go; default: a temporary folder")
    parser.add_argument("--json", type=Path, default=None)
    asked = parser.parse_args()
    rows = []
    for waiting in asked.waiting:
        for batch in asked.batch:
            row = _run(asked.store, asked.folder, waiting, batch, asked.jobs if batch > 1 else asked.jobs // 10)
            rows.append(row)
            rest = f"{row['jobs_per_commit']:6.0f} jobs/commit"
            if asked.store == "redis":
                rest = f"server {row['server_us']:6.2f} us/job, {row['server_bytes_per_job']:.0f} B/waiting job"
            print(
                f"waiting {waiting:>9,}  batch {batch:>4}: {row['cpu_us']:6.2f} us/job  {row['jobs_per_s']:>9,.0f} jobs/s  "
                f"{rest}  fill {row['fill_us']:.2f} us/job  rss {row['rss_bytes'] / 2**20:.0f} MiB",
                flush=True,
            )
    if asked.json is not None:
        asked.json.write_text(json.dumps({"cpus": os.cpu_count(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
