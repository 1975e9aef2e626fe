"""How evenly the four strategies load real worker processes: the table of docs/load-balancing.md.

    python -m benchmarks.load_balance [--processes 4] [--jobs 4000]

Three kinds of work, each handed out as credit allows: jobs that do nothing; jobs of 0.2 ms of which 2 % take 50 ms; and the
same with one type for both and one job in five at priority 9. `skew`: how much more the busiest process was given than the mean
(0 % is even). `wait p99`: how long jobs waited in a process before they started. `handed back`: claimed, but then there was no
room, or they had waited behind a long one for 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgpack
import uvloop

from zjp.balance import Balancer
from zjp.job import JobSpec, StoredJob, make_id
from zjp.task import Definition, Registry
from zjp.wire.messages import Result
from zjp.worker.pool import Pool, PoolSettings

LONG_MS, SHORT_MS, LONG_SHARE = 50.0, 0.2, 0.02
NOOP_TIMES = 50
"""So many more of those that do nothing, or it is over before all processes have had the processor."""


def rest(ms: float) -> None:
    """Wait, as for a database: many processes can do so on few cores."""
    if ms:
        time.sleep(ms / 1000)


app = Registry()
app.add(Definition("short", rest))
app.add(Definition("long", rest))
app.add(Definition("rest", rest))


def nothing(draw: random.Random) -> tuple[str, float, int]:
    return "rest", 0.0, 5


def told_apart(draw: random.Random) -> tuple[str, float, int]:
    return ("long", LONG_MS, 5) if draw.random() < LONG_SHARE else ("short", SHORT_MS, 5)


def surprising(draw: random.Random) -> tuple[str, float, int]:
    return "rest", LONG_MS if draw.random() < LONG_SHARE else SHORT_MS, 9 if draw.random() < 0.2 else 5


WORK: dict[str, Callable[[random.Random], tuple[str, float, int]]] = {
    "no-op": nothing,
    "2 % long, a type of their own": told_apart,
    "2 % long, same type, 20 % urgent": surprising,
}


class Found(NamedTuple):
    skew: float
    shares: str
    makespan_ms: float
    wait_p99_ms: float
    urgent_p99_ms: float | None
    returned: int


class Run:
    def __init__(self, strategy: str, processes: int, jobs: list[StoredJob]) -> None:
        self._jobs, self._total = deque(jobs), len(jobs)
        self._fence = self._returned = 0
        self._at: dict[bytes, float] = {}
        self._waits: list[tuple[int, float]] = []
        self._by_worker: Counter[str] = Counter()
        self._done = asyncio.Event()
        self._ready = asyncio.Event()
        self._processes = processes
        self.pool = Pool(
            PoolSettings(app="benchmarks.load_balance:app", slots=processes, processes=processes, strategy=strategy),
            on_ready=lambda tasks: None,
            on_results=self._on_results,
            on_returned=self._on_returned,
            on_crashed=lambda report: print(report.cause),
            on_progress=lambda progress: None,
            on_credit=self._on_credit,
        )

    async def measure(self) -> Found:
        await self.pool.start()
        await self._ready.wait()
        begun = time.perf_counter()
        self._hand_out()
        await self._done.wait()
        makespan_s = time.perf_counter() - begun
        skew = self.pool.skew()
        await self.pool.stop(1.0)
        urgent = [wait for priority, wait in self._waits if priority >= 8]
        return Found(
            skew,
            "/".join(f"{count * 100 / self._total:.0f}" for _, count in sorted(self._by_worker.items())),
            makespan_s * 1000,
            p99([wait for _, wait in self._waits]) * 1000,
            p99(urgent) * 1000 if urgent else None,
            self._returned,
        )

    def _on_credit(self) -> None:
        if sum(state.state == "ready" for state in self.pool.states()) == self._processes:
            self._ready.set()
        if self._at:
            self._hand_out()

    def _hand_out(self) -> None:
        while self._jobs and (count := self.pool.credit()) > 0:
            lot = [self._jobs.popleft() for _ in range(min(count, len(self._jobs)))]
            self._fence += 1
            now = time.time()
            self._at.update((job.spec.id, now) for job in lot)
            self.pool.dispatch(self._fence, lot)

    def _on_returned(self, items: Sequence[tuple[StoredJob, int]]) -> None:
        self._returned += len(items)
        self._jobs.extendleft(job for job, _ in reversed(items))

    def _on_results(self, worker: str, items: Sequence[tuple[StoredJob, int, Result]]) -> None:
        self._by_worker[worker] += len(items)
        self._waits += [
            (job.spec.priority, result.started_us / 1e6 - self._at[job.spec.id]) for job, _, result in items
        ]
        self._hand_out()
        if len(self._waits) == self._total:
            self._done.set()


def p99(waits: list[float]) -> float:
    return statistics.quantiles(waits, n=100)[98]


def make_jobs(work: Callable[[random.Random], tuple[str, float, int]], count: int) -> list[StoredJob]:
    draw = random.Random(1)
    made = []
    for number in range(count):
        task, ms, priority = work(draw)
        spec = JobSpec(make_id(1_700_000_000_000, 1, number), task, msgpack.packb({"ms": ms}), priority=priority)
        made.append(StoredJob(spec, 1_700_000_000_000))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=4000)
    chosen = parser.parse_args()
    print(
        "| work | strategy | share of each process, % | skew | makespan, ms | wait p99, ms | of urgent ones, ms | handed back |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, work in WORK.items():
        for strategy in Balancer.STRATEGIES:
            jobs = make_jobs(work, chosen.jobs * (NOOP_TIMES if work is nothing else 1))
            found = uvloop.run(Run(strategy, chosen.processes, jobs).measure())
            urgent = "" if found.urgent_p99_ms is None else f"{found.urgent_p99_ms:.1f}"
            print(
                f"| {name} | {strategy} | {found.shares} | {found.skew:.1%} | {found.makespan_ms:.0f} "
                f"| {found.wait_p99_ms:.1f} | {urgent} | {found.returned} |"
            )


if __name__ == "__main__":
    main()
