"""The threads in which passwords are checked and hashed: two, and a short queue before them.

A check takes tens of milliseconds of one CPU and 19 MiB. Without a bound a few hundred logins at once would take the machine's memory and
every CPU from the jobs; so what does not fit into the queue is refused at once (503), whoever it is, and told how long the queue takes.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ... import passwords
from ..table import Problem

T = TypeVar("T")
THREADS, WAITING_MAX = 2, 16
CHECK_S = 0.1
"""What one takes, before the first was measured."""


class Hashing:
    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="zjp-passwords")
        self._under_way = 0
        self.done_count = 0
        """Checks and hashes so far."""
        self._one_s = CHECK_S

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def check_room(self) -> None:
        """Raises: Problem 503."""
        if self._under_way >= THREADS + WAITING_MAX:
            wait_s = max(1, math.ceil(self._under_way * self._one_s / THREADS))
            raise Problem(
                503, "Service Unavailable", f"too many logins at once; try again in {wait_s} s", headers={"Retry-After": str(wait_s)}
            )

    async def check(self, kept: str, password: str) -> bool:
        """Raises: Problem 503."""
        return await self._run(lambda: passwords.check(kept, password))

    async def make(self, password: str) -> str:
        """Raises: Problem 503."""
        return await self._run(lambda: passwords.make(password))

    async def _run(self, work: Callable[[], T]) -> T:
        self.check_room()
        self._under_way += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, self._measured, work)
        future.add_done_callback(self._on_done)
        return await asyncio.shield(future)

    def _measured(self, work: Callable[[], T]) -> T:
        """In a thread. The latest count most: the machine's load changes."""
        began = time.monotonic()
        try:
            return work()
        finally:
            self._one_s += (time.monotonic() - began - self._one_s) / 4

    def _on_done(self, future: asyncio.Future[T]) -> None:
        """Also of one that nobody waits for any more: what a thread has begun it ends."""
        self._under_way -= 1
        self.done_count += 1
        if not future.cancelled():
            future.exception()  # looked at, so that the loop does not complain of one that nobody wanted
