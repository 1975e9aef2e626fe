"""What each fault does to the cluster when it begins and when it ends. A fault that finds nobody to hurt does nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from zjp.election.core import MS, Deed, Event, Leave, Met, Persisted, Recv, Stall, StoreOp, StoreReply, Transfer, Wake

from .cluster import Cluster
from .faults import LEADER, Fault
from .network import Quality, crossing
from .node import Node
from .strays import GUEST, STRANGER, stray

Pairs = list[tuple[int, int]]
STRAYS = 6


class Act(NamedTuple):
    """`begin` returns the nodes that it met; `end` gets them."""

    begin: Callable[[Cluster, Fault, list[Node]], None]
    end: Callable[[Cluster, Fault, list[Node]], None]


def plan(cluster: Cluster, faults: list[Fault], told: Callable[[Fault, list[Node], bool], None]) -> None:
    """Put the schedule into the cluster's heap. `told`: fault, nodes, whether it begins."""
    for fault in faults:
        cluster.at(fault.at, _begin, cluster, fault, told)


def _begin(cluster: Cluster, fault: Fault, told: Callable[[Fault, list[Node], bool], None]) -> None:
    nodes = [node for node in (_node(cluster, index) for index in fault.nodes) if node is not None]
    if fault.nodes and len(nodes) < len(fault.nodes):
        return
    told(fault, nodes, True)
    ACTS[fault.kind].begin(cluster, fault, nodes)
    if fault.until > fault.at:
        cluster.at(fault.until, _end, cluster, fault, nodes, told)


def _end(cluster: Cluster, fault: Fault, nodes: list[Node], told: Callable[[Fault, list[Node], bool], None]) -> None:
    if cluster.is_healed:
        return
    told(fault, nodes, False)
    ACTS[fault.kind].end(cluster, fault, nodes)


def _node(cluster: Cluster, index: int) -> Node | None:
    return cluster.leader() if index == LEADER else cluster.nodes[index]


# ── lives ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _crash(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    cluster.crash(nodes[0], fault.word, is_silent=bool(fault.amount))


