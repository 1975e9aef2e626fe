"""What a user sees of the cluster through this node, and what an operator may do to it: the answers, and the figures for metrics.

Nodes are told as this one sees them: who said good-bye has left, whatever the algorithm makes of its silence; else it is the core's word
on a member's health where it has one, else the mesh's: who can be reached is alive, who cannot is suspect, as a lost connection proves
nothing, and dead once it was silent for TWIN_S. One that left is listed for a minute, a dead one for an hour, a voter
for ever, as it is still one. Who acts asks the node in question: the leader for a transfer, the node itself for a drain; another one
refuses and says where to ask.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from ..election.core import MS, SECOND, Health, Member, Role, Time, View
from ..errors import NotFound, WireError, WrongState
from ..log import event
from ..transport.mesh import PeerState
from ..transport.roster import TWIN_S
from ..wire import messages as m
from ..wire.seen import HISTORY_MAX, AskCluster, AskHistory, ClusterNode, ClusterReply, DrainNode, History, Transfer
from .chronicle import Chronicle
from .cluster import Cluster
from .stats import NodeStats

LEFT_SHOWN_MS, DEAD_SHOWN_MS = 60_000, 3_600_000
"""The first is as long as Gossip remembers one that is gone."""
CLOCK_SET_NS = 50 * MS
"""The wall clock and the monotonic one are this far from where they were to one another: it was set."""

log = logging.getLogger(__name__)


class Seen:
    """`me`: this node. `drain(is_draining)`: do so; how many jobs it holds. `is_draining`: whether it does."""

    def __init__(
        self,
        me: Callable[[], PeerState],
        cluster: Cluster,
        chronicle: Chronicle,
        *,
        drain: Callable[[bool], int],
        is_draining: Callable[[], bool],
    ) -> None:
        self._me, self._cluster, self._chronicle = me, cluster, chronicle
        self._drain, self._is_draining = drain, is_draining
        self._drops_counted: Counter[str] = Counter()
        self._wall_ns = 0
        """What the wall clock is ahead of the monotonic one. Kept, so that one moment is told the same twice."""

    @property
    def answers(self) -> Mapping[type, Callable[..., Awaitable[m.Reply]]]:
        return {AskCluster: self.cluster, AskHistory: self.history, Transfer: self.transfer, DrainNode: self.drain}

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def nodes(self) -> list[ClusterNode]:
        me, cluster = self._me(), self._cluster
        view = cluster.view
        peers = {peer.node: peer for peer in cluster.peers()} | {me.node: me}
        names = {*peers, *view.members, *cluster.voters} | ({view.leader} if view.leader else set())
        now = time.monotonic_ns()
        wall_ns = time.time_ns() - now
        if abs(wall_ns - self._wall_ns) > CLOCK_SET_NS:
            self._wall_ns = wall_ns
        told = [_node(name, peers.get(name), view, cluster.voters, me.node, now, self._wall_ns) for name in sorted(names)]
        return [one for one in told if one.node in cluster.voters or not _is_gone(one, (now + self._wall_ns) // MS)]

    async def cluster(self, _: AskCluster) -> m.Reply:
        cluster, view = self._cluster, self._cluster.view
        return ClusterReply(
            self._me().node, self.nodes(), view.leader, view.epoch, cluster.algorithm, cluster.quorum, sorted(cluster.voters),
            view.has_quorum, cluster.is_in_office, self._is_draining(), cluster.is_leader_idle, *map(list, cluster.dispute),
        )  # fmt: skip

    async def history(self, request: AskHistory) -> m.Reply:
        if not 1 <= request.limit <= HISTORY_MAX:
            raise WireError(f"limit is {request.limit}, it must be 1 to {HISTORY_MAX}")
        return History(self._me().node, await self._chronicle.history(request.limit))

    def count(self, stats: NodeStats) -> None:
        """Bring the metrics about the cluster up to now."""
        self._chronicle.count()
        healths = Counter(node.health for node in self.nodes())
        stats.members({health.value: healths[health.value] for health in Health})
        drops = self._cluster.drops()
        for why, count in (drops - self._drops_counted).items():
            stats.add("zjp_peer_drops_total", count, (why,))
        self._drops_counted = drops

    # ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def transfer(self, request: Transfer) -> m.Reply:
        me, view, to = self._me().node, self._cluster.view, request.to
        if self._cluster.algorithm == "alone":
            raise WrongState(f"{me} has no mesh to hand the leadership over by; set CLUSTER_SEEDS on the nodes")
        if view.role is not Role.LEADER:
            raise WrongState(f"{me} does not lead, {view.leader or 'nobody'} does as far as it knows; ask the leader")
        if to == me:
            return m.Done()
        if to:
            self._check_heir(to)
        event(log, logging.INFO, "cluster.transfer_asked", to=to)
        self._cluster.transfer(to)
        return m.Done(1)

    def _check_heir(self, to: str) -> None:
        """Raises: NotFound, WrongState."""
        voters = self._cluster.voters
        healths = {node.node: node.health for node in self.nodes()}
        if to not in healths:
            raise NotFound(f"no node {to!r} in this cluster; `zjp cluster nodes` lists them")
        if voters and to not in voters:
            raise WrongState(f"{to} is no voter and cannot lead; the voters are {', '.join(sorted(voters))}")
        if healths[to] in (Health.DEAD.value, Health.LEFT.value):
            raise WrongState(f"{to} is {healths[to]} as far as the leader knows; hand over to one that is alive")
        if self._cluster.algorithm == "gossip" and to != (best := self._best_of_the_others()):
            raise WrongState(
                f"with gossip the best ranked of the others leads next, and that is {best}, not {to}; name {best}"
                f" or nobody, or give {to} a higher NODE_PRIORITY"
            )

    def _best_of_the_others(self) -> str:
        me = self._me().node
        ranks = [(node.priority, node.node) for node in self.nodes() if node.node != me and node.health == Health.ALIVE.value]
        return max(ranks, default=(0, "nobody"))[1]

    async def drain(self, request: DrainNode) -> m.Reply:
        me = self._me().node
        if request.node != me:
            raise WrongState(f"this is {me}, only {request.node} itself can drain; ask it at its own address")
        return m.Done(self._drain(request.is_draining))


def _node(
    name: str, peer: PeerState | None, view: View, voters: frozenset[str], me: str, now: Time, wall_ns: Time
) -> ClusterNode:  # fmt: skip
    member = view.members.get(name)
    is_up = name == me or (peer is not None and peer.is_up)
    health, since = _standing(peer, member, is_up, now)
    since_ms = (since + wall_ns) // MS if since else 0
    return ClusterNode(
        name, 0 if peer is None else peer.boot, "" if peer is None else peer.address, _role(name, view, voters, me),
        health.value, since_ms, _priority(peer, member), is_up,
    )  # fmt: skip


def _standing(peer: PeerState | None, member: Member | None, is_up: bool, now: Time) -> tuple[Health, Time]:
    """Health, and since when (0: not known). One that was found alive after its good-bye is in its next life."""
    if peer is not None and peer.left_s is not None:
        left_at = now - round(peer.left_s * SECOND)
        if member is None or member.health is not Health.ALIVE or member.since <= left_at:
            return Health.LEFT, left_at
    if member is not None:
        return member.health, member.since
    if is_up or peer is None:
        return (Health.ALIVE if is_up else Health.SUSPECT), 0
    return (Health.DEAD if peer.silent_s >= TWIN_S else Health.SUSPECT), now - round(peer.silent_s * SECOND)


def _is_gone(node: ClusterNode, now_ms: int) -> bool:
    """It left or died, long ago."""
    shown_ms = {Health.LEFT.value: LEFT_SHOWN_MS, Health.DEAD.value: DEAD_SHOWN_MS}.get(node.health)
    return shown_ms is not None and now_ms - node.since_ms >= shown_ms


def _role(name: str, view: View, voters: frozenset[str], me: str) -> str:
    if name == me:
        return view.role.value
    if name == view.leader:
        return Role.LEADER.value
    role = Role.FOLLOWER if not voters or name in voters else Role.LEARNER
    return role.value


def _priority(peer: PeerState | None, member: Member | None) -> int:
    if peer is not None:
        return peer.priority
    return 0 if member is None else member.priority
