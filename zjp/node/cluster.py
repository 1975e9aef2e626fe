"""What joins the mesh, an election core and the store's word of who the voters are. No decisions about leading are made here.

A node on a queue of its own, or without CLUSTER_SEEDS, elects by the store alone (election/alone.py). One with seeds joins the mesh at its
own door, and elects with ELECTION_ALGORITHM:

    mesh ──what peers say──► leadership ──what to say──► mesh
         ──who can be reached──►          the core in it has its voters from `voters`

Bully and Raft count the majority of *named* voters. The names are settled once: the first node that has met CLUSTER_SIZE - 1 others, or
more, puts CLUSTER_SIZE names into the store, beside the queue that these nodes share anyway, and everybody reads them there: of all that
are there those of the highest NODE_PRIORITY, then the first by name, itself among them or not. So two halves that meet different nodes
cannot settle different names, a node that comes later follows without a vote, and one that comes back is still a voter. Until then nobody
leads: jobs go on. Gossip counts the majority of CLUSTER_SIZE and needs no names. Each node keeps the names in its folder too, and has no
part in elections while the store has others: voters.py.

A leader that the store does not answer hands over to one that it answers, or goes on: reach.py.

What a node promised in elections (election_log.py) is looked at before it meets anybody: it does not start on a damaged file. Later faults,
a full disk above all, put the beginning of its election off and never end it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable

from ..config import Settings
from ..election.core import SECOND, Config, Core, Happened, Health, Kind, Met, Recv, Role, Send, Time, Transfer, View
from ..election.make import make_core
from ..errors import ConfigError
from ..log import event
from ..queue.store import Lead, Life, QueueStore
from ..transport.door import Door
from ..transport.envelope import Me
from ..transport.mesh import Mesh, PeerState
from ..wire.peers import PeerMessage
from ..wire.reach import Reaching
from ..wire.relayed import Relayed
from .chronicle import Chronicle
from .election_log import ElectionLog
from .hardstate import DataDir, refusal
from .leadership import Leadership, alone, drop
from .reach import Reach
from .ring import FILE as RING_FILE
from .ring import Ring
from .stats import NodeStats
from .voters import VoterList

SETTLE_AFTER = 2
"""In intervals: so long nobody came or went before voters are settled."""
RETRY_S = 1.0
"""A fault that keeps the election from beginning is tried again so often."""
FORMING_S, FORMING_AGAIN_S = 10.0, 60.0
"""A node that waits for others for so long says so, and how many it has met; and again."""
LEAD_FOR_MIN_S = 1.0
"""A leader renews each interval; the store that stops for a moment must not end its leadership."""
NOBODY = View(Role.LEARNER, "", 0, False, False, {})
"""Before the voters are settled."""

log = logging.getLogger(__name__)


class Cluster:
    """`start`, `join` once the door is bound, then `stop`. To duties it is the office. `on_change`: see Leadership."""

    def __init__(self, settings: Settings, data: DataDir, queue: QueueStore, stats: NodeStats, chronicle: Chronicle) -> None:
        self._settings, self._data, self._queue, self._stats, self._chronicle = settings, data, queue, stats, chronicle
        self.owner = f"{data.node_id}:{data.boot}"
        self.algorithm = settings.election_algorithm if settings.is_meshed else "alone"
        self.on_change: Callable[[], None] = lambda: None
        self.on_relayed: Callable[[str, Relayed], None] = lambda src, message: None
        """What peers pass on; assign it before `join`."""
        self.voters: frozenset[str] = frozenset()
        """By name, once they are settled; none where nobody names them, or while they are disputed."""
        self._voter_list = VoterList(
            data, settings.cluster_name, settings.cluster_size_effective, queue, met=self._met, electing=self._electing,
            patience_s=SETTLE_AFTER * settings.election_times_s[1],
        )  # fmt: skip
        self._heard_electing: set[str] = set()
        """Who spoke of elections before this node has a part in them."""
        self._leadership: Leadership | None = None
        self._mesh: Mesh | None = None
        self._forming: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._reach = Reach(queue, stats, owner=self.owner, tell=self.tell, heirs=self._heirs)

    async def start(self) -> None:
        """Raises: ConfigError: what was promised in elections, or who votes in them, is damaged, or cannot be read or written."""
        if self._settings.is_meshed:
            self._warn_of_interval()
            await asyncio.to_thread(self._log().check)
            if self._has_named_voters:
                await asyncio.to_thread(self._voter_list.load)
        else:
            core = alone(self._data.node_id, self._data.boot, is_shared=self._queue.is_shared)
            self._leadership = self._led(core, drop, None)
            try:
                await self._leadership.start()
            except OSError as fault:
                raise refusal(self._data.path, fault) from fault

    def join(self, door: Door, address: str) -> None:
        """Meet the others; the election begins when the voters are known. Nothing to do for a node without a mesh."""
        settings, data = self._settings, self._data
        if not settings.is_meshed:
            return
        me = Me(
            node=data.node_id, boot=data.boot, home=data.home, cluster=settings.cluster_name,
            address=settings.zmq_advertise or address, algorithm=self.algorithm, priority=settings.node_priority,
        )  # fmt: skip
        self._mesh = Mesh(
            me, door, seeds=settings.cluster_seeds or (), on_message=self._on_message, on_met=self._on_met,
            on_relayed=lambda src, message: self.on_relayed(src, message), on_reach=self._reach.on_message,
        )  # fmt: skip
        self._mesh.start()
        self._forming = asyncio.create_task(self._form())
        if self.algorithm != "gossip":
            self._telling = asyncio.create_task(self._tell_of_waiting())

    async def stop(self) -> None:
        """Resign, and say good-bye."""
        tasks = [task for task in (self._forming, self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._reach.stop()
        if self._leadership is not None:
            await self._leadership.stop()
        if self._mesh is not None:
            self._mesh.close()

    def dump(self) -> None:
        """What the core was fed lately, into a file in DATA_DIR."""
        if self._leadership is not None:
            self._leadership.dump()

    def keys_changed(self) -> None:
        if self._mesh is not None:
            self._mesh.recheck_keys()

    # ── what others see ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def view(self) -> View:
        return NOBODY if self._leadership is None else self._leadership.view

    @property
    def epoch(self) -> int:
        return self.view.epoch

    @property
    def is_in_office(self) -> bool:
        return self._leadership is not None and self._leadership.is_in_office

    @property
    def is_leader_idle(self) -> bool:
        """Somebody leads, and the store does not confirm it, as far as this node knows: no duty is done."""
        leader = self.view.leader
        return leader != "" and (not self.is_in_office if leader == self._data.node_id else self._reach.is_idle(leader))

    @property
    def dispute(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The voters that this node kept, and those that the store names instead; empty while there is none."""
        return self._voter_list.dispute

    @property
    def quorum(self) -> int:
        """So many must agree on a leader; 0: the store alone decides."""
        return (len(self.voters) or self._settings.cluster_size_effective) // 2 + 1 if self._settings.is_meshed else 0

    def drops(self) -> Counter[str]:
        """What the mesh did not take, or could not send, since the start: why -> how many."""
        if self._mesh is None:
            return Counter()
        return self._mesh.dropped + Counter(unsent=self._mesh.unsent_count)

    def refused(self, lead: Lead) -> None:
        if self._leadership is not None:
            self._leadership.refused(lead)

    def peers(self) -> list[PeerState]:
        return [] if self._mesh is None else self._mesh.peers()

    def dead(self) -> Iterable[Life]:
        """Lives that this node holds dead; of interest only while it leads with a quorum."""
        view = self.view
        if not view.has_quorum:
            return
        for peer in self.peers():
            member = view.members.get(peer.node)
            if member is not None and member.health in (Health.DEAD, Health.LEFT):
                yield Life(peer.node, peer.boot)

    def transfer(self, to: str) -> None:
        if self._leadership is not None:
            self._leadership.feed(Transfer(to))

    def _heirs(self) -> list[str]:
        up = [peer for peer in self.peers() if peer.is_up and (not self.voters or peer.node in self.voters)]
        return [peer.node for peer in sorted(up, key=lambda peer: (peer.priority, peer.node), reverse=True)]

    # ── forming ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _form(self) -> None:
        try:
            while True:
                self._leadership = await self._begun()
                self._watch_store(self._leadership)
                for peer in self.peers():
                    if peer.is_up:
                        self._feed_met(peer.node, peer.priority, True)
                if not self._has_named_voters:
                    return
                await self._voter_list.disputed()
                await self._retire()
        except Exception:
            log.exception("cluster.failed")
            self._stats.add("zjp_internal_errors_total")

    async def _retire(self) -> None:
        """From elections, until the voters are known again."""
        leadership, self.voters = self._leadership, frozenset()
        await self._reach.look_away()
        if leadership is not None:
            await leadership.stop()
        self._leadership = None
        self._changed()

    async def _begun(self) -> Leadership:
        """Once it could be: a fault is told when it begins and when it is over, and tried again meanwhile."""
        if self._has_named_voters:
            event(log, logging.INFO, "cluster.forming", size=self._settings.cluster_size_effective, algorithm=self.algorithm)
        told = ""
        while True:
            try:
                leadership = await self._begin()
            except Exception as fault:
                if repr(fault) != told:
                    told = repr(fault)
                    self._put_off(fault)
                await asyncio.sleep(RETRY_S)
            else:
                if told:
                    event(log, logging.INFO, "cluster.formed", reason="what kept this node from elections is over")
                return leadership

    async def _tell_of_waiting(self) -> None:
        """As long as fewer have met than are to settle the voters; a store that is away is told elsewhere."""
        size, pause_s = self._settings.cluster_size_effective, FORMING_S
        while True:
            await asyncio.sleep(pause_s)
            if self.voters:
                return
            pause_s = FORMING_AGAIN_S
            met = sorted({self._data.node_id, *(peer.node for peer in self.peers() if peer.is_up)})
            if len(met) < size:
                event(
                    log, logging.WARNING, "cluster.still_forming", met=met, CLUSTER_SIZE=size,
                    reason=f"met {len(met)} of {size}: nobody leads until so many have met. Start the others, see that CLUSTER_SEEDS and"
                    " ZMQ_ADVERTISE can be dialled from each node, or set CLUSTER_SIZE to how many there are",
                )  # fmt: skip

    def _put_off(self, fault: Exception) -> None:
        if isinstance(fault, OSError | ConfigError):
            event(log, logging.WARNING, "cluster.not_formed", reason=str(fault), path=str(self._data.path), retry_s=RETRY_S)
        else:
            log.error("cluster.not_formed", exc_info=fault)
            self._stats.add("zjp_internal_errors_total")

    async def _begin(self) -> Leadership:
        """Raises: OSError, ConfigError; then nothing is left running."""
        if self._has_named_voters and not self.voters:
            self.voters = frozenset(await self._voter_list.known())
            if self._data.node_id not in self.voters:
                event(
                    log, logging.WARNING, "cluster.no_vote", node=self._data.node_id, voters=sorted(self.voters),
                    reason="the voters were settled without this node: it takes jobs and follows. If it lost its DATA_DIR, set NODE_ID to"
                    " its former name",
                )  # fmt: skip
        config = self._config(tuple(sorted(self.voters)))
        ring = Ring(self.algorithm, config, self._data.path / RING_FILE)
        leadership = self._led(make_core(self.algorithm, config, ring.uniform), self._send, ring)
        try:
            await leadership.start()
        except Exception:
            leadership.halt()
            await leadership.stop()
            raise
        return leadership

    @property
    def _has_named_voters(self) -> bool:
        return self.algorithm != "gossip"

    def _met(self) -> dict[str, int]:
        """Who is there, with this node: name -> priority."""
        return {peer.node: peer.priority for peer in self.peers() if peer.is_up} | {self._data.node_id: self._settings.node_priority}

    def _electing(self) -> set[str]:
        return self._heard_electing & self._met().keys()

    def _watch_store(self, leadership: Leadership) -> None:
        timeout_s, _ = self._settings.election_times_s
        self._reach.watch(
            leadership, patience_s=self._lead_for_s + timeout_s, settle_s=2 * timeout_s, is_by_rank=self.algorithm == "gossip"
        )

    @property
    def _lead_for_s(self) -> float:
        timeout_s, _ = self._settings.election_times_s
        return timeout_s if self.algorithm == "gossip" else max(2 * timeout_s, LEAD_FOR_MIN_S)

    def _config(self, voters: tuple[str, ...]) -> Config:
        settings = self._settings
        timeout_s, interval_s = settings.election_times_s
        return Config(
            self._data.node_id, self._data.boot, voters, len(voters) or settings.cluster_size_effective, settings.node_priority,
            timeout=round(timeout_s * SECOND), interval=round(interval_s * SECOND), lead_for=round(self._lead_for_s * SECOND),
        )  # fmt: skip

    def _warn_of_interval(self) -> None:
        settings = self._settings
        if settings.is_interval_lowered:
            timeout_s, interval_s = settings.election_times_s
            event(
                log, logging.WARNING, "cluster.interval_lowered", ELECTION_INTERVAL_s=settings.election_interval_s, used_s=interval_s,
                timeout_s=timeout_s, reason="a silent leader is told by several beats that do not come: a quarter of ELECTION_TIMEOUT",
            )  # fmt: skip

    def _led(self, core: Core, send: Callable[[Send], None], ring: Ring | None) -> Leadership:
        return Leadership(
            core, self._log(), self._queue, self._stats, owner=self.owner, algorithm=self.algorithm, send=send,
            on_change=self._changed, on_happened=self._told, stall=round(self._settings.election_times_s[0] * SECOND),
            ring=ring,
        )  # fmt: skip

    def _log(self) -> ElectionLog:
        """One per algorithm: what was promised under one says nothing under another."""
        return ElectionLog(self._data.path / f"election-{self.algorithm}.log")

    # ── between mesh and core ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _send(self, one: Send) -> None:
        if self._mesh is not None:
            self._mesh.send(one.to, one.message)

    def tell(self, to: str, message: Relayed | Reaching) -> bool:
        """False: it is not connected, or there is no mesh."""
        return self._mesh is not None and self._mesh.send(to, message)

    def _on_message(self, src: str, message: PeerMessage) -> None:
        if self._leadership is not None:
            self._leadership.feed(Recv(src, message))
        else:
            self._heard_electing.add(src)

    def _on_met(self, peer: str, priority: int, is_up: bool) -> None:
        self._chronicle.met(peer, is_up)
        self._heard_electing.discard(peer)  # it may be another life from here on
        self._feed_met(peer, priority, is_up)

    def _feed_met(self, peer: str, priority: int, is_up: bool) -> None:
        if self._leadership is not None:
            self._leadership.feed(Met(peer, priority, is_up))

    def _changed(self) -> None:
        self._chronicle.leader_is(self.view.leader)
        self.on_change()

    def _told(self, happened: Happened) -> None:
        """One leader may be lost and the next one known in a single step: the time between them is counted all the same."""
        if happened.kind is Kind.LEADER_LOST:
            self._chronicle.leader_is("", self._silence_of(happened.node))
        self._chronicle.told(happened)
        if happened.kind is Kind.LEADER_ELECTED:
            self._chronicle.leader_is(self.view.leader)

    def _silence_of(self, node: str) -> Time:
        """For so long nothing has been heard of it."""
        return next((round(peer.silent_s * SECOND) for peer in self.peers() if peer.node == node), 0)
