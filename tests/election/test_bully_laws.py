"""Bully's laws under random schedules: messages lost, doubled and out of order, crashes between writing and syncing, cuts, a silent store.

B1  one coordinator per epoch; a majority had it on their disks when it began (of two, the store counts as a voter)
B2  a node grants an epoch to one claimant, and never a lower epoch, over all its lives
C3  what is on a disk rises; what a life shows rises         C4  a Grant leaves when the promise is on the disk
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.election.bench import Bench, Flying
from zjp.election.core import EPOCH_MAX, MS, SECOND, Deed, Effects, Event, Leave, Role, Send, Stall, Time, Transfer
from zjp.wire import peers
from zjp.wire.peers import Beat, Claim, Coordinator, Grant, Promise

pytestmark = pytest.mark.covers("cluster:bully")


class Watched(Bench):
    """A bench that raises when a law is broken."""

    def __init__(self, nodes: dict[str, int], **options: Any) -> None:
        super().__init__("bully", nodes, **options)
        self.led_by: dict[int, str] = {}
        self.granted: dict[tuple[str, int], str] = {}
        self.top_granted: dict[str, int] = {}
        self.shown: dict[str, int] = {}
        self.leader_count = 0
        self.on_event = self.watch

    def start(self, name: str) -> None:
        self.shown[name] = 0
        super().start(name)

    def _send(self, src: str, send: Send, arrow: str) -> None:
        message = send.message
        if isinstance(message, Grant) and message.is_granted:
            assert self.granted.setdefault((src, message.epoch), send.to) == send.to, "B2: two claimants in one epoch"
            assert message.epoch >= self.top_granted.get(src, 0), "B2: a lower epoch granted"
            self.top_granted[src] = message.epoch
            assert Promise(message.epoch, send.to) in self.nodes[src].disk, "C4: granted before it was durable"
        if isinstance(message, Claim) and message.epoch:
            assert Promise(message.epoch, src) in self.nodes[src].disk, "C4: claimed before it was durable"
        if isinstance(message, Beat | Coordinator):
            assert self.led_by.get(message.epoch) == src, "B1: another leads in this epoch"
        super()._send(src, send, arrow)

    def watch(self, name: str, _event: Event, out: Effects) -> None:
        node = self.nodes[name]
        assert node.core is not None
        view = node.core.view()
        assert view.epoch >= self.shown[name], "C3: a lower epoch shown"
        self.shown[name] = view.epoch
        if view.role is Role.LEADER and view.epoch not in self.led_by:
            self.leader_count += 1
            self.led_by[view.epoch] = name
            votes = sum(Promise(view.epoch, name) in one.disk for one in self.nodes.values())
            by_store = (self.store.epoch, self.store.owner) == (view.epoch, node.config.owner)
            assert votes + (by_store and len(self.nodes) == 2) > len(self.nodes) // 2, "B1: no majority"
        if view.role is Role.LEADER:
            assert self.led_by[view.epoch] == name, "B1: two coordinators in one epoch"
        assert not view.is_in_office or view.role is Role.LEADER
        for op in out.store:
            assert op.deed is not Deed.INSTALL or not op.is_elected or self.led_by[op.epoch] == name

    def persist(self, name: str) -> None:
        super().persist(name)
        epochs = [record.epoch for record in self.nodes[name].disk if isinstance(record, Promise)]
        assert epochs == sorted(epochs), "C3: a lower epoch on the disk"


class Storm:
    """One seed's schedule."""

    def __init__(self, count: int, seed: int) -> None:
        self.luck = random.Random(seed)
        self.names = [f"n{index}" for index in range(count)]
        self.bench = Watched({name: self.luck.randint(0, 2) for name in self.names}, timeout=300 * MS)
        for name in self.names:
            self.bench.start(name)
        for name in self.names:
            for peer in self.names:
                if name != peer and self.luck.random() < 0.8:
                    self.bench.meet(name, peer)

    def run(self, steps: int) -> None:
        deeds = [self.fly] * 70 + [self.pass_time] * 24 + [self.fault] * 2
        for _ in range(steps):
            self.luck.choice(deeds)()

    def fly(self) -> None:
        """One message arrives, out of order, now and then twice or never."""
        bag = self.bench.bag
        if not bag:
            return
        flying = bag.pop(self.luck.randrange(min(len(bag), 6)))
        chance = self.luck.random()
        if chance < 0.05 and len(bag) < 200:
            bag.append(flying)
        if chance < 0.95:
            self.bench.arrive(flying)

    def pass_time(self) -> None:
        self.bench.tick(self.luck.choice([1, 5, 15, 30]) * MS)

    def fault(self) -> None:
        name, other = self.luck.choice(self.names), self.luck.choice(self.names)
        node = self.bench.nodes[name]
        deed = self.luck.randrange(12)
        if node.core is None:
            self.bench.start(name)
        elif deed in (0, 1):
            self.bench.crash(name)
        elif deed in (2, 3):
            node.is_held = not node.is_held
            if not node.is_held:
                self.bench.persist(name)
        elif deed == 4:
            self.bench.cuts |= {(name, other)}
        elif deed in (5, 6):
            self.bench.cuts.clear()
            self.bench.store.is_silent = False
        elif deed == 7:
            self.bench.store.is_silent = not self.bench.store.is_silent
        elif deed == 8:
            self.bench.step(name, Transfer(self.luck.choice(["", other]), self.luck.random() < 0.5))
        elif deed == 9:
            lag = self.luck.choice([50, 400, 2000]) * MS
            self.bench.step(name, Stall(lag))
        elif deed == 10 and name != other:
            self.bench.meet(name, other, is_up=self.luck.random() < 0.6)
        else:
            self.bench.rewrite(name) if not node.is_held else self.bench.persist(name)

    def calm(self) -> None:
        """Everything heals; who is down starts."""
        self.bench.cuts.clear()
        self.bench.store.is_silent = False
        for name in self.names:
            node = self.bench.nodes[name]
            node.is_held = False
            self.bench.persist(name)
            if node.core is None:
                self.bench.start(name)
        for name in self.names:
            for peer in self.names:
                if name != peer:
                    self.bench.meet(name, peer)

    def highest(self) -> str:
        return max(self.names, key=lambda name: (self.bench.nodes[name].config.priority, name))


