"""A fault on every n-th call of every operation that changes jobs, for both stores: the promises hold for all n."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sims.checkers import judge
from sims.history import Recorder, load
from sims.proxy import FaultProxy
from sims.recording import RecordingStore
from tests.chaos.nth_call import CALL_FAULTS, OPERATIONS, WIRE_FAULTS, FaultyStore, SmallLife
from tests.queue.making import LEASE_S, Bench, RedisBench, SQLiteBench

CALLS_MAX = 40
"""More than any operation has in a small life: a bound, no goal."""
JUDGED = {"C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8"}
CASES = [("sqlite", fault) for fault in CALL_FAULTS] + [("redis", fault) for fault in (*CALL_FAULTS, *WIRE_FAULTS)]


@asynccontextmanager
async def bench_of(kind: str, folder: Path) -> AsyncIterator[tuple[Bench, FaultProxy | None]]:
    bench: Bench
    if kind == "sqlite":
        bench = SQLiteBench(folder)
        yield bench, None
    else:
        bench = RedisBench(folder)
        async with FaultProxy("127.0.0.1", bench.server.port) as proxy:
            bench.url = "redis://{}:{}".format(*proxy.address)
            yield bench, proxy
            await bench.close()
    await bench.close()


def folder_of(tmp_path: Path, nth: int) -> Path:
    folder = tmp_path / str(nth)
    folder.mkdir()
    return folder


async def small_life(kind: str, folder: Path, operation: str, nth: int, fault: str) -> bool:
    """With that fault, judged. False: there was no such call."""
    async with bench_of(kind, folder) as (bench, proxy):
        with Recorder(folder / "life.jsonl", "life") as recorder:
            life = SmallLife(bench, recorder)
            faulty = FaultyStore(bench, operation, nth, fault, proxy)
            await life.live(RecordingStore(faulty, recorder, lease_ms=int(LEASE_S * 1000)))
            # What a lost answer left claimed goes back when the node begins its next life.
            last = FaultyStore(bench, operation, 0, fault)
            await life.live(RecordingStore(last, recorder, lease_ms=int(LEASE_S * 1000)))
            await life.end()
    verdict = judge(load([folder / "life.jsonl"]))
    broken = [finding for finding in verdict.findings if finding.violations and finding.id in JUDGED]
    assert not broken, f"call {nth}: {broken}"
    assert set(verdict.checked) >= JUDGED
    return faulty.count >= nth


@pytest.mark.covers("chaos:calls")
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(("kind", "fault"), CASES)
async def test_fault_on_any_call_breaks_no_promise(tmp_path: Path, kind: str, fault: str, operation: str) -> None:
    for nth in itertools.count(1):
        assert nth <= CALLS_MAX, "a small life does not end"
        if not await small_life(kind, folder_of(tmp_path, nth), operation, nth, fault):
            break
    assert nth > 2, f"{operation} is hardly called"
