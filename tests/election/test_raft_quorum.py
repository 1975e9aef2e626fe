"""Pre-vote, stickiness, the check of the quorum, handing over and time: what others got wrong where these meet."""

from __future__ import annotations

import pytest

from tests.election.bench import Bench
from tests.election.raft_solo import INTERVAL, Solo, T, asks, beat, of, ok, pre_asks, terms
from zjp.election.core import (
    EPOCH_JUMP_MAX,
    EPOCH_MAX,
    SECOND,
    Stall,
    StoreReply,
    Transfer,
)
from zjp.wire.peers import (
    Append,
    PreVote,
    PreVoteReply,
    TimeoutNow,
    VoteReply,
)

pytestmark = pytest.mark.covers("cluster:raft")


# ── pre-vote, stickiness, check-quorum together ──────────────────────────────────────────────────────────────────────────────────────


def test_a_rejected_pre_candidate_adopts_the_higher_term_and_then_gets_in() -> None:
    behind, ahead = Solo(term=2).pre_campaigns(), Solo(term=5)
    (reply,) = ahead.hears("b", pre_asks(3))
    assert reply == PreVoteReply(5, 3, False)
    behind.hears("b", reply)
    assert behind.term == 5
    assert of(PreVote, behind.wakes())[0].message == PreVote(6, 0, 0)


def test_a_pre_vote_looks_at_the_log() -> None:
    node = Solo(term=2, entries=terms(1, 2))
    assert node.hears("b", pre_asks(3, 1, 1)) == [PreVoteReply(2, 3, False)]
    assert node.hears("b", pre_asks(3, 2, 2)) == [PreVoteReply(2, 3, True)]


def test_a_pre_candidate_forgets_its_leader() -> None:
    """Else two followers of a dead leader would refuse each other for it."""
    node = Solo().follows("b").pre_campaigns()
    assert node.core.view().leader == ""
    assert node.hears("c", pre_asks(2)) == [PreVoteReply(1, 2, True)]


def test_two_pre_candidates_grant_each_other() -> None:
    node = Solo(term=1).pre_campaigns()
    assert node.hears("b", pre_asks(2)) == [PreVoteReply(1, 2, True)]


def test_a_cut_off_follower_comes_back_without_a_stir() -> None:
    bench = settled("abc")
    leader = leader_of(bench)
    away = next(name for name in "abc" if name != leader)
    bench.cuts = {(away, other) for other in "abc"} | {(other, away) for other in "abc"}
    bench.tick(60 * SECOND, is_delivering=True)
    bench.cuts.clear()
    bench.tick(5 * SECOND, is_delivering=True)
    assert (leader_of(bench), bench.store.epoch) == (leader, 1)
    assert [node.core and node.core.view().epoch for node in bench.nodes.values()] == [1, 1, 1]


def test_who_is_cut_off_from_the_leader_alone_does_not_disturb_it() -> None:
    bench = settled("abcde")
    leader = leader_of(bench)
    away = next(name for name in "abcde" if name != leader)
    bench.cuts = {(away, leader), (leader, away)}
    bench.tick(60 * SECOND, is_delivering=True)
    assert (leader_of(bench), bench.store.epoch) == (leader, 1)


def test_five_of_which_only_one_is_connected_to_all_elect_that_one() -> None:
    """The others hear nobody but it; the former leader steps down, for it hears no majority."""
    bench = settled("abcde")
    hub = next(name for name in "abcde" if name != leader_of(bench))
    rim = [name for name in "abcde" if name != hub]
    bench.cuts = {(one, other) for one in rim for other in rim}
    bench.tick(4 * SECOND, is_delivering=True)
    assert leader_of(bench) == hub
    epoch = bench.store.epoch
    bench.tick(60 * SECOND, is_delivering=True)
    assert (leader_of(bench), bench.store.epoch) == (hub, epoch)


def test_an_isolated_leader_steps_down_within_a_timeout_and_an_interval() -> None:
    bench = settled("abc")
    leader = leader_of(bench)
    bench.cuts = {(leader, other) for other in "abc"} | {(other, leader) for other in "abc"}
    bench.tick(T + INTERVAL, is_delivering=True)
    core = bench.nodes[leader].core
    assert core is not None
    assert core.view().role.value != "leader"


def test_a_leader_that_is_heard_but_hears_nobody_steps_down_too() -> None:
    bench = settled("abc")
    leader = leader_of(bench)
    bench.cuts = {(other, leader) for other in "abc"}
    bench.tick(5 * SECOND, is_delivering=True)
    assert leader_of(bench) != leader


def test_a_majority_is_worth_the_time_its_round_was_sent_not_the_time_it_answered() -> None:
    node = Solo().leads()
    begun = node.now
    node.now += T - INTERVAL // 2
    node.hears("b", ok(1, 1, 1))
    assert node.wake is not None
    while node.role == "leader":
        node.wakes()
    assert node.now == begun + T


