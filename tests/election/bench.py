"""A tiny world for election cores: named nodes, a bag of messages, a disk each, one store, one clock. Nothing happens by itself.

Whoever holds the bench says what is delivered, lost, doubled, synced and answered, and when. Every deed and effect is written to `lines`.
It knows nothing of the algorithms; `transcript.py` puts text commands on top of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from zjp.election.core import (
    MS,
    SECOND,
    Batch,
    Config,
    Core,
    Deed,
    Effects,
    Event,
    Installed,
    Met,
    Persisted,
    Recv,
    Send,
    StoreOp,
    StoreReply,
    Time,
    Wake,
)
from zjp.election.make import make_core
from zjp.wire.peers import PeerMessage, Stored

STEPS_MAX = 100_000
"""Deliveries in one go: more is a storm that never ends."""


@dataclass(slots=True)
class Node:
    """`disk`: what is durable. `written`: what a crash loses. `after`: promises that wait, each for the batch number beside it."""

    config: Config
    uniform: Callable[[], float]
    core: Core | None = None
    disk: list[Stored] = field(default_factory=list)
    written: list[Batch] = field(default_factory=list)
    after: list[tuple[int, Send]] = field(default_factory=list)
    newest: int = 0
    """The number of the last batch handed over in this life."""
    wake: Time | None = None
    is_held: bool = False


@dataclass(frozen=True, slots=True)
class Flying:
    src: str
    to: str
    message: PeerMessage


@dataclass(slots=True)
class Store:
    """One leadership. It accepts only a rising epoch; a higher one without votes waits until the former has expired."""

    epoch: int = 0
    owner: str = ""
    until: Time = 0
    is_silent: bool = False
    is_held: bool = False
    asked: list[tuple[str, StoreOp]] = field(default_factory=list)

    def do(self, now: Time, op: StoreOp) -> Installed | None:
        if self.is_silent:
            return None
        mine = (self.epoch, self.owner) == (op.epoch, op.owner)
        if op.deed is Deed.INSTALL and op.epoch > self.epoch and (op.is_elected or self.until <= now):
            self.epoch, self.owner, self.until = op.epoch, op.owner, now + op.lead_for
        elif mine:
            self.until = now if op.deed is Deed.RESIGN else now + op.lead_for
        return Installed(self.epoch, self.owner, max(0, self.until - now))


class Bench:
    """`nodes`: name -> priority, in the order in which they are served."""

    def __init__(
        self,
        algorithm: str,
        nodes: dict[str, int],
        *,
        voters: tuple[str, ...] | None = None,
        expected: int = 0,
        timeout: Time = 500 * MS,
        interval: Time = 100 * MS,
        lead_for: Time = 2 * SECOND,
    ) -> None:
        voters = tuple(nodes) if voters is None else voters
        self.algorithm = algorithm
        self.now: Time = 1 * SECOND
        self.lines: list[str] = []
        self.bag: list[Flying] = []
        self.cuts: set[tuple[str, str]] = set()
        self.store = Store()
        self.nodes = {
            name: Node(
                Config(name, 0, voters, expected or len(voters), priority, timeout, interval, lead_for),
                # From the name alone, so that a node's luck does not depend on the others.
                random.Random(name).random,
            )
            for name, priority in nodes.items()
        }
        self.on_event: Callable[[str, Event, Effects], None] | None = None
        """Called after each step, for tests that watch."""

    # ── lives ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, name: str) -> None:
        node = self.nodes[name]
        node.config = replace(node.config, boot=node.config.boot + 1)
        # Through a call, so that a test may fix a node's luck after it has started.
        node.core = make_core(self.algorithm, node.config, lambda: node.uniform())
        node.written, node.after, node.newest = [], [], 0
        self._note(f"{name} starts, life {node.config.boot}, {len(node.disk)} records")
        self._take(name, node.core.start(self.now, list(node.disk)))

    def crash(self, name: str) -> None:
        """What was not synced is gone, and what waited for it was never said."""
        node = self.nodes[name]
        node.core, node.wake, node.written, node.after = None, None, [], []
        self._note(f"{name} crashes")

    def wipe(self, name: str) -> None:
        self.nodes[name].disk = []

    def rewrite(self, name: str) -> None:
        """The driver's compaction: the file becomes what the core says it needs."""
        node = self.nodes[name]
        self.persist(name)
        if node.core is not None:
            node.disk = list(node.core.durable())
            self._note(f"{name} rewrites its disk: {self.records(name)}")

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def step(self, name: str, event: Event) -> None:
        """Feed an event; a node that is down hears nothing."""
        node = self.nodes[name]
        if node.core is None:
            return
        effects = node.core.step(self.now, event)
        if self.on_event is not None:
            self.on_event(name, event, effects)
        self._take(name, effects)

    def meet(self, name: str, peer: str, *, is_up: bool = True) -> None:
        self.step(name, Met(peer, self.nodes[peer].config.priority, is_up))

    def wake(self, name: str) -> None:
        """Let time pass to what the node waits for, but wake nobody else."""
        node = self.nodes[name]
        if node.wake is not None:
            self.now = max(self.now, node.wake)
            self._wake(name)

    def tick(self, lapse: Time, *, is_delivering: bool = False) -> None:
        """Let time pass and wake who is due; messages stay in the bag unless `is_delivering`."""
        end = self.now + lapse
        for _ in range(STEPS_MAX):
            if is_delivering:
                self.deliver()
            due = min(((node.wake, name) for name, node in self.nodes.items() if node.wake is not None), default=None)
            if due is None or due[0] > end:
                self.now = end
                return
            self.now = max(self.now, due[0])
            self._wake(due[1])
        raise AssertionError(f"more than {STEPS_MAX} wakes: {due}")

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def deliver(self, src: str = "", to: str = "") -> None:
        """The messages that fly now; with neither `src` nor `to`, also those that they bring about."""
        chosen = self._chosen(src, to)
        for _ in range(STEPS_MAX):
            if not chosen:
                return
            flying = chosen.pop(0)
            self.bag.remove(flying)
            self.arrive(flying)
            if not chosen and not src and not to:
                chosen = self._chosen(src, to)
        raise AssertionError(f"more than {STEPS_MAX} messages: {flying}")

    def arrive(self, flying: Flying) -> None:
        """One that has left the bag."""
        is_lost = (flying.src, flying.to) in self.cuts or self.nodes[flying.to].core is None
        self._note(f"{flying.to} {'misses' if is_lost else '<-'} {flying.src} {text(flying.message)}")
        if not is_lost:
            self.step(flying.to, Recv(flying.src, flying.message))

    def drop(self, src: str = "", to: str = "") -> None:
        for flying in self._chosen(src, to):
            self.bag.remove(flying)

    def duplicate(self, src: str = "", to: str = "") -> None:
        self.bag += self._chosen(src, to)

    def reverse(self) -> None:
        """The newest message comes first."""
        self.bag.reverse()

    def say(self, src: str, to: str, message: PeerMessage) -> None:
        """A message that no core sent."""
        self.bag.append(Flying(src, to, message))

    # ── disk and store ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def persist(self, name: str) -> None:
        """Sync what was written, say so, and let the promises go that waited for it."""
        node = self.nodes[name]
        batches, node.written = node.written, []
        if not batches:
            return
        node.disk += [record for batch in batches for record in batch.records]
        number = batches[-1].number
        node.after, released = (
            [row for row in node.after if row[0] > number],
            [row[1] for row in node.after if row[0] <= number],
        )
        for send in released:
            self._send(name, send, "=>")
        self._note(f"{name} durable {number}")
        self.step(name, Persisted(number))

    def answer(self) -> None:
        """What the store was asked while it was held."""
        asked, self.store.asked = self.store.asked, []
        for name, op in asked:
            self._answer(name, op)

    def records(self, name: str) -> str:
        return ", ".join(text(record) for record in self.nodes[name].disk) or "nothing"

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, name: str, effects: Effects) -> None:
        node = self.nodes[name]
        node.wake = effects.wake
        for happened in effects.happened:
            words = (happened.kind.value, happened.node, happened.epoch and f"epoch {happened.epoch}", happened.why)
            self._note(f"{name} ! {' '.join(str(word) for word in words if word)}")
        for send in effects.send:
            self._send(name, send, "->")
        if effects.persist is not None:
            node.newest = effects.persist.number
            node.written.append(effects.persist)
            self._note(f"{name} writes {node.newest}: {', '.join(map(text, effects.persist.records))}")
        for send in effects.send_after:
            if node.written:
                node.after.append((node.newest, send))
            else:
                self._send(name, send, "=>")
        if not node.is_held:
            self.persist(name)
        for op in effects.store:
            self._note(
                f"{name} asks the store: {op.deed.value} {op.epoch} for {op.owner}{' elected' if op.is_elected else ''}"
            )
            if self.store.is_held:
                self.store.asked.append((name, op))
            else:
                self._answer(name, op)

    def _answer(self, name: str, op: StoreOp) -> None:
        """A node that began a new life meanwhile does not hear the answer to the old one's question."""
        installed = self.store.do(self.now, op)
        self._note(f"{name} hears the store: {f'{installed.epoch} {installed.owner}' if installed else 'nothing'}")
        if op.owner == self.nodes[name].config.owner:
            self.step(name, StoreReply(op, installed))

    def _wake(self, name: str) -> None:
        self._note(f"{name} wakes at {self.now // MS} ms")
        self.nodes[name].wake = None
        self.step(name, Wake())

    def _send(self, src: str, send: Send, arrow: str) -> None:
        is_lost = send.to not in self.nodes
        self._note(f"{src} {arrow} {send.to} {text(send.message)}{' (nobody)' if is_lost else ''}")
        if not is_lost:
            self.bag.append(Flying(src, send.to, send.message))

    def _chosen(self, src: str, to: str) -> list[Flying]:
        return [flying for flying in self.bag if src in ("", flying.src) and to in ("", flying.to)]

    def _note(self, line: str) -> None:
        self.lines.append(line)


def text(struct: PeerMessage | Stored) -> str:
    """`Vote(term=1, last_index=0)`: nothing that is false or empty."""
    fields = ((name, getattr(struct, name)) for name in struct.__struct_fields__)
    return f"{type(struct).__name__}({', '.join(f'{name}={_brief(value)}' for name, value in fields if value not in (False, '', []))})"


def _brief(value: object) -> str:
    if isinstance(value, list):
        return f"[{' '.join(text(item) for item in value)}]"
    return str(value)
