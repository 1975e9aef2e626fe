"""Who is there, as a Raft node sees it: a leader by its followers' answers, the others by their leader and the mesh."""

from __future__ import annotations

import pytest

from tests.election.raft_solo import INTERVAL, Solo, T, beat, of, ok
from zjp.election.core import EPOCH_MAX, Kind, Met, Stall
from zjp.election.raft_roster import DEAD_AFTER, FORGET_AFTER
from zjp.wire.peers import Append, PreVote

pytestmark = pytest.mark.covers("cluster:raft")


def health(node: Solo, peer: str) -> str:
    return node.core.view().members[peer].health.value


def leads_while_only_b_answers(node: Solo, lapse: int) -> Solo:
    end = node.now + lapse
    while node.now < end:
        (append,) = (send.message for send in of(Append, node.wakes()) if send.to == "b")
        assert isinstance(append, Append)
        node.hears("b", ok(1, 1, append.round))
    return node


def told(node: Solo, peer: str) -> list[Kind]:
    return [happened.kind for happened in node.happened if happened.node == peer]


def test_a_node_sees_itself_alive() -> None:
    assert health(Solo(), "a") == "alive"


def test_voters_that_were_never_heard_are_suspect_and_not_dead() -> None:
    node = Solo()
    node.wakes(later=100 * T)
    assert health(node, "b") == "suspect"
    assert told(node, "b") == []


def test_a_leader_suspects_who_does_not_answer_and_then_holds_it_dead() -> None:
    node = Solo().leads()
    node.hears("c", ok(1, 1))
    leads_while_only_b_answers(node, INTERVAL)
    assert health(node, "c") == "alive"
    leads_while_only_b_answers(node, T)
    assert health(node, "c") == "suspect"
    leads_while_only_b_answers(node, DEAD_AFTER * T)
    assert (health(node, "b"), health(node, "c")) == ("alive", "dead")
    assert told(node, "c") == [Kind.MEMBER_JOINED, Kind.MEMBER_SUSPECT, Kind.MEMBER_DEAD]
    node.hears("c", ok(1, 1, 2))
    node.wakes()
    assert health(node, "c") == "alive"


def test_a_new_leader_holds_nobody_dead_for_what_it_could_not_hear_before() -> None:
    node = Solo()
    node.now += 50 * T
    node.leads()
    leads_while_only_b_answers(node, (DEAD_AFTER - 1) * T)
    assert health(node, "c") == "suspect"


def test_a_stall_is_nobodys_silence() -> None:
    node = leads_while_only_b_answers(Solo().leads(), T)
    node.now += 50 * T
    node.does(Stall(50 * T))
    node.wakes(later=0)
    assert health(node, "b") == "alive"


def test_a_follower_takes_the_meshs_word_and_never_holds_anybody_dead() -> None:
    node = Solo().follows("b")
    node.does(Met("c", 7, True))
    assert node.core.view().members["c"].priority == 7
    assert health(node, "c") == "alive"
    node.does(Met("c", 7, False))
    assert health(node, "c") == "suspect"


def test_a_non_voter_that_is_gone_is_struck_off_and_a_voter_is_not() -> None:
    node = Solo()
    for peer in ("x", "b"):
        node.does(Met(peer, 0, True))
        node.does(Met(peer, 0, False))
    node.now += FORGET_AFTER * T
    node.does(Met("c", 0, True))
    assert list(node.core.view().members) == ["a", "b", "c"]


def test_a_leader_stops_sending_to_a_non_voter_that_is_gone() -> None:
    node = Solo().leads()
    node.does(Met("x", 0, True))
    node.does(Met("x", 0, False))
    node.does(Met("b", 0, False))
    assert [send.to for send in of(Append, node.wakes())] == ["b", "c"]


def test_late_copies_of_a_dead_leaders_words_are_no_sign_of_life() -> None:
    node = Solo()
    node.hears("b", beat(1, number=5))
    node.now += T - 1
    node.hears("b", beat(1, number=5))
    node.hears("b", beat(1, number=3))
    assert of(PreVote, node.wakes(later=1))
    assert node.hears("b", beat(1, number=4)) == [ok(1, 0, 4)]
    assert node.role == "candidate"
    node.hears("b", beat(1, number=6))
    assert (node.role, node.core.view().leader) == ("follower", "b")


def test_rounds_begin_anew_with_each_term() -> None:
    node = Solo()
    node.hears("b", beat(1, number=500))
    node.hears("c", beat(2, number=1))
    assert node.core.view().leader == "c"


def test_an_epoch_of_the_store_that_no_term_can_hold_is_not_taken() -> None:
    node = Solo().leads()
    node.is_refused(EPOCH_MAX + 1)
    assert (node.role, node.term) == ("candidate", 1)
