"""A watch that only listens: no invariants, for they cost a third of the time, and fuzzing checks them on the same cores.

Whoever runs a cluster here gives it a function that hears what each node tells of itself. It may raise Enough to end the run.
"""

from __future__ import annotations

from collections.abc import Callable

from sims.election.cluster import Cluster, MakeCore
from sims.election.invariants.watch import Watch
from sims.election.node import Node
from sims.election.shape import Shape
from zjp.election.core import Effects, Event, Happened, StoreOp
from zjp.wire.peers import PeerMessage

Hear = Callable[[Node, Happened], None]


class Enough(Exception):
    """What the run was for has happened."""


class Silent:
    """A recorder that keeps nothing."""

    def changed(self, node: Node) -> None: ...

    def told(self, node: Node, out: Effects) -> None: ...

    def marked(self, node: Node, mark: str, epoch: int) -> None: ...


class Ear(Watch):
    """`hear`: told of each Happened. `on_send`: of each message that leaves, None: nobody."""

    def __init__(self, hear: Hear) -> None:
        super().__init__(Silent())
        self.hear = hear
        self.on_send: Callable[[Node, str, PeerMessage], None] | None = None

    def leaves(self, node: Node, to: str, message: PeerMessage) -> None:
        if self.on_send is not None:
            self.on_send(node, to, message)

    def hears(self, node: Node, local: int, source: str, message: PeerMessage) -> None: ...

    def stepped(self, node: Node, local: int, event: Event | None, out: Effects) -> None:
        for happened in out.happened:
            self.hear(node, happened)

    def looks(self, node: Node, local: int) -> None:
        """Duties are for who is in office."""
        node.view = node.core.view()

    def asks(self, node: Node, op: StoreOp) -> None: ...

    def installs(self, node: Node, op: StoreOp, before: tuple[int, str]) -> None: ...


def run_until_enough(cluster: Cluster, until: int) -> bool:
    """Whether it was enough before the time was over."""
    try:
        cluster.run(until)
    except Enough:
        return True
    return False


def listening(shape: Shape, seed: int, make: MakeCore, hear: Hear) -> Cluster:
    return Cluster(shape, seed, make, Ear(hear))
