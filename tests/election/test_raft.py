"""A test for each sentence of Raft that speaks of elections and of the log: Raft 5.1-5.4, the dissertation's 3.10, 4.2.3, 6.2, 9.6."""

from __future__ import annotations

import pytest

from tests.election.raft_solo import INTERVAL, Solo, T, asks, beat, of, ok, pre_asks, terms
from zjp.election.core import Deed, Kind, Leave, Met, Recv, Transfer
from zjp.wire.peers import (
    Append,
    AppendReply,
    PreVote,
    PreVoteReply,
    TermVote,
    TimeoutNow,
    Vote,
    VoteReply,
)

pytestmark = pytest.mark.covers("cluster:raft")


# ── 5.1 terms ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_that_sees_a_larger_term_takes_it() -> None:
    node = Solo(term=3)
    node.hears("b", beat(7))
    assert node.term == 7
    assert TermVote(7, "") in node.disk


def test_a_candidate_that_sees_a_larger_term_becomes_a_follower() -> None:
    node = Solo(term=3).campaigns()
    node.hears("b", VoteReply(9, False))
    assert (node.role, node.term) == ("follower", 9)


def test_a_leader_that_sees_a_larger_term_becomes_a_follower() -> None:
    node = Solo(term=3).leads()
    node.hears("b", AppendReply(9, 1, False, 0))
    assert (node.role, node.term) == ("follower", 9)
    assert node.why(Kind.LEADER_LOST) == ["higher_term"]


def test_a_server_rejects_a_request_with_a_stale_term() -> None:
    node = Solo(term=5)
    assert node.hears("b", asks(4, 9, 4)) == [VoteReply(5, False)]
    assert node.hears("b", beat(4)) == [AppendReply(5, 1, False, 0)]
    assert node.core.view().leader == ""


# ── 5.2 elections ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_servers_start_as_followers() -> None:
    assert Solo(term=4).role == "follower"


def test_a_follower_stays_one_while_it_hears_a_leader() -> None:
    node = Solo().follows()
    for number in range(2, 30):
        node.now += INTERVAL
        node.hears("b", beat(1, number=number))
        assert not of(PreVote, node.wakes(later=0))
    assert node.role == "follower"


def test_a_follower_that_hears_nothing_for_a_timeout_begins_an_election() -> None:
    node = Solo().follows()
    assert not node.wakes(later=T - 1)
    assert {send.to for send in of(PreVote, node.wakes(later=1))} == {"b", "c"}
    assert node.why(Kind.LEADER_LOST) == ["silent"]


@pytest.mark.parametrize(("is_transfer", "why"), [(False, "higher_term"), (True, "transfer")])
def test_a_follower_that_hears_another_stand_for_election_tells_why_it_lost_its_leader(is_transfer: bool, why: str) -> None:
    node = Solo(term=1).follows("b", 2)
    node.now += T
    node.hears("c", Vote(3, 9, 9, is_transfer))
    assert (node.core.view().leader, node.why(Kind.LEADER_LOST)) == ("", [why])


@pytest.mark.parametrize("luck", [0.0, 0.5, 0.999])
def test_timeouts_are_drawn_between_one_and_two(luck: float) -> None:
    node = Solo(luck=luck)
    assert node.wake is not None
    assert T <= node.wake - node.now < 2 * T


def test_a_candidate_raises_its_term_votes_for_itself_and_asks_all_others() -> None:
    node = Solo(term=2).campaigns()
    assert node.term == 3
    assert TermVote(3, "a") in node.disk
    assert [(send.to, send.message) for send in of(Vote, node.said)] == [("b", Vote(3, 0, 0)), ("c", Vote(3, 0, 0))]


def test_a_candidate_with_the_votes_of_a_majority_leads() -> None:
    node = Solo(voters="abcde").campaigns()
    node.hears("b", VoteReply(1, True))
    assert node.role == "candidate"
    node.hears("c", VoteReply(1, True))
    assert node.role == "leader"


def test_a_server_votes_for_one_candidate_a_term_first_come_first_served() -> None:
    node = Solo(term=1)
    assert node.hears("b", asks(2)) == [VoteReply(2, True)]
    assert node.hears("c", asks(2)) == [VoteReply(2, False)]


def test_a_repeated_question_of_the_same_candidate_is_granted_again() -> None:
    node = Solo(term=1)
    node.hears("b", asks(2))
    before = len(node.disk)
    assert node.hears("b", asks(2)) == [VoteReply(2, True)]
    assert len(node.disk) == before


def test_a_new_leader_sends_heartbeats_to_all_at_once() -> None:
    node = Solo().leads()
    assert [send.to for send in of(Append, node.said)] == ["b", "c"]


