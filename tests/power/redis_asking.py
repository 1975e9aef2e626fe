"""Those who use the queue in Redis until its power goes: each a thread with a loop and a life of its own in the store.

Producers submit requests of up to a hundred and cancel some of what is to run later; a worker claims and finishes. What they are told goes
into the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from tests.power.ledger import Ledger
from zjp.errors import OutcomeUnknown, Unavailable
from zjp.job import JobSpec, JobState, Options, Record, format_id, make_id
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import CancelKind, Claim, Life, Live, Outcome, OutcomeKind

WORKER = "worker"
LEASE_S = 120.0
"""Longer than a cut and what follows: leases are not what is tested here."""
REQUEST_MAX = 100
CLAIM_MAX = 50
PAUSE_MAX_S = 0.01
LATER_SHARE, CANCELLED_SHARE = 0.1, 0.3
DELAY_MAX_MS = 1_500
CANCELLED = JobState.CANCELLED.value


async def _no_records(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    """Finished jobs stay in the outbox: what is there of them is then the store's own."""
    return {}


@contextlib.asynccontextmanager
async def life(url: str, node: str) -> AsyncIterator[RedisQueueStore]:
    """The next life of that node; what its former lives held comes back. It is let go without a word, as by kill -9."""
    store = RedisQueueStore(
        url, lease_s=LEASE_S, starvation_s=60.0, dedup_s=600.0, outbox_count_max=1_000_000, outbox_bytes_max=1 << 30, finished=_no_records
    )
    await store.open(Life(node, 1), {})
    try:
        yield store
    finally:
        await store.disconnect()


def outcome_of(found: Live | Record) -> str:
    """Empty while it has none."""
    if isinstance(found, Live):
        return ""
    return CANCELLED if found.state is JobState.CANCELLED else f"{found.state.value} {found.result!r}"


async def work(store: RedisQueueStore) -> tuple[dict[str, str], Claim]:
    """Claim some and finish them, each in a way of its own. (job -> outcome, as accepted; the claim)"""
    claim = await store.claim(CLAIM_MAX, {"*": 1})
    now_ms = time.time_ns() // 1_000_000
    records = [Record(job, JobState.COMPLETED, now_ms, secrets.token_bytes(8)) for job in claim.jobs]
    refused = await store.finish([Outcome(claim.fence, record.job, OutcomeKind.FINISH, record) for record in records])
    accepted = [record for record in records if record.job.spec.id not in refused]
    return {format_id(record.job.spec.id): outcome_of(record) for record in accepted}, claim


class Asker(threading.Thread):
    """Until `ends`, or until the store answers no more."""

    def __init__(self, url: str, node: str, ledger: Ledger, seed: str) -> None:
        super().__init__(name=node, daemon=True)
        self.ends = threading.Event()
        self.failure: BaseException | None = None
        self._url, self._node, self._ledger = url, node, ledger
        self._draw = random.Random(f"{seed} {node}")

    def run(self) -> None:
        try:
            asyncio.run(self._live())
        except (Unavailable, OutcomeUnknown):
            pass  # the power is gone
        except BaseException as fault:
            self.failure = fault

    async def _live(self) -> None:
        async with life(self._url, self._node) as store:
            while not self.ends.is_set():
                await asyncio.sleep(self._draw.uniform(0.0, PAUSE_MAX_S))
                await self._ask(store)

    async def _ask(self, store: RedisQueueStore) -> None:
        raise NotImplementedError


class Producer(Asker):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._session = self._draw.getrandbits(42)
        self._counter = 0

    async def _ask(self, store: RedisQueueStore) -> None:
        specs = [self._spec() for _ in range(min(REQUEST_MAX, 1 + int(self._draw.expovariate(1 / 30))))]
        ids = [format_id(spec.id) for spec in specs]
        self._ledger.asks(ids)
        self._ledger.repeatable.append(specs)
        try:
            await store.submit(specs)
        except (Unavailable, OutcomeUnknown):
            self._ledger.leaves_open(ids)
            raise
        self._ledger.acknowledges(ids)
        later = [spec.id for spec in specs if spec.options is not None]
        if later and self._draw.random() < CANCELLED_SHARE:
            (kind,) = await store.cancel(later[:1])
            if kind is CancelKind.CANCELLED:
                self._ledger.tells({format_id(later[0]): CANCELLED})

    def _spec(self) -> JobSpec:
        self._counter += 1
        is_later = self._draw.random() < LATER_SHARE
        options = Options(delay_ms=self._draw.randrange(100, DELAY_MAX_MS)) if is_later else None
        job_id = make_id(time.time_ns() // 1_000_000, self._session, self._counter)
        return JobSpec(job_id, "draw", b"\x80", priority=self._draw.randrange(1, 11), options=options)


class Worker(Asker):
    async def _ask(self, store: RedisQueueStore) -> None:
        outcomes, _ = await work(store)
        if outcomes:
            self._ledger.tells(outcomes)