def test_late_answers_to_old_rounds_renew_nothing() -> None:
    node = Solo().leads()
    begun = node.now
    for _ in range(4):
        node.wakes()
        for src in "bc":
            node.hears(src, ok(1, 1, 1))
    while node.role == "leader":
        node.wakes()
    assert node.now == begun + T


def test_an_answer_to_a_round_that_was_never_sent_is_no_answer() -> None:
    node = Solo().leads()
    begun = node.now
    node.hears("b", ok(1, 1, 1 << 61))
    while node.role == "leader":
        node.wakes()
    assert node.now == begun + T


def test_each_follower_may_be_the_one_that_answers() -> None:
    """A majority of each round counts, not the same followers each time."""
    node = Solo(voters="abcde").leads()
    for number in range(1, 40):
        for src in ("bc", "de")[number % 2]:
            node.hears(src, ok(1, 1, number))
        node.wakes(later=INTERVAL)
    assert node.role == "leader"


def test_terms_of_the_future_are_refused() -> None:
    node = Solo(term=3)
    far = 4 + EPOCH_JUMP_MAX
    for message in (
        asks(far),
        asks(far, is_transfer=True),
        pre_asks(far),
        beat(far),
        VoteReply(far, False),
        PreVoteReply(far, 1, False),
    ):
        node.hears("b", message)
    assert (node.term, node.core.view().leader) == (3, "")
    node.hears("b", beat(far - 1))
    assert node.term == far - 1


def test_the_last_term_of_all_is_not_passed() -> None:
    node = Solo(term=EPOCH_MAX)
    assert not node.wakes()
    assert not node.wakes()
    assert node.term == EPOCH_MAX


def test_term_0_has_neither_votes_nor_leaders() -> None:
    node = Solo()
    assert node.hears("b", asks(0)) == [VoteReply(0, False)]
    node.hears("b", beat(0))
    assert node.core.view().leader == ""


# ── handing over, time, the store ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dead_heir_costs_nothing_but_a_timeout() -> None:
    bench = settled("abc")
    leader = leader_of(bench)
    heir = next(name for name in "abc" if name != leader)
    bench.crash(heir)
    bench.step(leader, Transfer(heir))
    bench.tick(3 * SECOND, is_delivering=True)
    assert (leader_of(bench), bench.store.epoch) == (leader, 1)


def test_a_leader_hands_over_to_no_stranger_and_not_to_itself() -> None:
    node = Solo().leads()
    for to in ("x", "a"):
        assert not node.does(Transfer(to))
    assert not of(TimeoutNow, node.wakes())


def test_a_heir_is_asked_again_when_the_first_word_was_lost() -> None:
    node = Solo().leads()
    node.hears("b", ok(1, 1))
    node.does(Transfer("b"))
    assert [send.to for send in of(TimeoutNow, node.wakes())] == ["b"]


def test_who_campaigns_already_is_not_hurried_twice() -> None:
    node = Solo().follows()
    node.hears("b", TimeoutNow(1))
    node.hears("b", TimeoutNow(1))
    assert node.term == 2


def test_a_stall_of_a_follower_is_not_the_leaders_silence() -> None:
    node = Solo().follows()
    node.now += 10 * T
    node.does(Stall(10 * T))
    assert not node.wakes(later=0)
    assert node.role == "follower"


def test_a_stall_of_the_leader_is_not_the_followers_silence() -> None:
    node = Solo().leads()
    node.now += 10 * T
    node.does(Stall(10 * T))
    assert of(Append, node.wakes(later=0))
    assert node.role == "leader"


def test_a_wake_that_comes_early_changes_nothing() -> None:
    node = Solo()
    wake = node.wake
    assert not node.wakes(later=1)
    assert node.wake == wake


def test_a_store_that_does_not_answer_is_asked_again_and_costs_no_leadership() -> None:
    node = Solo().leads()
    for number in range(1, 20):
        node.does(StoreReply(node.asked[-1], None))
        node.hears("b", ok(1, 1, number))
        node.wakes(later=INTERVAL)
    assert (node.role, node.core.view().is_in_office) == ("leader", False)
    assert len(node.asked) > 10


def test_an_answer_of_the_store_to_a_former_leadership_is_ignored() -> None:
    node = Solo().leads()
    node.hears("b", beat(2))
    assert not node.is_refused(9)
    assert (node.role, node.term) == ("follower", 2)


# ── bench ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def settled(names: str) -> Bench:
    """With a leader in term 1, in office."""
    bench = Bench("raft", dict.fromkeys(names, 0))
    for name in names:
        bench.start(name)
    bench.tick(3 * SECOND, is_delivering=True)
    assert bench.store.epoch == 1
    return bench


def leader_of(bench: Bench) -> str:
    (leader,) = [
        name for name, node in bench.nodes.items() if node.core is not None and node.core.view().role.value == "leader"
    ]
    return leader
