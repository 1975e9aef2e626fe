"""What is said of a backlog follows from its samples."""

from __future__ import annotations

import pytest

from sims.lines import Ack, Lease, Line, Submit
from tests.chaos.steady.backlog import NS, Sample, back_within, level_before, recoveries
from tests.chaos.steady.figures import ALL, BEFORE, MEANWHILE, answers, delays
from tests.chaos.steady.load import Asked

pytestmark = pytest.mark.covers("cluster:load")

RATE = 100.0
"""Of which a quarter of a second is 25 jobs."""


def at(seconds: float) -> int:
    return round(seconds * NS)


def course(*waiting: int) -> list[Sample]:
    """A sample each second from 0 on."""
    return [Sample(at(second), count) for second, count in enumerate(waiting)]


def test_level_is_never_less_than_what_comes_in_a_quarter_of_a_second() -> None:
    assert level_before(course(0, 1, 0), at(2), RATE) == 25.0
    assert level_before(course(100, 100, 100), at(2), RATE) == 100.0


def test_backlog_that_stays_within_its_level_is_back_at_once() -> None:
    (found,) = recoveries(course(0, 0, 20, 0), [at(1.5)], at(3), RATE)
    assert (found.back_s, found.peak) == (0.0, 20)


def test_backlog_is_back_after_the_last_moment_above_its_level() -> None:
    (found,) = recoveries(course(0, 0, 90, 0, 50, 0, 0), [at(1.5)], at(6), RATE)
    assert found.back_s == pytest.approx(2.6)
    assert found.is_later_than(2.0)
    assert not found.is_later_than(3.0)


def test_backlog_that_is_not_back_by_the_next_fault_is_late_only_when_the_limit_has_passed() -> None:
    first, second = recoveries(course(0, 0, 90, 90, 90, 0, 0), [at(1.5), at(4.5)], at(6), RATE)
    assert first.back_s is None
    assert first.is_later_than(2.0)
    assert not first.is_later_than(5.0)
    assert second.back_s == 0.0


def test_outbox_is_back_when_it_is_first_within_its_level() -> None:
    samples = [Sample(at(second), 0, 0, outbox) for second, outbox in enumerate((900, 500, 20, 30, 10))]
    assert back_within(samples, at(0.5), 25.0, lambda one: one.outbox) == pytest.approx(1.5)
    assert back_within(samples, at(0.5), 5.0, lambda one: one.outbox) is None


def life_of(job: str, asked: float, acked: float, claimed: float, ended: float) -> list[Line]:
    return [
        Submit(t=at(asked), p="c", type="invoke", key=job),
        Submit(t=at(acked), p="c", type="ok", key=job, job=job),
        Lease(t=at(claimed), p="n", type="ok", job=job, fence=1),
        Ack(t=at(ended), p="n", type="ok", job=job, fence=1),
    ]


def test_delays_belong_to_the_time_of_the_acknowledgement() -> None:
    lines = sorted([*life_of("a", 1.0, 1.1, 1.05, 1.3), *life_of("b", 5.0, 5.5, 6.5, 7.5)], key=lambda line: line.t)
    found = delays(lines, (at(5.2), at(9.0)))
    assert [list(times.seconds) for times in (found[BEFORE].submits, found[BEFORE].starts)] == [[pytest.approx(0.1)], [0.0]]
    assert [list(times.seconds) for times in (found[MEANWHILE].starts, found[MEANWHILE].ends)] == [[1.0], [2.0]]
    assert delays(lines, None)[ALL].submits.count == 2


def test_only_questions_for_jobs_of_the_outage_asked_within_it_count() -> None:
    def asked(acked: float, t: float, said: str = "ok") -> Asked:
        return Asked(at(t), at(acked), at(0.5), "j", said)

    found = answers([asked(1, 12), asked(11, 12), asked(11, 13, "NotFound"), asked(11, 19.8), asked(11, 20.5)], (at(10), at(20)))
    assert (found.asked, found.faults) == (3, ["j: NotFound"])
