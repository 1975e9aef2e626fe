"""Gossip's invariants, from the rumours that leave a node, what its disk holds and what it shows.

G1  nobody speaks of an incarnation that its node has not used
G2  in one life what a node tells of a member never falls back to an older incarnation
G3  nobody calls itself suspect; dead only when it leaves
G4  at one incarnation a member goes alive, suspect, dead; back to alive only by an answer to a ping sent after the suspicion
G5  who leads sees a majority alive all the while, and has the store's token. No grace: the core is out of office in that step
C4  a node uses no incarnation that a crash would free again, and neither tells nor seeks an epoch that a crash would make it forget
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from zjp.election.core import Deed, Effects, Event, Health, Kind, Recv, Role, StoreOp, View
from zjp.wire.peers import (
    Ack,
    Alive,
    Dead,
    EpochSeen,
    PeerMessage,
    PingPeer,
    PingReq,
    Reserved,
    Rumour,
    Stored,
    Suspect,
    Sync,
    SyncReply,
)

from ..node import Node
from .watch import Recorder, Violation, Watch

Key = TypeVar("Key")
Value = TypeVar("Value")


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
    """`used`: the highest incarnation that each node itself has spoken with."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self.safe: dict[str, GossipDisk] = {}
        self.said: dict[str, GossipDisk] = {}
        self.used: dict[str, int] = {}
        self._spoke: set[str] = set()
        """Who has spoken in its present life."""
        self._written: dict[str, int] = {}
        """As `used`, since the folder was emptied last."""
        self._words: dict[tuple[str, str], int] = {}
        self._accused: dict[tuple[str, str], int] = {}
        """(teller, member) -> the incarnation it told last: of the member's own word, of an accusation."""
        self._pings: dict[tuple[str, int], tuple[str, int]] = {}
        """(pinger, seq) -> target and local time."""
        self._suspected: dict[tuple[str, str], int] = {}
        """(who, whom) -> local time at which it became suspect there."""

    def starts(self, node: Node) -> None:
        safe = self.safe.setdefault(node.name, GossipDisk())
        self.said[node.name] = GossipDisk(safe.reserved, safe.epoch)
        self._spoke.discard(node.name)
        self._words, self._accused = _without(node.name, self._words), _without(node.name, self._accused)
        self._pings, self._suspected = _without(node.name, self._pings), _without(node.name, self._suspected)

    def stops(self, node: Node, survived: Sequence[Stored]) -> None:
        self.synced(node, survived)

    def wiped(self, node: Node) -> None:
        self.safe[node.name] = GossipDisk()
        self._written.pop(node.name, None)

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
            raise Violation(
                "C3", f"{node.name} rewrites its file and loses incarnation {safe.reserved} or epoch {safe.epoch}"
            )

    # ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def leaves(self, node: Node, to: str, message: PeerMessage) -> None:
        """Only what must be durable by now; the rest is judged when it is said, for it may leave later."""
        self._speaks(node, message.incarnation)  # type: ignore[union-attr]
        epoch = getattr(message, "max_epoch", 0)
        if epoch > self.safe[node.name].epoch:
            raise Violation("C4", f"{node.name} tells {to} of epoch {epoch}, and a crash now would forget it")

    def stepped(self, node: Node, local: int, event: Event | None, out: Effects) -> None:
        for send in (*out.send, *out.send_after) if out.send_after else out.send:
            message = send.message
            if type(message) is PingPeer or type(message) is PingReq:
                self._pings.setdefault((node.name, message.seq), (message.target, local))
            for rumour in _rumours(message):
                self._check(node, rumour)
        super().stepped(node, local, event, out)

    def is_elected(self, node: Node, epoch: int) -> bool:
        """Nobody votes here."""
        return False

    def asks(self, node: Node, op: StoreOp) -> None:
        super().asks(node, op)
        if op.deed is Deed.INSTALL and self.safe[node.name].epoch < op.epoch:
            raise Violation("C4", f"{node.name} asks for epoch {op.epoch}, and a crash now would forget it")

    def _speaks(self, node: Node, incarnation: int) -> None:
        if node.name not in self._spoke:
            self._spoke.add(node.name)
            if incarnation <= self._written.get(node.name, -1):
                raise Violation(
                    "G1",
                    f"{node.name} begins a life with incarnation {incarnation}, which it has used in an earlier one",
                )
        self._written[node.name] = max(incarnation, self._written.get(node.name, -1))
        if incarnation > self.used.get(node.name, -1):
            self.used[node.name] = incarnation
            if incarnation >= self.safe[node.name].reserved:
                raise Violation(
                    "C4",
                    f"{node.name} uses incarnation {incarnation}; {self.safe[node.name].reserved} are reserved durably",
                )

    def _check(self, node: Node, rumour: Rumour) -> None:
        about, incarnation = rumour.node, rumour.incarnation
        if about == node.name:
            if type(rumour) is Suspect or (type(rumour) is Dead and not node.is_left):
                raise Violation("G3", f"{node.name} calls itself {type(rumour).__name__.lower()}")
            return
        if incarnation > self.used.get(about, incarnation):
            raise Violation(
                "G1", f"{node.name} speaks of {about} in incarnation {incarnation}, it has used {self.used[about]}"
            )
        told = self._words if type(rumour) is Alive else self._accused
        before = told.get((node.name, about), 0)
        if incarnation < before:
            kind = type(rumour).__name__
            raise Violation(
                "G2", f"{node.name} tells {kind} of {about} in incarnation {incarnation}, before it was {before}"
            )
        told[node.name, about] = incarnation

    # ── what it shows ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def looks(self, node: Node, local: int) -> None:
        super().looks(node, local)
        view = node.view
        if view.role is not Role.LEADER and not view.is_in_office:
            return
        alive = sum(1 for member in view.members.values() if member.health is Health.ALIVE)
        if alive < self.quorum:
            raise Violation("G5", f"{node.name} leads in {view.epoch} and sees {alive} alive, {self.quorum} are needed")

    def changes(self, node: Node, local: int, before: View, view: View) -> None:
        if view.role is not Role.LEADER or (before.role is Role.LEADER and before.epoch == view.epoch):
            return
        if self.accepted.get(view.epoch) != node.config.owner:
            raise Violation("G5", f"{node.name} leads in {view.epoch}, which the store did not give it")

    def acted(self, node: Node, local: int, event: Event | None, out: Effects) -> None:
        for happened in out.happened:
            key = node.name, happened.node
            if happened.kind is Kind.MEMBER_SUSPECT:
                self._suspected[key] = local
            elif happened.kind is Kind.MEMBER_REFUTED or happened.kind is Kind.MEMBER_JOINED:
                self._acquits(node, happened.node, event)

    def _acquits(self, node: Node, about: str, event: Event | None) -> None:
        """It held `about` suspect or dead, and does so no more. What it has told of that says in which incarnation."""
        key = node.name, about
        since, accused = self._suspected.pop(key, None), self._accused.get(key)
        if accused is None or type(event) is not Recv:
            return
        heard = _incarnation_of(about, event)
        if heard > accused or _is_accused(about, event):
            return
        message = event.message
        ping = self._pings.get((node.name, message.seq)) if type(message) is Ack and message.target == about else None
        if ping is None:
            raise Violation(
                "G4",
                f"{node.name} holds {about} alive again in incarnation {heard}, and told of an accusation in {accused}",
            )
        if since is not None and ping[1] < since:
            raise Violation(
                "G4", f"{node.name} holds {about} alive again for an answer to a ping sent before it was suspected"
            )


def _without(name: str, table: dict[tuple[str, Key], Value]) -> dict[tuple[str, Key], Value]:
    """What others know; a life that begins knows nothing."""
    return {key: value for key, value in table.items() if key[0] != name}


def _incarnation_of(about: str, event: Recv) -> int:
    """The highest that the message tells of it, in its own words."""
    message = event.message
    told = [rumour.incarnation for rumour in _rumours(message) if type(rumour) is Alive and rumour.node == about]
    own = getattr(message, "incarnation", -1) if event.src == about else -1
    return max([own, *told])


def _is_accused(about: str, event: Recv) -> bool:
    """A suspicion in a newer incarnation also makes a suspect of one that was dead."""
    return any(type(rumour) is not Alive and rumour.node == about for rumour in _rumours(event.message))


def _rumours(message: object) -> Sequence[Rumour]:
    kind = type(message)
    found: Sequence[Rumour] = message.table if kind is Sync or kind is SyncReply else message.rumours  # type: ignore[attr-defined]
    return found
