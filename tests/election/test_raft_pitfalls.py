"""What other Raft implementations have got wrong, each as a test. The numbers of terms and entries are the smallest that show it."""

from __future__ import annotations

import pytest

from tests.election.raft_solo import Solo, T, asks, beat, of, ok, pre_asks, terms
from zjp.election.core import (
    EPOCH_MAX,
    Kind,
    Persisted,
    Recv,
)
from zjp.wire.peers import (
    Append,
    AppendReply,
    Entry,
    LogTail,
    PreVoteReply,
    Taught,
    TermVote,
    Vote,
    VoteReply,
)

pytestmark = pytest.mark.covers("cluster:raft")


# ── promises and the disk ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_vote_is_not_told_before_it_is_durable() -> None:
    node = Solo()
    node.is_held = True
    assert not node.hears("b", asks(1))
    assert [send.message for send in node.persists()] == [VoteReply(1, True)]


def test_a_restarted_voter_keeps_to_its_vote() -> None:
    node = Solo()
    node.hears("b", asks(1))
    assert node.dies().hears("c", asks(1)) == [VoteReply(1, False)]


def test_an_entry_is_not_acknowledged_before_it_is_durable() -> None:
    node = Solo()
    node.is_held = True
    assert not node.hears("b", beat(1, entries=terms(1)))
    assert not node.hears("b", beat(1, 1, 1, number=2))
    assert [send.message for send in node.persists()] == [ok(1, 1), ok(1, 1, 2)]


def test_votes_are_asked_for_only_once_the_own_one_is_durable() -> None:
    """They tell how long the log is, and a crash could make it shorter."""
    node = Solo().pre_campaigns()
    node.is_held = True
    assert not node.does(Recv("b", PreVoteReply(0, 1, True)))
    assert {send.to for send in of(Vote, node.persists())} == {"b", "c"}


def test_the_own_vote_counts_only_once_it_is_durable() -> None:
    node = Solo().pre_campaigns()
    node.is_held = True
    node.hears("b", PreVoteReply(0, 1, True))
    node.hears("b", VoteReply(1, True))
    assert node.role == "candidate"
    node.persists()
    assert node.role == "leader"


def test_word_of_an_earlier_batch_does_not_make_the_own_vote_durable() -> None:
    node = Solo()
    node.is_held = True
    node.hears("b", asks(1))
    earlier = node.newest
    node.now += 2 * T
    node.wakes()
    node.hears("b", PreVoteReply(1, 2, True))
    node.hears("b", VoteReply(2, True))
    node.does(Persisted(earlier))
    assert node.role == "candidate"
    node.does(Persisted(node.newest))
    assert node.role == "leader"


def test_a_leaders_own_entry_counts_only_once_it_is_durable() -> None:
    node = Solo().campaigns()
    node.is_held = True
    node.hears("b", VoteReply(1, True))
    node.hears("b", ok(1, 1))
    assert node.core.log.commit == 0
    node.persists()
    assert node.core.log.commit == 1


def test_word_of_an_earlier_batch_does_not_make_the_own_entry_durable() -> None:
    node = Solo().campaigns()
    node.is_held = True
    node.hears("b", VoteReply(1, True))
    node.hears("b", ok(1, 1))
    node.does(Persisted(node.newest - 1))
    assert node.core.log.commit == 0
    node.does(Persisted(node.newest))
    assert node.core.log.commit == 1


def test_a_candidate_with_a_slow_disk_waits_for_it_instead_of_raising_its_term_again() -> None:
    node = Solo().pre_campaigns()
    node.is_held = True
    node.hears("b", PreVoteReply(0, 1, True))
    for _ in range(5):
        assert not node.wakes()
    assert node.term == 1
    node.persists()
    assert node.wake == node.now + T
    node.hears("b", VoteReply(1, True))
    assert node.role == "leader"


def test_the_vote_is_cleared_only_by_a_higher_term() -> None:
    node = Solo()
    node.hears("b", asks(1))
    for message in (beat(1), PreVoteReply(1, 2, False), VoteReply(1, False)):
        node.hears("c", message)
    assert node.hears("c", asks(1)) == [VoteReply(1, False)]
    assert node.dies().core.durable()[1] == TermVote(1, "b")


def test_a_candidate_that_steps_down_in_its_term_has_voted_in_it() -> None:
    node = Solo().campaigns()
    node.hears("b", beat(1))
    node.now += 2 * T
    assert node.hears("c", asks(1, 9, 1)) == [VoteReply(1, False)]


def test_lost_records_are_told_and_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="empty the node's folder"):
        Solo(records=[Taught(0), TermVote(5, ""), LogTail(7, [Entry(8, 5)])])


def test_what_is_committed_is_never_beyond_the_log() -> None:
    """Commit is not on disk: after a crash that lost entries, a leader's word counts as far as the log goes."""
    node = Solo(term=1, entries=terms(1))
    node.hears("b", beat(1, 1, 1, commit=EPOCH_MAX))
    assert node.core.log.commit == 1


def test_records_with_a_log_above_their_term_are_as_new_as_the_log() -> None:
    assert Solo(records=[TermVote(2, "a"), LogTail(0, terms(1, 5))]).term == 5


