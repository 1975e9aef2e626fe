from __future__ import annotations

import pytest

from zjp.worker.credit import HELD_MAX, LARGE_BYTES, PREFETCH_US, Credit, cost_of_large
from zjp.worker.settings import spread

pytestmark = pytest.mark.covers("main-path:7")


def test_a_type_never_seen_takes_a_whole_slot() -> None:
    credit = Credit(slots=5)
    assert credit.costs_us.get("new", PREFETCH_US) == PREFETCH_US
    assert credit.jobs_for(5 * PREFETCH_US) == 5


def test_a_long_type_takes_a_whole_slot_and_no_more() -> None:
    credit = Credit(slots=1)
    credit.learn("long", 60_000_000, 1)
    assert credit.costs_us["long"] == PREFETCH_US


@pytest.mark.parametrize("slots", [1, 3, 5, 50])
def test_the_shortest_jobs_are_held_by_the_hundred_and_never_above_the_limit(slots: int) -> None:
    credit = Credit(slots)
    credit.learn("short", 0, 100)
    held = slots * PREFETCH_US / credit.costs_us["short"]
    assert HELD_MAX * 0.95 <= held <= HELD_MAX


def test_prefetch_is_bounded_by_the_time_the_type_takes() -> None:
    credit = Credit(slots=1)
    credit.learn("two_ms", 20_000, 10)
    assert PREFETCH_US // credit.costs_us["two_ms"] == 10


def test_the_average_follows_a_change_within_a_batch() -> None:
    credit = Credit(slots=1)
    credit.learn("type", 100 * 100, 100)
    credit.learn("type", 100 * 5_000, 100)
    assert 4_000 < credit.costs_us["type"] <= 5_000


def test_one_slow_job_among_many_short_ones_moves_the_average_little() -> None:
    credit = Credit(slots=1)
    credit.learn("type", 100 * 1_000, 1_000)
    credit.learn("type", 5_000, 1)
    assert credit.costs_us["type"] < 1_000


def test_credit_follows_the_mix_that_is_handed_out() -> None:
    credit = Credit(slots=1)
    credit.learn_mix(400 * 100, 400)
    assert credit.jobs_for(PREFETCH_US) > 30
    credit.learn_mix(PREFETCH_US * 400, 400)
    assert credit.jobs_for(PREFETCH_US) == 1


def test_there_is_no_credit_without_room_and_at_least_one_with() -> None:
    credit = Credit(slots=1)
    assert [credit.jobs_for(room) for room in (-5, 0, 1)] == [0, 0, 1]


def test_slots_are_spread_evenly_over_the_processes() -> None:
    assert spread(10, 2) == [5, 5]
    assert spread(10, 3) == [4, 3, 3]
    assert spread(2, 2) == [1, 1]


def test_large_payloads_are_weighed_so_that_few_of_them_are_held() -> None:
    assert cost_of_large(40, 1 << 20) == 4096
    assert cost_of_large(9_000, 1 << 20) == 9_000
    assert cost_of_large(40, 1 << 30) == PREFETCH_US
    assert cost_of_large(40, LARGE_BYTES + 1) == 40, "no jump at the border"


def test_a_run_time_below_nothing_is_taken_for_nothing() -> None:
    credit = Credit(slots=1)
    credit.learn("type", 5_000, 1)
    credit.learn("type", -3_600_000_000, 1)
    assert 0 <= (credit.run_us("type") or 0) <= 5_000
    credit.learn("type", 5_000, 1)
    assert credit.costs_us["type"] > 1_000, "it has not to make up for it"
