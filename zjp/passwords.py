"""Passwords: argon2id hashes, made and checked, and which passwords are refused. Knows nothing of users, limits or threads.

A hash is argon2's own text, `$argon2id$v=19$m=...,t=...,p=...$salt$hash`: the parameters with which it was made stand in it and are those
with which it is checked, so they can be raised without anybody's password getting lost. `is_weak` then tells which ones to make anew, at
the next login, when the password is at hand.

One check takes tens of milliseconds and 19 MiB on purpose. Whoever runs it does so in a thread and bounds how many run at once.

Source: RFC 9106; OWASP Password Storage Cheat Sheet (argon2id: 19 MiB, t=2, p=1).
"""

from __future__ import annotations

import unicodedata

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError

MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
SALT_BYTES, HASH_BYTES = 16, 32
MEMORY_KIB_MAX, PASSES_MAX, LANES_MAX = 256 * 1024, 16, 8
"""Of a hash that is checked: whoever may write to the store must not be able to have us spend a machine's memory on one login."""
LENGTH_MIN, LENGTH_MAX = 8, 1024
"""In bytes of UTF-8. The upper one bounds the work; no phrase that a person types is as long."""

NOBODYS = f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${'A' * 22}${'A' * 43}"
"""A hash of no known password. Checked where there is no user, so that a wrong name takes as long as a wrong password."""

_COMMONEST = (
    "password password1 password12 password123 password! passw0rd p@ssw0rd p@ssword p@ssw0rd1 pa$$word 12345678 123456789 "
    "1234567890 87654321 987654321 0987654321 11111111 00000000 88888888 12341234 11223344 12344321 123123123 1q2w3e4r 1q2w3e4r5t "
    "1qaz2wsx qwertyui qwertyuiop qwerty12 qwerty123 qwerty1234 asdfghjk asdfghjkl zxcvbnm1 abcd1234 abc12345 abcdefgh aa123456 "
    "a1234567 a12345678 iloveyou iloveyou1 sunshine princess football baseball superman starwars whatever trustno1 letmein1 "
    "letmein123 welcome1 welcome123 changeme change-me changeme1 changeme123 admin123 admin1234 admin12345 administrator "
    "adminadmin root1234 rootroot user1234 user12345 test1234 testtest guest123 default1 secret12 secret123 computer internet "
    "jennifer michelle michael1 samantha corvette maverick passport mustang1 "
)
COMMONEST = frozenset(_COMMONEST.split())
"""Those of 8 characters and more that every list of guesses begins with."""

_HASHER = PasswordHasher(PASSES, MEMORY_KIB, LANES, HASH_BYTES, SALT_BYTES, type=Type.ID)


def make(password: str) -> str:
    """A hash with a new salt. Takes as long as a check."""
    return _HASHER.hash(_plain(password))


def check(kept: str, password: str) -> bool:
    """Whether it is the password of this hash. False, not an error, for a hash that is none or asks for too much."""
    if not _is_bearable(kept):
        return False
    try:
        return _HASHER.verify(kept, _plain(password))
    except (Argon2Error, InvalidHashError):
        return False


def is_weak(kept: str) -> bool:
    """Whether a hash that was just checked was made with less than is asked for today."""
    try:
        used = extract_parameters(kept)
    except InvalidHashError:
        return True
    return used.type is not Type.ID or used.memory_cost < MEMORY_KIB or used.time_cost < PASSES


def check_strength(name: str, password: str) -> None:
    """Raises: ValueError with what to do, when it may not become the password of the user `name`."""
    length = len(_plain(password))
    if not LENGTH_MIN <= length <= LENGTH_MAX:
        raise ValueError(f"the password has {length} bytes; accepted are {LENGTH_MIN} to {LENGTH_MAX}")
    folded = unicodedata.normalize("NFKC", password).casefold()
    if folded in COMMONEST or len(set(folded)) == 1:
        raise ValueError("the password is among the first that everybody tries; choose another")
    if folded == name.casefold():
        raise ValueError("the password is the user's name; choose another")


def _plain(password: str) -> bytes:
    """The same bytes however a keyboard composes an accented letter."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _is_bearable(kept: str) -> bool:
    try:
        used = extract_parameters(kept)
    except InvalidHashError:
        return False
    return used.memory_cost <= MEMORY_KIB_MAX and used.time_cost <= PASSES_MAX and used.parallelism <= LANES_MAX
