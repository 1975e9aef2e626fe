"""Dev users, and what is kept of tokens that were ended."""

from __future__ import annotations

import pytest

from tests.api.auth.people import NOW, PASSWORD, Clock, House, People
from zjp.api.auth.dev import DEV_USERS
from zjp.api.auth.door import make_door, ring_of
from zjp.api.auth.revoked import REVOKED_MAX, Revoked
from zjp.client.asyncio import AsyncClient
from zjp.config import Settings
from zjp.errors import ConfigError
from zjp.tokens import Claims
from zjp.wire.desk import PutUser, RemoveUser

pytestmark = pytest.mark.covers("http:auth", "settings:AUTH_DEV_USERS", "settings:AUTH_ENABLED")


async def test_dev_users_are_made_once_with_the_promised_names_and_passwords(clock: Clock) -> None:
    house = House(People(), clock, auth_dev_users=True)
    for name, role, password in (
        ("admin", "admin", "admin123"),
        ("user", "user", "user123"),
        ("worker", "worker", "worker123"),
    ):
        user = await house.door.login.user(name, password, "127.0.0.1")
        assert user is not None
        assert (user.role, user.is_dev) == (role, True)
    again = House(house.people, clock, auth_dev_users=True)
    assert await again.door.login.user("admin", "admin123", "127.0.0.1")
    assert sum(isinstance(request, PutUser) for _, request in house.people.voices) == len(DEV_USERS)


async def test_somebodys_own_admin_is_left_alone(people: People, clock: Clock) -> None:
    people.add("admin", "admin")
    house = House(people, clock, auth_dev_users=True)
    assert await house.door.login.user("admin", "admin123", "127.0.0.1") is None
    assert await house.door.login.user("admin", PASSWORD, "127.0.0.1")


async def test_dev_users_are_removed_when_the_setting_is_off(people: People, clock: Clock) -> None:
    before = House(people, clock, auth_dev_users=True)
    assert await before.door.login.user("user", "user123", "127.0.0.1")
    house = House(people, clock)
    assert await house.door.login.user("user", "user123", "127.0.0.1") is None
    assert sorted(people.users) == ["ann", "root", "wim"]
    assert sum(isinstance(request, RemoveUser) for _, request in people.voices) == len(DEV_USERS)


async def test_dev_admin_that_cannot_be_removed_does_not_count(clock: Clock) -> None:
    people = People()
    before = House(people, clock, auth_dev_users=True)
    assert await before.door.login.user("admin", "admin123", "127.0.0.1")
    token = before.token("admin", "admin")
    house = House(people, clock)
    assert await house.door.login.user("admin", "admin123", "127.0.0.1") is None
    assert "admin" in people.users, "the last admin stays"
    with pytest.raises(Exception, match="401"):
        await house.door.caller({"authorization": f"Bearer {token}"}, "GET", "127.0.0.1")


def test_there_is_no_door_with_tokens_while_auth_is_off_and_none_without_a_secret(people: People) -> None:
    client = AsyncClient(_door=people)
    assert make_door(Settings(), client) is None
    assert make_door(Settings(auth_enabled="false", server_host="0.0.0.0"), client) is None
    for settings in (Settings(server_host="0.0.0.0"), Settings(auth_enabled="true")):
        with pytest.raises(ConfigError, match="JWT_SECRET: there is no secret that signs tokens"):
            make_door(settings, client)
    with pytest.raises(ConfigError, match="16 bytes"):
        ring_of(Settings(jwt_secret="0123456789abcdef"))


def test_ended_tokens_are_kept_until_they_would_have_expired_and_no_longer() -> None:
    revoked = Revoked()
    short, long = (
        Claims("ann", "user", 1, name, int(NOW), int(NOW) + life_s) for name, life_s in (("short", 10), ("long", 100))
    )
    revoked.add(short, NOW)
    revoked.add(short, NOW)
    revoked.add(long, NOW)
    assert (short in revoked, long in revoked, len(revoked)) == (True, True, 2)
    revoked.add(Claims("ann", "user", 1, "third", int(NOW), int(NOW) + 100), NOW + 11)
    assert (short in revoked, long in revoked, len(revoked)) == (False, True, 2)


def test_ended_tokens_have_a_bound_and_the_first_to_expire_goes() -> None:
    revoked = Revoked()
    for number in range(REVOKED_MAX + 1):
        revoked.add(Claims("ann", "user", 1, f"t{number}", int(NOW), int(NOW) + 1000 + number), NOW)
    assert len(revoked) == REVOKED_MAX
    assert Claims("ann", "user", 1, "t0", int(NOW), int(NOW) + 1000) not in revoked
