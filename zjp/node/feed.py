"""What happens to jobs on this node, for whoever watches: a ring of the latest, filled only while somebody does.

    intake, dispatch ──whole batches──► feed ──a sample──► ring ──AskFeed──► HTTP door ──server-sent events──► browsers

While nobody has asked for LISTENED_S, a batch costs one look at a flag. Else SAMPLE_MAX of each batch are kept, and RATE_MAX within a
second; the others are counted. A place is the number of everything that has happened, told or not, so the gaps say how much was left out;
it begins at the node's start far above the places of its former lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

from ..job import JobSpec, JobState, Record, StoredJob
from ..queue.store import Outcome, OutcomeKind
from ..wire import messages as m
from ..wire.desk import FEED_MAX, AskFeed, Feed, Happening
from .askers import Asker

LISTENED_S = 10.0
RING_MAX = 2_000
SAMPLE_MAX = 20
RATE_MAX = 500
WAIT_MS_MAX = 60_000
GATHER_S = 0.1
"""Who waits is told this long after the first, of all that came meanwhile: a busy node is not asked without a pause."""


class FeedDesk:
    def __init__(self) -> None:
        self.is_listened = False
        """Look here before a batch is told."""
        self._place = time.time_ns() // 1_000_000 << 20
        self._ring: deque[tuple[int, Happening]] = deque(maxlen=RING_MAX)
        self._handed: set[bytes] = set()
        self._second, self._kept = 0, 0
        self._woken = asyncio.Event()
        self._asked_at = 0.0

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def submitted(self, specs: Sequence[JobSpec]) -> None:
        if self.is_listened:
            new = [spec for spec in specs if spec.id not in self._handed]
            self._handed.difference_update([spec.id for spec in specs])
            self._tell(len(new), ((spec, JobState.PENDING.value) for spec in new))

    def handed(self, jobs: Sequence[StoredJob]) -> None:
        """They start before the answer of their submit is known here, and are told as submitted first."""
        if self.is_listened:
            specs = [job.spec for job in jobs]
            self.submitted(specs)
            self._handed.update([spec.id for spec in specs])

    def started(self, jobs: Sequence[StoredJob]) -> None:
        if self.is_listened:
            self._tell(len(jobs), ((job.spec, JobState.RUNNING.value) for job in jobs))

    def settled(self, outcomes: Sequence[Outcome]) -> None:
        """What the store has accepted. What went back unspent has not happened."""
        if self.is_listened:
            told = [(one.job.spec, state) for one in outcomes if (state := _state_of(one))]
            self._tell(len(told), told)

    def cancelled(self, jobs: Sequence[StoredJob]) -> None:
        if self.is_listened:
            self._tell(len(jobs), ((job.spec, JobState.CANCELLED.value) for job in jobs))

    def withdrawn(self, records: Iterable[Record]) -> None:
        """They were cancelled while they waited."""
        self.cancelled([record.job for record in records])

    def _tell(self, count: int, happened: Iterable[tuple[JobSpec, str]]) -> None:
        if not count:
            return
        now = time.time()
        if int(now) != self._second:
            self._second, self._kept = int(now), 0
            self.is_listened = time.monotonic() - self._asked_at < LISTENED_S
        room = min(SAMPLE_MAX, RATE_MAX - self._kept)
        place = self._place
        for spec, state in islice(happened, max(0, room)):
            place += 1
            self._kept += 1
            self._ring.append((place, Happening(int(now * 1000), spec.id, spec.type, spec.queue, state)))
        self._place += count
        self._woken.set()

    # ── who watches ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, request: AskFeed, asker: Asker) -> m.Reply:
        self._listen()
        after = request.after if 0 < request.after <= self._place else self._place
        if request.timeout_ms > 0:
            await self._wait(after, min(request.timeout_ms, WAIT_MS_MAX) / 1000)
        happened = [one for place, one in self._ring if place > after][-FEED_MAX:]
        return Feed(self._place, happened, self._place - after - len(happened))

    def _listen(self) -> None:
        if not self.is_listened:
            self._ring.clear()
            self._handed.clear()
        self.is_listened, self._asked_at = True, time.monotonic()

    async def _wait(self, after: int, within_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._place == after:
                    self._woken.clear()
                    await self._woken.wait()
                await asyncio.sleep(GATHER_S)
        self._asked_at = time.monotonic()


def _state_of(one: Outcome) -> str:
    if one.record is not None:
        return one.record.state.value
    return JobState.RETRYING.value if one.kind is OutcomeKind.RETRY else ""
