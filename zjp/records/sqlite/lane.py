"""A thread that does what a loop asks for, all that has gathered at once. Knows nothing of SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Call:
    """Something to be done, and what came of it: `handle` of the lane sees that `run` is called, and sets `error` where that raised."""

    __slots__ = ("_deed", "error", "future", "loop", "result")

    def __init__(self, deed: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self._deed = deed
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        self.result = self._deed()

    def settle(self) -> None:
        if self.future.done():
            return  # whoever asked was cancelled meanwhile
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Lane:
    """`handle` gets the calls in the order they came, on the lane's thread, and must not raise.

    The thread is a daemon: a loop that died without closing its stores must not keep the process.
    """

    def __init__(self, name: str, handle: Callable[[Sequence[Call]], None]) -> None:
        self._handle = handle
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        Thread(target=self._run, name=name, daemon=True).start()

    async def call(self, deed: Callable[[], T]) -> T:
        call = Call(deed, asyncio.get_running_loop())
        self._calls.put(call)
        result: T = await call.future
        return result

    def stop(self) -> None:
        """After what was asked for so far."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            calls = self._gather(call)
            self._handle(calls)
            try:
                call.loop.call_soon_threadsafe(_settle, calls)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

    def _gather(self, call: Call) -> Sequence[Call]:
        calls = [call]
        try:
            while (another := self._calls.get_nowait()) is not None:
                calls.append(another)
            self._calls.put(None)
        except Empty:
            pass
        return calls


def _settle(calls: Sequence[Call]) -> None:
    for call in calls:
        call.settle()
