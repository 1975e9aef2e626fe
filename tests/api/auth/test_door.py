"""Who comes in by a token or a cookie, and when that ends."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from tests.api.auth.people import NOW, OTHER_SECRET, Clock, House, People
from zjp.api.auth.door import READ_MAX
from zjp.api.auth.users import AGAIN_S, FRESH_S
from zjp.api.table import Caller, Problem, Proof
from zjp.errors import NodeUnreachable
from zjp.tokens import Ring, secret_keys
from zjp.wire.messages import Role

pytestmark = pytest.mark.covers("http:auth")

SITE = {"host": "zjp.example:8080", "origin": "https://zjp.example:8080"}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def come(house: House, headers: dict[str, str], method: str = "GET") -> Caller:
    return await house.door.caller(headers, method, "192.0.2.1")


async def refused(house: House, headers: dict[str, str], method: str = "GET") -> int:
    with pytest.raises(Problem) as problem:
        await come(house, headers, method)
    return problem.value.status


@pytest.mark.parametrize(("name", "role"), [("root", Role.ADMIN), ("ann", Role.USER), ("wim", Role.WORKER)])
async def test_token_of_a_user_lets_it_in_with_its_role(house: House, name: str, role: Role) -> None:
    token = house.token(name, role.name.lower())
    assert await come(house, bearer(token)) == Caller(name, role, Proof.TOKEN, "192.0.2.1")


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"authorization": ""}, {"authorization": "Bearer"}, {"authorization": "Bearer "}, {"authorization": "Basic YTpi"},
        {"authorization": "Bearer x.y.z"}, {"authorization": "Bearer \xff"}, {"cookie": "zjp-8080="}, {"cookie": "zjp-8080=x"},
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_no_token_is_refused_with_one_wording(house: House, headers: dict[str, str]) -> None:
    with pytest.raises(Problem) as problem:
        await come(house, headers)
    assert (problem.value.status, problem.value.headers) == (401, {"www-authenticate": 'Bearer realm="zjp"'})
    assert problem.value.detail == house.door.refusal().detail


async def test_token_of_another_secret_issuer_or_audience_is_refused(house: House) -> None:
    claims = house.door.ring.read(house.token(), NOW)
    for secret, issuer, audience in ((OTHER_SECRET, "zjp", "zjp"), (house.settings.jwt_secret or "", "else", "zjp")):
        other = Ring(secret_keys(secret), issuer=issuer, audience=audience)
        assert await refused(house, bearer(other.sign(claims))) == 401


async def test_role_counts_as_the_user_has_it_and_not_as_the_token_says(house: House) -> None:
    """A token can only be made by who has the secret; still the nodes' word is the later one."""
    assert (await come(house, bearer(house.token("wim", "admin")))).role is Role.WORKER


async def test_token_ends_with_its_time(house: House, clock: Clock) -> None:
    token = house.token(life_s=60)
    assert await come(house, bearer(token))
    clock.now += 60
    assert await refused(house, bearer(token)) == 401


@pytest.mark.parametrize("change", ["password", "role", "removed", "made again"])
async def test_changed_or_removed_user_ends_its_tokens_within_two_seconds(
    house: House, people: People, clock: Clock, change: str
) -> None:
    token = house.token("ann")
    assert await come(house, bearer(token))
    ann = people.users["ann"]
    if change in ("password", "role"):
        people.users["ann"] = msgspec.structs.replace(
            ann, role="worker" if change == "role" else "user", epoch=2, version=2
        )
    elif change == "removed":
        del people.users["ann"]
    else:
        people.users["ann"] = msgspec.structs.replace(ann, epoch=1_800_000_000)
    clock.now += FRESH_S
    assert await refused(house, bearer(token)) == 401


async def test_users_are_read_once_in_two_seconds_however_many_come(house: House, people: People, clock: Clock) -> None:
    tokens = [house.token(name) for name in ("root", "ann", "wim")]
    for _ in range(4):
        await asyncio.gather(*(come(house, bearer(token)) for token in tokens * 20))
        clock.now += FRESH_S / 2 - 0.01
    assert people.asked["AskUsers"] == 2 + 1, "one more looked for users of AUTH_DEV_USERS"


async def test_user_made_this_moment_is_found(house: House, people: People, clock: Clock) -> None:
    await come(house, bearer(house.token("ann")))
    people.add("new", "user")
    clock.now += AGAIN_S
    assert (await come(house, bearer(house.token("new")))).name == "new"


async def test_newer_token_than_is_known_is_looked_for_again(house: House, people: People, clock: Clock) -> None:
    await come(house, bearer(house.token("ann")))
    people.users["ann"] = msgspec.structs.replace(people.users["ann"], epoch=2)
    clock.now += AGAIN_S
    assert (await come(house, bearer(house.token("ann", epoch=2)))).name == "ann"
    assert await refused(house, bearer(house.token("ann", epoch=1))) == 401


async def test_tokens_of_nobody_make_few_questions(house: House, people: People) -> None:
    token = house.token("nobody")
    for _ in range(50):
        assert await refused(house, bearer(token)) == 401
    assert people.asked["AskUsers"] <= 3


