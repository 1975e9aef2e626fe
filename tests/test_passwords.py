"""Passwords: argon2id with the parameters that are promised, checked with those that stand in the hash."""

from __future__ import annotations

import unicodedata

import pytest
from argon2 import PasswordHasher, Type
from hypothesis import given
from hypothesis import strategies as st

from zjp import passwords

pytestmark = pytest.mark.covers("http:passwords")

RIGHT = "correct horse battery"
HASH = passwords.make(RIGHT)


def cheap(**more: int) -> str:
    return PasswordHasher(**{"time_cost": 1, "memory_cost": 64, "parallelism": 1, **more}).hash(RIGHT)


def test_hash_is_argon2id_with_nineteen_mebibytes_two_passes_one_lane() -> None:
    assert HASH.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_right_password_is_told_from_wrong_ones() -> None:
    assert passwords.check(HASH, RIGHT)
    assert not any(passwords.check(HASH, wrong) for wrong in ("", RIGHT + " ", RIGHT.upper(), HASH))


def test_same_password_has_another_hash_each_time() -> None:
    assert passwords.make(RIGHT) != HASH


def test_older_hash_is_checked_with_its_own_parameters_and_called_weak() -> None:
    assert passwords.check(cheap(), RIGHT)
    assert passwords.is_weak(cheap())
    assert passwords.is_weak(PasswordHasher(2, 19456, 1, type=Type.I).hash(RIGHT))
    assert passwords.is_weak("none at all")
    assert not passwords.is_weak(HASH)


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "plain",
        "$argon2id$",
        "$argon2id$v=19$m=19456,t=2,p=1$AAAA",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=4194304,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
        "$argon2id$v=19$m=64,t=4000000,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
        "$argon2id$v=19$m=8192,t=1,p=1024$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
    ],
)
def test_what_is_no_hash_or_asks_for_too_much_lets_nobody_in(kept: str) -> None:
    assert not passwords.check(kept, RIGHT)


def test_hash_of_nobody_has_todays_cost_and_no_password() -> None:
    assert not passwords.is_weak(passwords.NOBODYS)
    assert passwords.NOBODYS.split("$")[:4] == HASH.split("$")[:4]
    assert not passwords.check(passwords.NOBODYS, "")


def test_accents_count_the_same_however_they_are_typed() -> None:
    kept = PasswordHasher(1, 64, 1).hash(unicodedata.normalize("NFC", "pässwörd"))
    assert passwords.check(kept, unicodedata.normalize("NFD", "pässwörd"))


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("short", "5 bytes; accepted are 8 to 1024"),
        ("x" * 1025, "1025 bytes"),
        ("password", "among the first"),
        ("PassWord123", "among the first"),
        ("ｐａｓｓｗｏｒｄ", "among the first"),
        ("zzzzzzzzzzzz", "among the first"),
        ("Miriam.Weber", "is the user's name"),
    ],
)
def test_password_that_is_refused_is_told_why(password: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        passwords.check_strength("miriam.weber", password)


@pytest.mark.parametrize("password", ["tulip-rain", "ünïcödé!", "x" * 1023 + "y", "four words are fine"])
def test_any_other_password_is_taken(password: str) -> None:
    passwords.check_strength("miriam", password)


@given(st.text(max_size=40))
def test_nothing_that_is_stored_or_typed_breaks_a_check(text: str) -> None:
    assert not passwords.check(text, text)
    passwords.is_weak(text)
