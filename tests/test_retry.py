"""Retry delays: growth, cap and jitter as laws over all policies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zjp.errors import InvalidJob
from zjp.retry import RetryPolicy

pytestmark = pytest.mark.covers("main-path:4")

uniforms = st.floats(0, 1, exclude_max=True)
retry_counts = st.integers(0, 2000)


@st.composite
def policies(draw: st.DrawFn) -> RetryPolicy:
    max_s = draw(st.floats(0, 1e6))
    return RetryPolicy(
        kind=draw(st.sampled_from(["fixed", "exponential"])),
        base_s=draw(st.floats(0, max_s)),
        max_s=max_s,
        multiplier=draw(st.floats(1, 1000)),
        jitter_factor=draw(st.floats(0, 1)),
    )


@pytest.mark.covers("settings:RETRY_MAX_DELAY")
@given(policies(), retry_counts, uniforms)
def test_delay_is_never_negative_and_the_cap_holds_after_the_jitter(
    policy: RetryPolicy, retry_count: int, uniform: float
) -> None:
    assert 0 <= policy.delay_s(retry_count, uniform) <= policy.max_s


@given(policies(), retry_counts, retry_counts, uniforms)
def test_delay_never_falls_with_the_retry_count(policy: RetryPolicy, first: int, second: int, uniform: float) -> None:
    fewer, more = sorted((first, second))
    assert policy.delay_s(fewer, uniform) <= policy.delay_s(more, uniform)


@given(policies(), retry_counts, uniforms)
def test_jitter_stays_within_its_share_of_the_plain_delay(policy: RetryPolicy, retry_count: int, uniform: float) -> None:
    plain = policy.delay_s(retry_count, 0.5)
    assert abs(policy.delay_s(retry_count, uniform) - plain) <= plain * policy.jitter_factor + 1e-6


@pytest.mark.covers("settings:RETRY_MULTIPLIER", "settings:RETRY_BASE_DELAY")
def test_default_policy_doubles_from_one_second_to_a_minute() -> None:
    policy = RetryPolicy(jitter_factor=0)
    assert [policy.delay_s(count, 0.9) for count in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.covers("settings:RETRY_POLICY")
def test_fixed_policy_waits_the_same_each_time() -> None:
    policy = RetryPolicy(kind="fixed", base_s=5, jitter_factor=0)
    assert {policy.delay_s(count, 0.1) for count in range(50)} == {5.0}


@pytest.mark.covers("settings:RETRY_JITTER_FACTOR")
def test_jitter_spreads_evenly_both_ways_and_also_at_the_cap() -> None:
    policy = RetryPolicy(base_s=10, max_s=60, jitter_factor=0.1)
    draws = [index / 1000 for index in range(1000)]
    early, capped = ([policy.delay_s(count, draw) for draw in draws] for count in (0, 20))
    assert [min(early), max(early)] == pytest.approx([9, 11], abs=0.01)
    assert [min(capped), max(capped)] == pytest.approx([49.1, 60], abs=0.1)
    assert len({round(delay, 3) for delay in capped}) > 900


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"kind": "linear"}, "must be fixed or exponential"),
        ({"base_s": -1}, "base_s is -1, it must be 0 to"),
        ({"max_s": float("nan")}, "max_s is nan"),
        ({"base_s": 61}, "above max_s 60.0; raise max_s as well"),
        ({"multiplier": 0.5}, "multiplier is 0.5, it must be 1 to 1000"),
        ({"jitter_factor": 1.1}, "jitter_factor is 1.1, it must be 0 to 1"),
    ],
)
def test_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidJob, match=reason):
        RetryPolicy(**wrong)
