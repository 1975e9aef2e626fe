"""How a Bully cluster changes its leader on purpose, and how two voters do with the store as the witness; a test per sentence."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.election.bench import Bench, Flying
from tests.election.bully_cluster import (
    ABC,
    HOLD_DOWN,
    INTERVAL,
    TIMEOUT,
    bench,
    disk,
    favour,
    greet,
    happened,
    hear,
    leaders,
    led,
    run,
    view,
)
from zjp.election.core import MS, SECOND, Deed, Health, Leave, Role, Stall, Time, Transfer, Wake
from zjp.wire.peers import Answer, Beat, BeatAck, Claim, Coordinator, Elect, Grant, Promise, Resign

pytestmark = pytest.mark.covers("cluster:bully")

LEAD_FOR = 2 * SECOND


def without_highest() -> Bench:
    """b leads, c has just come back."""
    made = led()
    favour(made, "b")
    made.crash("c")
    run(made, SECOND)
    assert leaders(made) == ["b"]
    made.start("c")
    greet(made)
    run(made, INTERVAL)
    return made


def pair() -> Bench:
    return led({"a": 1, "b": 2})


# ── coming back ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_returning_higher_node_takes_over_after_the_hold_down_with_one_change() -> None:
    made = without_highest()
    run(made, HOLD_DOWN - 2 * INTERVAL)
    assert leaders(made) == ["b"]
    made.lines.clear()
    run(made, 3 * INTERVAL)
    assert leaders(made) == ["c"]
    assert happened(made, "a ! leader_elected") == 1
    run(made, 3 * HOLD_DOWN)
    assert happened(made, "a ! leader_elected") == 1


def test_the_old_coordinator_leads_until_it_hears_of_the_new_one() -> None:
    made = without_highest()
    leaderless: list[Time] = []
    made.on_event = lambda _name, _event, _out: None if leaders(made) else leaderless.append(made.now)
    run(made, HOLD_DOWN + 2 * INTERVAL)
    assert leaders(made) == ["c"]
    assert leaderless == []
    assert happened(made, "b ! leader_lost b epoch 2 handover") == 1


def test_a_voter_lets_a_higher_one_take_over_only_after_the_hold_down() -> None:
    made = without_highest()
    for name in ("a", "b"):
        assert Grant(3, False, 2) in [message for _, message in hear(made, name, "c", Claim(3, 3, True))]
    run(made, HOLD_DOWN - INTERVAL - 50 * MS)
    assert hear(made, "a", "c", Claim(3, 3)) == [("c", Grant(3, False, 2))]
    assert hear(made, "a", "c", Claim(3, 3, True)) == [("c", Grant(3, True, 3))]


def test_a_voter_never_lets_a_lower_one_take_over() -> None:
    made = led()
    run(made, 2 * HOLD_DOWN)
    assert hear(made, "a", "b", Claim(3, 2, True)) == [("b", Grant(3, False, 1))]


def test_a_higher_node_that_is_not_stable_changes_nothing() -> None:
    made = without_highest()
    for _ in range(6):
        run(made, HOLD_DOWN - SECOND)
        made.crash("c")
        run(made, SECOND)
        made.start("c")
        greet(made)
    assert leaders(made) == ["b"]
    assert view(made, "b").epoch == 2


def test_the_hold_down_begins_anew_when_the_coordinator_was_silent() -> None:
    made = without_highest()
    run(made, HOLD_DOWN - SECOND)
    made.cuts |= {("b", "c")}
    run(made, 700 * MS)
    made.cuts.clear()
    run(made, HOLD_DOWN - INTERVAL)
    assert leaders(made) == ["b"]
    run(made, SECOND)
    assert leaders(made) == ["c"]


def test_the_highest_of_those_that_came_back_takes_over() -> None:
    made = led({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5})
    favour(made, "c")
    made.crash("e")
    made.crash("d")
    run(made, SECOND)
    made.start("d")
    made.start("e")
    greet(made)
    epoch = view(made, "c").epoch
    run(made, HOLD_DOWN + SECOND)
    assert leaders(made) == ["e"]
    assert view(made, "e").epoch == epoch + 1


def test_one_that_was_cut_off_disturbs_nobody_when_it_returns() -> None:
    made = led()
    made.cuts |= {(one, two) for one in "abc" for two in "abc" if "a" in (one, two)}
    run(made, 60 * SECOND)
    made.cuts.clear()
    run(made, 2 * HOLD_DOWN)
    assert leaders(made) == ["c"]
    assert {view(made, name).epoch for name in "abc"} == {1}


def test_a_higher_one_that_was_cut_off_waits_for_the_hold_down_whoever_speaks_first() -> None:
    made = led()
    made.cuts |= {(one, two) for one in "abc" for two in "abc" if "c" in (one, two)}
    run(made, 60 * SECOND)
    assert leaders(made) == ["b"]
    epoch = view(made, "b").epoch
    made.cuts.clear()
    # Only what c says arrives at first.
    made.cuts |= {("a", "c"), ("b", "c")}
    run(made, SECOND)
    made.cuts.clear()
    run(made, HOLD_DOWN - SECOND)
    assert leaders(made) == ["b"]
    assert view(made, "a").epoch == epoch
    run(made, 2 * SECOND)
    assert leaders(made) == ["c"]


def test_one_that_hears_not_the_coordinator_but_a_voter_disturbs_nobody() -> None:
    made = led({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5})
    made.cuts |= {("e", "d"), ("d", "e")}
    run(made, 60 * SECOND)
    assert leaders(made) == ["e"]
    assert view(made, "a").epoch == 1
    assert not view(made, "d").has_quorum


def test_a_highest_node_that_hears_nothing_does_not_keep_the_others_from_electing() -> None:
    made = led()
    made.cuts |= {("a", "c"), ("b", "c")}
    run(made, 4 * SECOND)
    assert leaders(made) == ["b"]
    epoch = view(made, "b").epoch
    run(made, 3 * HOLD_DOWN)
    assert leaders(made) == ["b"]
    assert view(made, "a").epoch == epoch


def test_a_middle_node_with_a_majority_leads_although_a_higher_one_answers_it() -> None:
    made = led({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5})
    made.crash("a")
    made.crash("b")
    made.cuts |= {("e", "c"), ("c", "e")}
    # e hears d alone; d hears c and e.
    run(made, 10 * SECOND)
    assert leaders(made) == ["d"]
    epoch = view(made, "d").epoch
    run(made, 20 * SECOND)
    assert view(made, "d").epoch == epoch


def test_one_whose_leaders_rank_is_unknown_asks_for_it_and_stays_below() -> None:
    made = Bench("bully", ABC)
    made.nodes["b"].disk = [Promise(0, "")]
    made.start("b")
    made.arrive(Flying("c", "b", Beat(1, 1)))
    for round in range(2, 60):
        made.tick(INTERVAL)
        made.arrive(Flying("c", "b", Beat(1, round)))
    assert any(flying.message == Elect(2, 1) and flying.to == "c" for flying in made.bag)
    made.arrive(Flying("c", "b", Coordinator(1, 3)))
    made.bag.clear()
    made.tick(200 * MS)
    assert made.bag == []


# ── handing over ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_whom_the_leader_hands_over_to_claims_at_once_and_nobody_asks() -> None:
    made = led()
    made.lines.clear()
    made.step("c", Transfer("a"))
    made.deliver()
    assert leaders(made) == ["a"]
    assert view(made, "a").is_in_office
    assert happened(made, "Elect(") == 0


def test_the_higher_one_does_not_take_back_what_was_handed_over_before_the_hold_down() -> None:
    made = led()
    made.step("c", Transfer("a"))
    run(made, HOLD_DOWN - INTERVAL)
    assert leaders(made) == ["a"]
    run(made, 3 * INTERVAL)
    assert leaders(made) == ["c"]


def test_a_transfer_to_nobody_in_particular_goes_to_the_best_of_the_others() -> None:
    made = led()
    made.step("c", Transfer())
    made.deliver()
    assert leaders(made) == ["b"]


def test_a_transfer_to_one_that_has_just_died_leaves_a_leader_within_a_timeout() -> None:
    made = led()
    made.crash("a")
    made.step("c", Transfer("a"))
    run(made, TIMEOUT)
    assert leaders(made) == ["c"]


@pytest.mark.parametrize("to", ["c", "a", "stranger"])
def test_a_transfer_to_one_that_cannot_lead_changes_nothing(to: str) -> None:
    made = led()
    made.crash("a")
    run(made, TIMEOUT + 2 * INTERVAL)
    made.step("c", Transfer(to))
    assert leaders(made) == ["c"]
    assert happened(made, f"c ! election_failed {to} epoch 1 no_such_target") == 1


def test_a_transfer_asked_of_one_that_does_not_lead_is_ignored() -> None:
    made = led()
    made.step("a", Transfer("b"))
    run(made, SECOND)
    assert view(made, "a").epoch == 1


def test_beats_from_before_the_resignation_are_late_ones() -> None:
    made = led()
    hear(made, "a", "c", Resign(1, "b"))
    assert hear(made, "a", "c", Beat(1, 9)) == []
    assert view(made, "a").leader == ""


def test_a_resignation_is_believed_once_and_only_of_the_leader() -> None:
    made = led()
    hear(made, "a", "b", Resign(1, "a"))
    assert view(made, "a").leader == "c"
    hear(made, "a", "c", Resign(1, "b"))
    assert hear(made, "a", "c", Resign(1, "a")) == []


def test_a_leader_that_leaves_resigns_at_the_store_and_the_next_one_needs_no_waiting() -> None:
    made = led()
    made.step("c", Leave())
    made.deliver()
    assert leaders(made) == ["b"]
    assert view(made, "a").members["c"].health is Health.LEFT
    assert happened(made, "c asks the store: resign 1") == 1
    assert made.nodes["c"].wake is None


# ── stalls ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_follower_that_did_not_run_does_not_blame_the_coordinator() -> None:
    made = led()
    made.lines.clear()
    made.now += 3 * SECOND
    made.step("a", Stall(3 * SECOND))
    made.step("a", Wake())
    assert view(made, "a").leader == "c"
    assert happened(made, "a ! election_started") == 0


def test_a_coordinator_that_did_not_run_is_out_of_office_until_a_majority_answers_again() -> None:
    made = led()
    made.now += 3 * SECOND
    made.step("c", Stall(3 * SECOND))
    assert not view(made, "c").is_in_office
    made.bag.clear()
    made.wake("c")
    assert view(made, "c").role is Role.LEADER
    made.deliver()
    assert view(made, "c").is_in_office


def test_a_coordinator_that_did_not_run_and_is_not_answered_stops_after_the_answer_time() -> None:
    made = led()
    made.crash("a")
    made.crash("b")
    made.now += 3 * SECOND
    made.step("c", Stall(3 * SECOND))
    made.tick(150 * MS)
    assert leaders(made) == []


# ── two voters ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_two_the_survivor_leads_when_the_store_has_let_the_former_leadership_end() -> None:
    made = pair()
    run(made, INTERVAL)
    made.crash("b")
    since = made.now
    run(made, LEAD_FOR - INTERVAL)
    assert leaders(made) == []
    run(made, 3 * INTERVAL)
    assert leaders(made) == ["a"]
    assert view(made, "a").is_in_office
    assert made.now - since <= LEAD_FOR + 3 * INTERVAL
    assert happened(made, "a asks the store: install 2 for a:1 elected") == 0


def test_of_two_the_survivor_leads_at_once_when_the_other_resigned() -> None:
    made = pair()
    made.step("b", Leave())
    run(made, 150 * MS)
    assert leaders(made) == ["a"]


def test_of_two_the_coordinator_leads_on_while_the_store_keeps_its_office() -> None:
    made = pair()
    made.crash("a")
    run(made, 60 * SECOND)
    assert leaders(made) == ["b"]
    assert view(made, "b").epoch == 1
    assert view(made, "b").has_quorum


def test_of_two_the_coordinator_leads_on_while_the_other_answers() -> None:
    made = pair()
    made.store.is_silent = True
    run(made, 60 * SECOND)
    assert leaders(made) == ["b"]
    assert view(made, "b").epoch == 1


def test_of_two_the_coordinator_stops_when_neither_the_other_nor_the_store_answers() -> None:
    made = pair()
    run(made, INTERVAL)
    made.crash("a")
    made.store.is_silent = True
    since = made.now
    run(made, LEAD_FOR - INTERVAL)
    assert leaders(made) == ["b"]
    run(made, INTERVAL)
    assert leaders(made) == []
    assert made.now - since <= LEAD_FOR
    assert made.store.until <= made.now + INTERVAL


def test_of_two_a_refused_renewal_ends_the_leadership() -> None:
    made = pair()
    made.cuts |= {("a", "b"), ("b", "a")}
    run(made, SECOND)
    made.store.epoch, made.store.owner, made.store.until = 7, "x:1", made.now + 10 * SECOND
    run(made, INTERVAL)
    assert leaders(made) == []
    run(made, 5 * SECOND)
    assert leaders(made) == []
    assert max(record.epoch for record in disk(made, "b") if isinstance(record, Promise)) == 8


def test_two_that_are_cut_off_from_each_other_never_flip() -> None:
    made = bench({"a": 1, "b": 2})
    made.cuts |= {("a", "b"), ("b", "a")}
    changes: list[tuple[int, str]] = []

    def note(*_: object) -> None:
        assert sum(view(made, name).is_in_office for name in "ab") <= 1
        if (made.store.epoch, made.store.owner) not in changes[-1:]:
            changes.append((made.store.epoch, made.store.owner))

    made.on_event = note
    run(made, 120 * SECOND)
    assert len(leaders(made)) == 1
    assert [epoch for epoch, _ in changes if epoch] == [1]


def test_two_that_are_cut_off_and_lose_the_store_by_turns_have_at_most_one_in_office() -> None:
    made = bench({"a": 1, "b": 2})
    made.cuts |= {("a", "b"), ("b", "a")}
    owners = ["", ""]
    made.on_event = lambda *_: owners.append(made.store.owner)
    for _ in range(10):
        made.store.is_silent = True
        run(made, 3 * SECOND)
        assert leaders(made) == []
        made.store.is_silent = False
        run(made, 3 * SECOND)
        assert len(leaders(made)) == 1
    changes = sum(one != two for one, two in pairwise(owners))
    assert changes <= 20


def test_two_that_see_each_other_again_keep_the_one_in_office_until_the_hold_down() -> None:
    made = pair()
    made.crash("b")
    run(made, 4 * SECOND)
    assert leaders(made) == ["a"]
    made.cuts |= {("a", "b"), ("b", "a")}
    made.start("b")
    run(made, 10 * SECOND)
    assert leaders(made) == ["a"]
    made.cuts.clear()
    run(made, HOLD_DOWN - 2 * INTERVAL)
    assert leaders(made) == ["a"]
    assert view(made, "b").leader == "a"
    run(made, SECOND)
    assert leaders(made) == ["b"]


def test_the_seeker_that_follows_again_asks_the_store_no_more() -> None:
    made = pair()
    made.cuts |= {("a", "b"), ("b", "a")}
    run(made, 5 * SECOND)
    made.cuts.clear()
    run(made, SECOND)
    made.lines.clear()
    run(made, 5 * SECOND)
    assert happened(made, "a asks the store") == 0
    assert view(made, "a").leader == "b"


def test_a_seeker_that_speaks_first_is_refused_by_the_one_in_office() -> None:
    made = pair()
    made.cuts |= {("a", "b"), ("b", "a")}
    run(made, 5 * SECOND)
    made.cuts.clear()
    said = hear(made, "b", "a", Claim(2, 1))
    assert ("a", Coordinator(1, 2)) in said
    assert ("a", Grant(2, False, 1)) in said


def test_one_of_two_that_the_other_answers_does_not_ask_the_store() -> None:
    made = bench({"a": 1, "b": 2}, first="b")
    made.wake("b")
    hear(made, "b", "a", Grant(1, False, 0))
    made.lines.clear()
    made.crash("a")
    made.tick(200 * MS)
    assert happened(made, "b asks the store") == 0


def test_three_never_ask_the_store_without_a_majority() -> None:
    made = led()
    made.crash("a")
    made.crash("b")
    made.step("c", Wake())
    asked: list[tuple[Deed, bool]] = []
    made.on_event = lambda _name, _event, out: asked.extend((op.deed, op.is_elected) for op in out.store)
    run(made, 30 * SECOND)
    assert (Deed.INSTALL, False) not in asked
    assert leaders(made) == []
    hear(made, "c", "a", Answer(1, 0))
    hear(made, "c", "a", BeatAck(1, 1))
    assert leaders(made) == []
