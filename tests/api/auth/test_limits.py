"""Limits on guessing passwords, with a clock that the test moves."""

from __future__ import annotations

import resource

import pytest

from zjp.api.auth.limits import (
    ACCOUNTS_MAX,
    ADDRESS_MAX,
    ADDRESSES_MAX,
    FRIENDS_MAX,
    STRANGERS_MAX,
    LoginLimits,
    TooMany,
    source_of,
)

pytestmark = pytest.mark.covers("http:login-limits")

HOME, EVIL = "192.0.2.1", "203.0.113.9"


def tries(limits: LoginLimits, name: str, address: str, now: float) -> bool:
    try:
        limits.begin(name, address, now)
    except TooMany:
        return False
    return True


def test_ten_thousand_guesses_in_ten_minutes_reach_a_hash_ten_times_at_most() -> None:
    limits = LoginLimits()
    assert sum(tries(limits, "ann", EVIL, 1000 + number * 0.06) for number in range(10_000)) <= STRANGERS_MAX


def test_the_same_from_ten_thousand_addresses() -> None:
    limits = LoginLimits()
    limits.begin("ann", HOME, 0).succeeded(0)
    guesses = (
        (f"10.{number >> 8}.{number & 255}.1" if number % 2 else HOME, 1000 + number * 0.06) for number in range(10_000)
    )
    assert sum(tries(limits, "ann", address, now) for address, now in guesses) == STRANGERS_MAX + FRIENDS_MAX == 10


def test_limit_holds_over_every_quarter_of_an_hour_of_a_long_attack() -> None:
    limits = LoginLimits()
    reached = [
        now for now in (number * 1.7 for number in range(5000)) if tries(limits, "ann", f"10.0.{int(now) % 250}.1", now)
    ]
    assert len(reached) > 2 * STRANGERS_MAX, "it goes on being possible"
    assert all(sum(begin <= at < begin + 900 for at in reached) <= STRANGERS_MAX for begin in reached)


def test_pauses_grow_with_each_failure() -> None:
    limits, now, pauses = LoginLimits(), 0.0, []
    for _ in range(STRANGERS_MAX):
        try:
            limits.begin("ann", EVIL, now)
            pauses.append(0.0)
        except TooMany as refused:
            pauses.append(refused.wait_s)
            now += refused.wait_s
            limits.begin("ann", EVIL, now)
    assert pauses == [0, 0, 0, 1, 2, 4, 8]


def test_many_at_once_are_no_way_around() -> None:
    limits = LoginLimits()
    assert sum(tries(limits, "ann", EVIL, 5.0) for _ in range(1000)) <= STRANGERS_MAX


def test_owner_gets_in_from_where_it_was_before_while_others_guess() -> None:
    limits = LoginLimits()
    limits.begin("ann", HOME, 0).succeeded(0)
    for number in range(20_000):
        tries(limits, "ann", f"10.{number >> 8}.{number & 255}.1", number * 0.1)
        if number % 1000 == 0:
            limits.begin("ann", HOME, number * 0.1).succeeded(number * 0.1)


def test_owner_at_a_new_place_gets_in_once_the_guessing_has_ended() -> None:
    limits = LoginLimits()
    for number in range(1000):
        tries(limits, "ann", EVIL, float(number))
    assert not tries(limits, "ann", HOME, 1000.0)
    assert tries(limits, "ann", HOME, 1000.0 + 900)


def test_owner_who_mistypes_has_all_tries_before_and_after_a_login() -> None:
    limits = LoginLimits()
    limits.begin("ann", HOME, 0).succeeded(0)
    assert sum(tries(limits, "ann", HOME, now) for now in range(0, 300, 30)) == FRIENDS_MAX + STRANGERS_MAX


def test_right_passwords_do_not_count() -> None:
    limits = LoginLimits()
    for number in range(1000):
        limits.begin("ann", HOME, number * 0.01).succeeded(number * 0.01)


def test_what_was_not_looked_at_does_not_count() -> None:
    limits = LoginLimits()
    for number in range(100):
        limits.begin("ann", HOME, number * 0.01).withdraw()


def test_address_has_thirty_failures_an_hour_over_all_accounts() -> None:
    limits = LoginLimits()
    assert sum(tries(limits, f"user{number}", EVIL, float(number)) for number in range(3000)) == ADDRESS_MAX
    assert tries(limits, "user0", HOME, 3000.0)
    assert tries(limits, "someone", EVIL, 3700.0)


def test_friend_behind_the_same_address_as_an_attacker_gets_in() -> None:
    limits = LoginLimits()
    limits.begin("ann", EVIL, 0).succeeded(0)
    for number in range(100):
        tries(limits, f"user{number}", EVIL, float(number))
    assert tries(limits, "ann", EVIL, 100.0)
    assert not tries(limits, "wim", EVIL, 100.0)


def test_changed_password_makes_friends_strangers() -> None:
    limits = LoginLimits()
    limits.begin("ann", HOME, 0).succeeded(0)
    limits.forget("ann")
    assert sum(tries(limits, "ann", HOME, now) for now in range(0, 300, 30)) == STRANGERS_MAX


def test_addresses_of_one_network_count_as_one() -> None:
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:2") == "2001:db8::/64"
    assert source_of("2001:db8:0:1::1") != source_of("2001:db8::1")
    assert source_of("::ffff:192.0.2.1") == source_of("192.0.2.1") == "192.0.2.1"
    assert source_of("fe80::1%eth0") == "fe80::/64"
    assert source_of("") == ""
    assert len(source_of("x" * 10_000)) == 64


@pytest.mark.parametrize("count", [60_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_spoofed_addresses_and_names_without_end_take_little_memory(count: int) -> None:
    limits = LoginLimits()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert all(tries(limits, f"user{number}", f"10.{number}", number * 0.05) for number in range(count)), (
        "no faster than hashing is"
    )
    assert limits.sizes == (18_000, 0, ADDRESSES_MAX, 0)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 <= 20


def test_flood_of_names_makes_no_guess_free() -> None:
    """With the table full of other accounts a further one shares a count with all that do not fit."""
    limits = LoginLimits()
    for number in range(ACCOUNTS_MAX):
        assert tries(limits, f"user{number}", f"10.{number}", number * 0.001)
    assert sum(tries(limits, f"new{number}", f"11.{number}", 25.0 + number) for number in range(100)) == STRANGERS_MAX
    assert (
        sum(tries(limits, "user1", f"12.{number}", 25.0 + number * 10) for number in range(50)) == STRANGERS_MAX - 1
    ), "it is held"
    assert tries(limits, "late", "12.2", 25.0 + 2000), "and all ends with the flood"
