"""The parts of membership by themselves: formulas, the queue of rumours, the list that is read in turn, timers, numbers."""

from __future__ import annotations

import random
from math import log

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zjp.election.core import MS, Effects, Health
from zjp.election.membership.contacts import Contacts
from zjp.election.membership.identity import Numbers
from zjp.election.membership.journal import Journal
from zjp.election.membership.roster import MEMBERS_MAX, Roster
from zjp.election.membership.rumours import BYTES_MAX, Rumours, retransmit_limit
from zjp.election.membership.suspicion import HEALTH_WORST, LocalHealth, lasting, least
from zjp.election.membership.timers import Timers, What
from zjp.wire.peers import Alive, EpochSeen, Reserved, Rumour, Suspect

pytestmark = pytest.mark.covers("cluster:gossip")

P = 500 * MS


# ── formulas ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("members", "periods"), [(1, 4), (3, 4), (10, 4), (100, 8), (1000, 12)])
def test_the_least_suspicion_is_four_periods_times_the_logarithm_of_the_members(members: int, periods: int) -> None:
    assert least(4 * P, members) == periods * P


def test_confirmations_bring_a_suspicion_down_from_six_times_the_least() -> None:
    most = 6 * 4 * P
    assert [lasting(4 * P, 10, count) for count in (0, 2, 5)] == [most, 4 * P, 4 * P]
    assert lasting(4 * P, 10, 1) == int(most - (most - 4 * P) * log(2) / log(3))


def test_where_nobody_can_confirm_a_suspicion_lasts_the_least() -> None:
    assert lasting(4 * P, 3, 0) == 4 * P


@pytest.mark.parametrize(("members", "limit"), [(1, 4), (9, 4), (10, 8), (99, 8), (100, 12), (1000, 16)])
def test_a_rumour_is_told_four_times_the_logarithm_of_the_members(members: int, limit: int) -> None:
    assert retransmit_limit(members) == limit


def test_local_health_stays_between_0_and_7() -> None:
    health = LocalHealth()
    health.improve()
    assert health.score == 0
    health.worsen(20)
    assert health.score == HEALTH_WORST == 7
    health.improve()
    assert health.score == 6


# ── rumours ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_rumour_is_told_so_often_and_then_no_more() -> None:
    rumours = Rumours()
    rumours.spread(Alive("a", 1, 0))
    assert [len(rumours.take(3)) for _ in range(5)] == [1, 1, 1, 0, 0]


def test_a_newer_rumour_about_a_node_replaces_the_older_and_is_told_as_often() -> None:
    rumours = Rumours()
    rumours.spread(Alive("a", 1, 0))
    rumours.take(3)
    rumours.spread(Suspect("a", 1, "b"))
    assert [rumours.take(3) for _ in range(4)] == [[Suspect("a", 1, "b")]] * 3 + [[]]


def test_the_least_told_go_first_among_them_the_newest() -> None:
    rumours = Rumours()
    rumours.spread(Alive("old", 1, 0))
    rumours.take(9)
    rumours.spread(Alive("new", 1, 0))
    rumours.spread(Alive("newest", 1, 0))
    assert [rumour.node for rumour in rumours.take(9)] == ["newest", "new", "old"]


def test_what_must_come_first_does() -> None:
    rumours = Rumours()
    accusation = Suspect("b", 1, "c")
    assert rumours.take(3, accusation) == [accusation]
    rumours.spread(Alive("a", 1, 0))
    rumours.spread(accusation)
    assert rumours.take(3, accusation) == [accusation, Alive("a", 1, 0)]


names = st.text(min_size=1, max_size=64, alphabet="abcdefgh0123456789-")


@given(st.lists(st.builds(Suspect, names, st.integers(0, 1 << 32), names), max_size=200))
def test_the_rumours_of_a_message_fit_into_one_frame_and_all_are_told(heard: list[Rumour]) -> None:
    rumours = Rumours()
    for rumour in heard:
        rumours.spread(rumour)
    newest = {rumour.node: rumour for rumour in heard}
    told: dict[str, Rumour] = {}
    for _ in range(400):
        taken = rumours.take(2)
        assert len(msgspec.msgpack.encode(taken)) <= BYTES_MAX + 300
        told |= {rumour.node: rumour for rumour in taken}
    assert told == newest
    assert not rumours.tier_of


# ── roster ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def roster_of(*names: str, seed: int = 1) -> Roster:
    roster = Roster(Alive("m", 1, 0), random.Random(seed).random)
    for name in names:
        roster.add(Alive(name, 1, 0), 0)
    return roster


def test_the_best_has_the_highest_priority_and_among_equals_the_highest_name() -> None:
    roster = roster_of("a", "z")
    assert roster.best == "z"
    roster.add(Alive("b", 1, 7), 0)
    assert roster.best == "b"
    peer = roster.get("b")
    assert peer is not None
    roster.set_word(peer, Alive("b", 2, -1))
    assert roster.best == "z"


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "alive", "suspect", "dead", "left", "forget", "word", "mine"]),
        st.integers(0, 9),
        st.integers(-2, 2),
    ),
    max_size=120,
)


