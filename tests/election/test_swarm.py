"""Gossip with many nodes in one seeded world: what each does right must make them agree. The laws of watch.py hold in every step."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.election.bench import Store
from tests.election.solo import ME, Solo
from tests.election.swarm import Swarm
from zjp.election.core import (
    MS,
    SECOND,
    Event,
    Installed,
    Kind,
    Leave,
    Met,
    Persisted,
    Recv,
    Stall,
    StoreOp,
    StoreReply,
    Time,
    Transfer,
)
from zjp.election.gossip import HOLD_DOWN
from zjp.election.swim import CONTACT_PERIODS
from zjp.wire import peers
from zjp.wire.peers import Alive, Dead, Rumour, Suspect

pytestmark = pytest.mark.covers("cluster:gossip")

P = 500 * MS


def settled(swarm: Swarm) -> Callable[[], bool]:
    """All know all, and the same leader, who is in office."""

    def is_settled() -> bool:
        leaders = swarm.leaders()
        return swarm.agrees() and leaders == set(swarm.in_office()) and len(leaders) == 1

    return is_settled


def running(size: int, **more: object) -> Swarm:
    swarm = Swarm(size, **more)  # type: ignore[arg-type]
    swarm.start()
    swarm.run(60 * SECOND, settled(swarm))
    return swarm


def leader(swarm: Swarm) -> str:
    (name,) = swarm.in_office()
    return name


# ── membership ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("size", [3, 10])
@pytest.mark.parametrize("seed", range(4))
def test_a_crash_is_known_to_all_within_six_periods_and_the_least_suspicion(size: int, seed: int) -> None:
    """GL1."""
    swarm = running(size, seed=seed)
    swarm.run(20 * P)
    swarm.crash("n001")
    assert swarm.run(60 * P, lambda: swarm.all_say("n001", "dead")) <= 10 * P


@pytest.mark.parametrize("size", [3, 10])
def test_nobody_is_held_dead_for_long_when_messages_are_lost(size: int) -> None:
    """GL3: a false death is undone within ten periods."""
    swarm = running(size, loss=0.35, doubled=0.1)
    swarm.run(200 * P)
    deaths = [(at, node, told.node) for at, node, told in swarm.story if told.kind is Kind.MEMBER_DEAD]
    for at, node, about in deaths:
        undone = [
            back
            for back, other, told in swarm.story
            if (other, told.node) == (node, about) and told.kind is Kind.MEMBER_JOINED
        ]
        assert any(at < back <= at + 10 * P for back in undone)


@pytest.mark.parametrize("size", [3, 10])
def test_a_member_that_stood_still_refutes_its_death(size: int) -> None:
    swarm = running(size)
    name = "n000"
    swarm.lives[name].until = swarm.now + 30 * P
    swarm.run(30 * P - 1)
    assert any(told.kind is Kind.MEMBER_DEAD and told.node == name for _, _, told in swarm.story)
    swarm.run(10 * P, settled(swarm))


@pytest.mark.parametrize("size", [3, 12])
def test_at_rest_there_are_two_messages_a_node_and_period(size: int) -> None:
    swarm = running(size)
    swarm.run(60 * P)
    swarm.sent.clear()
    swarm.run(120 * P)
    assert 1.95 <= sum(swarm.sent.values()) / size / 120 <= 2.1


def test_halves_that_were_cut_for_a_minute_find_each_other_again() -> None:
    """S7; the tombstones are gone by then, and no first name is on one side."""
    swarm = running(8, seeds=3)
    left = set(list(swarm.lives)[:4])
    swarm.is_cut = lambda src, to: (src in left) != (to in left)
    swarm.run(80 * SECOND)
    assert not swarm.agrees()
    swarm.is_cut = lambda src, to: False
    swarm.run(3 * CONTACT_PERIODS * P, settled(swarm))


def test_nodes_that_all_restart_at_once_agree_again() -> None:
    swarm = running(10)
    for name in swarm.lives:
        swarm.crash(name)
    for name in swarm.lives:
        swarm.run(200 * MS)
        swarm.start(name)
    swarm.run(20 * P, settled(swarm))


def test_a_node_whose_disk_was_emptied_is_taken_back() -> None:
    swarm = running(5)
    swarm.crash("n004")
    swarm.run(2 * P)
    swarm.lives["n004"].disk = []
    swarm.watch.on_wipe("n004")
    swarm.start("n004")
    swarm.run(20 * P, settled(swarm))


# ── who leads ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_single_node_leads_within_a_second() -> None:
    swarm = Swarm(1)
    swarm.start()
    assert swarm.run(1 * SECOND, settled(swarm)) < 1 * SECOND


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [3, 5])
def test_fail_over_keeps_the_bound_that_the_settings_imply(size: int, seed: int) -> None:
    swarm = running(size, seed=seed)
    swarm.run((20 + seed) * P + seed * 77 * MS)
    old = leader(swarm)
    swarm.crash(old)
    took = swarm.run(60 * P, settled_but(swarm, old))
    config = swarm.lives[old].config
    bound = max((2 * size - 1) * P + P + 2 * P, config.lead_for) + P + 100 * MS
    assert took <= bound


def settled_but(swarm: Swarm, old: str) -> Callable[[], bool]:
    return lambda: (
        len(swarm.in_office()) == 1 and swarm.leaders() == set(swarm.in_office()) and old not in swarm.leaders()
    )


def test_only_the_best_ranked_asks_the_store() -> None:
    swarm = running(10, priorities=lambda index: index == 4)
    swarm.run(20 * SECOND)
    assert leader(swarm) == "n004"
    assert {node for _, node, told in swarm.story if told.kind is Kind.ELECTION_STARTED} == {"n004"}


def test_a_better_one_that_comes_back_leads_after_the_hold_down_with_one_change() -> None:
    swarm = running(5)
    best = leader(swarm)
    swarm.crash(best)
    swarm.run(30 * SECOND, settled_but(swarm, best))
    swarm.run(5 * SECOND)
    swarm.start(best)
    back = swarm.now
    swarm.story.clear()
    took = swarm.run(30 * SECOND, lambda: swarm.in_office() == [best])
    assert HOLD_DOWN <= took <= HOLD_DOWN + 3 * SECOND
    swarm.run(30 * SECOND)
    elected = {
        (told.node, told.epoch)
        for at, _, told in swarm.story
        if told.kind is Kind.LEADER_ELECTED and at > back + HOLD_DOWN
    }
    assert len(elected) == 1


def test_a_planned_stop_of_the_leader_leaves_the_others_without_one_for_less_than_two_periods() -> None:
    swarm = running(5)
    swarm.run(20 * P)
    best = leader(swarm)
    swarm.leave(best)
    took = swarm.run(10 * P, lambda: any(name != best for name in swarm.in_office()))
    assert took <= 2 * P


def test_a_transfer_moves_the_leadership_without_a_pause_worth_the_name() -> None:
    swarm = running(5)
    swarm.run(20 * P)
    best = leader(swarm)
    swarm.step(best, Transfer())
    swarm.run(10 * P, lambda: swarm.in_office() == [])
    took = swarm.run(10 * P, lambda: len(swarm.in_office()) == 1)
    assert leader(swarm) != best
    assert took <= P
    swarm.run(40 * SECOND)
    assert leader(swarm) == best


def test_a_transfer_to_the_next_in_rank_makes_it_lead_and_one_to_another_changes_nothing() -> None:
    swarm = running(5)
    swarm.run(20 * P)
    assert leader(swarm) == "n004"
    swarm.step("n004", Transfer("n000"))
    swarm.run(10 * P)
    assert leader(swarm) == "n004"
    swarm.step("n004", Transfer("n003"))
    swarm.run(10 * P)
    assert leader(swarm) == "n003"


def test_the_minority_has_no_leader_the_majority_has_one() -> None:
    swarm = running(5)
    best = leader(swarm)
    few = {best, "n000"}
    swarm.is_cut = lambda src, to: (src in few) != (to in few)
    swarm.run(40 * SECOND)
    assert leader(swarm) not in few
    swarm.is_cut = lambda src, to: False
    swarm.run(60 * SECOND, settled(swarm))


def test_a_best_one_that_cannot_reach_the_store_does_not_keep_the_others_from_leading() -> None:
    class OutOfReach(Store):
        def do(self, now: Time, op: StoreOp) -> Installed | None:
            return None if op.owner.startswith("n002") else super().do(now, op)

    swarm = Swarm(3)
    swarm.store = OutOfReach()
    swarm.start()
    swarm.run(20 * SECOND, lambda: swarm.in_office() == ["n001"])
    swarm.run(60 * SECOND)
    assert swarm.in_office() == ["n001"]


# ── laws ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25)
@given(st.integers(0, 1 << 32))
def test_the_laws_hold_in_random_schedules_and_afterwards_all_agree(seed: int) -> None:
    """G1 to G5, C1 to C4 in each step; GL2 at the end."""
    luck = random.Random(seed)
    swarm = Swarm(luck.choice([1, 2, 3, 5]), seed=seed, loss=luck.random() * 0.3, doubled=luck.random() * 0.3)
    names = list(swarm.lives)
    swarm.start()
    for _ in range(luck.randint(1, 15)):
        _disturb(swarm, luck, luck.choice(names))
        swarm.run(luck.randint(1, 4000) * MS)
    swarm.loss, swarm.is_cut = 0.0, lambda src, to: False
    for name, life in swarm.lives.items():
        life.until = 0
        swarm.crash(name)
        swarm.start(name)
    swarm.run(90 * P, settled(swarm))


def _disturb(swarm: Swarm, luck: random.Random, name: str) -> None:
    what = luck.choice(["crash", "start", "cut", "heal", "pause", "leave", "transfer", "stall", "lose"])
    if what == "crash":
        swarm.crash(name)
    elif what == "start" and swarm.lives[name].core is None:
        swarm.start(name)
    elif what in ("cut", "heal"):
        side = {other for other in swarm.lives if luck.random() < 0.5} if what == "cut" else set()
        is_one_way = luck.random() < 0.3
        swarm.is_cut = lambda src, to: (
            (src in side and to not in side) or (not is_one_way and to in side and src not in side)
        )
    elif what == "pause":
        swarm.lives[name].until = swarm.now + luck.randint(1, 8000) * MS
    elif what == "lose":
        swarm.loss = luck.random() * 0.5
    else:
        said: dict[str, Event] = {"transfer": Transfer(), "stall": Stall(luck.randint(0, 3000) * MS)}
        swarm.step(name, said.get(what, Leave()))


names = st.sampled_from([ME, "a", "b", "c", "z"])
numbers = st.one_of(st.integers(0, 5), st.integers(0, (1 << 62) - 1))
epochs = st.one_of(st.integers(0, 5), st.integers(0, (1 << 53) - 1))
rumours: st.SearchStrategy[Rumour] = st.one_of(
    st.builds(Alive, names, numbers, st.integers(-(1 << 31), (1 << 31) - 1)),
    st.builds(Suspect, names, numbers, names),
    st.builds(Dead, names, numbers, names),
)
lists = st.lists(rumours, max_size=6)
leaders = st.one_of(names, st.just(""), st.text(max_size=70))
messages = st.one_of(
    st.builds(peers.PingPeer, numbers, names, numbers, epochs, leaders, lists),
    st.builds(peers.PingReq, numbers, names, numbers, lists),
    st.builds(peers.Ack, numbers, names, numbers, epochs, leaders, lists),
    st.builds(peers.Nack, numbers, names, numbers, lists),
    st.builds(peers.Gossip, numbers, epochs, leaders, lists),
    st.builds(peers.Sync, numbers, st.booleans(), epochs, leaders, lists),
    st.builds(peers.SyncReply, numbers, epochs, leaders, lists),
    st.builds(peers.Vote, epochs, epochs, epochs),
    st.builds(peers.Beat, epochs, numbers),
)
events: st.SearchStrategy[Event | None] = st.one_of(
    st.builds(Recv, names, messages),
    st.builds(Persisted, st.integers(0, 20)),
    st.builds(Met, names, st.integers(-5, 5), st.booleans()),
    st.builds(Stall, st.integers(0, 10 * SECOND)),
    st.builds(Transfer, names),
    st.just(Leave()),
    st.none(),
)


@settings(max_examples=60)
@given(st.lists(st.tuples(events, st.integers(0, 3 * SECOND), epochs), max_size=60), st.sampled_from([1, 3]))
def test_no_event_in_any_state_raises_and_an_accusation_is_never_of_oneself(
    schedule: list[tuple[Event | None, Time, int]], expected: int
) -> None:
    node = Solo("a", "b", voters=("a", "b", "c", ME), expected=expected)
    highest: dict[str, int] = {}
    for event, lapse, epoch in schedule:
        if event is not None:
            node.step(event)
        elif node.ops:
            op = node.ops[-1]
            node.step(StoreReply(op, Installed(min(epoch, op.epoch + 3), op.owner if epoch % 2 else "x:1", lapse)))
        node.run(lapse, "a")
        records = node.core.durable()
        for record in records:
            number = record.incarnation if isinstance(record, peers.Reserved) else getattr(record, "epoch", 0)
            assert number >= highest.get(type(record).__name__, 0)
            highest[type(record).__name__] = number
        assert node.core.view().members[ME].health.value in ("alive", "left")
