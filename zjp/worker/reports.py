"""What the pool tells the node: how a worker process died and who pays for it, what is held, how the processes are. Plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from ..job import JobFault, StoredJob
from ..wire.messages import Result, TaskInfo


class CrashReport(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process ended without being asked to, or was killed for one of its jobs.

    `charged`: the one job it was running; if none, the only one that it had ever begun. `suspects`: what it was running when there were
    several, and what had returned and was not reported; they run again, from the second time on in quarantine. `timed_out`: killed for
    these, and only they pay. `cancelled`: told to stop, and still running when it was killed for them or for others; back unspent (the
    store knows that they are being cancelled). `innocent`: everything else it held, back unspent. `started_ms` is Unix ms, when the pool
    first saw it running.
    """

    worker: str
    pid: int
    exit_code: int
    """Negative: the signal, as in subprocess."""
    rss_bytes: int
    cause: str
    charged: tuple[StoredJob, int, int] | None = None
    """(job, fence, started_ms)"""
    suspects: Sequence[tuple[StoredJob, int, int]] = ()
    innocent: Sequence[tuple[StoredJob, int]] = ()
    """(job, fence)"""
    timed_out: Sequence[tuple[StoredJob, int, int, JobFault]] = ()
    cancelled: Sequence[tuple[StoredJob, int, int, JobFault]] = ()


CURRENT_MAX = 50
"""Of one process; it may have more slots."""


class Held(NamedTuple):
    """A job that a worker has, or that waits for a quarantine process. `since`: monotonic seconds of the hand-out."""

    job: StoredJob
    fence: int
    worker: str
    since: float


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process, for statistics. `busy` counts jobs running, `held` also those that wait in it. `current`: ids of what runs,
    CURRENT_MAX at most."""

    name: str
    pid: int
    state: str
    slots: int
    busy: int
    held: int
    done: int
    failed: int
    rss_bytes: int
    restarts: int
    started_at_ms: int = 0
    current: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Callbacks:
    """Who is told. All are called in the loop's thread, for whole batches, and must not block.

    `on_ready`: the first process is ready, or a later one serves other tasks.
    `on_not_ready`: a process could not load the application, or died before it was ready; it is tried again, ever more rarely.
    `on_results`: (job, fence, result) of one process. `on_returned`: (job, fence) not started here, back unspent.
    `on_progress`: id -> msgpack. `on_credit`: there is room again, for another reason than results.
    """

    on_ready: Callable[[Mapping[str, TaskInfo]], None]
    on_results: Callable[[str, Sequence[tuple[StoredJob, int, Result]]], None]
    on_returned: Callable[[Sequence[tuple[StoredJob, int]]], None]
    on_crashed: Callable[[CrashReport], None]
    on_progress: Callable[[Mapping[bytes, bytes]], None]
    on_credit: Callable[[], None]
    on_not_ready: Callable[[str], None]