def test_a_leader_sends_heartbeats_each_interval() -> None:
    node = Solo().leads()
    begun = node.now
    assert [send.to for send in of(Append, node.wakes())] == ["b", "c"]
    assert node.now == begun + INTERVAL


def test_a_candidate_that_hears_the_terms_leader_follows_it() -> None:
    node = Solo().campaigns()
    node.hears("b", beat(1))
    assert (node.role, node.core.view().leader) == ("follower", "b")


def test_a_candidate_that_hears_a_stale_leader_stays_one() -> None:
    node = Solo(term=4).campaigns()
    node.hears("b", beat(4))
    assert node.role == "candidate"


def test_a_split_vote_ends_by_timeout_and_is_tried_again_after_a_random_time() -> None:
    node = Solo().campaigns()
    node.hears("b", VoteReply(1, False))
    node.hears("c", VoteReply(1, False))
    assert of(PreVote, node.wakes())[0].message == PreVote(2, 0, 0)
    assert node.why(Kind.ELECTION_FAILED) == ["split"]


def test_a_granted_vote_puts_the_own_candidacy_off() -> None:
    node = Solo()
    node.now += T - 1
    node.hears("b", asks(1))
    assert node.wake == node.now + T


# ── 5.3 the log ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_leader_appends_an_entry_of_its_term() -> None:
    assert Solo(term=2, entries=terms(1, 2)).leads().terms == [1, 2, 3]


def test_an_append_carries_index_and_term_of_the_entry_before() -> None:
    node = Solo(term=2, entries=terms(1, 2)).leads()
    assert of(Append, node.said)[0].message == beat(3, 2, 2, entries=terms(1, 2, 3)[2:])


def test_a_follower_refuses_entries_that_do_not_follow_its_own() -> None:
    node = Solo(term=2, entries=terms(1))
    (reply,) = node.hears("b", beat(2, 2, 2, entries=terms(1, 2, 2)[2:]))
    assert reply == AppendReply(2, 1, False, 0, 1, 1)
    assert node.terms == [1]


def test_a_follower_with_another_term_at_the_place_refuses_too() -> None:
    node = Solo(term=2, entries=terms(1, 1))
    (reply,) = node.hears("b", beat(2, 2, 2, entries=terms(1, 2, 2)[2:]))
    assert isinstance(reply, AppendReply)
    assert not reply.is_ok


def test_a_conflicting_entry_and_all_that_follow_it_are_replaced() -> None:
    node = Solo(term=3, entries=terms(1, 2, 2, 2))
    assert node.hears("b", beat(3, 1, 1, entries=terms(1, 3)[1:])) == [ok(3, 2)]
    assert node.terms == [1, 3]
    assert node.dies().terms == [1, 3]


def test_a_leader_goes_back_to_where_the_logs_agree() -> None:
    node = Solo(term=5, entries=terms(1, 1, 4, 5)).leads()
    (answer,) = node.hears("b", AppendReply(6, 1, False, 0, 4, 2))
    assert answer == beat(6, 2, 1, entries=terms(1, 1, 4, 5, 6)[2:])


def test_a_leader_never_overwrites_its_own_entries() -> None:
    node = Solo(term=2, entries=terms(1, 2)).leads()
    node.hears("b", beat(3, 0, 0, entries=terms(3)))
    assert node.terms == [1, 2, 3]


def test_an_entry_is_committed_once_a_majority_has_it() -> None:
    node = Solo(voters="abcde").leads()
    node.hears("b", ok(1, 1))
    assert node.core.log.commit == 0
    node.hears("c", ok(1, 1))
    assert node.core.log.commit == 1


def test_followers_learn_what_is_committed_from_the_next_append() -> None:
    node = Solo()
    node.hears("b", beat(1, 0, 0, entries=terms(1)))
    assert node.core.log.commit == 0
    node.hears("b", beat(1, 1, 1, commit=1, number=2))
    assert node.core.log.commit == 1


def test_a_follower_commits_no_further_than_what_it_knows_to_match() -> None:
    node = Solo(term=1, entries=terms(1, 1, 1))
    node.hears("b", beat(1, 1, 1, commit=3))
    assert node.core.log.commit == 1


# ── 5.4 safety ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("last_index", "last_term", "is_granted"),
    [(2, 2, True), (3, 2, True), (1, 3, True), (1, 2, False), (9, 1, False), (0, 0, False)],
)
def test_a_vote_goes_only_to_a_log_that_is_at_least_as_up_to_date(
    last_index: int, last_term: int, is_granted: bool
) -> None:
    """The later last term wins; with the same one, the longer log."""
    node = Solo(term=3, entries=terms(1, 2))
    assert node.hears("b", asks(4, last_index, last_term)) == [VoteReply(4, is_granted)]


