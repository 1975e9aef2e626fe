"""Bully's coordinator, its lease, its office and its members; a test per sentence."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.election.bench import Flying
from tests.election.bully_cluster import (
    ABC,
    INTERVAL,
    TIMEOUT,
    bench,
    disk,
    happened,
    hear,
    leaders,
    led,
    run,
    view,
)
from zjp.election.core import MS, SECOND, Happened, Health, Kind, Leave, Role
from zjp.wire.peers import Beat, BeatAck, Claim, Coordinator, Grant, Promise

pytestmark = pytest.mark.covers("cluster:bully")


# ── leading ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_coordinator_tells_all_asks_for_the_office_and_beats_every_interval() -> None:
    made = led()
    assert happened(made, "c asks the store: install 1 for c:1 elected") == 1
    assert view(made, "c").is_in_office
    made.lines.clear()
    run(made, SECOND)
    assert happened(made, "c -> a Beat") == 10


def test_a_coordinator_without_answers_for_a_timeout_leads_no_more() -> None:
    made = led()
    run(made, INTERVAL)
    made.cuts |= {("a", "c"), ("b", "c")}
    since = made.now
    while leaders(made) and made.now < since + SECOND:
        run(made, 10 * MS)
    assert made.now - since <= TIMEOUT + INTERVAL
    assert happened(made, "c ! leader_lost c epoch 1 quorum") == 1
    assert not view(made, "c").is_in_office
    assert happened(made, "c asks the store: resign 1") == 1


def test_the_lease_counts_from_the_sending_and_late_answers_do_not_renew_it() -> None:
    made = led()
    run(made, INTERVAL)
    made.cuts |= {("c", "a"), ("c", "b")}
    since = made.now
    rounds = [beat_round(line) for line in made.lines if line.startswith("c -> a Beat")]
    while view(made, "c").role is Role.LEADER and made.now < since + SECOND:
        run(made, 50 * MS)
        # The last round that was heard is answered again and again.
        for voter in ("a", "b"):
            made.arrive(Flying(voter, "c", BeatAck(1, rounds[-1])))
    assert made.now - since <= TIMEOUT + 50 * MS


def beat_round(line: str) -> int:
    return int(line.rpartition("round=")[2].rstrip(")"))


def test_answers_of_one_voter_are_no_quorum_of_five() -> None:
    made = led({name: ord(name) for name in "abcde"})
    made.cuts |= {(name, "e") for name in "abc"}
    run(made, TIMEOUT + INTERVAL)
    assert "e" not in leaders(made)


def test_words_of_a_lower_epoch_are_answered_with_the_higher_one() -> None:
    made = led()
    hear(made, "a", "b", Coordinator(5, 2))
    assert hear(made, "a", "c", Beat(1, 3)) == [("c", BeatAck(5, 3))]
    assert hear(made, "a", "c", Coordinator(1, 3)) == [("c", BeatAck(5, 0))]
    assert view(made, "a").leader == "b"
    assert hear(made, "a", "c", Claim(1, 3)) == [("c", Grant(1, False, 5))]


def test_a_coordinator_that_learns_of_a_higher_epoch_leads_no_more() -> None:
    made = led()
    hear(made, "c", "a", BeatAck(5, 0))
    assert leaders(made) == []
    assert happened(made, "c ! leader_lost c epoch 1 higher_epoch") == 1
    other = led()
    hear(other, "c", "a", Beat(5, 1))
    assert view(other, "c").leader == "a"


def test_an_installed_leadership_that_is_not_ours_is_the_floor_of_the_next_claim() -> None:
    made = led()
    made.store.epoch, made.store.owner, made.store.until = 40, "x:1", made.now + SECOND
    run(made, INTERVAL)
    assert happened(made, "c ! fence_refused x:1 epoch 40") == 1
    assert happened(made, "c ! leader_lost c epoch 1 store") == 1
    assert leaders(made) == ["c"]
    assert view(made, "c").epoch == 41
    assert view(made, "c").is_in_office
    assert Promise(40, "") in disk(made, "c")


def test_an_office_that_the_store_never_answers_for_is_not_held() -> None:
    made = bench(ABC)
    made.store.is_silent = True
    run(made, 2 * SECOND)
    assert leaders(made) == ["c"]
    assert not view(made, "c").is_in_office


def test_a_slow_answer_of_the_store_counts_although_it_was_asked_again() -> None:
    made = bench(ABC)
    made.store.is_held = True
    run(made, SECOND)
    first = made.store.asked[0]
    made.store.asked = made.store.asked[1:]
    assert len(made.store.asked) > 1
    made._answer(*first)
    assert view(made, "c").is_in_office


# ── members ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_voter_leads_at_once() -> None:
    made = bench({"a": 1})
    assert leaders(made) == ["a"]
    assert view(made, "a").has_quorum
    assert view(made, "a").is_in_office
    run(made, 10 * SECOND)
    assert view(made, "a").epoch == 1


def test_one_that_is_no_voter_follows_and_neither_votes_nor_claims() -> None:
    made = bench({"a": 1, "b": 2, "z": 9}, voters=("a", "b"))
    run(made, SECOND)
    shown = view(made, "z")
    assert (shown.role, shown.leader, shown.has_quorum) == (Role.LEARNER, "b", True)
    assert hear(made, "z", "a", Claim(9, 1)) == []
    made.crash("a")
    made.crash("b")
    run(made, 5 * SECOND)
    assert (view(made, "z").role, view(made, "z").leader, view(made, "z").has_quorum) == (Role.LEARNER, "", False)
    assert happened(made, "z ! election_started") == 0


def test_answers_of_one_that_is_no_voter_keep_no_lease() -> None:
    made = bench({"a": 1, "b": 2, "c": 3, "z": 9}, voters=("a", "b", "c"))
    run(made, SECOND)
    made.crash("a")
    made.crash("b")
    run(made, TIMEOUT + INTERVAL)
    assert leaders(made) == []


def test_the_coordinator_shows_who_is_silent() -> None:
    made = led()
    made.crash("a")
    run(made, TIMEOUT + 2 * INTERVAL)
    assert view(made, "c").members["a"].health is Health.SUSPECT
    run(made, TIMEOUT)
    assert view(made, "c").members["a"].health is Health.DEAD
    assert view(made, "c").members["a"].priority == 1
    made.start("a")
    run(made, 2 * INTERVAL)
    assert view(made, "c").members["a"].health is Health.ALIVE


def test_who_says_good_bye_has_left() -> None:
    made = led()
    made.step("a", Leave())
    made.deliver()
    assert view(made, "c").members["a"].health is Health.LEFT
    assert view(made, "a").leader == ""
    assert made.nodes["a"].wake is None


def test_what_happened_tells_the_leader_how_long_it_took() -> None:
    made = bench(ABC)
    seen: list[Happened] = []
    made.on_event = lambda _name, _event, out: seen.extend(out.happened)
    run(made, 700 * MS)
    elected = [one for one in seen if one.kind is Kind.LEADER_ELECTED]
    assert Counter(one.node for one in elected) == {"c": 3}
    assert all(one.took == 0 for one in elected)
