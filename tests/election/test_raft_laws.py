"""Raft's invariants hold whatever the network, the disks and the clock do; and no message whatsoever makes a core raise."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.election.bench import Bench
from tests.election.raft_laws import Laws
from tests.election.raft_solo import Solo
from zjp.election.core import EPOCH_MAX, MS, SECOND, Event, Leave, Met, Persisted, Recv, Stall, Transfer, Wake
from zjp.wire.peers import (
    Append,
    AppendReply,
    AskTerm,
    Beat,
    Entry,
    PeerMessage,
    PreVote,
    PreVoteReply,
    Taught,
    TellTerm,
    TimeoutNow,
    Vote,
    VoteReply,
)

pytestmark = pytest.mark.covers("cluster:raft")

# ── schedules ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

WEIGHTS = {
    "deliver": 60,
    "tick": 12,
    "wake": 6,
    "persist": 8,
    "lose": 4,
    "double": 3,
    "hold": 2,
    "cut": 1,
    "heal": 2,
    "crash": 2,
    "start": 6,
    "wipe": 1,
    "transfer": 1,
    "rewrite": 1,
}
"""What may happen next, and how often."""


class Chaos:
    """One seed's schedule. `wipes`: folders are emptied, one at a time, and only of a cluster that has had a leader."""

    def __init__(self, seed: int, names: str, *, wipes: bool) -> None:
        self.random = random.Random(seed)
        self.names = list(names)
        self.wipes = wipes
        self.bench = Bench("raft", dict.fromkeys(names, 0))
        self.laws = Laws(self.bench)
        for name in names:
            self.bench.start(name)
        self.bench.deliver()

    def run(self, steps: int) -> None:
        for kind in self.random.choices(list(WEIGHTS), list(WEIGHTS.values()), k=steps):
            getattr(self, kind)(self.random.choice(self.names))
            self.bench.lines.clear()

    def heals(self) -> None:
        """No more faults: what must become of it."""
        self.bench.cuts.clear()
        for name in self.names:
            self.free(name)
            if self.bench.nodes[name].core is None:
                self.bench.start(name)
        self.bench.tick(10 * SECOND, is_delivering=True)

    def deliver(self, _name: str) -> None:
        """Some of those that fly, and not always the oldest: so they overtake one another."""
        for _ in range(min(len(self.bench.bag), self.random.randint(1, 2 * len(self.names)))):
            flying = self.bench.bag[0] if self.random.random() < 0.7 else self.random.choice(self.bench.bag)
            self.bench.bag.remove(flying)
            self.bench.arrive(flying)

    def lose(self, _name: str) -> None:
        if self.bench.bag:
            self.bench.bag.remove(self.random.choice(self.bench.bag))

    def double(self, _name: str) -> None:
        if self.bench.bag:
            self.bench.bag.append(self.random.choice(self.bench.bag))

    def tick(self, _name: str) -> None:
        self.bench.tick(self.random.choice((10, 50, 100, 300)) * MS)

    def wake(self, name: str) -> None:
        self.bench.wake(name)

    def hold(self, name: str) -> None:
        self.bench.nodes[name].is_held = True

    def free(self, name: str) -> None:
        self.bench.nodes[name].is_held = False
        self.bench.persist(name)

    def persist(self, name: str) -> None:
        self.bench.persist(name) if self.random.random() < 0.7 else self.free(name)

    def cut(self, name: str) -> None:
        self.bench.cuts.add((name, self.random.choice(self.names)))

    def heal(self, _name: str) -> None:
        self.bench.cuts.clear()

    def crash(self, name: str) -> None:
        self.bench.crash(name)

    def start(self, name: str) -> None:
        if self.bench.nodes[name].core is None:
            self.bench.start(name)

    def wipe(self, name: str) -> None:
        others = [node.core for other, node in self.bench.nodes.items() if other != name]
        is_safe = all(core is not None and core.view().epoch and core.view().role.value != "learner" for core in others)
        if self.wipes and is_safe and self.laws.leaders:
            self.bench.crash(name)
            self.bench.wipe(name)
            self.bench.start(name)

    def transfer(self, name: str) -> None:
        self.bench.step(name, Transfer(self.random.choice(["", *self.names])))

    def rewrite(self, name: str) -> None:
        if self.bench.nodes[name].core is not None:
            self.bench.rewrite(name)


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=30)
def test_three_nodes_keep_the_laws_whatever_is_lost_late_doubled_or_crashes(seed: int) -> None:
    Chaos(seed, "abc", wipes=False).run(600)


