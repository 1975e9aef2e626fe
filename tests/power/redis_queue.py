"""The queue in Redis, whose server has its folder on the disk that loses its power; no node, the store alone.

Records are none: a finished job stays in the outbox, so that what comes back of it is what Redis kept.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.redis_server import RedisServer
from tests.power.ledger import Ledger
from tests.power.redis_asking import WORKER, Asker, Producer, Worker, life, outcome_of, work
from tests.power.system import DoesNotStart
from zjp.job import format_id, parse_id
from zjp.queue.store import SubmitKind
from zjp.wire.messages import Durability

PRODUCERS = 3
LOOK_MAX = 500
REPEATED_MAX = 5
IDLE_LOOK_S = 0.1
LOOKER = "looker"


class RedisQueue:
    """`appendfsync`: always or everysec."""

    def __init__(self, appendfsync: str) -> None:
        self._options = {"appendonly": "yes", "appendfsync": appendfsync, "save": ""}
        self._server: RedisServer | None = None

    def start(self, disk: Path) -> None:
        folder = disk / "redis"
        folder.mkdir(exist_ok=True)
        self._server = RedisServer(options=self._options, folder=folder)
        try:
            self._server.start()
        except TimeoutError as fault:
            raise DoesNotStart(str(fault)) from fault

    def begin(self, disk: Path) -> None:
        self.start(disk)

    def level(self) -> Durability:
        async def ask() -> Durability:
            async with life(self.url, LOOKER) as store:
                return store.level

        return asyncio.run(ask())

    def askers(self, ledger: Ledger, seed: str) -> list[Asker]:
        producers: list[Asker] = [Producer(self.url, f"producer-{number}", ledger, seed) for number in range(PRODUCERS)]
        return [*producers, Worker(self.url, WORKER, ledger, seed)]

    def strike(self) -> None:
        os.kill(self._running.pid, signal.SIGKILL)

    def die(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server = None

    def stop(self) -> list[str]:
        self.die()
        return []

    def check(self, disk: Path) -> list[str]:
        """Nothing: a torn end of the file is allowed, and Redis says at its start whether it can read the rest."""
        return []

    def look(self, jobs: Sequence[str]) -> dict[str, str]:
        async def ask() -> dict[str, str]:
            seen = {}
            async with life(self.url, LOOKER) as store:
                for at in range(0, len(jobs), LOOK_MAX):
                    part = jobs[at : at + LOOK_MAX]
                    found = await store.get([parse_id(job) for job in part])
                    seen.update({job: outcome_of(one) for job, one in zip(part, found, strict=True) if one is not None})
            return seen

        return asyncio.run(ask())

    def say_again(self, ledger: Ledger) -> list[str]:
        async def ask() -> list[str]:
            wrong = []
            async with life(self.url, LOOKER) as store:
                for request in ledger.repeatable[-REPEATED_MAX:]:
                    there = await store.get([spec.id for spec in request])
                    answers = await store.submit(request)
                    ledger.acknowledges([format_id(spec.id) for spec in request])
                    existed = [answer.kind is SubmitKind.EXISTED for answer in answers]
                    if existed != [one is not None for one in there]:
                        wrong.append(f"a request said again: {sum(existed)} jobs existed, {len(request) - there.count(None)} were there")
            return wrong

        wrong = asyncio.run(ask())
        ledger.repeatable.clear()
        return wrong

    def finish_all(self, jobs: Sequence[str], limit_s: float) -> None:
        asyncio.run(self._finish_all(time.monotonic() + limit_s))

    async def _finish_all(self, end: float) -> None:
        async with life(self.url, WORKER) as store:
            while True:
                outcomes, claim = await work(store)
                if len(outcomes) < len(claim.jobs):
                    raise TimeoutError(f"{len(claim.jobs) - len(outcomes)} outcomes were refused to the holder of the claim")
                left = [one for one in await store.counts() if one.pending or one.scheduled or one.retrying or one.running]
                if not left:
                    return
                if time.monotonic() > end:
                    raise TimeoutError(f"not finished: {left}")
                if not claim.jobs:
                    await asyncio.sleep(min(IDLE_LOOK_S, claim.next_due_s or IDLE_LOOK_S))

    @property
    def url(self) -> str:
        return self._running.unix_url

    @property
    def _running(self) -> RedisServer:
        assert self._server is not None, "not started"
        return self._server