async def test_nobody_comes_in_while_no_node_answers_for_users(house: House, people: People, clock: Clock) -> None:
    token = house.token("ann")
    assert await come(house, bearer(token))
    people.is_away = True
    assert await come(house, bearer(token)), "what was read a moment ago counts"
    clock.now += FRESH_S
    with pytest.raises(NodeUnreachable):
        await come(house, bearer(token))
    people.is_away = False
    assert await come(house, bearer(token))


async def test_own_change_counts_at_once_also_against_a_reading_that_began_before(
    house: House, people: People, clock: Clock
) -> None:
    await come(house, bearer(house.token("ann")))
    clock.now += FRESH_S
    reading = asyncio.ensure_future(come(house, bearer(house.token("ann"))))
    await asyncio.sleep(0)
    changed = msgspec.structs.replace(people.users["ann"], epoch=2, version=2)
    people.users["ann"] = changed
    house.door.changed(changed)
    await asyncio.wait([reading])
    assert (await come(house, bearer(house.token("ann", epoch=2)))).name == "ann"
    assert await refused(house, bearer(house.token("ann"))) == 401


async def test_logged_out_token_is_refused_and_others_of_the_user_are_not(house: House) -> None:
    one, other = house.token("ann", jti="one"), house.token("ann", jti="other")
    claims, _ = house.door.claims_of(bearer(one))
    house.door.end(claims)
    assert await refused(house, bearer(one)) == 401
    assert await come(house, bearer(other))


async def test_local_token_comes_in_without_a_user(house: House) -> None:
    caller = await come(house, bearer(house.token("local:ci", "user", 0)))
    assert (caller.name, caller.role) == ("local:ci", Role.USER)
    assert await refused(house, bearer(house.token("local:ci", "gateway", 0))) == 401


async def test_tokens_that_are_kept_have_a_bound(house: House) -> None:
    for number in range(READ_MAX + 10):
        house.door.claims_of(bearer(house.token(jti=f"t{number}")))
    assert len(house.door._read) == READ_MAX


# ── sessions of browsers ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def session(house: House, **more: str) -> dict[str, str]:
    return {"cookie": f"a=b; zjp-8080={house.token('ann', csrf='word')}; c=d", **more}


async def test_cookie_lets_a_browser_read(house: House) -> None:
    caller = await come(house, session(house))
    assert (caller.name, caller.proof) == ("ann", Proof.COOKIE)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_unsafe_request_of_a_page_of_this_server_with_the_word_comes_in(house: House, method: str) -> None:
    assert await come(house, session(house, **SITE, **{"x-csrf-token": "word"}), method)
    same = {"host": SITE["host"], "sec-fetch-site": "same-origin", "x-csrf-token": "word"}
    assert await come(house, session(house, **same), method)


@pytest.mark.parametrize(
    "headers",
    [
        {**SITE},
        {**SITE, "x-csrf-token": ""},
        {**SITE, "x-csrf-token": "wrong"},
        {**SITE, "x-csrf-token": "wörd"},
        {"host": SITE["host"], "x-csrf-token": "word"},
        {"host": SITE["host"], "origin": "https://evil.example", "x-csrf-token": "word"},
        {"host": SITE["host"], "origin": "https://zjp.example", "x-csrf-token": "word"},
        {"host": SITE["host"], "origin": "null", "x-csrf-token": "word"},
        {"origin": "", "host": "", "x-csrf-token": "word"},
        {**SITE, "sec-fetch-site": "cross-site", "x-csrf-token": "word"},
        {**SITE, "sec-fetch-site": "same-site", "x-csrf-token": "word"},
        {"host": SITE["host"], "sec-fetch-site": "none", "x-csrf-token": "word"},
    ],
    ids=str,
)
async def test_unsafe_request_that_may_come_from_another_page_is_refused(house: House, headers: dict[str, str]) -> None:
    assert await refused(house, session(house, **headers), "POST") == 403


async def test_bearer_token_in_a_cookie_and_two_cookies_are_refused(house: House) -> None:
    assert await refused(house, {"cookie": f"zjp-8080={house.token('ann')}"}) == 401
    one = house.token("ann", csrf="word")
    assert await refused(house, {"cookie": f"zjp-8080={one}; zjp-8080={one}"}) == 401


async def test_bearer_header_counts_where_there_is_a_cookie_too(house: House) -> None:
    caller = await come(house, session(house, **bearer(house.token("wim"))), "POST")
    assert (caller.name, caller.proof) == ("wim", Proof.TOKEN)
    assert await refused(house, session(house, **bearer("x"))) == 401


def test_cookie_is_kept_from_scripts_and_other_sites_and_from_the_clear(
    house: House, people: People, clock: Clock
) -> None:
    written = house.door.cookie.write("token", 60, {})
    assert written == "zjp-8080=token; Path=/; Max-Age=60; HttpOnly; SameSite=Strict"
    with_tls = House(people, clock, tls_enabled=True, server_port=443)
    assert (
        with_tls.door.cookie.write("token", 60, {})
        == "__Host-zjp-443=token; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure"
    )
    assert "Max-Age=0" in with_tls.door.cookie.clear({})
