"""The receiver of a worker process: a thread that takes the node's messages, so that they are heard while a task runs.

Jobs go into one deque. Whoever pops a job owns it: a runner, which then runs it, or this thread, which gives it back. There is no other
lock around it, and no job can be both run and returned.

The thread sleeps until a message comes. While results wait behind a running job it wakes every FLUSH_S to send them, and while tasks may
report progress every PROGRESS_S.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import zmq

from ..errors import WireError
from ..job import StoredJob
from ..log import configure
from ..wire.codec import decode_to_worker
from ..wire.messages import Recall, Run, SetLog, StopJobs
from .outbox import FLUSH_S, PROGRESS_S, Outbox

EX_SOFTWARE = 70

log = logging.getLogger(__name__)

Inbound = deque[tuple[int, StoredJob]]
"""(fence, job), oldest first."""


def take_all(inbound: Inbound) -> list[tuple[int, StoredJob]]:
    """From any thread."""
    taken = []
    while True:
        try:
            taken.append(inbound.popleft())
        except IndexError:
            return taken


class Runner(Protocol):
    """Runs what is in the deque, in the main thread or in threads of its own. Once the lease has ended (`MarkFile.lease`) it starts
    nothing: what it takes then goes back with all the rest."""

    def run(self) -> None:
        """In the main thread: until `finish` was called and everything that was started has ended."""

    def feed(self) -> None:
        """There may be something new in the deque. From any thread."""

    def stop_jobs(self, ids: Sequence[bytes]) -> None:
        """Cancel those of these that run here, where the way they run allows it. From any thread."""

    def finish(self) -> None:
        """Start nothing more. From any thread."""


class Inbox(threading.Thread):
    """`socket` belongs to this thread once it is started. `cancelled` is what tasks ask whether they should stop."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        inbound: Inbound,
        outbox: Outbox,
        runner: Runner,
        *,
        cancelled: set[bytes],
        reports_progress: bool,
    ) -> None:
        super().__init__(name="inbox", daemon=True)
        self._socket, self._inbound, self._outbox, self._runner = socket, inbound, outbox, runner
        self._cancelled, self._reports_progress = cancelled, reports_progress
        self._accepted_count = 0
        self._is_stopping = False

    def run(self) -> None:
        try:
            self._listen()
        except zmq.ContextTerminated:
            self._socket.close(linger=0)
        except BaseException:
            # A process that hears nothing more would keep its jobs for ever. Its end gives them back.
            log.exception("worker.deaf")
            os._exit(EX_SOFTWARE)

    def _listen(self) -> None:
        while True:
            pause_ms = self._pause_ms()
            if pause_ms is None or self._socket.poll(pause_ms):
                self._receive()
            else:
                self._outbox.flush()
            if self._reports_progress:
                self._outbox.flush_progress()

    def _pause_ms(self) -> int | None:
        """A runner that finds the deque empty flushes by itself; so this thread must look only at what waits behind a running job."""
        if self._inbound or self._outbox.results:
            return int(FLUSH_S * 1000)
        if self._reports_progress and self._outbox.settled_count < self._accepted_count:
            return int(PROGRESS_S * 1000)
        return None

    def _receive(self) -> None:
        try:
            message = decode_to_worker(self._socket.recv())
        except WireError:  # the node would be broken; its jobs come back to it when it ends this process
            return
        if isinstance(message, Run):
            fence = message.fence
            self._accepted_count += len(message.jobs)
            if self._cancelled:  # told too late for a former run of the same job
                self._cancelled.difference_update([job.spec.id for job in message.jobs])
            self._inbound.extend([(fence, job) for job in message.jobs])
            self._runner.feed()
            if self._is_stopping:
                self._give_back(self._take_all())
        elif isinstance(message, Recall):
            self._give_back(self._take_all())
        elif isinstance(message, StopJobs):
            self._stop_jobs(message.ids)
        elif isinstance(message, SetLog):
            configure(message.level, message.format)
        else:
            self._is_stopping = True
            self._give_back(self._take_all())
            self._runner.finish()

    def _stop_jobs(self, ids: Sequence[bytes]) -> None:
        wanted = set(ids)
        taken = self._take_all()
        stopped = [item for item in taken if item[1].spec.id in wanted]
        self._inbound.extend([item for item in taken if item[1].spec.id not in wanted])
        self._runner.feed()
        running = wanted.difference([job.spec.id for _, job in stopped])
        self._cancelled.update(running)
        self._runner.stop_jobs(list(running))
        if stopped:
            self._give_back(stopped)

    def _take_all(self) -> list[tuple[int, StoredJob]]:
        return take_all(self._inbound)

    def _give_back(self, items: list[tuple[int, StoredJob]]) -> None:
        self._outbox.give_back([job.spec.id for _, job in items])
