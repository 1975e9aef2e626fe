"""The machine: nodes, links, disks and the store under one heap of (time, order, number). It drives cores exactly as core.py says.

    order 0   what arrives: messages, fsyncs, answers of the store, faults
    order 1   timers: at one instant all input is read before a core is told Wake

A paused node hears nothing; when it goes on it is told of the Stall, then reads all that came meanwhile, then its timer rings. Nothing
here decides whether what happens is right: `watch` is told of each step and raises Violation.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from typing import Any

from zjp.election.core import (
    MS,
    SECOND,
    Batch,
    Config,
    Core,
    Effects,
    Event,
    Leave,
    Met,
    Persisted,
    Recv,
    Send,
    Stall,
    StoreOp,
    StoreReply,
    Uniform,
    Wake,
)

from .clock import Clock
from .invariants.watch import Violation, Watch
from .network import Links
from .node import Node
from .shape import Shape
from .store import Store

INBOX_MAX = 20_000
STORE_TIMEOUT = SECOND
DUTY_EVERY = 500 * MS
STALL_MIN = 50 * MS
"""A shorter pause is not noticed by a real node either."""
SAME_WAKES_MAX = 200
REWRITE_ABOVE = 40
"""Records; small, so that every run of some length rewrites its files."""
HINTS_SHARE = 0.7
"""Of the runs; in the others the mesh tells only of nodes that start and stop, for what it tells of links is never a proof."""
WAKE = Wake()

MakeCore = Callable[[Config, Uniform], Core]


class CoreBroke(Exception):
    """A core raised: a bug, but no broken invariant."""


class Cluster:
    def __init__(self, shape: Shape, seed: int, make: MakeCore, watch: Watch) -> None:
        self.shape, self.make, self.watch = shape, make, watch
        self.now = 0
        self.steps = self.sent = 0
        self._heap: list[tuple[int, int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0
        self._streams = {name: random.Random(f"{seed} {name}") for name in ("network", "disk", "store", "mesh")}
        self.links = Links(shape.count, shape.quality, self._streams["network"].random)
        self.store = Store(Clock(1_700_000_000 * SECOND))
        self.store_loss = 0.0
        self.on_leader: Callable[[Node], None] | None = None
        """Called once somebody shows that it leads."""
        self.is_healed = False
        """Faults that have not ended yet do not end any more: they are over, or stay."""
        self.outside: set[str] = set()
        """Names that were heard of and are no nodes here: what is sent to them is gone."""
        self.nodes = [self._make_node(index, seed) for index in range(shape.count)]
        self.by_name = {node.name: node for node in self.nodes}
        self._has_hints = self._streams["mesh"].random() < HINTS_SHARE
        self._met: set[tuple[int, int]] = set()
        self._cut_store: set[int] = set()
        watch.bind(self)

    def run(self, until: int) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, _, do, args = heapq.heappop(heap)
            do(*args)
        self.now = until

    def at(self, time: int, do: Callable[..., None], *args: Any) -> None:
        self._push(time, 0, do, args)

    def stream(self, name: str) -> random.Random:
        return self._streams[name]

    def fingerprint(self) -> str:
        """Differs as soon as two runs have drawn anything differently."""
        return " ".join(f"{stream.random():.9f}" for stream in self._streams.values())

    # ── lives ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, node: Node) -> None:
        node.reset()
        node.boot += 1
        node.is_up, node.is_left = True, False
        node.config = self.shape.config(node.index, node.boot)
        node.core = self.make(node.config, node.uniform)
        self.watch.starts(node)
        local = node.clock.read(self.now)
        self._take(node, local, None, self._guarded(node, lambda: node.core.start(local, tuple(node.disk.records))))
        self.watch.recorder.changed(node)
        if self.shape.is_bare:
            return
        for peer in self.nodes:
            self._greet(node, peer)
        self.at(self.now + self._draw("mesh", 0, DUTY_EVERY), self._duties, node, node.boot)

    def crash(self, node: Node, tail: str = "lost", *, is_silent: bool = False) -> None:
        """The process and the machine's unwritten memory are gone. `is_silent`: no connection is reset, nobody is told."""
        if not node.is_up:
            return
        survived = node.disk.crash(tail, self._streams["disk"].random())
        node.is_up = False
        node.reset()
        self.watch.stops(node, survived)
        self.watch.recorder.changed(node)
        for peer in () if self.shape.is_bare else self.nodes:
            self._lose(node, peer, 2 * SECOND if is_silent else self._draw("mesh", MS, 30 * MS))

    def wipe(self, node: Node) -> None:
        self.crash(node)
        node.disk.wipe()
        node.is_wiped = True
        self.watch.wiped(node)

    def leave(self, node: Node) -> None:
        """Stopped in good order: what the core still wants to write and say is written and said."""
        if node.is_up and not node.is_paused:
            node.is_left = True
            self.feed(node, Leave())
            self.at(self.now + 100 * MS, self._left, node, node.boot)

    def pause(self, node: Node) -> None:
        if node.is_up and not node.is_paused:
            node.is_paused, node.paused_at = True, self.now
            self.watch.recorder.changed(node)

    def resume(self, node: Node) -> None:
        if not node.is_paused:
            return
        node.is_paused = False
        self.watch.recorder.changed(node)
        lag = node.clock.read(self.now) - node.clock.read(node.paused_at)
        inbox, node.inbox = list(node.inbox), type(node.inbox)()
        if lag >= STALL_MIN:
            self.feed(node, Stall(lag))
        for event in inbox:
            if node.is_up:
                self.feed(node, event)
        if node.is_rung and node.is_up:
            node.is_rung = False
            self._arm(node)

    def set_rate(self, node: Node, rate: int) -> None:
        node.clock.set_rate(self.now, rate)
        self._arm(node)

    def step_clock(self, node: Node, by: int) -> None:
        node.clock.step(self.now, by)
        self._arm(node)

    def leader(self) -> Node | None:
        """Who leads in the highest epoch, as far as those that lead know."""
        best: Node | None = None
        for node in self.nodes:
            if node.is_up and node.view.leader == node.name and (best is None or node.view.epoch > best.view.epoch):
                best = node
        return best

    # ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def feed(self, node: Node, event: Event) -> None:
        self.steps += 1
        local = node.clock.read(self.now)
        if type(event) is Recv:
            self.watch.hears(node, local, event.src, event.message)
        elif type(event) is Persisted:
            self._release(node, event.number)
        try:
            out = node.core.step(local, event)
        except Exception as fault:
            raise CoreBroke(f"{node.name}: {type(event).__name__} raised {type(fault).__name__}: {fault}") from fault
        self._take(node, local, event, out)

    def mislead(self, node: Node, event: Event) -> None:
        """It hears what nobody of this cluster said."""
        if not node.is_up or node.is_paused:
            return
        self.steps += 1
        local = node.clock.read(self.now)
        try:
            out = node.core.step(local, event)
        except Exception as fault:
            raise CoreBroke(f"{node.name}: a stray {event} raised {type(fault).__name__}: {fault}") from fault
        self._take(node, local, event, out)

    def _guarded(self, node: Node, call: Callable[[], Effects]) -> Effects:
        try:
            return call()
        except Exception as fault:
            raise CoreBroke(f"{node.name}: start raised {type(fault).__name__}: {fault}") from fault

    def _take(self, node: Node, local: int, event: Event | None, out: Effects) -> None:
        if out.persist is not None:
            self._write(node, out.persist)
        if out.send:
            self._post(node, out.send)
        if out.send_after:
            if node.durable >= node.handed:
                self._post(node, out.send_after)
            else:
                node.held.append((node.handed, out.send_after))
        for op in out.store:
            self._ask(node, op)
        if out.wake != node.wake:
            node.wake = out.wake
            self._arm(node)
        self.watch.stepped(node, local, event, out)

    def _post(self, node: Node, sends: Sequence[Send]) -> None:
        now, source, heap, name = self.now, node.index, self._heap, node.name
        leaves, by_name, delays, arrive = self.watch.leaves, self.by_name, self.links.delays, self._arrive
        for send in sends:
            to, message = send.to, send.message
            leaves(node, to, message)
            peer = by_name.get(to)
            if peer is None and to in self.outside:
                continue
            if peer is None or peer is node:
                raise Violation("E1", f"{name} sends {type(message).__name__} to {to!r}, which is no peer")
            event = Recv(name, message)
            for delay in delays(source, peer.index):
                self._number += 1
                heapq.heappush(heap, (now + delay, 0, self._number, arrive, (peer, event)))
        self.sent += len(sends)

    def _arrive(self, node: Node, event: Event) -> None:
        if node.is_paused:
            if len(node.inbox) < INBOX_MAX:
                node.inbox.append(event)
        elif node.is_up:
            self.feed(node, event)

    def _to_life(self, node: Node, boot: int, event: Event) -> None:
        """For what belongs to one life: fsyncs, answers of the store."""
        if node.boot == boot:
            self._arrive(node, event)

    # ── timers ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _arm(self, node: Node) -> None:
        """Timers are set far more often than they ring, mostly to a later time: a ring that comes too early is sent on, not replaced."""
        if node.wake is None:
            return
        due = max(self.now, node.clock.when(node.wake) + node.late)
        node.due = due
        if node.ring_at is None or due < node.ring_at:
            node.ring_at = due
            self._push(due, 1, self._ring, (node, due, node.boot))

    def _ring(self, node: Node, at: int, boot: int) -> None:
        if at != node.ring_at or node.boot != boot or not node.is_up:
            return
        node.ring_at = None
        if node.wake is None:
            return
        if node.is_paused:
            node.is_rung = True
        elif node.due > self.now:
            self._arm(node)
        else:
            self._wake(node)

    def _wake(self, node: Node) -> None:
        node.wake = None
        node.late = int(self._streams["mesh"].random() * self.shape.wake_late)
        node.same_wakes = node.same_wakes + 1 if node.woken_at == self.now else 0
        node.woken_at = self.now
        if node.same_wakes > SAME_WAKES_MAX:
            raise Violation("E2", f"{node.name} asks to be woken at once, again and again")
        self.feed(node, WAKE)

    # ── disks ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _write(self, node: Node, batch: Batch) -> None:
        if batch.number != node.handed + 1:
            raise Violation("E3", f"{node.name} hands over batch {batch.number} after {node.handed}")
        node.handed = batch.number
        node.disk.append(batch)
        self.watch.hands_over(node, batch.records)
        if not node.is_writing:
            self._sync(node)

    def _sync(self, node: Node) -> None:
        node.is_writing = True
        self.at(
            self.now + self._draw("disk", node.fsync_low, node.fsync_high), self._synced, node, node.boot, node.handed
        )

    def _synced(self, node: Node, boot: int, number: int) -> None:
        if node.boot != boot or not node.is_up:
            return
        node.is_writing = False
        self.watch.synced(node, node.disk.sync(number))
        if node.disk.pending:
            self._sync(node)
        self._to_life(node, boot, Persisted(number))

    def _release(self, node: Node, number: int) -> None:
        node.durable = max(node.durable, number)
        while node.held and node.held[0][0] <= node.durable:
            self._post(node, node.held.popleft()[1])
        if len(node.disk.records) > REWRITE_ABOVE and not node.disk.pending:
            records = node.core.durable()
            self.watch.rewrites(node, records)
            node.disk.rewrite(records)

    # ── the store ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def cut_store(self, nodes: Sequence[int], *, is_cut: bool) -> None:
        for index in nodes:
            (self._cut_store.add if is_cut else self._cut_store.discard)(index)

    def _reaches_store(self, node: Node) -> bool:
        return (
            not self.store.is_away
            and node.index not in self._cut_store
            and self._streams["store"].random() >= self.store_loss
        )

    def _ask(self, node: Node, op: StoreOp) -> None:
        self.watch.asks(node, op)
        self.at(self.now + self._store_delay(), self._serve, node, node.boot, op, self.now)

    def _serve(self, node: Node, boot: int, op: StoreOp, asked_at: int) -> None:
        """A request that is under way is served even when who asked has died."""
        installed = None
        if self._reaches_store(node):
            before = (self.store.epoch, self.store.owner)
            installed = self.store.lead(self.now, op)
            self.watch.installs(node, op, before)
        if installed is None or not self._reaches_store(node):
            self.at(asked_at + STORE_TIMEOUT, self._to_life, node, boot, StoreReply(op, None))
        else:
            self.at(self.now + self._store_delay(), self._to_life, node, boot, StoreReply(op, installed))

    def _duties(self, node: Node, boot: int) -> None:
        """Whoever believes to be in office tries its duties, with its token."""
        if node.boot != boot or not node.is_up:
            return
        self.at(self.now + DUTY_EVERY, self._duties, node, boot)
        if node.is_paused:
            return
        self.watch.looks(node, node.clock.read(self.now))
        if self._reaches_store(node):
            self.store.renew_lease(self.now, node.config.owner)
        if node.view.is_in_office:
            self.watch.tries_duty(node, node.clock.read(self.now))
            self.at(self.now + self._store_delay(), self._do_duties, node, node.config.owner, node.view.epoch)

    def _do_duties(self, node: Node, owner: str, epoch: int) -> None:
        if self._reaches_store(node):
            self.watch.duty(node, epoch, is_accepted=self.store.do_duties(self.now, epoch, owner))

    def _store_delay(self) -> int:
        return self._draw("store", 200_000, self.shape.store_high)

    # ── the mesh's hints ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def greet_all(self) -> None:
        """Links may have come back: connect again."""
        if self._has_hints:
            for one in self.nodes:
                for other in self.nodes[one.index + 1 :]:
                    self._greet(one, other)

    def lose_cut(self) -> None:
        """Links may have been cut: heartbeats miss it after a while."""
        for one, other in sorted(self._met) if self._has_hints else ():
            if not self.links.is_joined(one, other):
                self._lose(self.nodes[one], self.nodes[other], 2 * SECOND)

    def _greet(self, one: Node, other: Node) -> None:
        if one is not other and one.is_up and other.is_up and self.links.is_joined(one.index, other.index):
            self.at(
                self.now + self._draw("mesh", MS, 10 * MS),
                self._meet,
                min(one.index, other.index),
                max(one.index, other.index),
            )

    def _meet(self, one: int, other: int) -> None:
        if (
            (one, other) not in self._met
            and self.nodes[one].is_up
            and self.nodes[other].is_up
            and self.links.is_joined(one, other)
        ):
            self._met.add((one, other))
            self._hint(one, other, is_up=True)

    def _lose(self, one: Node, other: Node, delay: int) -> None:
        pair = min(one.index, other.index), max(one.index, other.index)
        if pair in self._met:
            self.at(self.now + delay, self._part, *pair, one.boot, other.boot)

    def _part(self, one: int, other: int, *_boots: int) -> None:
        is_well = self.nodes[one].is_up and self.nodes[other].is_up and self.links.is_joined(one, other)
        if (one, other) in self._met:
            self._met.discard((one, other))
            self._hint(one, other, is_up=False)
            if is_well:
                self._greet(self.nodes[one], self.nodes[other])

    def _hint(self, one: int, other: int, *, is_up: bool) -> None:
        for node, peer in ((self.nodes[one], self.nodes[other]), (self.nodes[other], self.nodes[one])):
            self._arrive(node, Met(peer.name, peer.priority, is_up))

    # ── small things ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _make_node(self, index: int, seed: int) -> Node:
        name = self.shape.names[index]
        uniform = random.Random(f"{seed} {name}").random
        return Node(index, name, self.shape.priorities[index], Clock((index + 1) * 1000 * SECOND), uniform)

    def _left(self, node: Node, boot: int) -> None:
        if node.boot == boot and node.is_up:
            self.crash(node, "kept")

    def _push(self, time: int, order: int, do: Callable[..., None], args: tuple[Any, ...]) -> None:
        self._number += 1
        heapq.heappush(self._heap, (time, order, self._number, do, args))

    def _draw(self, stream: str, low: int, high: int) -> int:
        return low + int(self._streams[stream].random() * (high - low))
