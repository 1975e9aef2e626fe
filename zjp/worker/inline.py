"""The runner of a process with one slot and no `async def` task: jobs run one after the other in the main thread, with nothing around them.

This is the fastest way to run short jobs: between two of them there is no switch of threads, no lock and no system call.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence

from .call import Caller
from .inbox import Inbound, take_all
from .limits import AlarmLimit
from .marks import UNTIL, MarkFile
from .outbox import FLUSH_S, RESULTS_MAX, Outbox


class InlineRunner:
    def __init__(self, inbound: Inbound, outbox: Outbox, caller: Caller, marks: MarkFile) -> None:
        self._inbound, self._outbox, self._caller, self._marks = inbound, outbox, caller, marks
        self._alarm = AlarmLimit()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_finishing = False

    def run(self) -> None:
        take, wake, outbox, mark = self._inbound.popleft, self._wake, self._outbox, self._marks.mark
        call, limited, results, lease = self._caller.call, self._alarm.call, self._outbox.results, self._marks.lease
        now = time.monotonic()
        while True:
            try:
                fence, job = take()
            except IndexError:
                outbox.flush()
                self._marks.clear(0)
                if self._is_finishing:
                    return
                wake.get()
                now = time.monotonic()
                continue
            if now > lease[UNTIL]:
                outbox.give_back([job.spec.id, *[other.spec.id for _, other in take_all(self._inbound)]])
                continue
            mark(0, job.spec.id, fence)
            results.append(call(fence, job, limited))
            # The mark stays until the next job's takes its place: a job that is reported is no longer held, so it is never charged.
            now = time.monotonic()
            if len(results) >= RESULTS_MAX or now - outbox.flushed_at > FLUSH_S:
                outbox.flush()

    def feed(self) -> None:
        self._wake.put(None)

    def stop_jobs(self, ids: Sequence[bytes]) -> None:
        """A function in the main thread can only look at its context."""

    def finish(self) -> None:
        self._is_finishing = True
        self._wake.put(None)
