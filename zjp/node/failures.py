"""Failed jobs, grouped by type and error: what an operator looks at first.

Grouped from the listing of failed jobs when somebody asks, the newest SCAN_MAX at most: so what the records do not have yet, or refuse, is
counted, and what runs again is not. The same question within FRESH_S gets the same answer, and one is worked out at a time, so many who
look cost as much as one.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from ..errors import WireError
from ..job import JobFilter, JobState, JobView
from ..wire import messages as m
from ..wire.desk import GROUPS_MAX, SAMPLES_MAX, AskFailures, FailureGroup, Failures
from .askers import Asker
from .listing import RECORDS

SCAN_MAX = 10_000
PAGE = 500
FRESH_S = 1.0
KEPT_MAX = 16
MESSAGE_CHARS_MAX = 500
GATHERED_MAX = 2_000
"""Groups while they are counted; an application that makes up names of errors has the rest counted as one."""
OTHER = "(others)"


class Group:
    __slots__ = ("count", "first_ms", "ids", "last_ms", "message")

    def __init__(self, newest: JobView) -> None:
        self.message = "" if newest.error is None else newest.error.message[:MESSAGE_CHARS_MAX]
        self.count, self.ids = 0, list[bytes]()
        self.first_ms = self.last_ms = newest.finished_ms

    def add(self, job: JobView) -> None:
        """They come newest first, but not strictly: several nodes write them."""
        self.count += 1
        self.first_ms, self.last_ms = min(self.first_ms, job.finished_ms), max(self.last_ms, job.finished_ms)
        if len(self.ids) < SAMPLES_MAX:
            self.ids.append(job.id)


List = Callable[[JobFilter, bytes, int], Awaitable[m.Page]]


class FailureDesk:
    """`list_jobs`: a page of a listing."""

    def __init__(self, list_jobs: List, now: Callable[[], float] = time.monotonic) -> None:
        self._list, self._now = list_jobs, now
        self._kept: OrderedDict[AskFailures, tuple[float, Failures]] = OrderedDict()
        self._turn = asyncio.Lock()

    async def ask(self, request: AskFailures, asker: Asker) -> m.Reply:
        """Raises: WireError, StoreUnavailable."""
        if not 1 <= request.limit <= GROUPS_MAX:
            raise WireError(f"limit is {request.limit}, it must be 1 to {GROUPS_MAX}")
        async with self._turn:
            kept = self._kept.get(request)
            if kept is not None and self._now() - kept[0] < FRESH_S:
                return kept[1]
            reply = await self._grouped(request)
            self._kept[request] = self._now(), reply
            while len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return reply

    async def _grouped(self, request: AskFailures) -> Failures:
        wanted = JobFilter(state=JobState.FAILED, type=request.task, queue=request.queue)
        groups: dict[tuple[str, str], Group] = {}
        scanned, cursor, is_whole = 0, b"", False
        while scanned < SCAN_MAX and not is_whole:
            page = await self._list(wanted, cursor, min(PAGE, SCAN_MAX - scanned))
            recent = [job for job in page.jobs if job.finished_ms >= request.since_ms]
            for job in recent:
                _add(groups, job)
            # What a store looks at and does not show counts too: else rare failures among a million records would be sought in all of them.
            scanned += max(page.scanned, len(page.jobs))
            # Those that the records refuse may be older than all records behind them.
            is_over = cursor[:1] == RECORDS and bool(page.jobs) and not recent
            cursor = page.cursor
            is_whole = not cursor or is_over
        most = sorted(groups.items(), key=lambda one: (-one[1].count, -one[1].last_ms))
        shown = [
            FailureGroup(task, error, group.message, group.count, group.first_ms, group.last_ms, group.ids)
            for (task, error), group in most[: request.limit]
        ]
        return Failures(shown, min(scanned, SCAN_MAX), is_whole)


def _add(groups: dict[tuple[str, str], Group], job: JobView) -> None:
    name = job.type, "" if job.error is None else job.error.type
    if name not in groups and len(groups) >= GATHERED_MAX:
        name = OTHER, OTHER
    group = groups.get(name)
    if group is None:
        group = groups[name] = Group(job)
    group.add(job)
