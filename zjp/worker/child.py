"""The node's handle of one worker process: starting it, its socket, what it holds in numbers, killing it.

A handle is one *generation* of one seat: a process that died is replaced by a new handle with a new name, socket and mark file, so that
nothing sent to the dead one can reach its successor. Which jobs it holds, the pool knows; here is only their number and their cost.

    STARTING ──Ready──► READY ──StopWorker──► RETIRING ──exit──► GONE
        └────────────────┴────────exit, kill────────────────────►┘

The process leads a session and process group of its own: a kill takes along what its tasks started, and Ctrl-C in the node's terminal
does not reach it. Its stdin is a pipe from here that carries the settings and is then its life line: it closes when the node dies.
stdout and stderr are the node's own: nobody has to read them, so a task that prints a gigabyte blocks nothing here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from enum import Enum

import msgspec
import zmq
from msgspec import structs

from ..job import JobFault, StoredJob
from ..transport.pump import set_limits
from ..wire.codec import encode_worker
from ..wire.messages import Recall, Run, SetLog, ToWorker
from .credit import PREFETCH_US
from .environment import for_children
from .marks import MarkFile
from .settings import ChildSettings

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


RUN_BYTES_MAX = 4 << 20
"""Payload of one Run message: far below the limit of a message, so that no process must take in everything before it can start."""


NO_LIMIT = sys.maxsize


class Phase(Enum):
    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"
    GONE = "gone"


class Child:
    """One process. `load_us`: the cost of what it holds, `count` the number."""

    __slots__ = (
        "_before",
        "_pidfd",
        "_popen",
        "count",
        "done",
        "endpoint",
        "exit_code",
        "failed",
        "is_recalled",
        "is_silent",
        "is_stuck",
        "jobs_max",
        "killed_for",
        "load_us",
        "logs_as",
        "marks",
        "moved_at",
        "name",
        "overran",
        "overstayed",
        "phase",
        "pid",
        "retired_at",
        "rss_bytes",
        "running",
        "seat",
        "slots",
        "socket",
        "started_at",
        "stays_until",
        "stuck_at",
        "stuck_ticks",
        "was_ready",
    )

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        settings: ChildSettings,
        *,
        seat: str,
        jobs_max: int,
        before: Iterable[Child] = (),
    ) -> None:
        """`before`: those of its seat that have not ended yet. Raises: OSError when the system gives no process or no descriptor."""
        self.name, self.seat, self.slots = settings.worker, seat, settings.slots
        self.phase = Phase.STARTING
        self.jobs_max = jobs_max
        """It is replaced after so many; 0: never."""
        self._before = list(before)
        self.count = self.load_us = self.done = self.failed = self.rss_bytes = self.exit_code = 0
        self.is_recalled = self.was_ready = False
        self.is_silent = False
        """Ended or killed on our own account: no crash to tell of."""
        self.is_stuck = False
        """Killed as it did nothing any more: what it had begun may be why."""
        self.killed_for = ""
        self.logs_as = settings.log_level, settings.log_format
        self.overran: dict[bytes, JobFault] = {}
        """Jobs that it was killed for."""
        self.overstayed: dict[bytes, JobFault] = {}
        """The same, of cancelled ones."""
        self.running: dict[tuple[bytes, int], float] = {}
        """(id, fence) of what its marks show -> monotonic time it was first seen there."""
        self.started_at = self.moved_at = time.monotonic()
        self.stuck_at, self.stuck_ticks = 0.0, 0
        """`moved_at` when it was last seen to hold jobs and run none; ticks since."""
        self.retired_at = self.stays_until = 0.0
        """Monotonic; `stays_until`: it was over WORKER_MAX_RSS before its first job, and is not replaced for that until then."""
        self.marks = MarkFile.create(settings.marks_path, settings.slots)
        self.endpoint = settings.inbox
        self.socket: zmq.Socket[bytes] = context.socket(zmq.PUSH)
        set_limits(self.socket, linger_ms=0, high_water_mark=0)  # credit bounds what is in it
        try:
            self._popen = _start(settings)
        except OSError:
            self.socket.close(linger=0)
            self.marks.close()
            raise
        self.pid = self._popen.pid
        self._pidfd = _pidfd_of(self.pid)

    def room(self) -> tuple[int, int]:
        """What it may still be given, by cost (us) and by number, however short they are. The number is what its own limit leaves, and the
        slots that those before it on its seat, which were told to end, still use."""
        left = self.jobs_max - self.done - self.count if self.jobs_max else NO_LIMIT
        if self._before:
            self._before = [child for child in self._before if child.count]
            used = sum([child.count for child in self._before])
            left = min(left, self.slots - used - self.count) if used else left
        if left <= 0 or self.is_recalled or self.phase is not Phase.READY:
            return 0, 0
        return self.slots * PREFETCH_US - self.load_us, left

    @property
    def is_spent(self) -> bool:
        """It was given as many jobs as it may run."""
        return 0 < self.jobs_max <= self.done + self.count

    @property
    def death_fd(self) -> int | None:
        """Readable once the process has ended; None where the system has no such thing."""
        return self._pidfd

    def became_ready(self) -> None:
        """It has said so, and so its end of the socket is there."""
        self.phase, self.was_ready = Phase.READY, True
        self.socket.connect(self.endpoint)

    def send(self, message: ToWorker) -> None:
        """Never blocks, nothing is refused: the process binds and this side connects, and such a socket holds what it is given
        until the connection stands. (The other way round it refuses messages while nobody is connected, and Ready may come first.)"""
        self.socket.send(encode_worker(message), zmq.NOBLOCK)

    def give(self, fence: int, lot: list[StoredJob], load_us: int) -> None:
        """Hand over jobs, which the ledger has down as this process's. `load_us`: the cost of all that it holds with them."""
        if not self.count:
            self.moved_at = time.monotonic()
        self.count += len(lot)
        self.load_us = load_us
        if [job for job in lot if job.attempts]:  # a job's history, with its tracebacks, is nothing to a worker and may be megabytes
            lot = [structs.replace(job, attempts=(), progress=b"") if job.attempts else job for job in lot]
        if len(lot) == 1 or sum([len(job.spec.payload) for job in lot]) <= RUN_BYTES_MAX:
            self.send(Run(fence, lot))
        else:
            for job in lot:
                self.send(Run(fence, [job]))

    def recall(self) -> None:
        """Ask for what it has not started; it is given nothing more until it has answered."""
        if self.phase is Phase.READY and self.count and not self.is_recalled:
            self.is_recalled = True
            self.send(Recall())

    def log_as(self, level: str, format: str) -> None:
        """Unless it does already. One that is not ready yet is told when it is."""
        if self.logs_as != (level, format) and self.phase in (Phase.READY, Phase.RETIRING):
            self.logs_as = level, format
            self.send(SetLog(level, format))

    def kill(self, why: str) -> None:
        """SIGKILL for it and everything it started. The exit is seen later, like any other."""
        self.killed_for = self.killed_for or why
        self._kill_group()

    def has_exited(self) -> bool:
        """Looks without waiting, and once it has: ends what it left behind and keeps the exit code."""
        if self.phase is Phase.GONE:
            return True
        # Not reaped yet, so the process group still is this child's and nobody else's.
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        self._kill_group()
        self.exit_code = self._popen.wait()
        self.phase = Phase.GONE
        return True

    def measure_rss(self) -> int:
        """Resident bytes now, 0 where it cannot be told; kept in `rss_bytes`."""
        with contextlib.suppress(OSError, IndexError, ValueError), open(f"/proc/{self.pid}/statm", "rb") as file:
            self.rss_bytes = int(file.read().split()[1]) * _PAGE_BYTES or self.rss_bytes
        return self.rss_bytes

    def exit_text(self) -> str:
        """How it ended, for people: `killed by SIGSEGV`."""
        if self.killed_for:
            return self.killed_for
        if self.exit_code >= 0:
            return f"the worker process ended with exit code {self.exit_code}"
        try:
            name = signal.Signals(-self.exit_code).name
        except ValueError:
            name = f"signal {-self.exit_code}"
        return f"the worker process was killed by {name}"

    def close(self, *, keep_marks: bool = False) -> None:
        """Give up socket, pipe and files. The process must have exited."""
        self.socket.close(linger=0)
        with contextlib.suppress(OSError):
            os.unlink(self.endpoint.removeprefix("ipc://"))
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        self.marks.close()
        if not keep_marks:
            with contextlib.suppress(OSError):
                os.unlink(self.marks.path)

    def _kill_group(self) -> None:
        with contextlib.suppress(
            ProcessLookupError, PermissionError
        ):  # PermissionError: macOS says it of a group of zombies
            os.killpg(self.pid, signal.SIGKILL)


def _start(settings: ChildSettings) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "zjp.worker.process"],
        stdin=subprocess.PIPE,
        start_new_session=True,
        env=for_children(settings.environment),
    )
    blob = msgspec.msgpack.encode(settings)
    assert process.stdin is not None
    try:
        process.stdin.write(len(blob).to_bytes(4, "big") + blob)
        process.stdin.flush()
    except BrokenPipeError:  # it died already; seen as any death
        pass
    return process


def _pidfd_of(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
