"""The worker processes of one pool: started, watched, replaced.

A *seat* is one of the WORKER_PROCESSES places, with its share of the slots; generations of processes follow one another on it. Some
more seats, with one slot each, are the quarantine's; they are filled on demand only.

One that is replaced for its number of jobs or its memory goes on with what it runs, beside its successor: that one gets the slots that
are not in use there (`Child.room`), so that no more jobs run at once than there are slots.

A process that is over WORKER_MAX_RSS before its first job would be followed by others of the same size: it runs jobs all the same, and is
replaced only after a pause that doubles with each such successor.

A process that ends is seen through its pidfd (elsewhere: at the next tick). It is judged SETTLE_S later, when what it had sent before
its end has been read; its successor is started at once, or, when it died before it was ready, after a pause that doubles.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Container, Iterator
from itertools import islice
from pathlib import Path

import zmq
from msgspec import structs

from ..log import event
from ..units import show_size
from ..wire.messages import StopWorker
from .child import Child, Phase
from .environment import python_path
from .reports import CURRENT_MAX, WorkerState
from .settings import PoolSettings, child_settings, spread

SETTLE_S = 0.01
START_MAX_S = 60.0
"""An application that needs longer to import is taken for hung."""
LEAVE_MAX_S = 5.0
"""A process that was asked to end, and holds nothing any more, is killed after this."""
PAUSE_S = (0.1, 15.0)
RUN_PREFIX = "zjp-run-"
FOLDER_CHARS_MAX = 80
"""Of the run folder; a unix socket's whole path may have 107."""

_MIB = 1 << 20
_IN_PLACE = (Phase.STARTING, Phase.READY)

log = logging.getLogger(__name__)


def make_run_folder() -> str:
    """A folder of our own (0700) with a path short enough for unix sockets."""
    folder = tempfile.mkdtemp(prefix=RUN_PREFIX)
    if len(folder) > FOLDER_CHARS_MAX:
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix=RUN_PREFIX, dir="/tmp")
    return folder


def sweep_run_folder(note: Path) -> None:
    """Remove the folder of a former life that was cut off, which `note` names. What is not plainly such a folder of our own stays."""
    with contextlib.suppress(OSError):
        former = Path(note.read_text())
        status = former.lstat()
        if former.name.startswith(RUN_PREFIX) and stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
            shutil.rmtree(former, ignore_errors=True)


def outbox_of(run_folder: str) -> str:
    return f"ipc://{run_folder}/out"


class Seat:
    """`handed` counts jobs given to all its generations: what the skew is measured from."""

    __slots__ = (
        "child",
        "generation",
        "handed",
        "name",
        "not_before",
        "pause_s",
        "restarts",
        "slots",
    )

    def __init__(self, name: str, slots: int) -> None:
        self.name, self.slots = name, slots
        self.child: Child | None = None
        self.generation = self.restarts = self.handed = 0
        self.pause_s = self.not_before = 0.0

    @property
    def is_quarantine(self) -> bool:
        return self.name[0] == "q"


