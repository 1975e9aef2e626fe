"""The threads in which passwords are checked and hashed: two, and a short queue before them.

A check takes tens of milliseconds of one CPU and 19 MiB. Without a bound a few hundred logins at once would take the machine's memory and
every CPU from the jobs; so what does not fit into the queue is refused at once (503), whoever it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ... import passwords
from ..table import Problem

T = TypeVar("T")
THREADS, WAITING_MAX = 2, 16


class Hashing:
    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="zjp-passwords")
        self._under_way = 0
        self.done_count = 0
        """Checks and hashes so far."""

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def check_room(self) -> None:
        """Raises: Problem 503."""
        if self._under_way >= THREADS + WAITING_MAX:
            raise Problem(
                503, "Service Unavailable", "too many logins at once; try again", headers={"Retry-After": "1"}
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
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._on_done)
        return await asyncio.shield(future)

    def _on_done(self, future: asyncio.Future[T]) -> None:
        """Also of one that nobody waits for any more: what a thread has begun it ends."""
        self._under_way -= 1
        self.done_count += 1
        if not future.cancelled():
            future.exception()  # looked at, so that the loop does not complain of one that nobody wanted
