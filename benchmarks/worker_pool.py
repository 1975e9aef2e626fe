"""CPU microseconds per job of the worker pool alone: parent and worker processes, no store, no node.

    python -m benchmarks.worker_pool [--jobs 200000] [--batch 250] [--runs 5]

Jobs are handed out in batches as credit allows. The figures are CPU time (user and system, all threads), so other load on the machine shows
little in them; jobs/s is the wall clock and shows it all.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import msgpack
import uvloop

from zjp.job import JobSpec, StoredJob, make_id
from zjp.task import Definition, Registry
from zjp.wire.messages import Result
from zjp.worker.pool import Pool, PoolSettings

from .running import cpu_s


def noop(n: int) -> None:
    pass


async def async_noop(n: int) -> None:
    pass


plain = Registry()
plain.add(Definition("noop", noop))
mixed = Registry()
mixed.add(Definition("noop", noop))
mixed.add(Definition("async_noop", async_noop))


class Case(NamedTuple):
    name: str
    app: str
    task: str
    processes: int
    slots: int


CASES = [
    Case("2 processes x 1 slot, inline", "plain", "noop", 2, 2),
    Case("2 processes x 5 slots, threads", "plain", "noop", 2, 10),
    Case("2 processes x 5 slots, async", "mixed", "async_noop", 2, 10),
]


class Figures(NamedTuple):
    parent_us: float
    children_us: float
    jobs_per_s: float


class Bench:
    def __init__(self, case: Case, jobs: Sequence[StoredJob], batch: int) -> None:
        self._jobs, self._batch, self._case = jobs, batch, case
        self._next = self._done = self._fence = 0
        self._backlog: list[StoredJob] = []
        self._all_done = asyncio.Event()
        self._ready = asyncio.Event()
        self.pool = Pool(
            PoolSettings(app=f"benchmarks.worker_pool:{case.app}", slots=case.slots, processes=case.processes),
            on_ready=lambda tasks: None,
            on_results=self._on_results,
            on_returned=lambda items: self._backlog.extend(job for job, _ in items),
            on_crashed=lambda report: print(report.cause),
            on_progress=lambda progress: None,
            on_credit=self._on_credit,
        )

    async def run(self) -> Figures:
        await self.pool.start()
        await self._ready.wait()
        pids = [state.pid for state in self.pool.states()]
        before = time.process_time(), sum(map(cpu_s, pids)), time.perf_counter()
        self._hand_out()
        await self._all_done.wait()
        after = time.process_time(), sum(map(cpu_s, pids)), time.perf_counter()
        await self.pool.stop(1.0)
        parent_s, children_s, wall_s = (end - start for start, end in zip(before, after, strict=True))
        count = len(self._jobs)
        return Figures(parent_s / count * 1e6, children_s / count * 1e6, count / wall_s)

    def _on_credit(self) -> None:
        if sum(state.state == "ready" for state in self.pool.states()) == self._case.processes:
            self._ready.set()

    def _hand_out(self) -> None:
        while (count := min(self.pool.credit(), self._batch)) > 0:
            lot, self._backlog = self._backlog[:count], self._backlog[count:]
            if not lot:
                lot = list(self._jobs[self._next : self._next + count])
                self._next += len(lot)
            if not lot:
                return
            self._fence += 1
            self.pool.dispatch(self._fence, lot)

    def _on_results(self, worker: str, items: Sequence[tuple[StoredJob, int, Result]]) -> None:
        self._done += len(items)
        self._hand_out()
        if self._done == len(self._jobs):
            self._all_done.set()


def measure(case: Case, jobs: int, batch: int, runs: int) -> Figures:
    payload = msgpack.packb({"n": 1})
    stored = [
        StoredJob(JobSpec(make_id(1_700_000_000_000, 1, n), case.task, payload), 1_700_000_000_000) for n in range(jobs)
    ]
    all_runs = [uvloop.run(Bench(case, stored, batch).run()) for _ in range(runs)]
    return Figures(*(statistics.median(column) for column in zip(*all_runs, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    print(
        f"{'no-op jobs in batches of ' + str(chosen.batch):34} {'parent us':>10} {'workers us':>11} {'sum us':>7} {'jobs/s':>9}"
    )
    for case in CASES:
        found = measure(case, chosen.jobs, chosen.batch, chosen.runs)
        total_us = found.parent_us + found.children_us
        print(
            f"{case.name:34} {found.parent_us:10.2f} {found.children_us:11.2f} {total_us:7.2f} {found.jobs_per_s:9,.0f}"
        )


if __name__ == "__main__":
    main()
