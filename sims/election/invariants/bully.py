"""Bully's invariants, from what leaves a node and what its disk holds.

    B1  one coordinator per epoch, and a majority of distinct voters granted it (itself included; of two nodes: the store)
    B2  a node grants an epoch to one claimant, and never one below what it has granted
    B3  a coordinator without acks of a majority for the timeout tries no duties and shows no leadership
    B4  while a coordinator is heard nobody is granted anything, but one that ranks above it, when it was followed for the hold-down
    C4  a grant, the promise that a refusal names, a claim's own grant, and what one whose folder was emptied is told, are durable
        before they are said

"A majority" of two nodes would be both, so there the store is the witness: what it accepted counts as a vote.
"""

from __future__ import annotations

from collections.abc import Sequence

from zjp.election.core import MS, Effects, Event, Recv, Role, Stall, View, Wake
from zjp.wire.peers import Beat, BeatAck, Claim, Coordinator, Grant, Promise, Stored, TellTerm

from ..node import Node
from .lease import Lease
from .watch import Recorder, Violation, Watch

LATE = 5 * MS
HOLD_DOWN = 10
"""Timeouts; a voter's count may lag by one."""


class BullyDisk:
    __slots__ = ("epoch", "to")

    def __init__(self, epoch: int = 0, to: str = "") -> None:
        self.epoch, self.to = epoch, to

    def take(self, name: str, record: Stored) -> None:
        if type(record) is not Promise:
            return
        if record.epoch < self.epoch:
            raise Violation("C3", f"{name} writes a promise of {record.epoch} after {self.epoch}")
        if record.epoch == self.epoch and self.to not in ("", record.to):
            raise Violation("B2", f"{name} granted {self.epoch} to {self.to} and writes {record.to or 'nobody'}")
        self.epoch, self.to = record.epoch, record.to