@given(seed=st.integers(0, 1 << 32))
@settings(max_examples=30)
def test_three_nodes_keep_the_laws_when_folders_vanish_too(seed: int) -> None:
    Chaos(seed, "abc", wipes=True).run(600)


@given(seed=st.integers(0, 1 << 32), names=st.sampled_from(["ab", "abcd", "abcde"]))
@settings(max_examples=20)
def test_two_four_and_five_nodes_keep_the_laws(seed: int, names: str) -> None:
    Chaos(seed, names, wipes=False).run(600)


@given(seed=st.integers(0, 1 << 32), names=st.sampled_from(["a", "ab", "abc", "abcde"]))
@settings(max_examples=15)
def test_after_the_faults_there_is_one_leader_and_it_stays(seed: int, names: str) -> None:
    chaos = Chaos(seed, names, wipes=False)
    chaos.run(300)
    chaos.heals()
    roles = [node.core.view().role.value for node in chaos.bench.nodes.values() if node.core]
    assert sorted(roles) == ["follower"] * (len(names) - 1) + ["leader"]
    epoch = chaos.bench.store.epoch
    chaos.bench.tick(10 * SECOND, is_delivering=True)
    assert chaos.bench.store.epoch == epoch


# ── any message, any state ───────────────────────────────────────────────────────────────────────────────────────────────────────────

EPOCHS = st.integers(0, 4) | st.sampled_from([1 << 20, (1 << 20) + 3, EPOCH_MAX - 1, EPOCH_MAX])
NUMBERS = st.integers(0, 3) | st.sampled_from([(1 << 62) - 1])
FLAGS = st.booleans()
MESSAGES: st.SearchStrategy[PeerMessage] = st.one_of(
    st.builds(PreVote, EPOCHS, EPOCHS, EPOCHS),
    st.builds(PreVoteReply, EPOCHS, EPOCHS, FLAGS),
    st.builds(Vote, EPOCHS, EPOCHS, EPOCHS, FLAGS),
    st.builds(VoteReply, EPOCHS, FLAGS),
    st.builds(Append, EPOCHS, EPOCHS, EPOCHS, EPOCHS, NUMBERS, st.lists(st.builds(Entry, EPOCHS, EPOCHS), max_size=3)),
    st.builds(AppendReply, EPOCHS, NUMBERS, FLAGS, EPOCHS, EPOCHS, EPOCHS),
    st.builds(TimeoutNow, EPOCHS),
    st.builds(AskTerm, NUMBERS),
    st.builds(TellTerm, NUMBERS, EPOCHS),
    st.just(Beat(1, 1)),
)
NAMES = st.sampled_from("aabbbcccx")
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Recv, NAMES, MESSAGES),
    st.builds(Recv, NAMES, MESSAGES),
    st.just(Wake()),
    st.builds(Met, NAMES, st.just(0), FLAGS),
    st.builds(Stall, st.integers(0, SECOND)),
    st.builds(Transfer, st.sampled_from(["", "a", "b", "x"])),
    st.just(Leave()),
    st.builds(Persisted, st.integers(0, 2)),
)
STATES = {
    "wiped": lambda: Solo(records=()),
    "taught": lambda: Solo(records=[Taught(3)]),
    "follower": lambda: Solo().follows(),
    "pre-candidate": lambda: Solo().pre_campaigns(),
    "candidate": lambda: Solo().campaigns(),
    "leader": lambda: Solo().leads(),
    "single": lambda: Solo(voters="a", records=()),
    "pair": lambda: Solo(voters="ab").leads(),
    "learner": lambda: Solo(voters="bcd", records=()),
    "nobody votes": lambda: Solo(voters="", records=()),
}


@pytest.mark.parametrize("state", STATES)
@given(events=st.lists(EVENTS, max_size=12), lapse=st.integers(0, SECOND))
@settings(max_examples=40)
def test_no_event_in_any_state_raises_or_takes_a_promise_back(state: str, events: list[Event], lapse: int) -> None:
    node = STATES[state]()
    for event in events:
        term, commit, number = node.term, node.core.log.commit, node.newest
        node.now += lapse if isinstance(event, Wake) else 0
        node.does(event)
        assert node.term >= term
        assert node.core.log.commit >= commit
        assert node.newest >= number
        assert node.wake is not None
    assert Solo(voters="".join(node.config.voters), records=node.disk).terms[: len(node.terms)] == node.terms
