"""Logging in: one answer and one time for whatever is wrong, and few tries."""

from __future__ import annotations

import asyncio
import time
from statistics import median

import pytest
from argon2 import PasswordHasher

from tests.api.auth.asking import Asking
from tests.api.auth.people import NOW, PASSWORD, Clock, House, People
from zjp import passwords
from zjp.api.auth.hashing import THREADS, WAITING_MAX
from zjp.api.auth.notes import FAILED_MAX, FAILED_WINDOW_S
from zjp.api.table import Problem
from zjp.wire.desk import Note, PutUser

pytestmark = pytest.mark.covers("http:auth", "http:login-limits")

LOGIN = "/auth/login"


def words(name: str = "ann", password: str = PASSWORD) -> dict[str, str]:
    return {"username": name, "password": password}


async def test_right_password_gives_a_token_that_opens_the_door(asking: Asking) -> None:
    told = await asking.post(LOGIN, json=words())
    assert told.status_code == 200, told.text
    answer = told.json()
    assert (answer["role"], answer["token_type"], answer["name"]) == ("user", "Bearer", "ann")
    assert answer["expires_at"] == "2027-01-15T09:00:00.000Z"
    assert "csrf" not in answer
    assert "set-cookie" not in told.headers
    me = await asking.get("/auth/me", token=answer["token"])
    assert me.json() == {
        "name": "ann", "role": "user", "auth": True, "proof": "token", "expires_at": answer["expires_at"], "csrf": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ann", "wrong"), ("nobody", PASSWORD), ("", ""), ("ann", ""), ("ANN", PASSWORD), ("ann\x00", PASSWORD), ("a" * 65, PASSWORD),
        ("ann", "x" * 1025), ("ann", PASSWORD + "\x00"), ("nohash", PASSWORD), ("nohash", ""), ("odd", PASSWORD), ("dev", PASSWORD),
        ("' or 1=1 --", "x"), ("\ud7ff", "x"),
    ],
    ids=repr,
)  # fmt: skip
async def test_every_failure_has_the_same_words(asking: Asking, people: People, name: str, password: str) -> None:
    people.add("nohash", "user", None)
    people.add("odd", "emperor")
    people.users["root2"] = people.add("dev2", "user")
    people.add("dev", "user", is_dev=True)
    told = await asking.post(LOGIN, json=words(name, password))
    body = {key: value for key, value in told.json().items() if key != "instance"}
    assert (told.status_code, told.headers["www-authenticate"]) == (401, 'Bearer realm="zjp"')
    assert (body["title"], body["detail"]) == ("Unauthorized", "name or password is wrong")