class BullyWatch(Watch):
    """`safe`: what is on each disk."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self.on_leave = {
            Grant: self._grant_leaves,
            Beat: self._beat_leaves,
            Coordinator: self._coordinator_leaves,
            Claim: self._claim_leaves,
            TellTerm: self._lesson_leaves,
        }
        self.on_hear = {
            Grant: self._hears_grant,
            BeatAck: self._hears_ack,
            Beat: self._hears_beat,
            Coordinator: self._hears_beat,
        }
        self.safe: dict[str, BullyDisk] = {}
        self.said: dict[str, BullyDisk] = {}
        self._durable: set[tuple[str, int, str]] = set()
        self._cast: dict[tuple[str, int], str] = {}
        self._highest: dict[str, int] = {}
        self._grants: dict[tuple[str, int], set[str]] = {}
        self._leads: dict[int, str] = {}
        self._leases: dict[str, Lease] = {}
        self._followed: dict[str, tuple[str, int, int, int, int]] = {}
        """Node -> (coordinator, epoch, since when, when it was heard last, its round), by the node's clock."""

    def starts(self, node: Node) -> None:
        safe = self.safe.setdefault(node.name, BullyDisk())
        self.said[node.name] = BullyDisk(safe.epoch, safe.to)
        self._leases.pop(node.name, None)
        self._followed.pop(node.name, None)

    def stops(self, node: Node, survived: Sequence[Stored]) -> None:
        self.synced(node, survived)

    def wiped(self, node: Node) -> None:
        """What it granted and nobody has led in, no core can know again: it may grant that once more. B1 holds all the same."""
        self.safe[node.name] = BullyDisk()
        mine = [epoch for name, epoch in self._cast if name == node.name]
        forgotten = [epoch for epoch in mine if epoch not in self.accepted and epoch not in self._leads]
        for epoch in forgotten:
            del self._cast[node.name, epoch]
        self._highest[node.name] = max((epoch for epoch in mine if epoch not in forgotten), default=0)

    def hands_over(self, node: Node, records: Sequence[Stored]) -> None:
        for record in records:
            self.said[node.name].take(node.name, record)

    def synced(self, node: Node, records: Sequence[Stored]) -> None:
        safe = self.safe[node.name]
        for record in records:
            safe.take(node.name, record)
            self._durable.add((node.name, safe.epoch, safe.to))

    def rewrites(self, node: Node, records: Sequence[Stored]) -> None:
        again, safe = BullyDisk(), self.safe[node.name]
        for record in records:
            again.take(node.name, record)
        if (again.epoch, again.to) != (safe.epoch, safe.to):
            raise Violation("C3", f"{node.name} rewrites its file and forgets its promise of {safe.epoch} to {safe.to}")

    def _grant_leaves(self, node: Node, _: int, to: str, message: Grant) -> None:
        if not message.is_granted:
            self._refusal_leaves(node, to, message)
            return
        epoch = message.epoch
        if self._cast.setdefault((node.name, epoch), to) != to:
            raise Violation(
                "B2", f"{node.name} grants {epoch} to {to}, but granted it to {self._cast[node.name, epoch]}"
            )
        if epoch < self._highest.get(node.name, 0):
            raise Violation("B2", f"{node.name} grants {epoch} after {self._highest[node.name]}")
        self._highest[node.name] = epoch
        if (node.name, epoch, to) not in self._durable:
            raise Violation("C4", f"{node.name} grants {epoch} to {to}, and a crash now would forget it")

    def _refusal_leaves(self, node: Node, to: str, message: Grant) -> None:
        if message.promised > self.safe[node.name].epoch:
            raise Violation(
                "C4",
                f"{node.name} refuses {to} for its promise of {message.promised}, and a crash now would forget that",
            )

    def _claim_leaves(self, node: Node, _: int, to: str, message: Claim) -> None:
        if message.epoch and (node.name, message.epoch, node.name) not in self._durable:
            raise Violation("C4", f"{node.name} claims {message.epoch}, and a crash now would forget its own promise")

    def _beat_leaves(self, node: Node, _: int, to: str, message: Beat) -> None:
        self._leader(node, message.epoch)
        lease = self._leases.get(node.name)
        if lease is not None and lease.epoch == message.epoch:
            lease.sends(message.round, node.clock.read(self.cluster.now))

    def _coordinator_leaves(self, node: Node, _: int, to: str, message: Coordinator) -> None:
        self._leader(node, message.epoch)

    def _lesson_leaves(self, node: Node, _: int, to: str, message: TellTerm) -> None:
        if message.term > self.safe[node.name].epoch:
            raise Violation("C4", f"{node.name} tells {to} of {message.term}, and a crash now would forget it")

    def _hears_grant(self, node: Node, local: int, source: str, message: Grant) -> None:
        if message.is_granted:
            self._grants.setdefault((node.name, message.epoch), set()).add(source)

    def _hears_ack(self, node: Node, local: int, source: str, message: BeatAck) -> None:
        lease = self._leases.get(node.name)
        if lease is not None and lease.epoch == message.epoch:
            lease.hears(source, message.round)

    def _hears_beat(self, node: Node, local: int, source: str, message: Beat | Coordinator) -> None:
        """A late copy of an older round is no sign of life."""
        leader, epoch, since, _, last = self._followed.get(node.name, ("", 0, 0, 0, -1))
        number = message.round if isinstance(message, Beat) else 0
        if (source, message.epoch) == (leader, epoch):
            if number > last:
                since = since if node.view.leader == leader else local
                self._followed[node.name] = leader, epoch, since, local, number
        elif message.epoch >= node.view.epoch:
            self._followed[node.name] = source, message.epoch, local, local, number

    def stepped(self, node: Node, local: int, event: Event | None, out: Effects) -> None:
        """A grant is judged when it is decided; it may leave later."""
        if type(event) is Recv and type(event.message) is Claim and event.message.epoch and out.persist is not None:
            for send in out.send_after:
                if type(send.message) is Grant and send.message.is_granted:
                    self._check_faithful(node, local, event.src)
        super().stepped(node, local, event, out)

    def _check_faithful(self, node: Node, local: int, src: str) -> None:
        leader, epoch, since, heard, _ = self._followed.get(node.name, ("", 0, 0, 0, -1))
        before = node.view
        if (
            before.leader != leader
            or before.epoch != epoch
            or not leader
            or leader == src
            or local - heard >= node.config.timeout
        ):
            return
        rank = self.cluster.by_name[leader].priority
        is_stable = local - since >= (HOLD_DOWN - 1) * node.config.timeout
        if not is_stable or self.cluster.by_name[src].priority < rank:
            raise Violation(
                "B4",
                f"{node.name} grants {src} an epoch, though it heard {leader}, followed for {(local - since) // MS} ms",
            )

    def is_elected(self, node: Node, epoch: int) -> bool:
        others = self._grants.get((node.name, epoch), set())
        return len(others) + ((node.name, epoch, node.name) in self._durable) >= self.quorum

    def _is_witnessed(self, node: Node, epoch: int) -> bool:
        return self.cluster.shape.count == 2 and self.accepted.get(epoch) == node.config.owner

    def _leader(self, node: Node, epoch: int) -> None:
        former = self._leads.get(epoch)
        if former == node.name:
            return
        if former is not None:
            raise Violation("B1", f"{node.name} leads {epoch}, and so does {former}")
        self._leads[epoch] = node.name
        if not self.is_elected(node, epoch) and not self._is_witnessed(node, epoch):
            heard = sorted(self._grants.get((node.name, epoch), set()))
            raise Violation(
                "B1", f"{node.name} leads {epoch} by grants of {', '.join(heard) or 'nobody'} and its own promise"
            )

    def changes(self, node: Node, local: int, before: View, view: View) -> None:
        if view.role is not Role.LEADER:
            self._leases.pop(node.name, None)
            return
        self._leader(node, view.epoch)
        if node.name not in self._leases or self._leases[node.name].epoch != view.epoch:
            self._leases[node.name] = Lease(view.epoch, self.quorum, local)

    def acted(self, node: Node, local: int, event: Event | None, out: Effects) -> None:
        if type(event) is Stall and node.name in self._leases:
            self._leases[node.name].stalls(event.lag)
        elif type(event) is Wake:
            self._check_lease(node, local)

    def tries_duty(self, node: Node, local: int) -> None:
        self._check_lease(node, local)

    def _check_lease(self, node: Node, local: int) -> None:
        lease = self._leases.get(node.name)
        if lease is None or self.cluster.shape.count == 2:
            return
        if lease.age(local) > node.config.timeout + node.config.interval + LATE:
            raise Violation(
                "B3", f"{node.name} leads {lease.epoch}, unanswered by a majority for {lease.age(local) // MS} ms"
            )
