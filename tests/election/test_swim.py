"""Membership as a node sees it: one core whose network, disk and clock are the test. What it believes: test_swim_beliefs.py."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.election.solo import ME, P, Solo
from zjp.election.core import MS, SECOND, Health, Kind, Leave, Met, Stall
from zjp.wire import peers
from zjp.wire.peers import Ack, Alive, Dead, Nack, PingPeer, PingReq, Suspect

pytestmark = pytest.mark.covers("cluster:gossip")


def ping(seq: int = 7, *, target: str = ME, incarnation: int = 1) -> PingPeer:
    return PingPeer(seq, target, incarnation, 0, "", [])


# ── probes ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_probes_of_a_member_are_at_most_2n_minus_1_periods_apart() -> None:
    luck = iter([0.99, 0.0, 0.5, 0.3, 0.8, 0.1] * 1000)
    others = [f"n{index}" for index in range(7)]
    node = Solo(*others, uniform=lambda: next(luck))
    node.sent.clear()
    node.run(100 * P, *others)
    order = [send.to for send in node.pings()]
    assert len(order) >= 100
    for name in others:
        places = [place for place, to in enumerate(order) if to == name]
        assert max(after - before for before, after in pairwise(places)) <= 2 * len(others) - 1


def test_rounds_have_different_orders() -> None:
    luck = iter([0.99, 0.0, 0.5, 0.3, 0.8, 0.1, 0.7] * 1000)
    others = [f"n{index}" for index in range(5)]
    node = Solo(*others, uniform=lambda: next(luck))
    node.sent.clear()
    node.run(50 * P, *others)
    order = [send.to for send in node.pings()]
    assert len({tuple(order[start : start + 5]) for start in range(0, 50, 5)}) > 1


def test_without_a_direct_answer_three_others_are_asked_and_it_is_pinged_again() -> None:
    node = Solo("a", "b", "c", "d", "e")
    node.sent.clear()
    node.wake()
    (first,) = node.pings()
    node.run(2 * P // 5 - 1)
    assert node.messages(PingReq) == []
    node.run(1)
    asked = [send.to for send in node.sent if isinstance(send.message, PingReq)]
    assert len(set(asked)) == 3
    assert first.to not in asked
    assert {request.target for request in node.messages(PingReq)} == {first.to}
    assert [send.to for send in node.pings()] == [first.to, first.to]


def test_an_answered_probe_asks_nobody() -> None:
    node = Solo("a", "b")
    node.run(20 * P, "a", "b")
    assert node.messages(PingReq) == []
    assert node.health("a") is node.health("b") is Health.ALIVE


def test_a_helper_passes_the_answer_on_under_the_number_of_the_asker() -> None:
    node = Solo("a")
    node.hear("a", PingReq(70, "x", 1, []))
    (relayed,) = node.pings("x")
    node.answer(relayed)
    (ack,) = node.messages(Ack, "a")
    assert (ack.seq, ack.target) == (70, "x")


def test_a_helper_says_at_80_percent_of_the_rest_that_there_is_no_answer() -> None:
    node = Solo("a")
    node.run(0)
    node.hear("a", PingReq(70, "x", 1, []))
    rest = P - 2 * P // 5
    node.run(rest * 8 // 10 - 1)
    assert node.messages(Nack) == []
    node.run(1)
    (nack,) = node.messages(Nack, "a")
    assert (nack.seq, nack.target) == (70, "x")


def test_a_helper_says_nothing_more_when_it_had_an_answer() -> None:
    node = Solo("a")
    node.hear("a", PingReq(70, "x", 1, []))
    node.answer(node.pings("x")[0])
    node.run(P, "a")
    assert node.messages(Nack) == []


def test_the_answer_through_a_helper_saves_a_member() -> None:
    node = Solo("a", "b")
    node.wake()
    (probe,) = node.pings()
    helper = "b" if probe.to == "a" else "a"
    node.run(2 * P // 5)
    (request,) = node.messages(PingReq, helper)
    node.hear(helper, Ack(request.seq, probe.to, 1, 0, "", []))
    node.run(P, helper)
    assert node.health(probe.to) is Health.ALIVE


def test_a_ping_for_somebody_else_is_not_answered() -> None:
    node = Solo("a")
    node.hear("a", ping(target="x"))
    assert node.messages(Ack) == []


def test_a_member_that_answers_nobody_is_suspected_at_the_end_of_its_period() -> None:
    node = Solo("a")
    node.wake()
    node.run(P - 1)
    assert node.health("a") is Health.ALIVE
    node.run(1)
    assert node.health("a") is Health.SUSPECT


def test_an_answer_under_another_members_name_counts_for_nothing() -> None:
    node = Solo("a", "b")
    node.wake()
    (probe,) = node.pings()
    other = "b" if probe.to == "a" else "a"
    assert isinstance(probe.message, PingPeer)
    node.hear(other, Ack(probe.message.seq, probe.to, 1, 0, "", []))
    node.run(P, other)
    assert node.health(probe.to) is Health.SUSPECT


def test_a_lost_connection_is_a_hint_to_probe_that_member_next() -> None:
    others = [f"n{index}" for index in range(20)]
    node = Solo(*others)
    node.run(P, *others)
    node.sent.clear()
    node.step(Met("n17", 0, is_up=False))
    assert node.health("n17") is Health.ALIVE
    node.run(P, *others)
    assert node.pings()[0].to == "n17"


# ── local health ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_helpers_that_do_not_even_say_nack_make_the_next_period_longer() -> None:
    node = Solo("a", "b", "c", "d")
    node.wake()
    node.run(P - 1)
    node.sent.clear()
    node.run(4 * P, "a", "b", "c", "d")
    assert len(node.pings()) == 1
    node.run(1, "a", "b", "c", "d")
    assert len(node.pings()) == 2


def test_helpers_that_say_nack_leave_this_node_its_confidence() -> None:
    node = Solo("a", "b", "c", "d")
    node.wake()
    (probe,) = node.pings()
    node.run(2 * P // 5)
    for send in [send for send in node.sent if isinstance(send.message, PingReq)]:
        assert isinstance(send.message, PingReq)
        node.hear(send.to, Nack(send.message.seq, probe.to, 1, []))
    node.sent.clear()
    node.run(P - 2 * P // 5)
    assert node.health(probe.to) is Health.SUSPECT
    node.run(P)
    assert len({send.to for send in node.pings()} - {probe.to}) >= 1


def test_good_probes_make_the_period_short_again() -> None:
    node = Solo("a", "b", "c", "d")
    node.wake()
    node.run(P)
    node.run(60 * P, "a", "b", "c", "d")
    node.sent.clear()
    node.run(10 * P, "a", "b", "c", "d")
    assert len(node.pings()) == 10


# ── suspicion and refutation ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_suspect_that_does_not_answer_is_dead_after_the_least_time_in_a_small_cluster() -> None:
    node = Solo("a")
    node.suspects("a")
    node.run(4 * P - 1)
    assert node.health("a") is Health.SUSPECT
    node.run(1)
    assert node.health("a") is Health.DEAD
    assert [kind for kind in node.kinds() if kind.name.startswith("MEMBER")][-2:] == [
        Kind.MEMBER_SUSPECT,
        Kind.MEMBER_DEAD,
    ]


def test_without_confirmation_a_suspicion_lasts_six_times_as_long_with_two_the_least() -> None:
    alone, confirmed = Solo("a", "b", "c", "d", "e"), Solo("a", "b", "c", "d", "e")
    for node in (alone, confirmed):
        node.rumour(Suspect("e", 1, "b"))
    confirmed.rumour(Suspect("e", 1, "c"))
    confirmed.rumour(Suspect("e", 1, "d"))
    for node in (alone, confirmed):
        node.run(4 * P, "a", "b", "c", "d")
    assert alone.health("e") is Health.SUSPECT
    assert confirmed.health("e") is Health.DEAD


def test_the_same_accuser_confirms_only_once() -> None:
    node = Solo("a", "b", "c", "d", "e")
    for _ in range(5):
        node.rumour(Suspect("e", 1, "b"))
    node.run(4 * P, "a", "b", "c", "d")
    assert node.health("e") is Health.SUSPECT


def test_each_message_to_a_suspect_starts_with_the_suspicion() -> None:
    node = Solo("a", "b")
    node.rumour(Suspect("b", 1, "a"))
    node.sent.clear()
    for _ in range(50):
        node.hear("b", ping())
    assert [ack.rumours[0] for ack in node.messages(Ack, "b")] == [Suspect("b", 1, "a")] * 50


def test_an_accused_refutes_with_a_higher_incarnation_and_tells_it_at_once() -> None:
    node = Solo("a", "b")
    before = node.incarnation
    node.hear("a", PingPeer(7, ME, 1, 0, "", [Suspect(ME, before, "b")]))
    ack = node.messages(Ack, "a")[-1]
    assert ack.incarnation == before + 1
    assert Alive(ME, before + 1, 0) in ack.rumours
    assert node.health(ME) is Health.ALIVE


@pytest.mark.parametrize("kind", [Suspect, Dead])
def test_an_accusation_of_a_former_incarnation_needs_no_answer(kind: type[Suspect] | type[Dead]) -> None:
    node = Solo("a", "b")
    node.rumour(Dead(ME, node.incarnation, "b"))
    after = node.incarnation
    node.rumour(kind(ME, after - 1, "b"))
    assert node.incarnation == after


def test_having_to_refute_makes_this_node_doubt_itself() -> None:
    node = Solo("a", "b")
    node.wake()
    node.answer(node.pings()[0])
    node.rumour(Suspect(ME, node.incarnation, "b"))
    node.sent.clear()
    node.run(3 * P - 1, "a", "b")
    assert len(node.pings()) == 1


def test_an_alive_with_a_higher_incarnation_refutes() -> None:
    node = Solo("a", "b")
    node.rumour(Suspect("b", 1, "a"))
    node.rumour(Alive("b", 2, 0))
    assert node.health("b") is Health.ALIVE
    assert node.kinds()[-1] is Kind.MEMBER_REFUTED


def test_any_message_carries_its_senders_incarnation_and_a_higher_one_refutes() -> None:
    """Rule a."""
    node = Solo("a", "b")
    node.rumour(Suspect("b", 1, "a"))
    node.hear("b", ping(incarnation=1))
    assert node.health("b") is Health.SUSPECT
    node.hear("b", ping(incarnation=2))
    assert node.health("b") is Health.ALIVE


def test_the_answer_to_a_ping_sent_after_the_suspicion_began_acquits() -> None:
    """Rule b."""
    node = Solo("a", "b")
    node.rumour(Suspect("b", 1, "a"))
    node.sent.clear()
    while not node.pings("b"):
        node.wake()
    node.answer(node.pings("b")[0])
    assert node.health("b") is Health.ALIVE


def test_the_answer_to_a_ping_sent_before_does_not() -> None:
    node = Solo("a", "b")
    node.sent.clear()
    while not node.pings("b"):
        node.wake()
    node.rumour(Suspect("b", 1, "a"))
    node.answer(node.pings("b")[0])
    assert node.health("b") is Health.SUSPECT


def test_an_answer_that_comes_again_acquits_nobody() -> None:
    node = Solo("a", "b")
    node.rumour(Suspect("b", 1, "a"))
    node.sent.clear()
    while not node.pings("b"):
        node.wake()
    node.answer(node.pings("b")[0])
    node.rumour(Suspect("b", 1, "c"))
    node.know("c")
    node.rumour(Suspect("b", 1, "c"))
    node.answer(node.pings("b")[0])
    assert node.health("b") is Health.SUSPECT


def test_an_acquittal_is_only_local_and_the_own_suspicion_that_comes_back_is_dropped() -> None:
    node = Solo("a", "b")
    node.suspects("b")
    node.sent.clear()
    while not node.pings("b"):
        node.wake()
    node.answer(node.pings("b")[0])
    node.rumour(Suspect("b", 1, ME))
    assert node.health("b") is Health.ALIVE
    assert not any(isinstance(rumour, Alive) and rumour.node == "b" for rumour in _told(node))


@pytest.mark.parametrize("by", ["b", "stranger", "-"])
def test_a_suspicion_by_the_suspect_or_a_stranger_is_dropped(by: str) -> None:
    node = Solo("a", "b")
    node.rumour(Suspect("b", 1, by))
    assert node.health("b") is Health.ALIVE


def test_a_death_told_by_a_stranger_is_dropped() -> None:
    node = Solo("a", "b")
    node.rumour(Dead("b", 1, "stranger"))
    assert node.health("b") is Health.ALIVE


def test_a_claim_about_a_stranger_makes_it_no_member() -> None:
    node = Solo("a")
    node.rumour(Suspect("x", 1, "a"), Dead("x", 1, "a"))
    assert node.health("x") is None


# ── leaving, stalls, rest ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_that_leaves_says_so_and_answers_no_more() -> None:
    node = Solo("a", "b")
    node.sent.clear()
    node.step(Leave())
    assert {send.to for send in node.sent} == {"a", "b"}
    assert all(Dead(ME, 1, ME) in message.rumours for message in node.messages(peers.Gossip))
    node.run(10 * P)
    node.sent.clear()
    node.hear("a", ping())
    node.rumour(Suspect(ME, 1, "a"))
    assert node.sent == []
    assert node.wake_at is None
    assert node.health(ME) is Health.LEFT


def test_who_says_that_it_is_dead_has_left() -> None:
    node = Solo("a", "b")
    node.rumour(Dead("b", 1, "b"))
    assert node.health("b") is Health.LEFT
    assert node.kinds()[-1] is Kind.MEMBER_LEFT


def test_what_was_not_heard_while_this_process_stood_still_counts_against_nobody() -> None:
    node = Solo("a")
    node.suspects("a")
    node.now += 60 * SECOND
    node.step(Stall(60 * SECOND))
    node.run(3 * P + 400 * MS)
    assert node.health("a") is Health.SUSPECT
    node.run(P)
    assert node.health("a") is Health.DEAD


def _told(node: Solo) -> list[peers.Rumour]:
    return [rumour for send in node.sent for rumour in getattr(send.message, "rumours", [])]