def _wipe(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    """Not before the last one that was emptied knows again what it may have promised: the cores say so, and no algorithm could do more."""
    if not any(node.is_wiped and node is not nodes[0] for node in cluster.nodes):
        cluster.wipe(nodes[0])
    else:
        cluster.crash(nodes[0])


def _start(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    if not nodes[0].is_up:
        cluster.start(nodes[0])


def _pause(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    cluster.pause(nodes[0])


def _resume(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    cluster.resume(nodes[0])


def _leave(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    cluster.leave(nodes[0])


def _transfer(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    leader = cluster.leader()
    if leader is not None and not leader.is_paused:
        cluster.feed(leader, Transfer(nodes[0].name if fault.amount and nodes[0] is not leader else ""))


# ── links ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def pairs_of(count: int, fault: Fault, nodes: list[Node]) -> Pairs:
    """The links that a cut of this kind takes away."""
    side = [node.index for node in nodes]
    if fault.kind == "bridge":
        rng = random.Random(fault.amount)
        others = [index for index in range(count) if index not in side]
        rng.shuffle(others)
        half = others[: len(others) // 2]
        rest = others[len(others) // 2 :]
        return [pair for one in half for other in rest for pair in ((one, other), (other, one))]
    if fault.kind == "pair":
        return [(side[0], side[1]), (side[1], side[0])] if side[0] != side[1] else []
    return crossing(side, count, outward=fault.word != "in", inward=fault.word != "out")


def _cut(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    if cluster.is_healed:
        return
    cluster.links.cut(pairs_of(cluster.shape.count, fault, nodes))
    cluster.lose_cut()


def _mend(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    if cluster.is_healed:
        return
    cluster.links.cut(pairs_of(cluster.shape.count, fault, nodes), -1)
    cluster.greet_all()


def _flap(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    """Cut and mended in turn. Ends mended."""
    at, is_cut = cluster.now, True
    while at + fault.amount < fault.until:
        cluster.at(at, _cut if is_cut else _mend, cluster, fault, nodes)
        at, is_cut = at + fault.amount, not is_cut
    if not is_cut:
        cluster.at(at, _mend, cluster, fault, nodes)


def _ambush(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    cluster.on_leader = partial(_spring, cluster, fault)


def _spring(cluster: Cluster, fault: Fault, node: Node) -> None:
    cluster.on_leader = None
    if cluster.now < fault.until:
        cluster.at(cluster.now + fault.amount, _cut, cluster, fault, [node])
        cluster.at(cluster.now + fault.amount + fault.until - fault.at, _mend, cluster, fault, [node])


def _spoil(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    _set_quality(cluster, Quality(MS, 30 * MS, fault.amount / 100, 0.05, 0.05, 500 * MS), range(cluster.shape.count))


def _unspoil(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    _set_quality(cluster, cluster.links.usual, range(cluster.shape.count))


def _slow_node(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    _set_quality(cluster, Quality(fault.amount // 2, fault.amount), [nodes[0].index])


def _set_quality(cluster: Cluster, quality: Quality, indexes: range | list[int]) -> None:
    count = cluster.shape.count
    pairs = [
        pair
        for index in indexes
        for other in range(count)
        for pair in ((index, other), (other, index))
        if other != index
    ]
    cluster.links.set_quality(quality, pairs)


# ── words from nowhere ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _stray(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    """Some at once, for one often meets nothing that it could spoil."""
    rng, node = random.Random(fault.amount), nodes[0]
    cluster.outside.add(STRANGER)
    # To one that does not know a member any word about it is plausible.
    known = node.core.view().members if node.is_up else {}
    peers = [other.name for other in cluster.nodes if other is not node and other.name in known]
    for _ in range(STRAYS):
        source, message = stray(rng, cluster.shape.algorithm, node, peers)
        cluster.mislead(node, Recv(source, message))


def _guest(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    """`amount`: its priority."""
    cluster.outside.add(GUEST)
    for node in cluster.nodes:
        cluster.mislead(node, Met(GUEST, fault.amount, True))


def _no_guest(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    for node in cluster.nodes:
        cluster.mislead(node, Met(GUEST, fault.amount, False))


def _moot(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    """What a driver may feed, and what changes nothing."""
    rng, node = random.Random(fault.amount), nodes[0]
    for event in rng.sample(_moot_events(node), STRAYS):
        cluster.mislead(node, event)


def _moot_events(node: Node) -> list[Event]:
    events: list[Event] = [
        Wake(),
        Persisted(0),
        Stall(0),
        Met(node.name, node.priority, True),
        Met(STRANGER, 0, False),
        StoreReply(StoreOp(0, Deed.RENEW, 0, node.name, 0, False), None),
    ]
    # Asked of one that does not lead, which may put off its takeover; of one that does, for somebody who is not there.
    return [*events, Transfer(STRANGER, is_unfit=True), *([Leave()] if node.is_left else [])]


def _usurp(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    """A leader of former times, by another algorithm or from a backup, stands in the store; its time is over."""
    store = cluster.store
    store.epoch, store.owner, store.until = store.epoch + fault.amount, "former:1", 0


# ── disks, clocks, the store ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _slow_disk(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    nodes[0].fsync_low, nodes[0].fsync_high = fault.amount // 4, fault.amount


def _quick_disk(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    nodes[0].fsync_low, nodes[0].fsync_high = 1 * MS, 5 * MS


def _clock_rate(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    cluster.set_rate(nodes[0], fault.amount)


def _clock_right(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    cluster.set_rate(nodes[0], 1_000_000)


def _clock_step(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    cluster.step_clock(nodes[0], fault.amount)


def _store_away(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    cluster.store_loss = fault.amount / 100


def _store_back(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    cluster.store_loss = 0.0


def _store_cut(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    cluster.cut_store([nodes[0].index], is_cut=True)


def _store_mend(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    cluster.cut_store([nodes[0].index], is_cut=False)


def _nothing(cluster: Cluster, fault: Fault, nodes: list[Node]) -> None:
    pass


ACTS = {
    "crash": Act(_crash, _start),
    "wipe": Act(_wipe, _start),
    "pause": Act(_pause, _resume),
    "leave": Act(_leave, _start),
    "transfer": Act(_transfer, _nothing),
    "split": Act(_cut, _mend),
    "long-split": Act(_cut, _mend),
    "ambush": Act(_ambush, _nothing),
    "isolate": Act(_cut, _mend),
    "one-way": Act(_cut, _mend),
    "bridge": Act(_cut, _mend),
    "pair": Act(_cut, _mend),
    "flap": Act(_flap, _nothing),
    "stray": Act(_stray, _nothing),
    "guest": Act(_guest, _no_guest),
    "moot": Act(_moot, _nothing),
    "usurp": Act(_usurp, _nothing),
    "spoil": Act(_spoil, _unspoil),
    "slow-node": Act(_slow_node, _unspoil),
    "slow-disk": Act(_slow_disk, _quick_disk),
    "clock-rate": Act(_clock_rate, _clock_right),
    "clock-step": Act(_clock_step, _nothing),
    "store-away": Act(_store_away, _store_back),
    "store-cut": Act(_store_cut, _store_mend),
}
