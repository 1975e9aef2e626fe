"""Types that nobody serves: how long jobs of them wait, whatever their number."""

from __future__ import annotations

import pytest

from zjp.node.unserved import UNSERVED_DELAY_S, UNSERVED_GRACE_S, UNSERVED_TYPES_MAX, Unserved, words_of

pytestmark = pytest.mark.covers("main-path:8")


def test_the_first_job_of_a_type_is_told_as_such_and_comes_again_soon() -> None:
    unserved = Unserved()
    assert unserved.seen("email", "default", 100.0) == (UNSERVED_DELAY_S[0], True)
    assert unserved.seen("email", "default", 100.0) == (UNSERVED_DELAY_S[0], False)


def test_jobs_come_back_ever_more_rarely_and_fail_after_the_grace_time() -> None:
    unserved, now, delays = Unserved(), 0.0, []
    while (delay_s := unserved.seen("email", "default", now)[0]) is not None:
        delays.append(delay_s)
        now += delay_s
    assert delays == sorted(delays)
    assert max(delays) <= UNSERVED_DELAY_S[1]
    assert UNSERVED_GRACE_S <= now <= UNSERVED_GRACE_S + UNSERVED_DELAY_S[1]


def test_any_number_of_jobs_of_one_type_fail_in_time() -> None:
    unserved = Unserved()
    for number in range(200_000):
        unserved.seen("email", "default", number * UNSERVED_GRACE_S / 200_000)
    assert unserved.seen("email", "default", UNSERVED_GRACE_S) == (None, False)


def test_a_type_that_nobody_asked_for_meanwhile_has_all_its_time_again() -> None:
    unserved = Unserved()
    unserved.seen("email", "default", 0.0)
    assert unserved.seen("email", "default", 2 * UNSERVED_GRACE_S) == (UNSERVED_DELAY_S[0], True)


def test_a_type_that_was_served_meanwhile_has_all_its_time_again() -> None:
    unserved = Unserved()
    for now in range(0, int(UNSERVED_GRACE_S), 10):
        unserved.seen("email", "default", float(now))
    unserved.now_served(["email", "other"])
    assert unserved.seen("email", "default", UNSERVED_GRACE_S) == (UNSERVED_DELAY_S[0], True)


def test_a_node_that_serves_the_type_and_not_the_queue_is_none_that_serves_it() -> None:
    """Fails on a model that goes by types alone: the job was put off for ever, as that node never gets it."""
    unserved = Unserved()
    told = [*words_of(["email", "sms"], {"mails": 1, "others": 2}), *words_of(["sms"], {"*": 1, "mails": 5})]
    assert told == ["email\tmails\tothers", "sms\tmails\tothers", "sms"]
    for now in range(0, int(UNSERVED_GRACE_S), 10):
        for task, queue in (("email", "default"), ("email", "others"), ("sms", "default")):
            unserved.seen(task, queue, float(now))
        unserved.now_served(told)
    assert unserved.seen("email", "default", UNSERVED_GRACE_S) == (None, False)
    assert unserved.seen("email", "others", UNSERVED_GRACE_S)[0] == UNSERVED_DELAY_S[0]
    assert unserved.seen("sms", "default", UNSERVED_GRACE_S)[0] == UNSERVED_DELAY_S[0]


def test_a_type_that_another_node_serves_is_told_once_in_the_grace_time() -> None:
    """Fails on a model that tells it whenever it is new: a warning each second, for as long as such jobs come."""
    unserved, told = Unserved(), 0
    for now in range(int(2 * UNSERVED_GRACE_S)):
        delay_s, is_new = unserved.seen("email", "default", float(now))
        told += is_new
        assert delay_s == UNSERVED_DELAY_S[0]
        unserved.now_served(["email"])
    assert told == 2


def test_types_beyond_the_bound_share_a_time_and_fail_as_well() -> None:
    unserved = Unserved()
    for now in range(0, int(UNSERVED_GRACE_S), 10):
        for number in range(UNSERVED_TYPES_MAX + 50):
            unserved.seen(f"type-{number}", "default", float(now))
    assert len(unserved._times) <= UNSERVED_TYPES_MAX + 1
    assert unserved.seen(f"type-{UNSERVED_TYPES_MAX + 49}", "default", UNSERVED_GRACE_S) == (None, False)
    assert unserved.seen("type-0", "default", UNSERVED_GRACE_S) == (None, False)


def test_types_that_nobody_asks_for_any_more_make_room() -> None:
    unserved = Unserved()
    for number in range(UNSERVED_TYPES_MAX):
        unserved.seen(f"old-{number}", "default", 0.0)
    unserved.seen("new", "default", 2 * UNSERVED_GRACE_S)
    assert set(unserved._times) == {("new", "default")}