# ── counting ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_doubled_vote_counts_once() -> None:
    node = Solo(voters="abcde").campaigns()
    for _ in range(3):
        node.hears("b", VoteReply(1, True))
    assert node.role == "candidate"


def test_a_doubled_pre_vote_counts_once() -> None:
    node = Solo(voters="abcde").pre_campaigns()
    for _ in range(3):
        node.hears("b", PreVoteReply(0, 1, True))
    assert node.term == 0


def test_a_strangers_votes_count_for_nothing() -> None:
    node = Solo().pre_campaigns()
    node.hears("x", PreVoteReply(0, 1, True))
    assert node.term == 0
    node.campaigns()
    node.hears("x", VoteReply(1, True))
    assert node.role == "candidate"


def test_a_stranger_is_neither_voted_for_nor_followed_nor_believed() -> None:
    node = Solo(term=1)
    for message in (
        asks(9),
        asks(9, is_transfer=True),
        pre_asks(9),
        beat(9),
        VoteReply(9, False),
        AppendReply(9, 1, False, 0),
    ):
        assert not node.hears("x", message)
    assert (node.term, node.core.view().leader) == (1, "")


def test_a_message_from_oneself_is_no_message() -> None:
    node = Solo(voters="abcde").campaigns()
    node.hears("a", VoteReply(1, True))
    node.hears("b", VoteReply(1, True))
    assert node.role == "candidate"


def test_a_vote_of_an_earlier_election_does_not_count_in_this_one() -> None:
    node = Solo(voters="abcde").campaigns()
    node.pre_campaigns()
    node.hears("b", VoteReply(1, True))
    node.hears("c", VoteReply(1, True))
    assert node.role == "candidate"
    assert node.why(Kind.LEADER_ELECTED) == []


def test_a_pre_vote_is_no_vote() -> None:
    node = Solo().campaigns()
    node.hears("b", PreVoteReply(1, 2, True))
    node.hears("c", PreVoteReply(0, 1, True))
    assert (node.role, node.term) == ("candidate", 1)


def test_a_vote_is_no_pre_vote() -> None:
    node = Solo(term=1).pre_campaigns()
    node.hears("b", VoteReply(1, True))
    assert node.term == 1


def test_a_pre_vote_for_an_earlier_term_does_not_count() -> None:
    node = Solo(term=3).pre_campaigns()
    node.hears("b", PreVoteReply(1, 3, True))
    assert node.term == 3


# ── the log ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_late_copy_of_a_shorter_append_cuts_nothing() -> None:
    node = Solo()
    early = beat(1, 0, 0, entries=terms(1))
    node.hears("b", early)
    node.hears("b", beat(1, 1, 1, entries=terms(1, 1)[1:], number=2))
    assert node.hears("b", early) == [ok(1, 1)]
    assert node.terms == [1, 1]


def test_what_is_committed_is_never_cut() -> None:
    node = Solo(term=1, entries=terms(1, 1))
    node.hears("b", beat(1, 2, 1, commit=2))
    assert not node.hears("b", beat(2, 1, 1, entries=terms(1, 2)[1:]))
    assert node.terms == [1, 1]


@pytest.mark.parametrize(
    "message",
    [
        beat(2, entries=[Entry(2, 1)]),
        beat(2, entries=[Entry(1, 1), Entry(3, 1)]),
        beat(2, entries=[Entry(1, 2), Entry(2, 1)]),
        beat(2, entries=[Entry(1, 3)]),
        beat(2, entries=[Entry(1, 0)]),
        beat(2, 0, 2, entries=[Entry(1, 2)]),
    ],
)
def test_entries_that_no_leader_would_send_are_not_taken(message: Append) -> None:
    node = Solo(term=1)
    node.hears("b", message)
    assert node.terms == []


def test_commit_never_falls() -> None:
    node = Solo(term=1, entries=terms(1, 1))
    node.hears("b", beat(1, 2, 1, commit=2))
    node.hears("b", beat(1, 2, 1, commit=1, number=2))
    assert node.core.log.commit == 2


def test_a_voter_that_lost_its_log_is_sent_everything_again() -> None:
    node = Solo(term=1, entries=terms(1)).leads()
    node.hears("b", ok(2, 2))
    node.wakes()
    assert node.hears("b", AppendReply(2, 2, False, 0)) == [beat(2, 0, 0, entries=terms(1, 2), number=2, commit=2)]


def test_a_late_refusal_sends_nobody_back() -> None:
    node = Solo(term=1, entries=terms(1)).leads()
    node.wakes()
    node.hears("b", ok(2, 2, 2))
    assert not node.hears("b", AppendReply(2, 1, False, 0))


def test_a_follower_that_refuses_everything_is_not_answered_for_ever() -> None:
    node = Solo(term=1, entries=terms(1)).leads()
    answers = [node.hears("b", AppendReply(2, 1, False, 0)) for _ in range(5)]
    assert [len(answer) for answer in answers] == [1, 0, 0, 0, 0]


def test_an_acknowledgement_beyond_the_log_is_no_acknowledgement() -> None:
    node = Solo().leads()
    node.hears("b", ok(1, 99))
    assert node.core.log.commit == 0


def test_an_acknowledgement_of_another_term_is_none_in_this_one() -> None:
    node = Solo(term=1, entries=terms(1)).leads()
    node.hears("b", ok(1, 2))
    assert node.core.log.commit == 0
