"""What the leader does, while it is in office: five duties, each in a loop of its own, so never two of a kind at a time.

    schedules    fire the ticks that are due, and pull back what a clock that was ahead has put off; asleep until the next tick, or until a
                 schedule may have changed
    the due      make delayed jobs ready at their time. Every node does that as it claims, but one whose workers are all busy claims nothing
    the dead     end the lives of nodes that the mesh's quorum holds dead, when the store has not heard of them either
    records      remove those that are older than RECORDS_TTL, and events older than EVENTS_TTL
    figures      the sizes of all queues, for whoever asks any node

Nothing here decides who leads: `office` tells whether to try, and each write is judged by the store, which refuses it when another is
installed. Each is one atomic step, so a leader that dies between two of them leaves nothing half done: the next one reads what is there and
goes on. A store that is away is asked again; a schedule that cannot be fired (its zone is unknown on this machine, say) stops no other.

Two deeds are not judged so. What is due any node may make ready. Old records may lie in another store: who removes them asks who is
installed just before; and what two leaders remove twice is removed once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from ..errors import Unavailable
from ..job import JobSpec
from ..log import event
from ..queue.store import Document, DocumentKind, Fired, Lead, Life, QueueStore
from ..records.store import RecordStore
from ..schedule import Schedule, job_of, tick_id
from ..ticks import Due, due, pulled_back
from .leadership import installed
from .stats import NodeStats

LOOK_S = 1.0
"""On a shared queue: schedules may have been changed through another node. Alone, whoever changes one wakes the duty."""
LOOK_ALONE_S = 60.0
RETRY_S = 1.0
FAILED_RETRY_S = 60.0
"""Of a schedule that cannot be fired as it stands."""
FIRES_AT_ONCE = 32
STEP_BACK_MS = 1_000
"""A clock that went back further may have put schedules off. By less than a second none loses a tick."""
LONG_AGO_MS = 60_000
"""What was missed for longer is worked out in a thread: a year of minutes takes a tenth of a second."""
DEAD_EVERY_S = 0.5
SILENT_S = 3.0
"""Nodes renew every second."""
REAP_MAX = 1_000
TEND_MAX = 1_000
TEND_LOOK_S = 0.2
"""A job may be delayed for less than until the next that is known; the promise is 250 ms."""
PRUNE_EVERY_S = 60.0
PRUNE_MAX = 5_000
FIGURES_EVERY_S = 60.0
FIGURES = "figures"

log = logging.getLogger(__name__)
_decode_schedule = msgspec.msgpack.Decoder(Schedule).decode
_encode = msgspec.msgpack.Encoder().encode


class Office(Protocol):
    """What duties must know of the leadership. See Leadership."""

    @property
    def owner(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def is_in_office(self) -> bool: ...
    def refused(self, lead: Lead) -> None: ...


class Refused(Exception):
    """The store does not take this node for the leader."""


class Duties:
    """`dead`: lives that the mesh's quorum holds dead now."""

    def __init__(
        self,
        office: Office,
        queue: QueueStore,
        records: RecordStore,
        stats: NodeStats,
        *,
        dead: Callable[[], Iterable[Life]] = tuple,
    ) -> None:
        self._office, self._queue, self._records, self._stats, self._dead = office, queue, records, stats, dead
        self._known: dict[str, tuple[int, Schedule]] = {}
        """Name -> version and schedule, as last read."""
        self._failed: dict[str, float] = {}
        """Name -> when it is tried again (monotonic)."""
        self._checked: dict[str, int] = {}
        """Name -> the version whose next tick is no further away than the clock allows."""
        self._latest = (0, 0)
        """The latest that the clock has shown, and the epoch since when: under other leaders it may have shown anything."""
        self._wakes: list[asyncio.Event] = []
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        for deed in (self.fire_due, self.promote, self.reap_dead, self.prune, self.publish):
            wake = asyncio.Event()
            self._wakes.append(wake)
            self._loops.append(asyncio.create_task(self._serve(deed, wake), name=f"duty_{deed.__name__}"))

    async def stop(self) -> None:
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    def wake(self) -> None:
        """The office may have changed."""
        for wake in self._wakes:
            wake.set()

    def schedules_changed(self) -> None:
        if self._wakes:
            self._wakes[0].set()

    async def _serve(self, deed: Callable[[], Awaitable[float | None]], wake: asyncio.Event) -> None:
        """`deed` returns how long it may sleep; None: until it is woken."""
        while True:
            wake.clear()
            pause_s: float | None = None
            if self._office.is_in_office:
                pause_s = await self._done(deed)
            timer = None if pause_s is None else asyncio.get_running_loop().call_later(pause_s, wake.set)
            await wake.wait()
            if timer is not None:
                timer.cancel()

    async def _done(self, deed: Callable[[], Awaitable[float | None]]) -> float | None:
        try:
            return await deed()
        except Refused:
            return RETRY_S
        except Unavailable as fault:
            event(log, logging.WARNING, "duty.put_off", duty=deed.__name__, reason=str(fault))
        except Exception:
            log.exception("duty.failed")
            self._stats.add("zjp_internal_errors_total")
        return RETRY_S

    # Each of these is one turn of a duty, taken by the loops, in office only. Returns how long it may sleep (s); None: until it is woken.
    # Raises: Refused, Unavailable.

    # ── schedules ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def fire_due(self) -> float:
        schedules = await self._read()
        now_ms, now = self._queue.now_ms(), time.monotonic()
        self._see_clock(now_ms)
        waiting = [
            one for one in schedules if one.next_ms and not one.is_paused and self._failed.get(one.name, 0.0) <= now
        ]
        ready = [one for one in waiting if one.next_ms <= now_ms or not self._is_checked(one)]
        has_changed = False
        for at in range(0, len(ready), FIRES_AT_ONCE):
            done = await asyncio.gather(*map(self._fire, ready[at : at + FIRES_AT_ONCE]), return_exceptions=True)
            for fault in done:
                if isinstance(fault, BaseException):
                    raise fault
            has_changed = has_changed or any(done)
        if has_changed:
            return 0.0  # what is due next is known only now
        longest_s = LOOK_S if self._queue.is_shared else LOOK_ALONE_S
        return min([longest_s, *((one.next_ms - now_ms) / 1000 for one in waiting)])

    def _see_clock(self, now_ms: int) -> None:
        latest_ms, epoch = self._latest
        if epoch != self._office.epoch or now_ms < latest_ms - STEP_BACK_MS:
            self._checked.clear()
            latest_ms = now_ms
        self._latest = (max(latest_ms, now_ms), self._office.epoch)

    def _is_checked(self, schedule: Schedule) -> bool:
        return self._checked.get(schedule.name) == self._known[schedule.name][0]

    async def _read(self) -> Sequence[Schedule]:
        """All of them; what has not changed is not decoded again."""
        known: dict[str, tuple[int, Schedule]] = {}
        for document in await self._queue.documents(DocumentKind.SCHEDULE):
            before = self._known.get(document.name)
            if before is not None and before[0] == document.version:
                known[document.name] = before
            else:
                known[document.name] = (document.version, _decode_schedule(document.data))
                self._failed.pop(document.name, None)
        self._known = known
        for gone in self._checked.keys() - known.keys():
            del self._checked[gone]
        return [schedule for _, schedule in known.values()]

    async def _fire(self, schedule: Schedule) -> bool:
        """All that is due of one. Whether anything was. Raises: Refused, Unavailable."""
        try:
            before, _ = self._known[schedule.name]
            version, schedule = await self._pull_back(schedule, before)
            while version and self._office.is_in_office and (found := await self._due(schedule)) is not None:
                version = await self._fire_some(schedule, found, version)
                schedule = found.schedule
            if version:
                self._checked[schedule.name] = version
            return version != before
        except (Refused, Unavailable):
            raise
        except Exception:
            self._failed[schedule.name] = time.monotonic() + FAILED_RETRY_S
            log.exception("schedule.not_fired", extra={"fields": {"schedule": schedule.name}})
            self._stats.add("zjp_internal_errors_total")
            return True

    async def _pull_back(self, schedule: Schedule, version: int) -> tuple[int, Schedule]:
        """With its version (0: somebody has changed it meanwhile), as it is to go on."""
        if self._is_checked(schedule) or (back := pulled_back(schedule, self._queue.now_ms())) is None:
            return version, schedule
        fired = await self._written(DocumentKind.SCHEDULE, Document(schedule.name, _encode(back), version), ())
        if fired.version:
            ahead_s = round((schedule.next_ms - back.next_ms) / 1000)
            event(log, logging.WARNING, "schedule.pulled_back", schedule=schedule.name, by_s=ahead_s)
        return fired.version, back

    async def _due(self, schedule: Schedule) -> Due | None:
        now_ms = self._queue.now_ms()
        if now_ms - schedule.next_ms > LONG_AGO_MS:
            return await asyncio.to_thread(due, schedule, now_ms)
        return due(schedule, now_ms)

    async def _fire_some(self, schedule: Schedule, found: Due, version: int) -> int:
        """The document's new version; 0: somebody has changed it meanwhile, it is read again."""
        jobs = [job_of(schedule, tick_id(schedule, tick)) for tick in found.ticks]
        document = Document(schedule.name, _encode(found.schedule), version)
        fired = await self._written(DocumentKind.SCHEDULE, document, jobs)
        if fired.version:
            made = len(jobs) - len(fired.others)
            self._stats.submitted(made, 0)
            self._stats.add("zjp_schedule_ticks_total", made)
            if fired.others:
                why = fired.others[0].kind.value
                event(
                    log,
                    logging.INFO,
                    "schedule.tick_left_out",
                    schedule=schedule.name,
                    jobs=len(fired.others),
                    reason=why,
                )
        return fired.version

    async def _written(self, kind: DocumentKind, document: Document, jobs: Sequence[JobSpec]) -> Fired:
        """Raises: Refused, Unavailable."""
        office = self._office
        fired = await self._queue.fire(office.owner, office.epoch, kind, document, jobs)
        if fired.refused_by is not None:
            office.refused(fired.refused_by)
            raise Refused
        return fired

    # ── the due ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def promote(self) -> float:
        """Safe from any node, so it asks for no leave."""
        tended = await self._queue.tend(TEND_MAX)
        if tended.reaped:
            self._stats.add("zjp_leases_expired_total", tended.reaped)
        if tended.promoted >= TEND_MAX:
            return 0.0
        return TEND_LOOK_S if tended.next_due_s is None else min(TEND_LOOK_S, tended.next_due_s)

    # ── the dead ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def reap_dead(self) -> float | None:
        if not self._queue.is_shared:
            return None
        for life in self._dead():
            office = self._office
            reaped = await self._queue.reap_dead(office.owner, office.epoch, life, SILENT_S, REAP_MAX)
            if reaped.refused_by is not None:
                office.refused(reaped.refused_by)
                raise Refused
            if reaped.was_reaped:
                event(log, logging.WARNING, "node.reaped", node=life.node, boot=life.boot, jobs=reaped.jobs)
                self._stats.add("zjp_leases_expired_total", reaped.jobs)
        return DEAD_EVERY_S

    # ── records and figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def prune(self) -> float:
        pruned = PRUNE_MAX
        while pruned >= PRUNE_MAX:
            await self._confirm()
            pruned = await self._records.prune(PRUNE_MAX)
        pruned = PRUNE_MAX
        while pruned >= PRUNE_MAX:
            await self._confirm()
            pruned = await self._records.prune_events(PRUNE_MAX)
        return PRUNE_EVERY_S

    async def _confirm(self) -> None:
        """Raises: Refused, Unavailable."""
        office = self._office
        lead = await installed(self._queue, office.owner)
        if not lead.is_of(office.owner, office.epoch):
            office.refused(lead)
            raise Refused

    async def publish(self) -> float:
        counts = await self._queue.counts()
        figures = {
            "at_ms": self._queue.now_ms(), "leader": self._office.owner, "epoch": self._office.epoch,
            "queues": [msgspec.structs.asdict(count) for count in counts],
        }  # fmt: skip
        known = {document.name: document.version for document in await self._queue.documents(DocumentKind.CLUSTER)}
        await self._written(DocumentKind.CLUSTER, Document(FIGURES, _encode(figures), known.get(FIGURES, 0)), ())
        return FIGURES_EVERY_S