@pytest.mark.parametrize("count", [2, 3, 5])
@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=15)
def test_any_schedule_keeps_one_coordinator_per_epoch(count: int, seed: int) -> None:
    Storm(count, seed).run(1200)


@pytest.mark.parametrize("count", [2, 3, 5])
@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=8)
def test_when_faults_stop_the_highest_leads_within_the_hold_down_and_three_timeouts(count: int, seed: int) -> None:
    storm = Storm(count, seed)
    storm.run(300)
    storm.calm()
    storm.bench.tick((10 + 3) * 300 * MS + 2 * SECOND * (count == 2), is_delivering=True)
    views = {name: core.view() for name, node in storm.bench.nodes.items() if (core := node.core) is not None}
    assert {view.leader for view in views.values()} == {storm.highest()}
    assert views[storm.highest()].is_in_office
    epoch = views[storm.highest()].epoch
    storm.bench.tick(3 * SECOND, is_delivering=True)
    assert {node.core.view().epoch for node in storm.bench.nodes.values() if node.core is not None} == {epoch}


NAMES = st.sampled_from(["a", "b", "c", "l", "stranger", "", "me"])
EPOCHS = st.integers(0, 6) | st.integers(0, EPOCH_MAX)
NUMBERS = st.integers(0, 50) | st.integers(0, (1 << 62) - 1)
PRIORITIES = st.integers(-(1 << 31), (1 << 31) - 1)
MESSAGES = st.one_of(
    st.builds(peers.Beat, EPOCHS, NUMBERS),
    st.builds(peers.BeatAck, EPOCHS, NUMBERS),
    st.builds(peers.Elect, PRIORITIES, EPOCHS),
    st.builds(peers.Answer, PRIORITIES, EPOCHS),
    st.builds(peers.Claim, EPOCHS, PRIORITIES),
    st.builds(peers.Grant, EPOCHS, st.booleans(), EPOCHS),
    st.builds(peers.Coordinator, EPOCHS, PRIORITIES),
    st.builds(peers.Resign, EPOCHS, NAMES),
    st.builds(peers.Vote, EPOCHS, EPOCHS, EPOCHS, st.booleans()),
    st.builds(peers.PingPeer, NUMBERS, st.just("b"), NUMBERS, EPOCHS, NAMES, st.just([])),
)


@pytest.mark.parametrize("voters", [("a",), ("a", "b"), ("a", "b", "c"), ("b", "c")])
@given(data=st.data())
@settings(max_examples=20)
def test_no_message_in_any_state_raises(voters: tuple[str, ...], data: st.DataObject) -> None:
    bench = Bench("bully", {"a": 1, "b": 1, "c": 2, "l": 0}, voters=voters)
    for name in bench.nodes:
        bench.start(name)
    for name in ("b", "c", "l"):
        bench.meet("a", name)
    for _ in range(data.draw(st.integers(1, 25))):
        lapse: Time = data.draw(st.sampled_from([0, 0, 0, 100, 700, 2500])) * MS
        bench.tick(lapse, is_delivering=True)
        src, message = data.draw(NAMES), data.draw(MESSAGES)
        bench.arrive(Flying(src or "a", "a", message))
        if data.draw(st.integers(0, 30)) == 0:
            bench.step("a", Leave())