def test_an_entry_of_an_earlier_term_is_not_committed_by_counting() -> None:
    """Figure 8: only with an entry of the leader's own term above it."""
    node = Solo(voters="abcde", term=2, entries=terms(1, 2)).leads()
    node.hears("b", ok(3, 2))
    node.hears("c", ok(3, 2))
    assert node.core.log.commit == 0
    node.hears("b", ok(3, 3))
    node.hears("c", ok(3, 3))
    assert node.core.log.commit == 3


# ── 3.10 handing over ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_leader_asks_its_heir_to_campaign_at_once() -> None:
    node = Solo().leads()
    node.hears("b", ok(1, 1))
    assert [(send.to, send.message) for send in node.does(Transfer("b"))] == [("b", TimeoutNow(1))]


def test_a_heir_that_lacks_entries_gets_them_first() -> None:
    node = Solo().leads()
    assert not of(TimeoutNow, node.does(Transfer("b")))
    assert node.hears("b", ok(1, 1)) == [TimeoutNow(1)]


def test_the_heir_campaigns_without_a_pre_vote_and_says_why() -> None:
    node = Solo().follows()
    sends = node.does(Recv("b", TimeoutNow(1)))
    assert [send.message for send in sends] == [Vote(2, 0, 0, True), Vote(2, 0, 0, True)]


def test_only_the_leader_may_name_its_heir() -> None:
    node = Solo().follows("b")
    assert not node.hears("c", TimeoutNow(1))
    assert node.role == "follower"


def test_those_who_hear_the_leader_vote_for_its_heir() -> None:
    node = Solo().follows("b")
    assert node.hears("c", asks(2, is_transfer=True)) == [VoteReply(2, True)]


def test_a_hand_over_that_does_not_succeed_within_a_timeout_is_given_up() -> None:
    node = Solo().leads()
    node.hears("b", ok(1, 1))
    node.does(Transfer("b"))
    for number in range(2, 8):
        sends = node.wakes(later=INTERVAL)
        node.hears("c", ok(1, 1, number))
    assert not of(TimeoutNow, sends)
    assert (node.role, node.core.view().is_in_office) == ("leader", False)


def test_without_a_name_the_most_caught_up_inherits() -> None:
    node = Solo().leads()
    node.hears("c", ok(1, 1))
    assert [send.to for send in of(TimeoutNow, node.does(Transfer()))] == ["c"]


def test_who_leaves_hands_over_and_then_resigns() -> None:
    node = Solo().leads()
    node.hears("b", ok(1, 1))
    assert [send.to for send in of(TimeoutNow, node.does(Leave()))] == ["b"]
    assert node.hears("b", asks(2, 1, 1, is_transfer=True)) == [VoteReply(2, True)]
    assert node.asked[-1].deed is Deed.RESIGN
    assert node.why(Kind.LEADER_LOST) == ["transfer"]


def test_who_leaves_without_an_heir_resigns_after_a_timeout_and_campaigns_no_more() -> None:
    node = Solo().leads()
    node.does(Leave())
    for number in range(1, 6):
        node.hears("c", AppendReply(1, number, False, 0))
        node.wakes(later=INTERVAL)
    assert node.asked[-1].deed is Deed.RESIGN
    assert node.why(Kind.LEADER_LOST) == ["left"]
    assert not node.wakes(later=3 * T)
    assert node.role == "follower"


def test_a_candidate_that_leaves_stands_no_more() -> None:
    node = Solo().campaigns()
    node.does(Leave())
    node.hears("b", VoteReply(1, True))
    assert node.role == "follower"


# ── 4.2.3 and 6.2: disturbing servers, leaders without a majority ────────────────────────────────────────────────────────────────────


def test_who_heard_a_leader_within_the_timeout_refuses_and_keeps_its_term() -> None:
    node = Solo().follows("b")
    node.now += T - 1
    assert node.hears("c", asks(9)) == [VoteReply(1, False)]
    assert node.hears("c", pre_asks(9)) == [PreVoteReply(1, 9, False)]
    assert node.term == 1


def test_who_heard_none_for_a_timeout_grants() -> None:
    node = Solo(luck=0.9).follows("b")
    node.now += T
    assert node.hears("c", pre_asks(2)) == [PreVoteReply(1, 2, True)]
    assert node.hears("c", asks(2)) == [VoteReply(2, True)]


def test_a_leader_does_not_let_itself_be_disturbed() -> None:
    node = Solo().leads()
    assert node.hears("b", asks(9, 9, 8)) == [VoteReply(1, False)]
    assert node.role == "leader"


