"""Bully's elections, a test per sentence of its rules (zjp/election/bully.py). Time, messages, disks and the store move only when told."""

from __future__ import annotations

import pytest

from tests.election.bench import Bench, Flying
from tests.election.bully_cluster import (
    ABC,
    INTERVAL,
    TIMEOUT,
    bench,
    disk,
    favour,
    happened,
    hear,
    leaders,
    led,
    run,
    view,
)
from zjp.election.core import EPOCH_JUMP_MAX, EPOCH_MAX, MS, SECOND, Health, Role, Transfer
from zjp.wire.peers import Answer, Beat, BeatAck, Claim, Coordinator, Elect, Grant, Promise, Resign

pytestmark = pytest.mark.covers("cluster:bully")


# ── failure, asking, claiming ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_silence_of_the_coordinator_for_a_timeout_and_some_luck_starts_an_election() -> None:
    made = led()
    favour(made, "b")
    made.wake("c")
    made.deliver()
    made.crash("c")
    made.lines.clear()
    made.tick(TIMEOUT - MS)
    assert happened(made, "election_started") == 0
    made.tick(MS)
    assert happened(made, "b ! election_started") == 1
    assert happened(made, "a ! election_started") == 0
    made.tick(INTERVAL)
    assert happened(made, "a ! election_started") == 1


def test_a_late_copy_of_a_beat_is_no_sign_of_life() -> None:
    made = led()
    run(made, SECOND)
    made.crash("c")
    for _ in range(6):
        run(made, INTERVAL)
        for name in ("a", "b"):
            made.arrive(Flying("c", name, Beat(1, 4)))
            made.arrive(Flying("c", name, Coordinator(1, 3)))
    run(made, INTERVAL)
    assert leaders(made) == ["b"]


def test_a_late_copy_of_a_beat_brings_no_dead_coordinator_back() -> None:
    made = led()
    run(made, SECOND)
    made.crash("c")
    made.crash("b")
    run(made, TIMEOUT + INTERVAL)
    hear(made, "a", "c", Beat(1, 4))
    hear(made, "a", "c", Coordinator(1, 3))
    assert view(made, "a").leader == ""
    hear(made, "a", "c", Beat(1, 99))
    assert view(made, "a").leader == "c"


def test_a_node_asks_those_that_rank_above_it_and_are_not_held_dead() -> None:
    made = bench({"a": 1, "b": 2, "c": 2, "d": 3, "e": 0}, first="b")
    made.tick(TIMEOUT - MS)
    made.meet("b", "d", is_up=False)
    made.wake("b")
    assert [flying.to for flying in made.bag if isinstance(flying.message, Elect)] == ["c", "d"]
    made = bench({"a": 1, "b": 2, "c": 2, "d": 3, "e": 0}, first="b")
    made.meet("b", "d", is_up=False)
    made.tick(TIMEOUT)
    assert view(made, "b").members["d"].health is Health.DEAD
    assert [flying.to for flying in made.bag if isinstance(flying.message, Elect)] == ["c"]


def test_ties_of_priority_go_by_name() -> None:
    made = bench({"a": 7, "b": 7, "c": 7})
    run(made, 700 * MS)
    assert leaders(made) == ["c"]


def test_a_higher_node_that_lives_answers_and_holds_its_own_election() -> None:
    made = bench(ABC)
    said = hear(made, "b", "a", Elect(1, 0))
    assert ("a", Answer(2, 0)) in said
    assert ("c", Elect(2, 0)) in said


def test_a_lower_node_does_not_answer() -> None:
    assert hear(bench(ABC), "a", "b", Elect(2, 0)) == []


def test_without_an_answer_in_three_tenths_of_the_timeout_it_claims_from_all_voters() -> None:
    made = bench(ABC, first="b")
    made.wake("b")
    made.crash("c")
    made.bag.clear()
    made.tick(149 * MS)
    assert not any(isinstance(flying.message, Claim) for flying in made.bag)
    made.bag.clear()
    made.tick(1 * MS)
    assert [(flying.to, flying.message) for flying in made.bag if flying.src == "b"] == [
        ("a", Claim(1, 2)),
        ("c", Claim(1, 2)),
    ]