@pytest.mark.parametrize(
    ("count", "rounds", "most"),
    [(5, 8, 0.1), pytest.param(500, 1, 0.05, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
async def test_unknown_users_and_wrong_passwords_take_the_same_time(
    house: House, count: int, rounds: int, most: float
) -> None:
    """CPU time, in turn, so that whatever else the machine does falls on both; a difference that is real is there in every round."""

    async def took(name: str) -> float:
        started = time.process_time()
        house.clock.now += 3600
        assert await house.door.login.user(name, "wrong password", "192.0.2.1") is None
        return time.process_time() - started

    differences = []
    for _ in range(rounds):
        pairs = [(await took("ann"), await took("nobody")) for _ in range(count)]
        known, unknown = (median(pair[side] for pair in pairs) for side in (0, 1))
        differences.append(abs(known - unknown) / known)
        if differences[-1] < most:
            break
    assert min(differences) < most, differences
    assert house.door.hashing.done_count == 2 * count * len(differences), "each has its one look at a hash"


async def test_as_many_questions_are_asked_for_a_name_that_is_there_as_for_one_that_is_not(
    house: House, people: People
) -> None:
    counts = []
    await house.door.login.user("ann", "wrong password", "192.0.2.1")
    for name in ("ann", "nobody"):
        before = people.asked.total()
        await house.door.login.user(name, "wrong password", "192.0.2.1")
        counts.append(people.asked.total() - before)
    assert counts == [1, 1]


async def test_guesses_are_refused_before_a_hash_is_looked_at(asking: Asking, house: House, clock: Clock) -> None:
    """Ten minutes of guessing, by a clock that the test moves."""
    statuses = []
    for number in range(200):
        told = await asking.post(LOGIN, json=words(password=f"guess {number}"))
        statuses.append(told.status_code)
        clock.now += 3
    assert house.door.hashing.done_count == statuses.count(401) <= 10
    assert set(statuses) == {401, 429}
    assert (told.status_code, told.json()["code"]) == (429, "too-many")
    assert 1 <= int(told.headers["retry-after"]) <= 900
    right = await asking.post(LOGIN, json=words())
    assert right.status_code == 429, "also the right password is not looked at"
    clock.now += 900
    assert (await asking.post(LOGIN, json=words())).status_code == 200


async def test_refusal_for_too_many_tells_nothing_of_the_name(asking: Asking) -> None:
    told = {}
    for name in ("ann", "nobody"):
        for _ in range(4):
            told[name] = await asking.post(LOGIN, json=words(name, "guess"), address=f"192.0.2.{len(name)}")
    assert told["ann"].status_code == told["nobody"].status_code == 429
    assert told["ann"].json()["detail"] == told["nobody"].json()["detail"]
    assert told["ann"].headers["retry-after"] == told["nobody"].headers["retry-after"]


async def test_more_logins_at_once_than_may_wait_are_refused_and_not_counted(house: House) -> None:
    names = [f"user{number}" for number in range(THREADS + WAITING_MAX + 10)]
    logins = [house.door.login.user(name, "wrong password", f"192.0.{number}.1") for number, name in enumerate(names)]
    ended = await asyncio.gather(*logins, return_exceptions=True)
    busy = [fault for fault in ended if isinstance(fault, Problem)]
    assert {fault.status for fault in busy} == {503}
    assert len(busy) == 10
    assert house.door.hashing.done_count == THREADS + WAITING_MAX
    for number, (name, end) in enumerate(zip(names, ended, strict=True)):
        if isinstance(end, Problem):
            for _ in range(3):  # as many as have no pause before them
                house.door.login.limits.begin(name, f"192.0.{number}.1", house.clock())


async def test_weak_hash_is_made_anew_at_the_login(asking: Asking, people: People) -> None:
    people.add("old", "user", hash=PasswordHasher(1, 64, 1).hash(PASSWORD))
    told = await asking.post(LOGIN, json=words("old"))
    assert told.status_code == 200
    assert not passwords.is_weak(people.users["old"].hash)
    assert (await asking.get("/auth/me", token=told.json()["token"])).status_code == 200
    await asking.post(LOGIN, json=words("old"))
    assert sum(isinstance(request, PutUser) for _, request in people.voices) == 1


async def test_logins_failed_ones_and_logouts_are_noted_with_who_and_from_where(
    asking: Asking, house: House, people: People
) -> None:
    token = (await asking.post(LOGIN, json=words())).json()["token"]
    await asking.post(LOGIN, json=words(password="wrong"))
    await asking.post("/auth/logout", token=token)
    notes = [(voice.user, request) for voice, request in people.voices if isinstance(request, Note)]
    claims = house.door.ring.read(token, NOW)
    address = asking.ADDRESS
    assert notes == [
        ("ann", Note("login", "ann", address)),
        ("", Note("login-failed", "ann", address)),
        ("ann", Note("logout", f"ann {claims.jti} {claims.expires_at}", address)),
    ]


async def test_guessing_does_not_fill_the_audit(house: House, people: People, clock: Clock) -> None:
    for number in range(100):
        await house.door.notes.write_failed(house.desk, f"user{number}", "198.51.100.1")
    assert people.asked["Note"] == FAILED_MAX
    clock.now += FAILED_WINDOW_S
    await house.door.notes.write_failed(house.desk, "ann", "198.51.100.1")
    assert people.asked["Note"] == FAILED_MAX + 1


async def test_node_that_is_away_is_no_wrong_password(asking: Asking, people: People) -> None:
    people.is_away = True
    assert [(await asking.post(LOGIN, json=words())).status_code for _ in range(20)] == [503] * 20
    people.is_away = False
    assert (await asking.post(LOGIN, json=words())).status_code == 200, "nothing of it counted"


async def test_log_out_ends_that_token_and_clears_the_cookie(asking: Asking) -> None:
    one, other = [(await asking.post(LOGIN, json=words())).json()["token"] for _ in range(2)]
    told = await asking.post("/auth/logout", token=one)
    assert (told.status_code, told.content) == (204, b"")
    assert "zjp-8080=; Path=/; Max-Age=0" in told.headers["set-cookie"]
    assert [(await asking.get("/auth/me", token=token)).status_code for token in (one, other)] == [401, 200]


async def test_session_of_a_browser_from_login_to_logout(asking: Asking) -> None:
    site = {"host": "zjp.example:8080", "origin": "https://zjp.example:8080", "sec-fetch-site": "same-origin"}
    told = await asking.post(f"{LOGIN}?session=cookie", json=words(), headers=site)
    assert told.status_code == 200, told.text
    assert "token" not in told.json()
    cookie, csrf = told.headers["set-cookie"].partition(";")[0], told.json()["csrf"]
    me = await asking.get("/auth/me", headers={"cookie": cookie, **site})
    assert (me.json()["csrf"], me.json()["proof"]) == (csrf, "cookie")
    without = await asking.post("/auth/logout", headers={"cookie": cookie, **site})
    elsewhere = await asking.post(
        "/auth/logout", headers={"cookie": cookie, **site, "origin": "https://evil.example", "x-csrf-token": csrf}
    )
    assert (without.status_code, elsewhere.status_code) == (403, 403)
    done = await asking.post("/auth/logout", headers={"cookie": cookie, **site, "x-csrf-token": csrf})
    assert done.status_code == 204
    assert (await asking.get("/auth/me", headers={"cookie": cookie, **site})).status_code == 401


async def test_page_of_another_site_cannot_log_a_browser_in(asking: Asking) -> None:
    for headers in ({}, {"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        told = await asking.post(f"{LOGIN}?session=cookie", json=words(), headers=headers)
        assert (told.status_code, "set-cookie" in told.headers) == (403, False)


async def test_user_changes_the_own_password_with_the_old_one(asking: Asking, people: People) -> None:
    token = (await asking.post(LOGIN, json=words("wim"))).json()["token"]
    told = await asking.patch("/auth/me", token=token, json={"password": "another long one", "old_password": PASSWORD})
    assert told.status_code == 200, told.text
    assert [(await asking.get("/auth/me", token=one)).status_code for one in (token, told.json()["token"])] == [
        401,
        200,
    ]
    assert (await asking.post(LOGIN, json=words("wim"))).status_code == 401
    assert (await asking.post(LOGIN, json=words("wim", "another long one"))).status_code == 200
    assert [voice.user for voice, request in people.voices if isinstance(request, PutUser)] == ["wim"]


async def test_stolen_token_changes_no_password_and_cannot_guess_it(asking: Asking, house: House) -> None:
    token = house.token("wim", "worker")
    statuses = [
        (
            await asking.patch(
                "/auth/me", token=token, json={"password": "another long one", "old_password": f"guess {number}"}
            )
        ).status_code
        for number in range(10)
    ]
    assert statuses == [403] * 3 + [429] * 7
    weak = await asking.patch("/auth/me", token=token, json={"password": "short", "old_password": PASSWORD})
    assert (weak.status_code, "8 to 1024" in weak.json()["detail"]) == (422, True)


async def test_local_token_has_no_password_to_change(asking: Asking, house: House) -> None:
    token = house.token("local:ci", "user", 0)
    told = await asking.patch("/auth/me", token=token, json={"password": "another long one", "old_password": "x"})
    assert told.status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"username": "ann"},
        {"username": "ann", "password": "x", "role": "admin"},
        {"username": 1, "password": "x"},
        [],
        "x",
    ],
)
async def test_login_with_another_body_is_refused(asking: Asking, body: object) -> None:
    assert (await asking.post(LOGIN, json=body)).status_code == 422
    assert (
        await asking.post(LOGIN, content=b"username=ann", headers={"content-type": "text/plain"})
    ).status_code == 415


async def test_login_is_answered_while_auth_is_off_with_a_token_that_opens_nothing(
    open_asking: Asking, asking: Asking
) -> None:
    """What logs in first and then works, as the older system's clients do, works without auth too."""
    told = await open_asking.post(LOGIN, json=words("admin", "admin123"))
    assert (told.status_code, told.json()["role"]) == (200, "admin")
    token = told.json()["token"]
    assert (await open_asking.get("/auth/me", token=token)).json()["auth"] is False
    assert (await open_asking.post("/auth/logout", token=token)).status_code == 204
    assert (
        await open_asking.patch("/auth/me", json={"password": "another long one", "old_password": "x"})
    ).status_code == 409
    assert (await asking.get("/auth/me", token=token)).status_code == 401
