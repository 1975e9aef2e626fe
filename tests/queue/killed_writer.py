"""Submits and finishes jobs in the queue file named, and says what was acknowledged, until it is killed.

Lines: `submitted ID...` after a submit returned, `finished ID...` after a finish did.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence

from zjp.job import JobSpec, JobState, Record, make_id
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.queue.store import Life, Outcome, OutcomeKind


def say(what: str, ids: Sequence[bytes]) -> None:
    os.write(1, " ".join([what, *(job_id.hex() for job_id in ids)]).encode() + b"\n")


async def submit(store: SQLiteQueueStore, session: int) -> None:
    for count in range(0, 1 << 30, 20):
        specs = [JobSpec(make_id(time.time_ns() // 1_000_000, session, count + at), "noop", b"\x80") for at in range(20)]
        say("submitted", [answer.id for answer in await store.submit(specs)])


async def finish(store: SQLiteQueueStore) -> None:
    while True:
        claim = await store.claim(15, {"*": 1})
        await store.finish([Outcome(claim.fence, job, OutcomeKind.FINISH, Record(job, JobState.COMPLETED, 1)) for job in claim.jobs])
        say("finished", [job.spec.id for job in claim.jobs])
        await asyncio.sleep(0)


async def main() -> None:
    async def nothing(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
        return {}

    store = SQLiteQueueStore(
        sys.argv[1], lease_s=15, starvation_s=60, dedup_s=600, outbox_count_max=10**7, outbox_bytes_max=1 << 32, disk_reserve_bytes=0,
        finished=nothing,
    )  # fmt: skip
    await store.open(Life("killed", 1), {})
    session = int.from_bytes(os.urandom(5), "big")
    await asyncio.gather(submit(store, session), submit(store, session + 1), finish(store))


asyncio.run(main())
