"""One that could not do a leader's work, and is told so: it comes back by rank only a hold-down after the last word of that."""

from __future__ import annotations

import pytest

from tests.election.bully_cluster import HOLD_DOWN, INTERVAL, leaders, led, run
from tests.election.solo import ME, Solo
from tests.election.test_gossip import LOWER, leader_of, told_by
from zjp.election import gossip
from zjp.election.core import SECOND, Transfer

pytestmark = pytest.mark.covers("cluster:bully", "cluster:gossip")


def test_one_that_is_unfit_to_lead_takes_over_a_hold_down_after_it_was_told_so_last() -> None:
    made = led()
    made.step("c", Transfer("a", is_unfit=True))
    made.deliver()
    for _ in range(3):
        run(made, HOLD_DOWN - 5 * INTERVAL)
        made.step("c", Transfer(is_unfit=True))
        made.step("b", Transfer(is_unfit=True))
        assert leaders(made) == ["a"]
    run(made, HOLD_DOWN - INTERVAL)
    assert leaders(made) == ["a"]
    run(made, 3 * INTERVAL)
    assert leaders(made) == ["c"]


def test_one_that_is_unfit_to_lead_elects_all_the_same_when_the_leader_dies() -> None:
    made = led()
    made.step("c", Transfer("a", is_unfit=True))
    made.deliver()
    made.crash("a")
    for _ in range(15):
        run(made, INTERVAL)
        if "c" not in leaders(made):
            made.step("c", Transfer(is_unfit=True))
    assert leaders(made) == ["c"]


def test_one_that_is_unfit_to_lead_keeps_the_lowest_priority_with_gossip() -> None:
    node = leader_of(LOWER, "b")
    node.step(Transfer(is_unfit=True))
    told_by(node, "b", 2, "b")
    for _ in range(3):
        node.run(gossip.HOLD_DOWN - SECOND, LOWER, "b")
        node.step(Transfer(is_unfit=True))
    assert priority(node) == gossip.PRIORITY_LOWEST
    node.run(gossip.HOLD_DOWN - SECOND, LOWER, "b")
    assert priority(node) == gossip.PRIORITY_LOWEST
    node.run(SECOND, LOWER, "b")
    assert priority(node) == 0
    node.step(Transfer(is_unfit=True))
    assert priority(node) == 0, "one that does not stand back is told nothing new"


def priority(node: Solo) -> int:
    return node.core.view().members[ME].priority