def test_a_leader_that_no_majority_answers_for_a_timeout_steps_down() -> None:
    node = Solo().leads()
    begun = node.now
    while node.role == "leader":
        node.wakes()
    assert node.now - begun <= T
    assert node.why(Kind.LEADER_LOST) == ["quorum"]


def test_a_leader_that_a_majority_answers_stays() -> None:
    node = Solo().leads()
    for number in range(1, 30):
        node.hears("b", ok(1, 1, number))
        node.wakes(later=INTERVAL)
    assert node.role == "leader"


# ── 9.6 pre-vote ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pre_vote_changes_nothing_at_either_side() -> None:
    asking, asked = Solo(term=4).pre_campaigns(), Solo(term=4)
    before = list(asked.disk)
    assert asked.hears("b", pre_asks(5)) == [PreVoteReply(4, 5, True)]
    assert (asking.term, asked.term) == (4, 4)
    assert asked.disk == before
    assert len(asking.disk) == len(before)


def test_a_pre_vote_may_be_given_to_many() -> None:
    node = Solo(term=4)
    assert node.hears("b", pre_asks(5)) == [PreVoteReply(4, 5, True)]
    assert node.hears("c", pre_asks(5)) == [PreVoteReply(4, 5, True)]


def test_who_gets_no_majority_of_pre_votes_never_raises_its_term() -> None:
    node = Solo(voters="abcde", term=4)
    for _ in range(20):
        node.pre_campaigns()
        node.hears("b", PreVoteReply(4, 5, True))
    assert node.term == 4


def test_a_majority_of_pre_votes_begins_the_election() -> None:
    node = Solo(voters="abcde").pre_campaigns()
    node.hears("b", PreVoteReply(0, 1, True))
    node.hears("c", PreVoteReply(0, 1, True))
    assert (node.role, node.term) == ("candidate", 1)


# ── this cluster ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_single_voter_leads_at_once() -> None:
    node = Solo(voters="a", records=())
    assert (node.role, node.term, node.core.log.commit) == ("leader", 1, 1)
    for _ in range(20):
        node.wakes()
    assert node.role == "leader"


def test_of_two_voters_both_are_needed() -> None:
    node = Solo(voters="ab").pre_campaigns()
    assert node.role == "candidate"
    assert node.term == 0
    node.hears("b", PreVoteReply(0, 1, True))
    assert node.role == "candidate"
    node.hears("b", VoteReply(1, True))
    assert node.role == "leader"


def test_who_is_no_voter_follows_and_never_votes_or_campaigns() -> None:
    node = Solo(voters="bcd", records=())
    assert node.role == "learner"
    assert not node.hears("b", asks(1))
    assert not node.hears("b", pre_asks(1))
    assert node.hears("b", beat(1, entries=terms(1))) == [ok(1, 1)]
    assert node.core.view().leader == "b"
    assert not node.wakes(later=9 * T)
    assert node.core.view().leader == ""


def test_a_leader_sends_to_those_it_met_that_are_no_voters_and_does_not_count_them() -> None:
    node = Solo().leads()
    node.does(Met("x", 0, True))
    assert [send.to for send in of(Append, node.wakes())] == ["b", "c", "x"]
    node.hears("x", ok(1, 1, 2))
    assert node.core.log.commit == 0
    while node.role == "leader":
        node.hears("x", ok(1, 1, 99))
        node.wakes()


def test_an_elected_leader_asks_for_the_office_with_its_term() -> None:
    node = Solo(term=6).leads()
    assert [(op.deed, op.epoch, op.owner, op.is_elected) for op in node.asked] == [(Deed.INSTALL, 7, "a:1", True)]


def test_a_leader_whose_epoch_the_store_refuses_adopts_the_higher_one_and_campaigns_above_it() -> None:
    node = Solo().leads()
    sends = node.is_refused(41)
    assert (node.role, node.term) == ("candidate", 41)
    assert {send.to for send in of(PreVote, sends)} == {"b", "c"}
    assert sends[0].message == PreVote(42, 1, 1)
    assert TermVote(41, "") in node.disk


def test_a_leader_that_meets_its_own_epoch_with_another_owner_campaigns_above_it() -> None:
    node = Solo().leads()
    assert node.is_refused(1)[0].message == PreVote(2, 1, 1)
    assert node.why(Kind.LEADER_LOST) == ["fence"]


def test_followers_grant_their_own_leader_the_pre_vote_for_another_term() -> None:
    node = Solo().follows("b")
    assert node.hears("b", pre_asks(42)) == [PreVoteReply(1, 42, True)]
    assert node.hears("b", asks(42)) == [VoteReply(42, True)]
