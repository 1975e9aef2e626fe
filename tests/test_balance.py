"""The four balancing strategies: what each may never do, and how each spreads jobs."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zjp.balance import URGENT_PRIORITY, Balancer

pytestmark = pytest.mark.covers("settings:LOAD_BALANCER_STRATEGY", "main-path:7")

strategies = st.sampled_from(list(Balancer.STRATEGIES))
credit_lists = st.lists(st.integers(-2, 20), max_size=12)
uniforms = st.floats(0, 1, exclude_max=True)
priorities = st.integers(1, 10)


@given(strategies, st.lists(st.tuples(credit_lists, priorities, uniforms), max_size=8))
def test_picks_a_worker_with_credit_whenever_there_is_one(
    strategy: str, rounds: list[tuple[list[int], int, float]]
) -> None:
    balancer = Balancer(strategy)  # kept over the rounds: lists of other lengths follow each other
    for credits, priority, draw in rounds:
        worker = balancer.pick(credits, priority, draw)
        if any(credit > 0 for credit in credits):
            assert credits[worker] > 0
            assert worker >= 0
        else:
            assert worker == -1


def test_round_robin_spreads_evenly_whatever_the_credit() -> None:
    balancer = Balancer("round_robin")
    counts = Counter(balancer.pick([1, 50, 7, 20], 5, 0.0) for _ in range(4000))
    assert counts == {0: 1000, 1: 1000, 2: 1000, 3: 1000}


def test_round_robin_passes_over_workers_without_credit() -> None:
    balancer = Balancer("round_robin")
    assert [balancer.pick([1, 0, 1], 5, 0.0) for _ in range(4)] == [0, 2, 0, 2]


def test_least_loaded_levels_the_credit_before_it_shares() -> None:
    for jobs, expected in ((6, {0: 6}), (10, {0: 8, 1: 2}), (15, {0: 10, 1: 4, 2: 1})):
        balancer, credits = Balancer("least_loaded"), [10, 4, 1]
        chosen = Counter[int]()
        for _ in range(jobs):
            worker = balancer.pick(credits, 5, 0.0)
            credits[worker] -= 1
            chosen[worker] += 1
        assert chosen == expected


def test_least_loaded_takes_equals_in_turn() -> None:
    balancer = Balancer("least_loaded")
    assert Counter(balancer.pick([3, 3, 3, 3], 5, 0.0) for _ in range(400)) == {0: 100, 1: 100, 2: 100, 3: 100}


def test_random_gives_each_worker_with_credit_the_same_chance() -> None:
    draw = random.Random(7).random
    balancer = Balancer("random")
    counts = Counter(balancer.pick([5, 0, 1, 90, 2], 5, draw()) for _ in range(8000))
    assert set(counts) == {0, 2, 3, 4}
    # Chi-square with 3 degrees of freedom: above 16.3 once in a thousand for a fair choice.
    assert sum((count - 2000) ** 2 / 2000 for count in counts.values()) < 16.3


def test_priority_sends_urgent_jobs_to_most_credit_and_the_others_in_turn() -> None:
    balancer, credits = Balancer("priority"), [2, 9, 4]
    urgent = Counter(balancer.pick(credits, priority, 0.0) for priority in range(URGENT_PRIORITY, 11) for _ in range(100))
    others = Counter(balancer.pick(credits, priority, 0.0) for priority in range(1, URGENT_PRIORITY) for _ in range(300))
    assert urgent == {1: 300}
    assert others == {0: 700, 1: 700, 2: 700}


def test_unknown_strategy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="must be one of round_robin, least_loaded, random, priority"):
        Balancer("fastest")
