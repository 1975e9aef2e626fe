"""What is done to a stage, one deed at a time: each ends with all nodes following one leader in office, and tells what it saw.

The time of a fail-over is from the deed to the moment when the last survivor has the new leader in its log and the leader is in office.
The old leader's last heartbeat was up to one interval earlier.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.cluster.load import Load
from tests.cluster.stage import Act, Stage
from tests.cluster.watch import Agreed, Line
from tests.system.running import first
from zjp.job import Record
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import Document, DocumentKind, Life

PROBE = "probe"
BACK_S = 30.0
CALM_S, SETTLED_S = 60.0, 3.0


@dataclass(slots=True)
class Seen:
    """Of one kind of deed. `took`: fail-overs (s); `left`: from a cut to the old leader's own resigning (s)."""

    kind: str
    count: int = 0
    took: list[float] = field(default_factory=list)
    left: list[float] = field(default_factory=list)
    refused_by_store: int = 0
    refused_itself: int = 0
    changes: int = 0
    jobs: int = 0
    faults: list[str] = field(default_factory=list)


def kill_leader(stage: Stage, seen: Seen) -> None:
    """And start it again."""
    old = stage.agreed()
    act = stage.kill(old.leader)
    _succeeded(stage, seen, old, act)
    stage.restart(old.leader)
    stage.agreed(within_s=BACK_S)


def stop_leader(stage: Stage, seen: Seen, stopped_s: float = 0.0) -> None:
    """SIGSTOP until another leads, and for that long at least; then it goes on, and finds the office taken."""
    old = stage.agreed()
    owner = stage.witness.installed().owner
    act = stage.pause(old.leader)
    try:
        _succeeded(stage, seen, old, act)
        _pass(act.at + stopped_s)
        refused = asyncio.run(is_refused(stage, owner, old.epoch))
    finally:
        back = stage.go_on(old.leader)
    seen.refused_by_store += refused
    if not refused:
        seen.faults.append(f"Z: the store took a write of {owner} in epoch {old.epoch}, which is over")
    first(lambda: _is_over(stage, old, back), BACK_S, f"{old.leader} learns that its epoch {old.epoch} is over")
    stage.agreed(within_s=BACK_S)
    own = [line for line in stage.watch.lines if line.node == old.leader and line.at >= back.at]
    seen.refused_itself += any(line.event == "duty.refused" for line in own)


def cut_leader(stage: Stage, seen: Seen, *, mutes: bool = True, deafens: bool = True) -> None:
    """Until another leads and the old one has seen that it does not; then healed."""
    old = stage.agreed()
    act = stage.cut(old.leader, mutes=mutes, deafens=deafens)
    try:
        _succeeded(stage, seen, old, act)
        lost = first(lambda: _gave_up(stage, old, act), BACK_S, f"{old.leader} gives up, cut off")
        seen.left.append(lost.at - act.at)
    finally:
        stage.heal()
    stage.agreed(above=old.epoch, within_s=BACK_S)


def kill_leaders(stage: Stage, seen: Seen, load_s: float, every_s: float) -> None:
    """Every so often, for so long, while jobs are submitted."""
    until = time.time() + load_s
    with Load(stage) as load:
        while (begun := time.time()) < until:
            kill_leader(stage, seen)
            _pass(begun + every_s)
    lost = load.lost()
    seen.jobs = load.count
    if lost or not load.count:
        seen.faults.append(f"{len(lost)} of {load.count} acknowledged jobs did not complete, the first is {lost[:1]}")


def cut_follower(stage: Stage, seen: Seen, cut_s: float) -> None:
    """For so long; back, it must have changed nothing."""
    old = calm(stage)
    name = stage.but(old.leader)[0]
    act = stage.cut(name)
    try:
        _pass(act.at + cut_s)
    finally:
        stage.heal()
    now = stage.agreed(within_s=BACK_S)
    seen.count += 1
    if (now.leader, now.epoch) != (old.leader, old.epoch):
        seen.changes += 1


def idle(stage: Stage, seen: Seen, idle_s: float) -> None:
    """Nothing."""
    calm(stage)
    begun = time.time()
    _pass(begun + idle_s)
    stage.agreed(within_s=BACK_S)
    seen.count += 1
    seen.changes += _changes(stage, begun, begun + idle_s)


def lose(stage: Stage, seen: Seen, percent: int, lose_s: float) -> None:
    """Of all packets between nodes. `changes`: of the epoch in office meanwhile."""
    calm(stage)
    act = stage.lose(percent)
    try:
        _pass(act.at + lose_s)
    finally:
        healed = stage.heal()
    stage.agreed(within_s=BACK_S)
    seen.count += 1
    seen.changes += _changes(stage, act.at, healed.at)


def _changes(stage: Stage, since: float, until: float) -> int:
    """Epochs that came into office."""
    return len({one.epoch for one in stage.watch.lines if one.event == "fence_installed" and since < one.at < until})


def calm(stage: Stage) -> Agreed:
    """Nothing is about to change: where rank decides, the highest leads again, which takes until the hold-down is over; and with Gossip,
    whose quorum is of those held alive, nobody doubts anybody because of what was done before. And for a while all have followed one
    leader: connections that were cut in one direction take so long until TCP tries them again."""

    def has_settled() -> Agreed | None:
        agreed = stage.watch.agreed(stage.names)
        is_last = stage.algorithm == "raft" or (agreed is not None and agreed.leader == stage.names[-1])
        is_calm = stage.algorithm != "gossip" or not any(one.doubted for one in stage.watch.said.values())
        is_old = agreed is not None and time.time() - agreed.at > SETTLED_S
        return agreed if is_last and is_calm and is_old else None

    return first(has_settled, CALM_S, f"{stage.algorithm}: the best ranked leads")


def _succeeded(stage: Stage, seen: Seen, old: Agreed, act: Act) -> None:
    new = stage.agreed(stage.but(old.leader), above=old.epoch)
    seen.count += 1
    seen.took.append(new.at - act.at)


def _is_over(stage: Stage, old: Agreed, since: Act) -> bool | None:
    """The node that led no longer believes to."""
    stage.watch.look()
    return True if stage.watch.said[old.leader].office != old.epoch else None


def _gave_up(stage: Stage, old: Agreed, act: Act) -> Line | None:
    stage.watch.look()
    lost = (
        line for line in stage.watch.lines
        if line.node == old.leader and line.at >= act.at
        and (line.event == "fence_refused" or (line.event == "leader_lost" and line.about == old.leader))
    )  # fmt: skip
    return next(lost, None)


def _pass(until: float) -> None:
    """Time is the fault here: nothing is waited for."""
    threading.Event().wait(max(0.0, until - time.time()))


async def is_refused(stage: Stage, owner: str, epoch: int) -> bool:
    """Whether the store refuses a duty's write in this name; if it does not, a document of no meaning is written."""
    store = RedisQueueStore(
        stage.store_url, namespace=stage.cluster, lease_s=60.0, starvation_s=10.0, dedup_s=3600.0, outbox_count_max=100_000,
        outbox_bytes_max=1 << 28, finished=_none,
    )  # fmt: skip
    await store.open(Life(PROBE, int(time.time())), {})
    try:
        fired = await store.fire(owner, epoch, DocumentKind.CLUSTER, Document(PROBE, b"\x80", 0), ())
        renewed = await store.renew_lead(owner, epoch, 10.0)
        return fired.refused_by is not None and not renewed
    finally:
        await store.close()


async def _none(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    return {}
