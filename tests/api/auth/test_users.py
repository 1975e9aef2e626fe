"""Dev users, and what is kept of tokens that were ended."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from tests.api.auth.asking import Asking
from tests.api.auth.people import NOW, PASSWORD, SECRET, Clock, House, People
from tests.test_tokens import pem
from zjp.api.auth.dev import DEV_USERS
from zjp.api.auth.door import make_door, ring_of
from zjp.api.auth.revoked import LOOK_S, REVOKED_MAX, Revoked
from zjp.api.routes.login import grant
from zjp.client.asyncio import AsyncClient
from zjp.config import Settings, load
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


def claims(name: str, life_s: int) -> Claims:
    return Claims("ann", "user", 1, name, int(NOW), int(NOW) + life_s)


def test_ended_tokens_are_kept_until_they_would_have_expired_and_no_longer() -> None:
    revoked = Revoked()
    for name, life_s in (("short", 10), ("short", 10), ("long", 100)):
        revoked.add(name, int(NOW) + life_s, NOW)
    assert (claims("short", 10) in revoked, claims("long", 100) in revoked, len(revoked)) == (True, True, 2)
    revoked.add("third", int(NOW) + 100, NOW + 11)
    assert (claims("short", 10) in revoked, claims("long", 100) in revoked, len(revoked)) == (False, True, 2)


def test_ended_tokens_have_a_bound_and_the_first_to_expire_goes() -> None:
    revoked = Revoked()
    for number in range(REVOKED_MAX + 1):
        revoked.add(f"t{number}", int(NOW) + 1000 + number, NOW)
    assert len(revoked) == REVOKED_MAX
    assert claims("t0", 1000) not in revoked


async def test_log_out_counts_at_other_doors_and_after_a_restart(house: House, people: People, clock: Clock) -> None:
    other = House(people, clock)
    token = house.token("ann")
    assert (await Asking(other.desk).get("/auth/me", token=token)).status_code == 200
    assert (await Asking(house.desk).post("/auth/logout", token=token)).status_code == 204
    clock.now += LOOK_S
    for door in (other, House(people, clock)):
        asking = Asking(door.desk)
        await asking.get("/auth/me", token=door.token("wim", jti="w1"))
        assert (await asking.get("/auth/me", token=token)).status_code == 401
        assert (await asking.get("/auth/me", token=door.token("ann", jti="other"))).status_code == 200


async def test_audit_that_cannot_be_read_keeps_nobody_waiting(house: House, people: People) -> None:
    people.has_no_events = True
    assert (await Asking(house.desk).get("/auth/me", token=house.token("ann"))).status_code == 200


@pytest.mark.covers("settings:JWT_KEY_FILE", "http:tokens")
async def test_key_file_signs_what_others_can_check_and_older_tokens_count_on(
    people: People, clock: Clock, tmp_path: Path
) -> None:
    before = House(people, clock)
    file = tmp_path / "key.pem"
    file.write_bytes(pem("-algorithm", "ed25519"))
    house = House(people, clock, jwt_key_file=file)
    asking = Asking(house.desk)
    token = (await asking.post("/auth/login", json={"username": "ann", "password": PASSWORD})).json()["token"]
    told = await asking.get("/.well-known/jwks.json")
    assert told.headers["content-type"] == "application/jwk-set+json"
    (shown,) = told.json()["keys"]
    assert jwt.decode(
        token,
        jwt.PyJWK(shown).key,
        algorithms=["EdDSA"],
        audience="zjp",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert (await asking.get("/auth/me", token=before.token("ann"))).status_code == 200, "JWT_SECRET is still there"
    alone = House(people, clock, jwt_key_file=file, jwt_secret=None)
    assert (await Asking(alone.desk).get("/auth/me", token=token)).status_code == 200
    assert (await Asking(alone.desk).get("/auth/me", token=before.token("ann"))).status_code == 401
    assert (await Asking(before.desk).get("/.well-known/jwks.json")).json() == {"keys": []}


@pytest.mark.covers("settings:JWT_KEY_FILE")
def test_key_file_that_is_none_stops_the_start(people: People, tmp_path: Path) -> None:
    for text, fault in ((None, "cannot be read: No such file"), ("no key", "no private key of Ed25519 or RSA")):
        file = tmp_path / "key.pem"
        if text is not None:
            file.write_text(text)
        with pytest.raises(ConfigError, match=rf"JWT_KEY_FILE.*{fault}"):
            ring_of(Settings(jwt_key_file=file))


@pytest.mark.covers("settings:JWT_TTL", "settings:JWT_ISSUER", "settings:JWT_AUDIENCE")
def test_life_issuer_and_audience_of_tokens_are_the_settings(people: People, clock: Clock) -> None:
    house = House(people, clock, jwt_ttl_s=90.0, jwt_issuer="here", jwt_audience="there")
    user = people.users["ann"]
    answer = grant(house.door, user, {}, as_cookie=False)
    said = jwt.decode(
        answer.body.token,
        SECRET,
        algorithms=["HS256"],
        audience="there",
        issuer="here",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert said["exp"] - said["iat"] == 90


@pytest.mark.covers("settings:JWT_KEY_FILE")
def test_key_file_stands_for_a_secret_when_it_can_be_read(tmp_path: Path) -> None:
    environ = {"SERVER_HOST": "0.0.0.0", "JWT_KEY_FILE": str(tmp_path / "key.pem")}
    with pytest.raises(ConfigError, match=r"JWT_KEY_FILE=.*: cannot be read: No such file"):
        load({}, environ, serves=True)
    (tmp_path / "key.pem").write_bytes(pem("-algorithm", "ed25519"))
    assert load({}, environ, serves=True).settings.jwt_secret is None
