"""Results and progress on their way from a worker process to the node: gathered, then sent as few messages.

Runners append results; whoever finds nothing more to run calls `flush`, and so does the receiver every FLUSH_S while results wait behind a
long job. So a lone job's result leaves at once, and short jobs share a message. The socket is used under one lock only.
"""

from __future__ import annotations

import threading
import time

import zmq

from ..task import check_progress
from ..wire.codec import encode_worker
from ..wire.messages import FromWorker, Progress, Result, Results, Returned
from .call import PLAIN, pack_plain

RESULTS_MAX = 256
FLUSH_S = 0.02
PROGRESS_S = 0.2
"""Between two messages of progress; only the latest of each job is sent."""
MESSAGE_BYTES = 4 << 20
"""More results than this go one by one: a message has a limit, which one result alone never reaches."""


class Outbox:
    """`results` is appended to by runners; everything else is done by the methods. Safe for all threads."""

    def __init__(self, socket: zmq.Socket[bytes], worker: str) -> None:
        self.results: list[Result] = []
        self.settled_count = 0
        """Jobs whose result was sent, or that went back."""
        self.flushed_at = 0.0
        self._socket, self._worker = socket, worker
        self._lock = threading.Lock()
        self._progress: dict[bytes, bytes] = {}
        self._progress_at = 0.0
        self._is_closed = False

    def flush(self) -> None:
        """Send what there is."""
        with self._lock:
            # Runners go on appending meanwhile: a copy of the front, then its removal, loses nothing.
            batch = self.results[:]
            self.flushed_at = time.monotonic()
            if not batch:
                return
            del self.results[: len(batch)]
            if sum([len(result.data) for result in batch]) <= MESSAGE_BYTES:
                self._send(Results(self._worker, batch))
            else:
                for result in batch:
                    self._send(Results(self._worker, [result]))
            self.settled_count += len(batch)

    def send(self, message: FromWorker) -> None:
        with self._lock:
            self._send(message)

    def give_back(self, ids: list[bytes]) -> None:
        with self._lock:
            self._send(Returned(self._worker, ids))
            self.settled_count += len(ids)

    def progress(self, job_id: bytes, progress: dict[str, object]) -> None:
        """Note the latest; sent now if the last message is long enough ago, else by `flush_progress`. Raises: TypeError, ValueError."""
        try:
            packed = pack_plain(progress)
        except (ValueError, OverflowError, TypeError) as fault:
            raise TypeError(f"the progress cannot be packed: {fault}; it may hold {PLAIN}") from None
        self._progress[job_id] = check_progress(packed)
        self.flush_progress()

    def forget_progress(self, job_id: bytes) -> None:
        """Its attempt has ended, and its result is not in `results` yet: nothing more is sent that could be taken for the next one's."""
        with self._lock:
            self._progress.pop(job_id, None)

    def flush_progress(self) -> None:
        now = time.monotonic()
        with self._lock:
            if self._progress and now - self._progress_at >= PROGRESS_S:
                self._progress_at = now
                sent, self._progress = self._progress, {}
                self._send(Progress(self._worker, sent))

    def close(self) -> None:
        """Send what there is; nothing is sent any more after this."""
        self.flush()
        with self._lock:
            self._is_closed = True
            self._socket.close()

    def _send(self, message: FromWorker) -> None:
        if not self._is_closed:
            self._socket.send(encode_worker(message))
