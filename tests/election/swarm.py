"""A seeded world for many cores at once: virtual time, a network that delays, loses and doubles, a disk each and one store.

`bench.py` moves nothing by itself; here everything moves, from one seed. What must always hold is looked at after every step (`Watch`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from tests.election.bench import Store
from tests.election.watch import Watch
from zjp.election.core import (
    MS,
    SECOND,
    Config,
    Core,
    Effects,
    Event,
    Happened,
    Leave,
    Met,
    Persisted,
    Recv,
    Send,
    StoreReply,
    Time,
    Wake,
)
from zjp.election.gossip import Gossip
from zjp.wire.peers import Stored

DELAY = (200_000, 800_000)
SYNC_DISK = 3 * MS
ASK_STORE = 1 * MS


@dataclass(slots=True)
class Life:
    """A node and what it has. `until`: it is stopped, and what comes waits."""

    config: Config
    core: Core | None = None
    wake: Time | None = None
    disk: list[Stored] = field(default_factory=list)
    durable: int = 0
    held: list[tuple[int, Send]] = field(default_factory=list)
    until: Time = 0
    boot: int = 0


class Swarm:
    """`loss`, `doubled`: shares of the messages. `is_cut(src, to)`: whether the way is closed now."""

    def __init__(
        self,
        size: int,
        *,
        seed: int = 1,
        loss: float = 0.0,
        doubled: float = 0.0,
        seeds: int = 3,
        expected: int = 0,
        priorities: Callable[[int], int] = lambda index: 0,
        interval: Time = 500 * MS,
        timeout: Time = 2 * SECOND,
    ) -> None:
        self.random = random.Random(seed)
        self.now: Time = 1 * SECOND
        self.loss, self.doubled = loss, doubled
        self.is_cut: Callable[[str, str], bool] = lambda src, to: False
        self.slow: Callable[[str], Time] = lambda name: 0
        """How much later than it came a node handles a message."""
        self.store = Store()
        self.watch = Watch()
        self.sent: Counter[str] = Counter()
        self.steps = 0
        self.story: list[tuple[Time, str, Happened]] = []
        self._heap: list[tuple[Time, int, str, int, Event | None]] = []
        self._count = 0
        names = [f"n{index:03}" for index in range(size)]
        voters = tuple(names[:seeds])
        self.lives = {
            name: Life(Config(name, 0, voters, expected or size, priorities(index), timeout, interval, timeout))
            for index, name in enumerate(names)
        }

    # ── lives ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, *names: str) -> None:
        for name in names or tuple(self.lives):
            life = self.lives[name]
            life.boot += 1
            life.held, life.durable = [], 0
            was = life.config
            life.config = Config(
                name, life.boot, was.voters, was.expected, was.priority, was.timeout, was.interval, was.lead_for
            )
            life.core = Gossip(life.config, random.Random(self.random.random()).random)
            self.watch.on_start(name, life.disk)
            self._take(name, life.core.start(self.now, list(life.disk)))

    def meet(self, *names: str) -> None:
        for name in names or tuple(self.lives):
            for other, life in self.lives.items():
                if other != name and life.core is not None:
                    self._put(self.now, name, Met(other, life.config.priority, True))
                    self._put(self.now, other, Met(name, self.lives[name].config.priority, True))

    def crash(self, name: str) -> None:
        life = self.lives[name]
        life.core, life.wake = None, None

    def leave(self, name: str) -> None:
        self.step(name, Leave())

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self, span: Time, until: Callable[[], bool] | None = None) -> Time:
        """The time it took until `until`, looked at whenever something has happened; without it: the whole span."""
        begin, end = self.now, self.now + span
        seen = len(self.story)
        while self._heap and self._heap[0][0] <= end:
            at, _, name, boot, event = heappop(self._heap)
            self.now = max(self.now, at)
            self._happen(name, boot, event, at)
            if until is not None and len(self.story) != seen:
                seen = len(self.story)
                if until():
                    return self.now - begin
        assert until is None, f"not within {span / SECOND} s"
        self.now = end
        return span

    def step(self, name: str, event: Event) -> None:
        life = self.lives[name]
        if life.core is None:
            return
        self.steps += 1
        self._take(name, life.core.step(self.now, event))

    # ── questions ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def living(self) -> list[str]:
        return [name for name, life in self.lives.items() if life.core is not None]

    def core(self, name: str) -> Core:
        core = self.lives[name].core
        assert core is not None
        return core

    def leaders(self) -> set[str]:
        """Whom the living believe to lead."""
        return {self.core(name).view().leader for name in self.living}

    def in_office(self) -> list[str]:
        return [name for name in self.living if self.core(name).view().is_in_office]

    def all_say(self, about: str, health: str) -> bool:
        views = (self.core(name).view().members.get(about) for name in self.living if name != about)
        return all(member is not None and member.health.value == health for member in views)

    def agrees(self) -> bool:
        """All the living hold just the living alive."""
        alive = set(self.living)
        return all(
            {name for name, member in self.core(node).view().members.items() if member.health.value == "alive"} == alive
            for node in alive
        )

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _happen(self, name: str, boot: int, event: Event | None, at: Time) -> None:
        life = self.lives[name]
        if life.core is None or life.boot != boot:
            return
        if self.now < life.until:
            self._put(life.until, name, event)
        elif event is None:
            if life.wake == at or (life.wake is not None and life.wake <= self.now):
                life.wake = None
                self.step(name, Wake())
        else:
            if isinstance(event, Persisted):
                self._on_disk(name, event)
            self.step(name, event)

    def _on_disk(self, name: str, event: Persisted) -> None:
        life = self.lives[name]
        life.durable = max(life.durable, event.number)
        ready = [send for number, send in life.held if number <= life.durable]
        life.held = [row for row in life.held if row[0] > life.durable]
        for send in ready:
            self._send(name, send)

    def _take(self, name: str, out: Effects) -> None:
        life = self.lives[name]
        core = life.core
        assert core is not None
        self.watch.on_effects(name, life.config, core, out, life.durable)
        for send in out.send:
            self._send(name, send)
        newest = self.watch.newest(name)
        if out.persist is not None:
            life.disk += out.persist.records
            self._put(self.now + SYNC_DISK, name, Persisted(out.persist.number))
        for send in out.send_after:
            if newest > life.durable:
                life.held.append((newest, send))
            else:
                self._send(name, send)
        for op in out.store:
            installed = self.store.do(self.now, op)
            self.watch.on_store(self.store)
            self._put(self.now + ASK_STORE, name, StoreReply(op, installed))
        self.story += [(self.now, name, happened) for happened in out.happened]
        if out.wake != life.wake:
            life.wake = out.wake
            if out.wake is not None:
                self._put(out.wake, name, None)

    def _send(self, src: str, send: Send) -> None:
        self.sent[type(send.message).__name__] += 1
        if send.to not in self.lives or self.is_cut(src, send.to):
            return
        for _ in range(1 + (self.random.random() < self.doubled)):
            if self.random.random() >= self.loss:
                delay = self.random.randint(*DELAY) + self.slow(send.to)
                self._put(self.now + delay, send.to, Recv(src, send.message))

    def _put(self, at: Time, name: str, event: Event | None) -> None:
        self._count += 1
        heappush(self._heap, (at, self._count, name, self.lives[name].boot, event))
