"""The runner of a process with several slots, or with `async def` tasks: threads for `def` tasks, one uvloop loop for the others.

A job needs a slot and is started by whoever has both:

    feed          (receiver)   takes a free slot, then a job, and hands both to a thread or to the loop
    a thread      (def)        that has ended a job takes the next from the deque for its slot; an `async def` one it passes to the loop
    the loop      (async)      the same, the other way round

An `async def` behind a plain decorator is called in a thread, as the decorator may run it there (asyncio.run). When it gives something to
await instead, the loop does that and the thread waits for it, as the job keeps its slot.

Deque and list of free slots are changed by single atomic operations only, and everyone who adds to one of them looks at the other
afterwards: so no job waits while a slot is free, and there is no lock. Threads are made when needed, at most one for each slot. Where the
system gives no more of them, jobs wait for those that there are.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import queue
import threading
import time
from collections.abc import Awaitable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

import uvloop

from ..job import StoredJob
from ..log import event
from ..task import SoftTimeout
from ..wire.messages import Result
from .call import Caller, Start, end_us, unpack
from .inbox import Inbound, take_all
from .limits import ThreadLimits
from .marks import UNTIL, MarkFile
from .outbox import FLUSH_S, RESULTS_MAX, Outbox

EX_OSERR = 71

log = logging.getLogger(__name__)

Placed = tuple[int, int, StoredJob]
"""(slot, fence, job)"""


class MixedRunner:
    def __init__(self, inbound: Inbound, outbox: Outbox, caller: Caller, marks: MarkFile, *, slots: int) -> None:
        self._inbound, self._outbox, self._caller, self._marks, self._slots = inbound, outbox, caller, marks, slots
        self._free = list(range(slots - 1, -1, -1))
        on_loop = {name: task for name, task in caller.tasks.items() if task.is_async}
        self._async_names = frozenset(name for name, task in on_loop.items() if not task.is_decorated)
        self._uses_loop = bool(on_loop)
        caller.settle = self._settle
        self._loop = uvloop.new_event_loop()
        self._tasks: dict[bytes, asyncio.Task[Any]] = {}
        self._flush_is_due = False
        self._to_threads: queue.SimpleQueue[Placed] = queue.SimpleQueue()
        self._limits = ThreadLimits()
        self._threads: list[threading.Thread] = []
        self._idle_threads: list[None] = []
        """As long as the number of those that wait for a job. (A semaphore does the same in Python, with a lock and a condition.)"""
        self._is_finishing = self._is_over = self._has_told_of_threads = False

    def run(self) -> None:
        while not self._is_over:
            try:
                self._loop.run_forever()
            except (
                SystemExit,
                KeyboardInterrupt,
            ) as fault:  # raised by something a task left running: asyncio lets only these two out
                event(log, logging.WARNING, "task.stray_exit", error=repr(fault))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._outbox.flush()

    def stop_jobs(self, ids: Sequence[bytes]) -> None:
        if self._uses_loop:
            self._loop.call_soon_threadsafe(self._cancel_tasks, ids)

    def finish(self) -> None:
        self._is_finishing = True
        self._end_if_done()

    # ── slots and jobs ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def feed(self) -> None:
        while self._inbound:
            try:
                slot = self._free.pop()
            except IndexError:
                return
            try:
                fence, job = self._inbound.popleft()
            except IndexError:
                self._free.append(slot)
                continue
            if not self._start(slot, fence, job):
                return

    def _start(self, slot: int, fence: int, job: StoredJob) -> bool:
        """False: it waits until a thread has nothing to do, which then feeds."""
        if job.spec.type in self._async_names:
            self._loop.call_soon_threadsafe(self._start_task, slot, fence, job)
        elif self._takes_idle_thread() or len(self._threads) >= self._slots or self._add_thread():
            self._to_threads.put((slot, fence, job))
        else:
            self._inbound.appendleft((fence, job))
            self._free.append(slot)
            return False
        return True

    def _takes_idle_thread(self) -> bool:
        try:
            self._idle_threads.pop()
        except IndexError:
            return False
        return True

    def _add_thread(self) -> bool:
        thread = threading.Thread(target=self._run_thread, name=f"slot-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as fault:
            if not self._has_told_of_threads:
                self._has_told_of_threads = True
                told = f"{fault}; raise the limit of threads or memory, or lower WORKER_COUNT"
                event(log, logging.ERROR, "worker.no_thread", slots=self._slots, threads=len(self._threads), reason=told)
            if not self._threads:
                os._exit(EX_OSERR)  # its jobs run elsewhere
            return False
        self._threads.append(thread)
        return True

    def _release(self, slot: int) -> None:
        self._free.append(slot)
        self.feed()
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._is_finishing and len(self._free) == self._slots:
            self._is_over = True
            self._loop.call_soon_threadsafe(self._loop.stop)

    # ── threads ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _run_thread(self) -> None:
        while True:
            self._run_jobs(*self._to_threads.get())
            self._idle_threads.append(None)
            if self._inbound:
                self.feed()

    def _run_jobs(self, slot: int, fence: int, job: StoredJob) -> None:
        """This job, and then on the same slot whatever is next while it is a `def` task."""
        outbox, mark, clear, take = self._outbox, self._marks.mark, self._marks.clear, self._inbound.popleft
        call, limited, lease = self._caller.call, self._limits.call, self._marks.lease
        now = time.monotonic()
        while True:
            if now > lease[UNTIL]:
                self._give_back(slot, job)
                return
            mark(slot, job.spec.id, fence)
            result = call(fence, job, limited)
            clear(slot)  # at once: while its result waits to be sent it no longer runs, so neither limit nor grace time may end it
            outbox.results.append(result)
            now = time.monotonic()
            if len(outbox.results) >= RESULTS_MAX or now - outbox.flushed_at > FLUSH_S:
                outbox.flush()
            try:
                fence, job = take()
            except IndexError:
                outbox.flush()
                self._release(slot)
                return
            if job.spec.type in self._async_names:
                self._loop.call_soon_threadsafe(self._start_task, slot, fence, job)
                return

    def _give_back(self, slot: int, job: StoredJob) -> None:
        """The lease has ended: this one, and all that waits, may be another node's by now."""
        self._outbox.give_back([job.spec.id, *[other.spec.id for _, other in take_all(self._inbound)]])
        self._outbox.flush()
        self._release(slot)

    def _settle(self, job: StoredJob, awaitable: Awaitable[Any], start: Start) -> Result:
        settled: Future[Result] = Future()
        self._loop.call_soon_threadsafe(self._start_settling, job, awaitable, start, settled)
        return settled.result()

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_task(self, slot: int, fence: int, job: StoredJob) -> None:
        if time.monotonic() > self._marks.lease[UNTIL]:
            self._give_back(slot, job)
            return
        task = self._tasks[job.spec.id] = self._loop.create_task(self._run_task(slot, fence, job))
        task.add_done_callback(partial(self._end_unbegun, slot, job))

    def _end_unbegun(self, slot: int, job: StoredJob, task: asyncio.Task[None]) -> None:
        """A task that is cancelled before its first step never comes to `_run_task`, which lets no other CancelledError out."""
        if task.cancelled() and self._tasks.get(job.spec.id) is task:  # not one that told itself to, and ended
            self._ended(self._unbegun(job, self._caller.start()), slot)

    def _unbegun(self, job: StoredJob, start: Start) -> Result:
        if job.spec.id in self._caller.cancelled:
            return self._caller.stopped(job, start, "the job was cancelled before it began")
        return self._caller.failed(job, asyncio.CancelledError(), start)

    async def _run_task(self, slot: int, fence: int, job: StoredJob) -> None:
        self._marks.mark(slot, job.spec.id, fence)
        spans = self._caller.spans
        running = None if spans is None else spans.begin(job)
        start = self._caller.start()
        try:
            result = await self._call(job, self._begin(fence, job), start)
        except BaseException as fault:
            result = self._caller.failed(job, fault, start)
        if spans is not None:
            spans.end(running, result)
        self._marks.clear(slot)
        self._ended(result, slot)

    def _start_settling(self, job: StoredJob, awaitable: Awaitable[Any], start: Start, settled: Future[Result]) -> None:
        task = self._tasks[job.spec.id] = self._loop.create_task(self._run_settling(job, awaitable, start))
        task.add_done_callback(partial(self._end_settling, job, awaitable, start, settled))
        if job.spec.id in self._caller.cancelled:  # while its decorator ran
            task.cancel()

    async def _run_settling(self, job: StoredJob, awaitable: Awaitable[Any], start: Start) -> Result:
        try:
            return await self._call(job, awaitable, start)
        except BaseException as fault:
            return self._caller.failed(job, fault, start)

    def _end_settling(
        self,
        job: StoredJob,
        awaitable: Awaitable[Any],
        start: Start,
        settled: Future[Result],
        task: asyncio.Task[Result],
    ) -> None:
        del self._tasks[job.spec.id]  # before the thread goes on: the job may come again
        if not task.cancelled():
            settled.set_result(task.result())
            return
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        settled.set_result(self._unbegun(job, start))

    def _begin(self, fence: int, job: StoredJob) -> Awaitable[Any]:
        caller = self._caller
        definition = caller.tasks[job.spec.type]
        payload = unpack(job.spec.payload)
        definition.check_payload(payload)
        context = (caller.context(fence, job),) if definition.takes_context else ()
        coroutine: Awaitable[Any] = definition.function(*context, **payload)
        return coroutine

    async def _call(self, job: StoredJob, awaitable: Awaitable[Any], start: Start) -> Result:
        caller = self._caller
        soft_s = caller.soft_limit_s(job)
        timer, limit = None, _Limit()
        if soft_s is not None:
            left_s = soft_s - (time.monotonic_ns() - start[1]) / 1e9
            timer = self._loop.call_later(max(0.0, left_s), self._pass_limit, job.spec.id, limit)
        try:
            value = await awaitable
        except asyncio.CancelledError as fault:
            if limit.has_passed:
                raise SoftTimeout().with_traceback(fault.__traceback__) from None
            if job.spec.id in caller.cancelled:
                return caller.stopped(job, start, "the job was cancelled while it ran")
            raise
        finally:
            if timer is not None:
                timer.cancel()
        return Result(job.spec.id, 0, start[0], end_us(start)) if value is None else caller.completed(job, value, start)

    def _pass_limit(self, job_id: bytes, limit: _Limit) -> None:
        limit.has_passed = True
        self._cancel_tasks([job_id])

    def _cancel_tasks(self, ids: Sequence[bytes]) -> None:
        for job_id in ids:
            task = self._tasks.get(job_id)
            if task is not None:
                task.cancel()

    def _ended(self, result: Result, slot: int) -> None:
        del self._tasks[result.id]
        if self._caller.cancelled:
            self._caller.cancelled.discard(result.id)
        if self._caller.reporting:
            self._caller.let_go(result.id)
        self._outbox.results.append(result)
        try:
            fence, job = self._inbound.popleft()
        except IndexError:
            self._flush_soon()
            self._release(slot)
            return
        if len(self._outbox.results) >= RESULTS_MAX or time.monotonic() - self._outbox.flushed_at > FLUSH_S:
            self._flush_soon()
        if job.spec.type in self._async_names:
            self._start_task(slot, fence, job)
        else:
            self._start(slot, fence, job)

    def _flush_soon(self) -> None:
        """Once for all tasks that end in this turn of the loop."""
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        self._outbox.flush()


class _Limit:
    __slots__ = ("has_passed",)

    def __init__(self) -> None:
        self.has_passed = False
