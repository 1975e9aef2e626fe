"""A leader that the store does not answer, and whom it hands over to. What each node tells the others of its store.

    confirmed ──`patience`──► asking ── of ROUNDS rounds on end, each had one that says yes ──► handed over ──► cut off
        ▲                      │  ▲                                                                               │
        │ the store answers    │  └── nobody says yes: it is away from all, and no other leader could do more     │
        └──────────────────────┴──────────────────────────────── this node's own question to it is answered ──────┘

Elections hear peers, and the store is none: a leader that has lost only the store would lead on, hold everybody else back, and do no duty.
So when the store has not confirmed it for `patience`, it asks the others by the mesh, a round each ROUND_S; each puts a question of its own
to the store and tells whether that was answered within PROBE_S. To one that said yes in each of ROUNDS rounds on end it hands over, as an
operator would (Transfer); in the second round the store has had time to answer this node as well, if it has just come back for all.

While it is cut off it knows that by questions of its own, and puts off coming back by rank (`is_unfit`). Should it lead again all the same,
by chance or because the other one is lost, it asks at once, one round suffices, and it hands over again; where all have lost the store it
leads on.

Nothing waits for the store here, and a round that nobody answers changes nothing. Who is asked also learns by it that the leader does no
duty, which `zjp cluster health` tells there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ..election.core import Role, Transfer
from ..errors import Unavailable
from ..log import event
from ..queue.store import QueueStore
from ..wire.reach import AskStore, Reaching, TellStore
from .leadership import Leadership, installed
from .stats import NodeStats

ROUND_S = 0.5
PROBE_S = 0.4
"""Within a round. A store that takes longer to say who leads is of no use to a leader that has to renew."""
ROUNDS = 2
ASKED_MAX = 16
"""Of those that may lead, the first by rank: each asks the store, and of a thousand that would be a burden on it."""
TOLD_S = 3 * ROUND_S
"""How long a leader's word that the store does not answer it is believed; it says it again each round."""

log = logging.getLogger(__name__)


class Reach:
    """`tell(node, message)`: by the mesh. `heirs()`: who may lead instead of this node, best first. `watch` once this node takes part in
    elections, `look_away` when it has none any more; others are answered from the beginning. Then `stop`."""

    def __init__(
        self,
        queue: QueueStore,
        stats: NodeStats,
        *,
        owner: str,
        tell: Callable[[str, Reaching], object],
        heirs: Callable[[], Sequence[str]],
    ) -> None:
        self._queue, self._stats, self._owner = queue, stats, owner
        self._tell, self._heirs = tell, heirs
        self._tasks: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None
        self._askers: dict[str, int] = {}
        """Who waits for an answer, and to which of its questions."""
        self._is_answering = self._is_probing = self._is_stopped = False
        self._number = 0
        self._able: set[str] = set()
        """Who said yes in this round."""
        self._streak = 0
        """Rounds on end in which somebody did."""
        self._is_asking = self._is_cut_off = False
        self._rests_until = 0.0
        self._told = ("", 0.0)
        """Which leader said that the store does not answer it, and when."""

    def watch(self, leadership: Leadership, *, patience_s: float, settle_s: float, is_by_rank: bool) -> None:
        """`settle_s`: what a hand-over may take before it is tried again. `is_by_rank`: the core lets nobody lead but its own choice."""
        self._watching = self._begin(self._turns(leadership, patience_s, settle_s, is_by_rank))

    async def look_away(self) -> None:
        """This node has no part in elections for a while; others are still answered."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        self._is_cut_off = self._is_asking = False

    async def stop(self) -> None:
        self._is_stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def is_idle(self, leader: str) -> bool:
        """That leader has told lately that the store does not answer it."""
        name, at = self._told
        return name == leader != "" and _now() - at < TOLD_S

    # ── what others say ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_message(self, src: str, message: Reaching) -> None:
        if isinstance(message, TellStore):
            if message.is_there and message.number == self._number:
                self._able.add(src)
            return
        self._told = (src, _now())
        self._askers[src] = message.number
        if not (self._is_answering or self._is_stopped):
            self._is_answering = True
            self._begin(self._answer())

    async def _answer(self) -> None:
        """One question to the store for all who asked before it."""
        try:
            while self._askers:
                askers, self._askers = self._askers, {}
                is_there = await self._is_answered()
                for node, number in askers.items():
                    self._tell(node, TellStore(number, is_there))
        finally:
            self._is_answering = False

    async def _is_answered(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_S):
                await installed(self._queue, self._owner)
        except (Unavailable, TimeoutError):
            return False
        return True

    # ── the leader's part ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _turns(self, leadership: Leadership, patience_s: float, settle_s: float, is_by_rank: bool) -> None:
        while True:
            await asyncio.sleep(ROUND_S)
            self._look()
            is_leading = leadership.view.role is Role.LEADER
            if self._is_cut_off and not is_leading:
                leadership.feed(Transfer(is_unfit=True))
            if not is_leading or leadership.silent_s <= (0.0 if self._is_cut_off else patience_s):
                self._rest(is_leading)
            elif _now() >= self._rests_until:
                heir = self._round(leadership)
                if heir:
                    self._rests_until = _now() + settle_s
                    leadership.feed(Transfer("" if is_by_rank else heir, is_unfit=True))

    def _rest(self, is_leading: bool) -> None:
        if self._is_asking and is_leading:
            event(log, logging.INFO, "cluster.store_back", reason="the store confirms this leader again: it goes on")
        self._is_asking, self._streak = False, 0

    def _look(self) -> None:
        """Whether this node is still cut off."""
        if self._is_cut_off and not self._is_probing:
            self._is_probing = True
            self._begin(self._probe())

    async def _probe(self) -> None:
        try:
            if await self._is_answered():
                self._is_cut_off = False
                event(log, logging.INFO, "cluster.store_back", reason="the store answers this node again: it may lead")
        finally:
            self._is_probing = False

    def _round(self, leadership: Leadership) -> str:
        """End one, and begin the next unless there is somebody to hand over to: then the name."""
        heirs = self._heirs()
        heir = next((name for name in heirs if name in self._able), "") if self._is_asking else ""
        self._streak = self._streak + 1 if heir else 0
        if heir and self._streak >= (1 if self._is_cut_off else ROUNDS):
            self._give_up(leadership, heir)
            return heir
        self._ask(leadership, heirs)
        return ""

    def _ask(self, leadership: Leadership, heirs: Sequence[str]) -> None:
        if not self._is_asking:
            self._is_asking = True
            self._tell_log(
                leadership,
                "cluster.leads_without_store",
                "the store does not confirm this leader: the others are asked for theirs",
            )
        self._number += 1
        self._able.clear()
        for name in heirs[:ASKED_MAX]:
            self._tell(name, AskStore(self._number))

    def _give_up(self, leadership: Leadership, heir: str) -> None:
        reason = "the store answers others, and not this node: look at its way to the store"
        self._tell_log(leadership, "cluster.hands_over_without_store", reason, to=heir)
        self._is_cut_off, self._is_asking, self._streak = True, False, 0
        self._able.clear()

    def _tell_log(self, leadership: Leadership, what: str, reason: str, **more: str) -> None:
        silent_s = round(leadership.silent_s, 1)
        event(log, logging.WARNING, what, epoch=leadership.epoch, silent_s=silent_s, reason=reason, **more)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (bug := task.exception()) is not None:
            log.error("reach.failed", exc_info=bug)
            self._stats.add("zjp_internal_errors_total")


def _now() -> float:
    return asyncio.get_running_loop().time()
