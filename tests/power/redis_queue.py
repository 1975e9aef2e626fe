"""A Redis server whose folder is on the disk that loses its power, driven by the scripts of redis_door.py.

It stands here for the queue store until that is driven through a node; what is tested is what its acknowledgements are worth.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from scripts.redis_server import RedisServer
from tests.power.ledger import Ledger
from tests.power.redis_door import FAULTS, Door, door
from tests.power.system import DoesNotStart
from zjp.job import format_id, make_id
from zjp.wire.messages import Durability

REQUEST_MAX = 100
PAUSE_MAX_S = 0.01
PRODUCERS = 3
REPEATED_MAX = 5


class _Asker(threading.Thread):
    def __init__(self, server: RedisServer, ledger: Ledger, seed: str) -> None:
        super().__init__(daemon=True)
        self.ends = threading.Event()
        self.failure: BaseException | None = None
        self._server, self._ledger = server, ledger
        self._draw = random.Random(seed)

    def run(self) -> None:
        try:
            with door(self._server) as opened:
                while not self.ends.wait(self._draw.uniform(0.0, PAUSE_MAX_S)):
                    self._ask(opened)
        except FAULTS:
            pass  # the power is gone
        except BaseException as fault:
            self.failure = fault

    def _ask(self, redis: Door) -> None:
        raise NotImplementedError


class _Producer(_Asker):
    _counter = 0

    def _ask(self, redis: Door) -> None:
        count = min(REQUEST_MAX, 1 + int(self._draw.expovariate(1 / 30)))
        ids = [self._make_id() for _ in range(count)]
        self._ledger.asks(ids)
        self._ledger.repeatable.append([{"id": job} for job in ids])
        try:
            redis.submit(ids)
        except FAULTS:
            self._ledger.leaves_open(ids)
            raise
        self._ledger.acknowledges(ids)

    def _make_id(self) -> str:
        self._counter += 1
        return format_id(make_id(time.time_ns() // 1_000_000, self._draw.getrandbits(42), self._counter))


class _Worker(_Asker):
    def _ask(self, redis: Door) -> None:
        if outcomes := redis.work():
            self._ledger.tells(outcomes)


class RedisQueue:
    """`appendfsync`: always or everysec."""

    def __init__(self, appendfsync: str) -> None:
        self._options = {"appendonly": "yes", "appendfsync": appendfsync, "save": "", "aof-load-truncated": "yes"}
        self._server: RedisServer | None = None

    def start(self, disk: Path) -> None:
        folder = disk / "redis"
        folder.mkdir(exist_ok=True)
        self._server = RedisServer(options=self._options, folder=folder)
        try:
            self._server.start()
        except TimeoutError as fault:
            raise DoesNotStart(str(fault)) from fault
        with door(self._running) as redis:
            redis.release_all()

    def level(self) -> Durability:
        with door(self._running) as redis:
            return redis.level()

    def begin(self, disk: Path) -> None:
        self.start(disk)

    def askers(self, ledger: Ledger, seed: str) -> list[_Asker]:
        producers: list[_Asker] = [_Producer(self._running, ledger, f"{seed} p{index}") for index in range(PRODUCERS)]
        return [*producers, _Worker(self._running, ledger, f"{seed} w")]

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
        with door(self._running) as redis:
            return redis.look(jobs)

    def say_again(self, ledger: Ledger) -> list[str]:
        wrong = []
        with door(self._running) as redis:
            for request in ledger.repeatable[-REPEATED_MAX:]:
                ids = [str(job["id"]) for job in request]
                missing = sorted(set(ids) - redis.look(ids).keys())
                made = sorted(redis.submit(ids))
                ledger.acknowledges(ids)
                if made != missing:
                    wrong.append(f"a request said again made {len(made)} jobs, {len(missing)} were missing")
        ledger.repeatable.clear()
        return wrong

    def finish_all(self, jobs: Sequence[str], limit_s: float) -> None:
        end = time.monotonic() + limit_s
        done: set[str] = set()
        with door(self._running) as redis:
            while outcomes := redis.work():
                if twice := done & outcomes.keys():
                    raise TimeoutError(f"{len(twice)} jobs stood in the queue twice")
                if time.monotonic() > end:
                    raise TimeoutError(f"the queue is not empty after {limit_s:g} s")
                done |= outcomes.keys()
            if left := redis.live_count():
                raise TimeoutError(f"nobody holds {left} jobs, and they do not wait either")

    @property
    def _running(self) -> RedisServer:
        assert self._server is not None, "not started"
        return self._server