def test_one_that_is_answered_waits_for_the_coordinator_and_tries_again_when_none_comes() -> None:
    made = bench(ABC, first="a")
    made.wake("a")
    hear(made, "a", "c", Answer(3, 0))
    assert view(made, "a").role is Role.FOLLOWER
    made.crash("b")
    made.crash("c")
    made.tick(TIMEOUT - MS)
    assert happened(made, "a ! election_failed") == 0
    made.tick(MS)
    assert happened(made, "a ! election_failed a no_coordinator") == 1
    assert view(made, "a").role is Role.CANDIDATE


def test_a_claim_is_repeated_every_interval_to_those_that_have_not_granted_it() -> None:
    made = bench({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, first="e")
    made.wake("e")
    hear(made, "e", "a", Grant(1, True, 1))
    made.wake("e")
    assert [flying.to for flying in made.bag if flying.message == Claim(1, 5)] == ["b", "c", "d"]
    assert made.now == SECOND + TIMEOUT + INTERVAL


def test_an_election_that_the_highest_survivor_starts_takes_at_most_four_messages_per_other_node() -> None:
    for count in (3, 5, 7, 9):
        made = led({f"n{index}": index for index in range(count)})
        favour(made, f"n{count - 2}")
        run(made, INTERVAL)
        made.crash(f"n{count - 1}")
        assert 0 < election_messages(made) <= 4 * (count - 1)
        assert leaders(made) == [f"n{count - 2}"]


def test_an_election_that_the_lowest_starts_takes_no_more_than_a_square_of_messages() -> None:
    for count in (3, 5, 7, 9):
        made = led({f"n{index}": index for index in range(count)})
        favour(made, "n0")
        run(made, INTERVAL)
        made.crash(f"n{count - 1}")
        assert count * (count - 1) // 2 < election_messages(made) <= count * (count - 1) + 4 * (count - 1)
        assert leaders(made) == [f"n{count - 2}"]


def election_messages(made: Bench) -> int:
    made.lines.clear()
    run(made, TIMEOUT + 150 * MS)
    return counted(made)


def counted(made: Bench) -> int:
    """Messages said that belong to an election."""
    kinds = ("Elect(", "Answer(", "Claim(", "Grant(", "Coordinator(")
    return sum((" -> " in line or " => " in line) and any(kind in line for kind in kinds) for line in made.lines)


# ── granting ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_grant_leaves_when_the_promise_is_durable() -> None:
    made = bench(ABC)
    made.nodes["a"].is_held = True
    assert hear(made, "a", "c", Claim(4, 3)) == []
    made.persist("a")
    assert [flying.message for flying in made.bag] == [Grant(4, True, 4)]
    assert disk(made, "a") == [Promise(4, "c")]


def test_a_claim_leaves_when_the_own_promise_is_durable() -> None:
    made = bench(ABC)
    made.nodes["c"].is_held = True
    made.wake("c")
    assert made.bag == []
    made.persist("c")
    assert {type(flying.message) for flying in made.bag} == {Claim}


def test_the_own_grant_counts_only_once_it_is_durable() -> None:
    made = bench(ABC)
    made.nodes["c"].is_held = True
    made.wake("c")
    hear(made, "c", "a", Grant(1, True, 1))
    assert leaders(made) == []
    made.persist("c")
    assert leaders(made) == ["c"]


def test_a_voter_grants_one_claimant_per_epoch_and_never_a_lower_epoch() -> None:
    made = bench({"a": 1, "b": 2, "c": 3, "d": 3})
    assert hear(made, "a", "c", Claim(4, 3)) == [("c", Grant(4, True, 4))]
    assert hear(made, "a", "d", Claim(4, 3)) == [("d", Grant(4, False, 4))]
    assert hear(made, "a", "d", Claim(3, 3)) == [("d", Grant(3, False, 4))]
    assert hear(made, "a", "c", Claim(4, 3)) == [("c", Grant(4, True, 4))]
    assert hear(made, "a", "d", Claim(5, 3)) == [("d", Grant(5, True, 5))]


def test_a_promise_holds_over_a_crash() -> None:
    made = bench(ABC)
    hear(made, "a", "c", Claim(4, 3))
    made.crash("a")
    made.start("a")
    assert hear(made, "a", "b", Claim(4, 2)) == [("b", Grant(4, False, 4))]


def test_durable_is_the_last_promise_alone() -> None:
    made = bench(ABC)
    for epoch in (4, 5, 9):
        hear(made, "a", "c", Claim(epoch, 3))
    made.rewrite("a")
    assert disk(made, "a") == [Promise(9, "c")]


def test_grants_are_counted_by_voter() -> None:
    made = bench(dict.fromkeys("abcde", 1))
    made.wake("e")
    for _ in range(3):
        hear(made, "e", "a", Grant(1, True, 1))
    assert leaders(made) == []
    hear(made, "e", "b", Grant(1, True, 1))
    assert leaders(made) == ["e"]


def test_grants_of_strangers_and_of_other_epochs_do_not_count() -> None:
    made = bench({"a": 1, "b": 1, "c": 1, "z": 1}, voters=("a", "b", "c"))
    made.wake("c")
    hear(made, "c", "z", Grant(1, True, 1))
    hear(made, "c", "nobody", Grant(1, True, 1))
    hear(made, "c", "a", Grant(2, True, 2))
    assert leaders(made) == []


def test_a_voter_that_hears_a_living_coordinator_refuses() -> None:
    made = led()
    assert hear(made, "a", "b", Claim(9, 2)) == [("b", Grant(9, False, 1))]


def test_the_coordinator_refuses_and_says_that_it_leads() -> None:
    made = led()
    assert hear(made, "c", "b", Claim(9, 2)) == [("b", Coordinator(1, 3)), ("b", Grant(9, False, 1))]


def test_a_higher_node_refuses_a_lower_ones_claim_and_claims_itself() -> None:
    made = bench(ABC)
    said = hear(made, "c", "b", Claim(1, 2))
    assert ("b", Grant(1, False, 0)) in said or ("b", Grant(1, False, 2)) in said
    assert ("b", Answer(3, 1)) in said
    assert ("b", Claim(2, 3)) in said


def test_one_that_claimed_in_vain_grants_a_lower_one() -> None:
    made = bench(ABC)
    made.cuts |= {("a", "c"), ("b", "c")}
    run(made, 2 * SECOND)
    assert leaders(made) == ["b"]


def test_a_claim_in_vain_uses_up_no_epoch() -> None:
    made = led()
    made.crash("a")
    made.crash("b")
    run(made, 60 * SECOND)
    assert disk(made, "c") == [Promise(1, "c"), Promise(2, "c")]


def test_a_number_that_has_led_is_not_claimed_again() -> None:
    made = led()
    made.step("c", Transfer("b"))
    made.bag.clear()
    made.crash("b")
    run(made, 400 * MS)
    assert view(made, "c").epoch == 2


def test_a_pair_cut_off_from_three_uses_up_no_epochs() -> None:
    made = led({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5})
    made.cuts |= {pair for one in "abc" for two in "de" for pair in ((one, two), (two, one))}
    run(made, 60 * SECOND)
    assert leaders(made) == ["c"]
    assert max(view(made, name).epoch for name in "abcde") == 2
    assert len(disk(made, "d")) + len(disk(made, "e")) <= 6


def test_a_refusal_that_names_a_higher_promise_is_followed_by_a_higher_claim() -> None:
    made = bench(ABC)
    made.wake("c")
    hear(made, "c", "a", Grant(1, False, 7))
    hear(made, "c", "b", Grant(1, False, 7))
    made.tick(INTERVAL + MS)
    assert any(flying.message == Claim(8, 3) for flying in made.bag)


def test_an_epoch_far_above_is_not_believed() -> None:
    made = led()
    far = 1 + EPOCH_JUMP_MAX + 1
    for message in (Claim(far, 9), Beat(far, 1), Coordinator(far, 9), Elect(0, far), Resign(far), BeatAck(far, 1)):
        for name in ("a", "c"):
            hear(made, name, "b", message)
    assert leaders(made) == ["c"]
    assert view(made, "a").leader == "c"
    assert {view(made, name).epoch for name in "abc"} == {1}
    assert hear(made, "a", "b", Beat(far - 1, 1)) == [("b", BeatAck(far - 1, 1))]


def test_with_all_epochs_used_up_nobody_claims() -> None:
    made = bench({"a": 1})
    made.crash("a")
    made.nodes["a"].disk = [Promise(EPOCH_MAX, "a")]
    made.start("a")
    run(made, 5 * SECOND)
    assert leaders(made) == []
