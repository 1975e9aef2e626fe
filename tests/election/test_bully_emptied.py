"""A Bully voter whose folder is empty: what it promised in a former life it must be told; a test per sentence."""

from __future__ import annotations

import pytest

from tests.election.bench import Bench
from tests.election.bully_cluster import (
    ABC,
    INTERVAL,
    TIMEOUT,
    bench,
    disk,
    emptied,
    greet,
    happened,
    hear,
    leaders,
    led,
    run,
    view,
)
from zjp.election.core import MS, SECOND, Role, Stall
from zjp.wire.peers import Claim, Grant, Promise

pytestmark = pytest.mark.covers("cluster:bully")


def test_a_voter_with_an_empty_folder_votes_only_when_the_others_have_told_it_what_was_promised() -> None:
    made = led()
    emptied(made, "a")
    made.crash("c")
    made.tick(2 * INTERVAL)
    assert view(made, "a").role is Role.LEARNER
    assert hear(made, "a", "b", Claim(1, 2)) == []
    assert hear(made, "a", "b", Claim(2, 2)) == []
    made.start("c")
    for peer in ("b", "c"):
        made.meet("a", peer)
    made.deliver("a")
    made.deliver("", "a")
    assert view(made, "a").role is not Role.LEARNER
    assert happened(made, "a ! member_replaced a epoch 1") == 1
    assert hear(made, "a", "b", Claim(1, 2)) == [("b", Grant(1, False, 1))]
    assert hear(made, "a", "b", Claim(2, 2)) == [("b", Grant(2, True, 2))]


def test_a_voter_with_an_empty_folder_follows_meanwhile_and_writes_nothing_that_would_pass_for_its_promises() -> None:
    made = led()
    emptied(made, "a")
    made.cuts |= {("a", "b")}
    run(made, SECOND)
    assert (view(made, "a").role, view(made, "a").leader) == (Role.LEARNER, "c")
    assert disk(made, "a") == []
    made.cuts.clear()
    run(made, INTERVAL)
    assert (view(made, "a").role, view(made, "a").leader) == (Role.FOLLOWER, "c")
    assert disk(made, "a") == [Promise(1, "")]


def test_an_epoch_that_was_led_and_never_installed_is_not_granted_again_by_a_voter_that_forgot_it() -> None:
    """Seeds 4851 and 4191 of the simulator: the store knows of epoch 1, the emptied voter led in 2, and one follows it who is cut off."""
    made = led()
    made.store.is_silent = True
    made.crash("c")
    run(made, 2 * SECOND)
    assert (leaders(made), view(made, "b").epoch) == (["b"], 2)
    emptied(made, "b")
    made.cuts |= {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a")}
    made.store.is_silent = False
    made.start("c")
    greet(made)
    run(made, 10 * SECOND)
    assert leaders(made) == []
    assert view(made, "b").role is Role.LEARNER
    made.cuts.clear()
    run(made, 10 * SECOND)
    assert leaders(made) == ["c"]
    assert view(made, "c").epoch > 2


def test_a_claim_counts_no_grant_after_its_time_not_even_when_nothing_ran_meanwhile() -> None:
    made = bench(ABC, first="c")
    made.tick(TIMEOUT)
    assert [flying.message for flying in made.bag if flying.to == "a" and flying.src == "c"][-1] == Claim(1, 3)
    made.now += 3 * SECOND
    made.step("c", Stall(3 * SECOND))
    hear(made, "c", "a", Grant(1, True, 1))
    assert leaders(made) == []
    made.deliver()
    run(made, 2 * SECOND)
    assert leaders(made) == ["c"]


def test_one_of_two_with_an_empty_folder_that_hears_nothing_from_the_other_takes_the_stores_word_and_keeps_far_off() -> (
    None
):
    made = bench({"a": 1, "b": 2})
    run(made, SECOND)
    assert (leaders(made), view(made, "b").epoch) == (["b"], 1)
    made.crash("b")
    emptied(made, "a")
    run(made, 4 * SECOND)
    assert happened(made, "a ! member_replaced a epoch 1001") == 1
    assert (leaders(made), view(made, "a").epoch) == (["a"], 1002)
    assert view(made, "a").is_in_office


def alone_by_the_store(*, is_store_silent: bool) -> Bench:
    """`b` led in epoch 1 with `a`, and in 2 by the store's word, while `a` was down. Now both begin again, `b` with an empty folder."""
    made = bench({"a": 1, "b": 2})
    run(made, SECOND)
    made.crash("a")
    made.crash("b")
    made.start("b")
    run(made, 20 * SECOND)
    assert (leaders(made), view(made, "b").epoch) == (["b"], 2)
    made.store.is_silent = is_store_silent
    emptied(made, "b")
    made.start("a")
    greet(made)
    return made


def test_one_of_two_with_an_empty_folder_that_led_by_the_stores_word_asks_the_store_too() -> None:
    """Seeds 3077, 5237, 8477 and 9197 of the simulator: the other one never heard of that epoch, and would lead in it again."""
    made = alone_by_the_store(is_store_silent=False)
    run(made, 100 * MS)
    assert happened(made, "b ! member_replaced b epoch 2") == 1
    run(made, 20 * SECOND)
    assert (leaders(made), view(made, "b").epoch) == (["b"], 3)


def test_one_of_two_with_an_empty_folder_votes_for_nobody_before_the_store_has_spoken() -> None:
    made = alone_by_the_store(is_store_silent=True)
    run(made, 10 * SECOND)
    assert (leaders(made), view(made, "b").role) == ([], Role.LEARNER)
    made.store.is_silent = False
    run(made, 20 * SECOND)
    assert len(leaders(made)) == 1
    assert view(made, "b").epoch > 2


def test_one_of_two_that_are_new_leads_alone_when_the_store_has_seen_no_leader() -> None:
    made = Bench("bully", {"a": 1, "b": 2})
    made.start("a")
    run(made, 4 * SECOND)
    assert (leaders(made), view(made, "a").epoch) == (["a"], 1)
