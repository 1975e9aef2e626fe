"""Gossip's invariants, from the rumours that leave a node, what its disk holds and what it shows.

    G1  nobody speaks of an incarnation that its node has not used        C4  a node uses no incarnation that a crash would free again
    G2  in one life what a node tells of a member's incarnation never falls   G3  nobody calls itself suspect; dead only when it leaves
    G4  at one incarnation a member goes alive, suspect, dead; back to alive only by its own ack to a ping sent after the suspicion
    G5  who leads sees a majority alive, and has the store's token
"""

from __future__ import annotations

from collections.abc import Sequence

from zjp.election.core import Effects, Event, Health, Kind, Recv, Role, View
from zjp.wire.peers import Ack, Alive, Dead, EpochSeen, Gossip, Nack, PingPeer, PingReq, Reserved, Rumour, Stored, Suspect, Sync, SyncReply

from ..node import Node
from .watch import Recorder, Violation, Watch

RANK = {Alive: 0, Suspect: 1, Dead: 2}
PINGS_MAX = 512


class GossipDisk:
    __slots__ = ("epoch", "reserved")

    def __init__(self, reserved: int = 0, epoch: int = 0) -> None:
        self.reserved, self.epoch = reserved, epoch

    def take(self, name: str, record: Stored) -> None:
        if type(record) is Reserved:
            if record.incarnation < self.reserved:
                raise Violation("C3", f"{name} reserves {record.incarnation} after {self.reserved}")
            self.reserved = record.incarnation
        elif type(record) is EpochSeen:
            if record.epoch < self.epoch:
                raise Violation("C3", f"{name} writes epoch {record.epoch} after {self.epoch}")
            self.epoch = record.epoch


class GossipWatch(Watch):
    """`used`: the highest incarnation that each node itself has spoken with. `told`: (teller, member) -> what it said last of it."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self.on_leave = {PingPeer: self._ping_leaves, PingReq: self._rumours_leave, Ack: self._rumours_leave, Nack: self._rumours_leave}
        self.on_leave |= {Gossip: self._rumours_leave, Sync: self._table_leaves, SyncReply: self._table_leaves}
        self.safe: dict[str, GossipDisk] = {}
        self.said: dict[str, GossipDisk] = {}
        self.used: dict[str, int] = {}
        self._told: dict[tuple[str, str], tuple[int, int]] = {}
        self._pings: dict[tuple[str, int], tuple[str, int]] = {}
        """(pinger, seq) -> target and local time."""
        self._suspected: dict[tuple[str, str], int] = {}
        """(who, whom) -> local time at which it became suspect there."""

    def starts(self, node: Node) -> None:
        safe = self.safe.setdefault(node.name, GossipDisk())
        self.said[node.name] = GossipDisk(safe.reserved, safe.epoch)
        for table in (self._told, self._pings, self._suspected):
            for key in [key for key in table if key[0] == node.name]:
                del table[key]  # type: ignore[attr-defined]

    def stops(self, node: Node, survived: Sequence[Stored]) -> None:
        self.synced(node, survived)

    def wiped(self, node: Node) -> None:
        self.safe[node.name] = GossipDisk()

    def hands_over(self, node: Node, records: Sequence[Stored]) -> None:
        for record in records:
            self.said[node.name].take(node.name, record)

    def synced(self, node: Node, records: Sequence[Stored]) -> None:
        for record in records:
            self.safe[node.name].take(node.name, record)

    def rewrites(self, node: Node, records: Sequence[Stored]) -> None:
        again, safe = GossipDisk(), self.safe[node.name]
        for record in records:
            again.take(node.name, record)
        if again.reserved < safe.reserved or again.epoch < safe.epoch:
            raise Violation("C3", f"{node.name} rewrites its file and loses incarnation {safe.reserved} or epoch {safe.epoch}")

    # ── what leaves ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ping_leaves(self, node: Node, _: int, to: str, message: PingPeer) -> None:
        if to == message.target:
            self._pings[node.name, message.seq] = to, node.clock.read(self.cluster.now)
        self._rumours_leave(node, 0, to, message)

    def _rumours_leave(self, node: Node, _: int, to: str, message: PingPeer | PingReq | Ack | Nack | Gossip) -> None:
        self._speaks(node, message.incarnation)
        for rumour in message.rumours:
            self._check(node, rumour)

    def _table_leaves(self, node: Node, _: int, to: str, message: Sync | SyncReply) -> None:
        self._speaks(node, message.incarnation)
        for rumour in message.table:
            self._check(node, rumour)
            now = rumour.incarnation, RANK[type(rumour)]
            before = self._told.get((node.name, rumour.node), (0, 0))
            if now[0] < before[0]:
                raise Violation("G2", f"{node.name} knew {rumour.node} in incarnation {before[0]} and tells of {now[0]}")
            self._told[node.name, rumour.node] = now

    def _speaks(self, node: Node, incarnation: int) -> None:
        if incarnation > self.used.get(node.name, -1):
            self.used[node.name] = incarnation
            if incarnation >= self.safe[node.name].reserved:
                raise Violation("C4", f"{node.name} uses incarnation {incarnation}; {self.safe[node.name].reserved} are reserved durably")

    def _check(self, node: Node, rumour: Rumour) -> None:
        about = rumour.node
        if about == node.name:
            if type(rumour) is Suspect or (type(rumour) is Dead and not node.is_left and rumour.by != about):
                raise Violation("G3", f"{node.name} calls itself {type(rumour).__name__.lower()}")
            self._speaks(node, rumour.incarnation)
        elif rumour.incarnation > self.used.get(about, -1) and about in self.used:
            raise Violation("G1", f"{node.name} speaks of {about} in incarnation {rumour.incarnation}, it has used {self.used[about]}")

    # ── what it shows ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def changes(self, node: Node, local: int, before: View, view: View) -> None:
        if view.role is not Role.LEADER or (before.role is Role.LEADER and before.epoch == view.epoch):
            return
        alive = sum(1 for member in view.members.values() if member.health is Health.ALIVE)
        if alive + (node.name not in view.members) < self.quorum:
            raise Violation("G5", f"{node.name} leads and sees {alive} alive, {self.quorum} are needed")
        if self.accepted.get(view.epoch) != node.config.owner:
            raise Violation("G5", f"{node.name} leads in {view.epoch}, which the store did not give it")

    def acted(self, node: Node, local: int, event: Event | None, out: Effects) -> None:
        for happened in out.happened:
            key = node.name, happened.node
            if happened.kind is Kind.MEMBER_SUSPECT:
                self._suspected[key] = local
            elif happened.kind is Kind.MEMBER_REFUTED:
                self._check_refuted(node, happened.node, event)

    def _check_refuted(self, node: Node, about: str, event: Event | None) -> None:
        """By a higher incarnation, which the event must carry; or by an ack to an own ping sent after the suspicion began."""
        since = self._suspected.pop((node.name, about), None)
        if since is None or type(event) is not Recv or type(event.message) is not Ack or event.src != about:
            return
        ping = self._pings.get((node.name, event.message.seq))
        is_newer = event.message.incarnation > self._told.get((node.name, about), (0, 0))[0]
        if ping is not None and ping[0] == about and ping[1] < since and not is_newer:
            raise Violation("G4", f"{node.name} takes back its suspicion of {about} for an ack to a ping sent before it")
