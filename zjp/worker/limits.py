"""Soft time-outs of `def` tasks: SoftTimeout raised inside the running function, once, and never in whatever runs after it.

In the main thread a timer signal raises it. In other threads a clock thread sets it as that thread's pending exception; the interpreter
raises it at its next instruction. Neither reaches a function that is inside C code: that is what the hard limit is for.

Only jobs that have a soft limit come here. (An `async def` task is cancelled by its loop instead.)
"""

from __future__ import annotations

import ctypes
import heapq
import queue
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from ..task import SoftTimeout

SWEEP_AT = 1024


class AlarmLimit:
    """For the main thread."""

    def __init__(self) -> None:
        self._is_armed = False

    def call(self, limit_s: float, function: Callable[[], Any]) -> Any:
        """Raises: SoftTimeout, and whatever `function` raises."""
        signal.signal(signal.SIGALRM, self._ring)  # each time: a task may have left a handler of its own, or none, which would kill
        self._is_armed = True
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        try:
            return function()
        finally:
            self._is_armed = False  # first: from here on a late signal does nothing
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, signum: int, frame: object) -> None:
        if self._is_armed:
            self._is_armed = False
            raise SoftTimeout("the soft limit has passed")


class _Watch:
    """One running function. `claims` holds one item: whoever pops it, the clock or the function's end, has won."""

    __slots__ = ("claims", "fired", "thread_id")

    def __init__(self, thread_id: int) -> None:
        self.thread_id = thread_id
        self.claims = [None]
        self.fired = threading.Event()


class ThreadLimits:
    """For all other threads. The clock thread starts with the first use."""

    def __init__(self) -> None:
        self._added: queue.SimpleQueue[tuple[float, int, _Watch]] = queue.SimpleQueue()
        self._clock: threading.Thread | None = None
        self._lock = threading.Lock()
        self._count = 0

    def call(self, limit_s: float, function: Callable[[], Any]) -> Any:
        """Raises: SoftTimeout, and whatever `function` raises."""
        watch = _Watch(threading.get_ident())
        self._add(time.monotonic() + limit_s, watch)
        try:
            return function()
        finally:
            # Wherever in here the exception arrives, it leaves as the function's own: the caller expects it.
            if not watch.claims or not _pop(watch.claims):
                watch.fired.wait()
                _set_exception(watch.thread_id, None)  # still pending: the function was faster, or swallowed nothing

    def _add(self, deadline: float, watch: _Watch) -> None:
        with self._lock:
            self._count += 1
            if self._clock is None:
                self._clock = threading.Thread(target=self._run, name="soft-limits", daemon=True)
                self._clock.start()
            self._added.put((deadline, self._count, watch))

    def _run(self) -> None:
        waiting: list[tuple[float, int, _Watch]] = []
        while True:
            pause_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            try:
                heapq.heappush(waiting, self._added.get(timeout=pause_s))
            except queue.Empty:
                _fire(heapq.heappop(waiting)[2])
            if (
                len(waiting) >= SWEEP_AT and not self._count % SWEEP_AT
            ):  # short functions under a long limit leave entries behind
                waiting = [entry for entry in waiting if entry[2].claims]
                heapq.heapify(waiting)


def _fire(watch: _Watch) -> None:
    if _pop(watch.claims):
        _set_exception(watch.thread_id, SoftTimeout)
        watch.fired.set()


def _pop(claims: list[None]) -> bool:
    try:
        claims.pop()
    except IndexError:
        return False
    return True


def _set_exception(thread_id: int, kind: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread_id), ctypes.py_object(kind) if kind is not None else None
    )
