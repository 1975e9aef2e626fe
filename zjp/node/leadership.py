"""Drives an election core in a node: what it says is carried out in the order that core.py asks for.

    core ──persist──────► a thread (election_log.py) ──Persisted──► core    what depends on it goes then
         ──send─────────► the mesh, which is given as a function; none: nobody hears it
         ──store────────► the queue's store ──StoreReply──► core             install, renew, resign
         ──wake─────────► the loop's timer ──Wake──► core                    long overdue: Stall first
         ──happened─────► log, metrics

Being elected is not being allowed: duties ask `is_in_office`, and each of their writes is judged by the store. One that was refused is told
here (`refused`), and the office is closed until the store confirms it in answer to a question asked *after* that. It is closed, too, while
the store may have let it lapse: as long after the question as the answer said. Whom a silent store makes step aside: reach.py.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ..election.alone import Alone
from ..election.core import (
    SECOND,
    Batch,
    Config,
    Core,
    Deed,
    Effects,
    Event,
    Happened,
    Installed,
    Kind,
    Leave,
    Persisted,
    Role,
    Send,
    Stall,
    StoreOp,
    StoreReply,
    Time,
    View,
    Wake,
)  # fmt: skip
from ..errors import Unavailable
from ..log import event
from ..queue.store import Lead, QueueStore
from ..wire.peers import Stored
from .election_log import ElectionLog
from .ring import Ring
from .stats import NodeStats

STALL_S = 0.25
"""The timer is so late: this process did not run, and hears only now what was said meanwhile."""
WRITE_RETRY_S = 1.0
OPS_MAX = 8
"""Questions to the store under way; a further one counts as not answered."""
LEAVE_S = 1.0
ALONE_S = (10.0, 60.0)
"""Interval of renewing and life of the leadership in a store that no other node can reach: each renewal is a write to the disk."""
SHARED_S = (0.5, 2.0)
"""The same where others may want it."""

log = logging.getLogger(__name__)


def drop(_: Send) -> None:
    """What a node without a mesh does with messages."""


class Leadership:
    """`start`, then `stop`. `on_change`: called when `is_in_office`, `epoch` or the leader may have changed; `on_happened`: with all that
    the core tells. `stall`: a timer that is later than this is told in the log; as long as the others wait for a silent leader."""

    def __init__(
        self, core: Core, election_log: ElectionLog, store: QueueStore, stats: NodeStats, *, owner: str, algorithm: str,
        send: Callable[[Send], None] = drop, on_change: Callable[[], None] = lambda: None,
        on_happened: Callable[[Happened], None] = lambda _: None, stall: Time = SECOND, ring: Ring | None = None,
        now: Callable[[], Time] = time.monotonic_ns,
    ) -> None:  # fmt: skip
        self._core, self._log, self._store, self._stats = core, election_log, store, stats
        self.owner, self.algorithm = owner, algorithm
        self.on_change = on_change
        self._send, self._now, self._on_happened, self._stall = send, now, on_happened, stall
        self._ring = ring
        self._events: deque[Event] = deque()
        self._is_stepping = False
        self._writes: deque[tuple[Batch, Sequence[Stored] | None]] = deque()
        self._is_writing = False
        self._handed = self._durable = 0
        self._after: deque[tuple[int, list[Send]]] = deque()
        """Sends, each with the batch that must be durable before."""
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked = 0
        """Number of the latest question to the store."""
        self._closed: tuple[int, int] | None = None
        """The epoch whose write was refused, and the latest question before that."""
        self._silent: tuple[int, Time] = (0, 0)
        """The epoch in which this node leads, and since when the store has said nothing of it: at first since it leads."""
        self._lapse: asyncio.TimerHandle | None = None
        self._lapsed: int | None = None
        """The epoch that the store may have let lapse."""
        self._is_running = False
        self._shown = (False, 0, "")

    async def start(self) -> None:
        """Raises: ConfigError when the file is damaged, OSError."""
        records = await asyncio.to_thread(self._log.open)
        self._is_running = True
        now = self._now()
        if self._ring is not None:
            self._ring.started(now, records)
        self._carry_out(self._core.start(now, records))

    async def stop(self) -> None:
        """Resign, so that the next one need not wait for the end of the lease."""
        if self._is_running:
            self.feed(Leave())
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=LEAVE_S)
        self.halt()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._log.close)

    def halt(self) -> None:
        """At once, as a process that dies would."""
        self._is_running = False
        for timer in (self._timer, self._lapse):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()

    # ── what others see ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def view(self) -> View:
        return self._core.view()

    @property
    def epoch(self) -> int:
        return self._core.view().epoch

    @property
    def is_in_office(self) -> bool:
        view = self._core.view()
        is_closed = view.epoch == self._lapsed or (self._closed is not None and self._closed[0] == view.epoch)
        return self._is_running and view.is_in_office and not is_closed

    @property
    def silent_s(self) -> float:
        """For how long the store has not confirmed that this node leads; 0 while it does not lead."""
        epoch, since = self._silent
        return (self._now() - since) / SECOND if epoch else 0.0

    def refused(self, lead: Lead) -> None:
        """A duty's write was refused: `lead` is installed."""
        self._stats.add("zjp_fenced_writes_total")
        event(log, logging.WARNING, "duty.refused", epoch=self.epoch, installed=lead.epoch, leader=lead.owner)
        self._closed = (self.epoch, self._asked)
        self._notice()

    # ── the core ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def feed(self, happened: Event) -> None:
        """One event at a time, also when carrying one out brings the next."""
        self._events.append(happened)
        if self._is_stepping:
            return
        self._is_stepping = True
        try:
            while self._events and self._is_running:
                self._step(self._events.popleft())
        except Exception:
            self.dump()
            raise
        finally:
            self._is_stepping = False

    def _step(self, happened: Event) -> None:
        now = self._now()
        if self._ring is not None:
            self._ring.fed(now, happened)
        self._carry_out(self._core.step(now, happened))

    def dump(self) -> None:
        """What the core was fed lately, into a file for a replay."""
        if self._ring is None:
            return
        try:
            path = self._ring.dump()
        except OSError as fault:
            event(log, logging.ERROR, "election.not_dumped", reason=str(fault))
        else:
            event(log, logging.WARNING, "election.dumped", path=str(path))

    def _carry_out(self, effects: Effects) -> None:
        if effects.persist is not None:
            self._persist(effects.persist)
        for message in effects.send:
            self._send(message)
        if effects.send_after:
            self._after.append((self._handed, effects.send_after))
            self._send_durable()
        for op in effects.store:
            self._ask(op)
        self._set_timer(effects.wake)
        for one in effects.happened:
            self._tell(one)
        self._notice()

    def _notice(self) -> None:
        view = self._core.view()
        if view.role is not Role.LEADER:
            self._silent = (0, 0)
        elif view.epoch != self._silent[0]:
            self._silent = (view.epoch, self._now())
        shown = (self.is_in_office, view.epoch, view.leader)
        if shown != self._shown:
            self._shown = shown
            self.on_change()

    def _tell(self, happened: Happened) -> None:
        if happened.kind is Kind.LEADER_ELECTED:
            self._stats.add("election_leader_changes_total", 1, (self.algorithm,))
        fields = {
            "node": happened.node,
            "epoch": happened.epoch,
            "why": happened.why,
            "took_ms": round(happened.took / 1e6),
        }
        event(
            log,
            logging.INFO,
            f"cluster.{happened.kind.value}",
            **{name: value for name, value in fields.items() if value},
        )
        self._on_happened(happened)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _set_timer(self, wake: Time | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake is not None:
            delay_s = max(0.0, (wake - self._now()) / SECOND)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer, wake)

    def _on_timer(self, wake: Time) -> None:
        """What has come in by now is read first: the loop's readers run before what is called next."""
        self._timer = asyncio.get_running_loop().call_later(0, self._wake, wake)

    def _wake(self, wake: Time) -> None:
        self._timer = None
        late = self._now() - wake
        if late > STALL_S * SECOND:
            if late > self._stall:
                event(log, logging.WARNING, "election.stalled", late_ms=round(late / 1e6), reason="this process did not run for so long")
            self.feed(Stall(late))
        self.feed(Wake())

    # ── the disk ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _persist(self, batch: Batch) -> None:
        """`durable` holds this batch as well: a file that has grown is replaced by it instead."""
        self._handed = batch.number
        whole = self._core.durable() if self._log.has_grown and not self._writes else None
        self._writes.append((batch, whole))
        if not self._is_writing:
            self._is_writing = True
            self._begin(self._write())

    async def _write(self) -> None:
        while self._writes:
            batch, whole = self._writes[0]
            try:
                if whole is not None:
                    await asyncio.to_thread(self._log.rewrite, whole)
                else:
                    await asyncio.to_thread(self._log.append, batch.records)
            except OSError as fault:
                event(log, logging.ERROR, "election.not_written", reason=str(fault))
                await asyncio.sleep(WRITE_RETRY_S)
                continue
            self._writes.popleft()
            self._durable = batch.number
            self._send_durable()
            self.feed(Persisted(batch.number))
        self._is_writing = False

    def _send_durable(self) -> None:
        while self._after and self._after[0][0] <= self._durable:
            for message in self._after.popleft()[1]:
                self._send(message)

    # ── the store ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ask(self, op: StoreOp) -> None:
        self._asked = op.number
        if len(self._tasks) > OPS_MAX:
            self._events.append(StoreReply(op, None))
        else:
            self._begin(self._answer(op))

    async def _answer(self, op: StoreOp) -> None:
        asked_at = self._now()
        try:
            lead = await self._carried(op)
        except Unavailable as fault:
            event(log, logging.WARNING, "election.store_away", deed=op.deed.value, reason=str(fault))
            self.feed(StoreReply(op, None))
            return
        if lead.is_of(op.owner, op.epoch):
            self._confirm(op, asked_at, lead.left_s)
        self.feed(StoreReply(op, Installed(lead.epoch, lead.owner, round(lead.left_s * SECOND))))

    def _confirm(self, op: StoreOp, asked_at: Time, left_s: float) -> None:
        if self._closed is not None and op.number > self._closed[1]:
            self._closed = None
        if not self._is_running or (op.epoch == self._silent[0] and asked_at < self._silent[1]):
            return  # it came late: a newer answer counts
        self._silent, self._lapsed = (op.epoch, asked_at), None
        if self._lapse is not None:
            self._lapse.cancel()
        rest_s = max(0.0, left_s - (self._now() - asked_at) / SECOND)
        self._lapse = asyncio.get_running_loop().call_later(rest_s, self._on_lapse, op.epoch)

    def _on_lapse(self, epoch: int) -> None:
        self._lapsed = epoch
        self._notice()

    async def _carried(self, op: StoreOp) -> Lead:
        """What is installed afterwards. Raises: Unavailable."""
        store, for_s = self._store, op.lead_for / SECOND
        if op.deed is Deed.INSTALL:
            return await store.claim_lead(op.owner, op.epoch, for_s, is_elected=op.is_elected)
        if op.deed is Deed.RENEW and await store.renew_lead(op.owner, op.epoch, for_s):
            return Lead(op.epoch, op.owner, for_s)
        if op.deed is Deed.RESIGN:
            await store.release_lead(op.owner, op.epoch)
        return await installed(store, op.owner)

    def _begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            log.error("election.failed", exc_info=bug)
            self.dump()
            self._stats.add("zjp_internal_errors_total")


def alone(node: str, boot: int, *, is_shared: bool) -> Core:
    """The core of a node without a mesh. `is_shared`: others may use the same store; it then says who leads."""
    interval_s, life_s = SHARED_S if is_shared else ALONE_S
    interval, life = round(interval_s * SECOND), round(life_s * SECOND)
    config = Config(node, boot, (node,), 1, 0, timeout=4 * interval, interval=interval, lead_for=life)
    return Alone(config, random.random, is_elected=not is_shared)


async def installed(store: QueueStore, owner: str) -> Lead:
    """The leadership as it is: a claim of epoch 0 is never granted. Raises: Unavailable."""
    return await store.claim_lead(owner, 0, 0.0)
