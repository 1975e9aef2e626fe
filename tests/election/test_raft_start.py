"""Voters with an empty folder: a new cluster starts, a wiped voter breaks no promise of its former life."""

from __future__ import annotations

import pytest

from tests.election.bench import Bench
from tests.election.raft_solo import INTERVAL, Solo, T, asks, beat, of, pre_asks, terms
from zjp.election.core import EPOCH_JUMP_MAX, MS, SECOND, Kind, Met, Time
from zjp.wire.peers import AskTerm, PreVote, Taught, TellTerm, TermVote, VoteReply

pytestmark = pytest.mark.covers("cluster:raft")


def new(voters: str = "abc") -> Solo:
    return Solo(voters=voters, records=())


def nonce(node: Solo) -> int:
    """Of its newest question."""
    message = of(AskTerm, node.wakes())[0].message
    assert isinstance(message, AskTerm)
    return message.nonce


def test_an_empty_folder_makes_a_learner_that_asks_the_other_voters() -> None:
    node = new()
    assert node.role == "learner"
    assert [send.to for send in of(AskTerm, node.said)] == ["b", "c"]


def test_it_neither_votes_nor_acknowledges_before_it_knows() -> None:
    """It may have promised a higher term than that of the leader it hears."""
    node = new()
    assert not node.hears("b", asks(5))
    assert not node.hears("b", asks(5, is_transfer=True))
    assert not node.hears("b", pre_asks(5))
    assert not node.hears("b", beat(5, entries=terms(5)))
    assert not of(PreVote, node.wakes(later=10 * T))
    assert node.disk == []


def test_it_asks_again_those_that_did_not_answer() -> None:
    node = new()
    node.hears("b", TellTerm(nonce(node), 3))
    assert [send.to for send in of(AskTerm, node.wakes(later=INTERVAL))] == ["c"]


def test_it_asks_a_peer_that_has_just_come() -> None:
    assert [send.to for send in of(AskTerm, new().does(Met("c", 0, True)))] == ["c"]


def test_answers_to_a_former_life_and_of_strangers_count_for_nothing() -> None:
    node = new()
    number = nonce(node)
    for src, message in (("b", TellTerm(number, 1)), ("c", TellTerm(number + 7, 1)), ("x", TellTerm(number, 1))):
        node.hears(src, message)
    assert node.role == "learner"
    assert node.disk == []


def test_when_all_others_say_0_it_is_a_new_cluster() -> None:
    node = new()
    number = nonce(node)
    node.hears("b", TellTerm(number, 0))
    node.hears("c", TellTerm(number, 0))
    assert node.role == "follower"
    assert node.disk == [Taught(0)]
    assert node.hears("b", asks(1)) == [VoteReply(1, True)]


def test_the_highest_term_told_is_taken_and_written() -> None:
    node = new()
    number = nonce(node)
    node.hears("b", TellTerm(number, 4))
    node.hears("c", TellTerm(number, 6))
    assert node.term == 6
    assert node.disk == [Taught(6)]
    assert node.dies().term == 6
    assert [happened.epoch for happened in node.happened if happened.kind is Kind.MEMBER_REPLACED] == [6]


def test_it_does_not_vote_in_the_term_it_was_told() -> None:
    node = Solo(records=[Taught(6)])
    assert node.hears("b", asks(6, 9, 5)) == [VoteReply(6, False)]


def test_of_three_it_votes_only_when_its_log_has_what_it_had_acknowledged() -> None:
    """An entry of a and c is committed; a forgets it, and must not help b, that never had it."""
    node = Solo(records=[Taught(6)])
    assert node.role == "learner"
    assert node.hears("b", asks(7)) == [VoteReply(7, False)]
    node.hears("c", beat(7, entries=terms(5, 6, 7)))
    assert node.role == "follower"
    node.now += 2 * T
    assert node.hears("b", asks(8)) == [VoteReply(8, False)]
    assert node.hears("c", asks(8, 3, 7)) == [VoteReply(8, True)]


def test_of_two_it_votes_at_once_for_the_other_that_has_everything() -> None:
    """No majority lacks what the other has, and without this vote there would never be a leader."""
    node = Solo(voters="ab", records=[Taught(6)])
    assert node.hears("b", asks(7, 3, 6)) == [VoteReply(7, True)]


def test_with_one_missing_it_waits_until_no_candidate_can_still_count_its_former_vote() -> None:
    node = Solo(voters="abcde", records=())
    number = nonce(node)
    for src in "bcd":
        node.hears(src, TellTerm(number, 5))
    assert node.role == "learner"
    node.now += 2 * T
    later = nonce(node)
    assert later != number
    for src in "bc":
        node.hears(src, TellTerm(later, 5))
    assert node.term == 0
    node.hears("d", TellTerm(later, 5))
    assert node.term == 5


