"""The watch: told of each step of the cluster, it keeps what it needs and raises Violation. This one holds for every algorithm.

C1  at most one life is accepted as leader per token          C2  tokens that the store accepts never fall; duties neither
C2b who believes to be in office has been accepted by the store, in that epoch
C3  the epoch that a node shows never falls in one life (what it has on its disk never does; see the algorithms' files)
C6  a fire time is enqueued at most once; C7 a delayed job is promoted at most once, not early; C8 only ended leases lapse
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from zjp.election.core import Deed, Effects, Event, Persisted, Recv, Role, StoreOp, View
from zjp.wire.peers import PeerMessage, Stored

if TYPE_CHECKING:
    from ..cluster import Cluster
    from ..node import Node


class Violation(Exception):
    """`invariant`: its short name. `text`: what was seen."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant, self.text = invariant, text


class Recorder(Protocol):
    """Who writes the trace and the picture."""

    def changed(self, node: Node) -> None: ...

    def told(self, node: Node, out: Effects) -> None: ...

    def marked(self, node: Node, mark: str, epoch: int) -> None: ...


OnMessage = Callable[[Any, int, str, Any], None]


class Watch:
    """Subclasses fill `on_leave` and `on_hear`: type of message -> what to check. (node, local time, other, message)."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.cluster: Cluster
        self.on_leave: dict[type, OnMessage] = {}
        self.on_hear: dict[type, OnMessage] = {}
        self.accepted: dict[int, str] = {}
        """Epoch -> whom the store accepted in it."""
        self.top_token = 0
        self._duty_token = 0
        self._fired = self._promoted = self._lapsed = 0

    def bind(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.quorum = cluster.shape.quorum

    # ── lives ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def starts(self, node: Node) -> None:
        """A life begins; the core has not been asked anything yet."""

    def stops(self, node: Node, survived: Sequence[Stored]) -> None:
        """A life ended; `survived`: what of the unsynced records is on the disk all the same."""

    def wiped(self, node: Node) -> None:
        """The folder of a stopped node is empty now."""

    # ── the disk ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def hands_over(self, node: Node, records: Sequence[Stored]) -> None: ...

    def synced(self, node: Node, records: Sequence[Stored]) -> None: ...

    def rewrites(self, node: Node, records: Sequence[Stored]) -> None: ...

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def leaves(self, node: Node, to: str, message: PeerMessage) -> None:
        check = self.on_leave.get(type(message))
        if check is not None:
            check(node, 0, to, message)

    def hears(self, node: Node, local: int, source: str, message: PeerMessage) -> None:
        note = self.on_hear.get(type(message))
        if note is not None:
            note(node, local, source, message)

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def stepped(self, node: Node, local: int, event: Event | None, out: Effects) -> None:
        """A message or a sync that made the core tell nothing has not changed what it shows; should it have, `looks` sees it at the next
        round of duties."""
        if out.happened:
            self.recorder.told(node, out)
        elif (type(event) is Recv or type(event) is Persisted) and out.persist is None and not out.store:
            return
        self.looks(node, local)
        self.acted(node, local, event, out)

    def looks(self, node: Node, local: int) -> None:
        """Compare what the node shows with what it showed before."""
        before, view = node.view, node.core.view()
        node.view = view
        if view.epoch < before.epoch:
            raise Violation("C3", f"{node.name} shows epoch {view.epoch} after {before.epoch}")
        if node.is_wiped and view.role is not Role.LEARNER:
            node.is_wiped = False
        if view.is_in_office and self.accepted.get(view.epoch) != node.config.owner:
            raise Violation("C2b", f"{node.name} is in office in {view.epoch}, which the store never gave it")
        if (
            view.epoch != before.epoch
            or view.leader != before.leader
            or view.role is not before.role
            or view.is_in_office is not before.is_in_office
        ):
            self.changes(node, local, before, view)
            self.recorder.changed(node)
            if view.role is Role.LEADER and before.role is not Role.LEADER and self.cluster.on_leader is not None:
                self.cluster.on_leader(node)

    def changes(self, node: Node, local: int, before: View, view: View) -> None:
        """Role, leader, epoch or office are not what they were."""

    def acted(self, node: Node, local: int, event: Event | None, out: Effects) -> None:
        """After each event but the dullest."""

    # ── the store ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def asks(self, node: Node, op: StoreOp) -> None:
        if op.owner != node.config.owner:
            raise Violation("E4", f"{node.name} asks the store as {op.owner}")
        if op.deed is Deed.INSTALL and op.is_elected and not self.is_elected(node, op.epoch):
            raise Violation("C1", f"{node.name} tells the store that a majority granted it {op.epoch}")

    def is_elected(self, node: Node, epoch: int) -> bool:
        """Whether a majority did grant that epoch to this node."""
        return True

    def installs(self, node: Node, op: StoreOp, before: tuple[int, str]) -> None:
        store = self.cluster.store
        if (store.epoch, store.owner) == before:
            if op.deed is Deed.INSTALL and op.epoch and before != (op.epoch, op.owner):
                self.recorder.marked(node, "refused", op.epoch)
            return
        if store.epoch < self.top_token:
            raise Violation("C2", f"the store accepted token {store.epoch} after {self.top_token}")
        self.top_token = store.epoch
        if self.accepted.setdefault(store.epoch, store.owner) != store.owner:
            raise Violation(
                "C1", f"token {store.epoch} was accepted from {self.accepted[store.epoch]} and from {store.owner}"
            )
        self.recorder.marked(node, "installed", op.epoch)

    def tries_duty(self, node: Node, local: int) -> None:
        """Who believes to be in office sets out to do its duties."""

    def duty(self, node: Node, epoch: int, *, is_accepted: bool) -> None:
        self.recorder.marked(node, "duty" if is_accepted else "fenced", epoch)
        if not is_accepted:
            return
        if epoch < self._duty_token:
            raise Violation("C2", f"a duty with token {epoch} had an effect after one with {self._duty_token}")
        self._duty_token = epoch
        self._check_deeds()

    def _check_deeds(self) -> None:
        store = self.cluster.store
        now = store.clock.read(self.cluster.now)
        self._fired = _rising("C6", "fire", store.fired, self._fired, now)
        self._promoted = _rising("C7", "promotion", store.promoted, self._promoted, now)
        for life, until in store.lapsed[self._lapsed :]:
            if until > now:
                raise Violation("C8", f"the lease of {life} lapsed {until - now} ns before its end")
        self._lapsed = len(store.lapsed)


def _rising(name: str, what: str, times: list[int], seen: int, now: int) -> int:
    for at in range(max(seen, 1), len(times)):
        if times[at] <= times[at - 1] or times[at] > now:
            raise Violation(name, f"{what} {times[at]} after {times[at - 1]}, at {now}")
    return len(times)