class Crew:
    """`on_death(child)` is called once for every process that ended, when it can be judged."""

    def __init__(self, settings: PoolSettings, on_death: Callable[[Child], None]) -> None:
        self._settings, self._on_death = settings, on_death
        self._timers: set[asyncio.TimerHandle] = set()
        self.seats = [
            Seat(f"w{index}", slots) for index, slots in enumerate(spread(settings.slots, settings.processes))
        ]
        self.quarantine = [Seat(f"q{index}", 1) for index in range(max(seat.slots for seat in self.seats))]
        self.children: dict[str, Child] = {}
        """By name, until judged."""
        self.is_stopping = False

    def open(self, context: zmq.Context[zmq.Socket[bytes]], run_folder: str) -> None:
        """Start the processes. Their sockets lie in `run_folder`; all of them report to its `outbox_of`."""
        self._context, self._run_folder = context, run_folder
        self._marks_folder = self._settings.marks_folder or run_folder
        self._loop = asyncio.get_running_loop()
        self._outbox = outbox_of(run_folder)
        os.makedirs(self._marks_folder, mode=0o700, exist_ok=True)
        for old in Path(self._marks_folder).glob("*.marks"):  # of a former life: the node has read them by now
            old.unlink(missing_ok=True)
        for seat in self.seats:
            self.fill(seat)

    def fill(self, seat: Seat) -> None:
        """Start the next generation on `seat`, unless it is filled."""
        if (
            self.is_stopping
            or time.monotonic() < seat.not_before
            or (seat.child is not None and seat.child.phase in _IN_PLACE)
        ):
            return
        seat.restarts += seat.generation > 0
        seat.generation += 1
        name = f"{seat.name}.{seat.generation}"
        settings = child_settings(
            self._settings,
            worker=name,
            slots=seat.slots,
            inbox=f"ipc://{self._run_folder}/{name}",
            outbox=self._outbox,
            marks_path=os.path.join(self._marks_folder, f"{name}.marks"),
            parent_pid=os.getpid(),
            folder=self._settings.folder or os.getcwd(),
            python_path=python_path(),
        )
        try:
            child = Child(
                self._context,
                settings,
                seat=seat.name,
                jobs_max=self._settings.max_jobs,
                before=[other for other in self.children.values() if other.seat == seat.name],
            )
        except OSError as fault:
            event(log, logging.ERROR, "worker.not_started", worker=name, reason=str(fault))
            self._pause(seat)
            return
        seat.child = self.children[name] = child
        if child.death_fd is not None:
            self._loop.add_reader(child.death_fd, self._look, child)
        event(log, logging.DEBUG, "worker.started", worker=name, pid=child.pid, slots=child.slots)

    def seat_of(self, child: Child) -> Seat:
        return (self.quarantine if child.seat[0] == "q" else self.seats)[int(child.seat[1:])]

    def retire(self, child: Child) -> None:
        """Ask it to hand back what it has not started, finish the rest and end. It is given nothing more."""
        if child.phase is Phase.STARTING:
            child.is_silent = True
            child.kill("it was no longer needed before it was ready")
        elif child.phase is Phase.READY:
            child.phase, child.retired_at = Phase.RETIRING, time.monotonic()
            child.send(StopWorker())

    def became_ready(self, child: Child) -> None:
        child.became_ready()
        child.log_as(self._settings.log_level, self._settings.log_format)
        seat = self.seat_of(child)
        if self.is_too_large(child):
            child.stays_until = time.monotonic() + self._longer_pause(seat)
            event(
                log,
                logging.WARNING,
                "worker.too_large_at_start",
                worker=child.name,
                rss_bytes=child.rss_bytes,
                reason=f"it uses {show_size(-(-child.rss_bytes // _MIB) * _MIB)} before its first job, WORKER_MAX_RSS is "
                f"{show_size(self._settings.max_rss_bytes)}: set it well above what the application itself needs, or to 0",
            )
        else:
            seat.pause_s = 0.0

    def is_too_large(self, child: Child) -> bool:
        """Measures it."""
        rss_bytes = child.measure_rss()
        return 0 < self._settings.max_rss_bytes < rss_bytes

    def log_as(self, level: str, format: str) -> None:
        """From now on, all processes and those that follow them."""
        self._settings = structs.replace(self._settings, log_level=level, log_format=format)
        for child in self.children.values():
            child.log_as(level, format)

    def tend(self, now: float) -> None:
        """What only time tells: hung starts, hung ends, and deaths where there is no pidfd."""
        for child in list(self.children.values()):
            if child.phase is Phase.STARTING and now - child.started_at > START_MAX_S:
                child.kill(f"it was not ready after {START_MAX_S:g} s; make the application's import faster")
            elif child.phase is Phase.RETIRING and not child.count and now - child.retired_at > LEAVE_MAX_S:
                child.is_silent = True
                child.kill(f"it did not end within {LEAVE_MAX_S:g} s of being asked to")
            if child.death_fd is None and child.phase is not Phase.GONE:
                self._look(child)

    def unsettled(self) -> Iterator[Child]:
        """Processes on their way in or out: they need the tick."""
        return (child for child in self.children.values() if child.phase is not Phase.READY or child.death_fd is None)

    def states(self, held: Container[bytes]) -> list[WorkerState]:
        """`held`: ids of all that the processes have."""
        return [_state_of(child, self.seat_of(child), held) for child in self.children.values()]

    def close(self) -> None:
        """Every process must be gone."""
        for timer in self._timers:
            timer.cancel()

    def _look(self, child: Child) -> None:
        if not child.has_exited():
            return
        if child.death_fd is not None:
            self._loop.remove_reader(child.death_fd)
        self._later(SETTLE_S, lambda: self._bury(child))
        seat = self.seat_of(child)
        if seat.child is not child or self.is_stopping:
            return
        seat.child = None
        if not child.was_ready:
            self._pause(seat)
        elif not seat.is_quarantine:
            self.fill(seat)

    def _pause(self, seat: Seat) -> None:
        """The seat stays empty for a while, longer each time. (The quarantine's is filled by whoever needs it.)"""
        seat.not_before = time.monotonic() + self._longer_pause(seat)
        if not seat.is_quarantine:
            self._later(seat.pause_s + 0.001, lambda: self.fill(seat))

    @staticmethod
    def _longer_pause(seat: Seat) -> float:
        seat.pause_s = min(max(seat.pause_s * 2, PAUSE_S[0]), PAUSE_S[1])
        return seat.pause_s

    def _bury(self, child: Child) -> None:
        del self.children[child.name]
        self._on_death(child)
        child.close()

    def _later(self, delay_s: float, deed: Callable[[], None]) -> None:
        def act() -> None:
            self._timers.discard(timer)
            deed()

        timer = self._loop.call_later(delay_s, act)
        self._timers.add(timer)


def _state_of(child: Child, seat: Seat, held: Container[bytes]) -> WorkerState:
    return WorkerState(
        name=child.name,
        pid=child.pid,
        state=child.phase.value,
        slots=child.slots,
        busy=min(child.count, child.slots),
        held=child.count,
        done=child.done,
        failed=child.failed,
        rss_bytes=child.measure_rss() if child.phase is not Phase.GONE else child.rss_bytes,
        restarts=seat.restarts,
        started_at_ms=round((time.time() - (time.monotonic() - child.started_at)) * 1000),
        current=_current(child, held),
    )


def _current(child: Child, held: Container[bytes]) -> tuple[bytes, ...]:
    """A mark may be of a job that has ended just now."""
    if child.phase is Phase.GONE or not child.count:
        return ()
    return tuple(islice((job_id for job_id, _ in child.marks.read() if job_id in held), CURRENT_MAX))