def test_of_three_a_wiped_voter_needs_both_others_when_one_knows_of_an_election() -> None:
    node = new()
    node.now += 2 * T
    node.hears("b", TellTerm(nonce(node), 5))
    assert node.role == "learner"
    assert node.disk == []


def test_a_term_far_above_all_others_is_not_believed() -> None:
    node = new()
    number = nonce(node)
    node.hears("b", TellTerm(number, 5))
    node.hears("c", TellTerm(number, 6 + EPOCH_JUMP_MAX))
    assert node.term == 0
    node.hears("b", TellTerm(number, 5))
    node.hears("c", TellTerm(number, 6))
    assert node.term == 6


def test_anyone_tells_its_term_to_a_voter() -> None:
    assert Solo(term=7).hears("b", AskTerm(99)) == [TellTerm(99, 7)]
    assert new().hears("b", AskTerm(99)) == [TellTerm(99, 0)]
    assert not Solo(term=7).hears("x", AskTerm(99))


def test_a_term_is_told_only_once_it_is_durable() -> None:
    node = Solo(term=7)
    node.is_held = True
    node.hears("b", asks(8))
    assert not node.hears("b", AskTerm(99))
    assert TellTerm(99, 8) in [send.message for send in node.persists()]


# ── whole clusters ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def cluster(names: str, started: str, lapse: Time = 10 * SECOND) -> Bench:
    bench = Bench("raft", dict.fromkeys(names, 0))
    for name in started:
        bench.start(name)
    bench.tick(lapse, is_delivering=True)
    return bench


def leaders(bench: Bench) -> list[str]:
    return [name for name, node in bench.nodes.items() if node.core is not None and node.core.view().is_in_office]


@pytest.mark.parametrize(
    ("names", "started"),
    [("a", "a"), ("ab", "ab"), ("abc", "abc"), ("abc", "bc"), ("abcd", "abd"), ("abcde", "abcde"), ("abcde", "ade")],
)
def test_a_new_cluster_starts_as_soon_as_a_majority_is_there(names: str, started: str) -> None:
    assert len(leaders(cluster(names, started, 5 * SECOND))) == 1


@pytest.mark.parametrize(("names", "started"), [("ab", "a"), ("abc", "c"), ("abcd", "ab"), ("abcde", "ae")])
def test_less_than_a_majority_elects_nobody(names: str, started: str) -> None:
    assert leaders(cluster(names, started)) == []


def test_a_new_cluster_starts_when_its_voters_come_one_by_one() -> None:
    bench = cluster("abc", "a")
    bench.start("b")
    bench.tick(3 * SECOND, is_delivering=True)
    assert len(leaders(bench)) == 1
    bench.start("c")
    bench.tick(1 * SECOND, is_delivering=True)
    assert bench.nodes["c"].core is not None
    assert bench.nodes["c"].core.view().leader == leaders(bench)[0]


@pytest.mark.parametrize("names", ["ab", "abc", "abcd", "abcde"])
def test_a_wiped_voter_learns_catches_up_and_votes_again(names: str) -> None:
    bench = cluster(names, names)
    (leader,) = leaders(bench)
    for wiped in names:
        bench.crash(wiped)
        bench.wipe(wiped)
        bench.start(wiped)
        bench.tick(5 * SECOND, is_delivering=True)
        core = bench.nodes[wiped].core
        assert core is not None
        assert len(leaders(bench)) == 1
        assert core.view().role.value in ("follower", "leader")
    bench.crash(leaders(bench)[0])
    bench.tick(5 * SECOND, is_delivering=True)
    assert len(leaders(bench)) == (0 if names == "ab" else 1), leader


def test_a_cluster_whose_folders_all_vanished_leads_above_the_stores_epoch() -> None:
    bench = cluster("abc", "abc")
    bench.store.epoch, bench.store.owner = 50, "x:1"
    for name in "abc":
        bench.crash(name)
        bench.wipe(name)
    for name in "abc":
        bench.start(name)
    bench.tick(5 * SECOND, is_delivering=True)
    assert len(leaders(bench)) == 1
    assert bench.store.epoch == 51


def test_a_new_cluster_with_all_there_does_not_wait_before_its_first_election() -> None:
    bench = cluster("abc", "abc", 2 * T + 50 * MS)
    assert len(leaders(bench)) == 1


def test_records_of_another_algorithm_make_no_promises_in_this_one() -> None:
    from zjp.wire.peers import Promise

    assert Solo(records=[Promise(9, "b")]).role == "learner"


def test_the_compacted_records_make_the_same_node() -> None:
    node = Solo(term=1, entries=terms(1))
    node.hears("b", beat(3, 1, 1, entries=terms(1, 3)[1:]))
    node.now += 2 * T
    node.hears("c", asks(4, 9, 3))
    assert node.core.durable()[1] == TermVote(4, "c")
    again = Solo(records=node.core.durable())
    assert (again.term, again.terms, again.core.durable()) == (4, [1, 3], node.core.durable())
