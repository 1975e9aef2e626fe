"""Stores with a planted bug, each a small change of the real one: what the checker must be seen to catch.

    fence-off        claims have one number for all, and an outcome counts whoever brings it
    ack-before-run   a job is finished when it is claimed
    wall-lease       leases are judged by the wall clock, and their holder is not told of the loss. The nemesis moves that clock (`clock`
                     in the run's folder, in seconds)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from zjp.job import JobState, Record
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.queue.store import Claim, Outcome, OutcomeKind, QueueStore, Renewal

STORE_VARIABLE = "CHAOS_STORE"
CLOCK_FILE = "clock"
ANY_FENCE = 1


class FenceOff(SQLiteQueueStore):
    async def claim(self, count: int, weights: Mapping[str, int]) -> Claim:
        return msgspec.structs.replace(await super().claim(count, weights), fence=ANY_FENCE)

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bytes]:
        for outcome in outcomes:
            holder = self._state.find_claim(outcome.job.spec.id)
            if holder is not None:
                outcome.fence = holder.fence
        refused = await super().finish(outcomes)
        for outcome in outcomes:
            outcome.fence = ANY_FENCE
        return refused


class AckBeforeRun(SQLiteQueueStore):
    async def claim(self, count: int, weights: Mapping[str, int]) -> Claim:
        claim = await super().claim(count, weights)
        now_ms = time.time_ns() // 1_000_000
        done = [Outcome(claim.fence, job, OutcomeKind.FINISH, Record(job, JobState.COMPLETED, now_ms)) for job in claim.jobs]
        await super().finish(done)
        return claim


class WallLease(SQLiteQueueStore):
    def __init__(self, *arguments: Any, folder: Path, **options: Any) -> None:
        super().__init__(*arguments, now_s=lambda: time.time() + read_clock(folder), **options)

    async def renew(self, progress: Mapping[bytes, bytes]) -> Renewal:
        return msgspec.structs.replace(await super().renew(progress), alive=True)


def move_clock(folder: Path, by_s: float) -> None:
    path = folder / CLOCK_FILE
    aside = path.with_suffix(".new")
    aside.write_text(repr(read_clock(folder) + by_s))
    aside.rename(path)


def read_clock(folder: Path) -> float:
    """By how much the wall clock was moved so far."""
    try:
        return float((folder / CLOCK_FILE).read_text())
    except FileNotFoundError:
        return 0.0


def _plain(kind: type[SQLiteQueueStore]) -> Callable[..., QueueStore]:
    return lambda folder, *arguments, **options: kind(*arguments, **options)


STORES: Mapping[str, Callable[..., QueueStore]] = {
    "": _plain(SQLiteQueueStore),
    "fence-off": _plain(FenceOff),
    "ack-before-run": _plain(AckBeforeRun),
    "wall-lease": lambda folder, *arguments, **options: WallLease(*arguments, folder=folder, **options),
}