@given(steps)
def test_best_and_counts_are_what_looking_at_all_would_give(changes: list[tuple[str, int, int]]) -> None:
    roster = roster_of()
    mine = 0
    for time, (what, index, number) in enumerate(changes):
        peer = roster.get(f"n{index}")
        if what == "mine":
            mine = number
            roster.set_mine(Alive("m", 1, number), time)
        elif peer is None:
            roster.add(Alive(f"n{index}", 1, number), time)
        elif what == "forget":
            if peer.health in (Health.DEAD, Health.LEFT):
                roster.forget(peer)
        elif what == "word":
            roster.set_word(peer, Alive(peer.name, 1, number))
        elif what != "add":
            roster.set_health(peer, Health(what), time)
        roster.read()
        members = roster.members()
        fit = {name: member for name, member in members.items() if member.health is Health.ALIVE}
        assert roster.best == max(fit, key=lambda name: (fit[name].priority, name))
        assert roster.fit_count == len(fit)
        assert roster.present_count == len(fit) + sum(member.health is Health.SUSPECT for member in members.values())
        assert members["m"].priority == mine
        assert {rumour.node for rumour in roster.table()} == set(members)


@given(st.integers(1, 30), st.integers(0, 99))
def test_each_round_reads_every_member_once(size: int, seed: int) -> None:
    roster = roster_of(*(f"n{index}" for index in range(size)), seed=seed)
    for _ in range(3):
        read = [peer.name for peer in (roster.read() for _ in range(size)) if peer]
        assert sorted(read) == sorted(f"n{index}" for index in range(size))


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(0, 99))
def test_one_that_is_forgotten_moves_nobody_out_of_or_into_the_round(forgotten: list[int], seed: int) -> None:
    roster = roster_of(*(f"n{index}" for index in range(20)), seed=seed)
    read: set[str] = set()
    for index in forgotten:
        peer = roster.get(f"n{index}")
        if peer is not None:
            roster.forget(peer)
            read.discard(peer.name)
        if len(read) == len(roster):
            read.clear()
        following = roster.read()
        if following is not None:
            assert following.name not in read
            read.add(following.name)


@pytest.mark.parametrize("size", [0, 1, 2, 10, 16, 17, 500])
def test_members_drawn_are_fitting_and_none_comes_twice(size: int) -> None:
    roster = roster_of(*(f"n{index}" for index in range(size)))
    for _ in range(50):
        drawn = [peer.name for peer in roster.draw(3, lambda peer: peer.name != "n0")]
        assert len(set(drawn)) == len(drawn) == min(3, max(0, size - 1))
        assert "n0" not in drawn


def test_all_are_drawn_about_equally_often() -> None:
    for size in (5, 50):
        roster = roster_of(*(f"n{index}" for index in range(size)))
        counts = dict.fromkeys((f"n{index}" for index in range(size)), 0)
        for _ in range(200 * size):
            for peer in roster.draw(3, lambda peer: True):
                counts[peer.name] += 1
        assert 450 <= min(counts.values()) <= max(counts.values()) <= 750


def test_who_comes_when_the_roster_is_full_is_not_taken_up() -> None:
    roster = roster_of(*(f"n{index}" for index in range(MEMBERS_MAX)))
    assert roster.add(Alive("late", 1, 0), 0) is None
    assert len(roster.table()) == MEMBERS_MAX + 1


# ── timers, journal, numbers, contacts ───────────────────────────────────────────────────────────────────────────────────────────────


def test_timers_fire_in_order_replaced_and_cancelled_ones_never() -> None:
    timers = Timers()
    timers.set((What.SUSPICION, "a"), 30)
    timers.set((What.SUSPICION, "b"), 20)
    timers.set((What.SYNC, 0), 10)
    timers.set((What.SUSPICION, "a"), 15)
    timers.cancel((What.SYNC, 0))
    assert timers.next() == 15
    assert [timers.pop_due(30) for _ in range(3)] == [(What.SUSPICION, "a"), (What.SUSPICION, "b"), None]
    assert timers.next() is None


def test_timers_that_are_shifted_fire_later() -> None:
    timers = Timers()
    timers.set((What.SYNC, 0), 10)
    timers.set((What.GOSSIP, 0), 5)
    timers.shift(100)
    assert timers.pop_due(104) is None
    assert timers.pop_due(105) == (What.GOSSIP, 0)


def test_a_batch_holds_all_of_a_step_and_numbers_that_were_never_given_count_for_nothing() -> None:
    journal, out = Journal(), Effects()
    assert journal.write(Reserved(5)) == journal.write(EpochSeen(2)) == 1
    journal.flush(out)
    assert out.persist is not None
    assert (out.persist.number, out.persist.records) == (1, (Reserved(5), EpochSeen(2)))
    journal.on_persisted(7)
    assert journal.durable == 0
    journal.on_persisted(1)
    journal.on_persisted(0)
    assert journal.durable == 1


def test_numbers_of_pings_differ_between_lives() -> None:
    first, second = Numbers(1), Numbers(2)
    assert not {first.next() for _ in range(1000)} & {second.next() for _ in range(1000)}
    assert Numbers(1 << 200).next() < 1 << 62


def test_contacts_are_asked_in_turn_and_members_are_not() -> None:
    contacts = Contacts("m", ["a", "m", "b"])
    contacts.on_gone("c", has_left=False)
    contacts.on_gone("d", has_left=True)
    contacts.on_present("b")
    assert [contacts.absent() for _ in range(4)] == ["a", "c", "a", "c"]
    contacts.on_gone("b", has_left=True)
    assert "b" in {contacts.absent() for _ in range(3)}
