"""The whole path: submit over ZeroMQ, queue on SQLite FULL, worker processes, record. Jobs per second and CPU us per job of each process.

One producer process keeps WINDOW batches under way; a run is over when every job has finished and its record is written. The CPU of a
process is what it used between the first submit and that moment, divided by the jobs.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from typing import Any

from zjp import AsyncClient, Client

from .running import POLL_S, Running, cpu_s, finished_count, running_node

WINDOW = 16
"""Batches of one producer that may be unacknowledged: what a producer of some threads or coroutines does. With 8 it waits for
acknowledgements, and no process has enough to do all the time."""


def sustained(node: Running, *, jobs: int, batch: int, task: str = "noop") -> dict[str, float]:
    """Producer, node and workers at once."""
    before_finished = finished_count(node.stats())
    before = node.cpu()
    producer_before = time.process_time()
    began = time.monotonic()
    submit_all(node.address, jobs=jobs, batch=batch, task=task)
    submitted_s = time.monotonic() - began
    producer_s = time.process_time() - producer_before
    finished_s = until_recorded(node, before_finished + jobs) - began
    after = node.cpu()
    cost = {name: (after[name] - before[name]) / jobs * 1e6 for name in after}
    cost["producer"] = producer_s / jobs * 1e6
    return {
        "jobs_per_s": jobs / finished_s,
        "submitted_per_s": jobs / submitted_s,
        **{f"{name}_us": value for name, value in cost.items()},
        "total_us": sum(cost.values()),
    }


def submit_all(address: str, *, jobs: int, batch: int, task: str) -> None:
    async def run() -> None:
        async with AsyncClient(address) as client:
            room = asyncio.Semaphore(WINDOW)

            async def one(count: int) -> None:
                try:
                    await client.submit_many([(task, {})] * count)
                finally:
                    room.release()

            async with asyncio.TaskGroup() as group:
                for start in range(0, jobs, batch):
                    await room.acquire()
                    group.create_task(one(min(batch, jobs - start)))

    run_fast(run())


def submit_singly(address: str, *, jobs: int, coroutines: int, task: str) -> float:
    """One `submit` per call from many coroutines; returns calls per second."""

    async def run() -> float:
        async with AsyncClient(address) as client:

            async def worker(count: int) -> None:
                for _ in range(count):
                    await client.submit(task, {})

            began = time.monotonic()
            await asyncio.gather(*(worker(jobs // coroutines) for _ in range(coroutines)))
            return jobs // coroutines * coroutines / (time.monotonic() - began)

    return run_fast(run())


def run_fast(coroutine: Any) -> Any:
    import uvloop

    return uvloop.run(coroutine)


def until_recorded(node: Running, target: int) -> float:
    """The monotonic time at which all were finished and their records written."""
    with Client(node.address) as client:
        while True:
            stats = client.stats()
            if finished_count(stats) >= target and stats["backlog"]["count"] == 0:
                return time.monotonic()
            time.sleep(POLL_S)


def drain(node: Running, *, jobs: int, batch: int) -> dict[str, float]:
    """A full queue, workers only."""
    with Client(node.address) as client:
        client.pause("default")
        submit_all(node.address, jobs=jobs, batch=batch, task="noop")
        target = finished_count(client.stats()) + jobs
        before, began = node.cpu(), time.monotonic()
        client.resume("default")
        finished_s = until_recorded(node, target) - began
    after = node.cpu()
    cost = {name: (after[name] - before[name]) / jobs * 1e6 for name in after}
    return {"jobs_per_s": jobs / finished_s, **{f"{name}_us": v for name, v in cost.items()}, "total_us": sum(cost.values())}


def singles(node: Running, *, jobs: int, coroutines: int) -> dict[str, float]:
    """Into the queue only: the queue is paused."""
    with Client(node.address) as client:
        client.pause("default")
        producer_before, before = time.process_time(), cpu_s(node.pid)
        rate = submit_singly(node.address, jobs=jobs, coroutines=coroutines, task="noop")
        producer_us = (time.process_time() - producer_before) / jobs * 1e6
        node_us = (cpu_s(node.pid) - before) / jobs * 1e6
        client.purge("default")
        client.resume("default")
        until_recorded(node, 0)  # the records of what was purged are no part of the next round
    return {"submits_per_s": rate, "producer_us": producer_us, "node_us": node_us}


def rounds(run: Any, count: int) -> dict[str, dict[str, float]]:
    """`run` so many times: per figure the median, the least and the most."""
    return spread([run() for _ in range(count)])


def in_turn(run: Any, other: Any, count: int) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Both so many times, one after the other: what the machine does meanwhile, it does to both."""
    pairs = [(run(), other()) for _ in range(count)]
    return [first for first, _ in pairs], [second for _, second in pairs]


def spread(results: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "median": statistics.median(result[name] for result in results),
            "min": min(result[name] for result in results),
            "max": max(result[name] for result in results),
        }
        for name in results[0]
    }


if __name__ == "__main__":
    with running_node(worker_processes="2", worker_count=sys.argv[1] if len(sys.argv) > 1 else "2") as one:
        sustained(one, jobs=20_000, batch=100)
        for _ in range(3):
            print({name: round(value, 1) for name, value in sustained(one, jobs=100_000, batch=100).items()})
