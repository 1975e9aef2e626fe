"""Retry-After: what is known of an outage, and of the queue before the hashing."""

from __future__ import annotations

import asyncio
import threading

import pytest

from zjp.api.auth.hashing import THREADS, WAITING_MAX, Hashing
from zjp.api.patience import AGAIN_S_MAX, FORGET_S, Patience
from zjp.api.table import Problem

pytestmark = pytest.mark.covers("http:problems")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def asked_over(patience: Patience, clock: Clock, *seconds: float, code: str = "store-unavailable") -> list[int | None]:
    """At those seconds of an outage that begins now."""
    began, told = clock.now, []
    for second in seconds:
        clock.now = began + second
        told.append(patience.after_s(code))
    return told


def test_the_longer_an_outage_the_later_one_is_asked_to_come_again() -> None:
    clock = Clock()
    assert asked_over(Patience(clock), clock, 0, 1, 4, 9, 30, 50, 70, 100) == [1, 1, 2, 4, 15, 25, AGAIN_S_MAX, AGAIN_S_MAX]


def test_outage_is_over_when_a_submit_succeeds_or_nobody_met_it_for_a_while() -> None:
    clock = Clock()
    patience = Patience(clock)
    assert asked_over(patience, clock, 0, 20, code="unreachable") == [1, 10]
    patience.worked()
    assert asked_over(patience, clock, 0, 20) == [1, 10]
    clock.now += FORGET_S + 1
    assert patience.after_s("store-unavailable") == 1


def test_of_other_refusals_nothing_is_known() -> None:
    patience = Patience()
    assert [patience.after_s(code) for code in ("draining", "store-full", "too-many", "invalid")] == [None] * 4


async def test_login_that_finds_the_queue_full_is_told_how_long_the_queue_takes() -> None:
    hashing, go = Hashing(), threading.Event()
    hashing._one_s = 2.0  # measured before
    waiting = [asyncio.ensure_future(hashing._run(lambda: go.wait(20))) for _ in range(THREADS + WAITING_MAX)]
    try:
        while hashing._under_way < THREADS + WAITING_MAX:  # noqa: ASYNC110 (each begins in a turn of its own)
            await asyncio.sleep(0)
        with pytest.raises(Problem) as refused:
            hashing.check_room()
        assert refused.value.headers == {"Retry-After": str(int((THREADS + WAITING_MAX) * 2.0 / THREADS))}
    finally:
        go.set()
        await asyncio.gather(*waiting)
    assert hashing._one_s < 2.0, "and measures what they really take"
    hashing.close()
