"""Users and audit over HTTP, in front of a stand-in for the nodes."""

from __future__ import annotations

import pytest

from tests.api.auth.asking import Asking
from tests.api.auth.people import PASSWORD, House, People
from zjp.wire.desk import AskEvents, PutUser, RemoveUser

pytestmark = pytest.mark.covers("http:auth")

USERS = "/api/v1/users"
NEW = {"name": "new.one@example.com", "password": "a new long one", "role": "user"}


@pytest.fixture
def root(house: House) -> str:
    return house.token("root", "admin")


async def test_admin_makes_a_user_that_can_log_in_at_once(asking: Asking, root: str) -> None:
    told = await asking.post(USERS, token=root, json=NEW)
    assert (told.status_code, told.headers["location"]) == (201, f"{USERS}/new.one@example.com")
    assert {name: told.json()[name] for name in ("name", "role", "is_dev")} == {
        "name": NEW["name"],
        "role": "user",
        "is_dev": False,
    }
    assert "hash" not in told.text
    login = await asking.post("/auth/login", json={"username": NEW["name"], "password": NEW["password"]})
    assert login.status_code == 200
    assert (await asking.get(told.headers["location"], token=root)).json() == told.json()


@pytest.mark.parametrize(
    ("change", "status", "detail"),
    [
        ({"name": "ann"}, 409, "there is a user 'ann' already"),
        ({"name": ""}, 422, "name"),
        ({"name": "a b"}, 422, "accepted: letters"),
        ({"name": "local:ci"}, 422, "accepted: letters"),
        ({"name": "x" * 65}, 422, "64"),
        ({"role": "gateway"}, 422, "role"),
        ({"role": "root"}, 422, "role"),
        ({"password": "short"}, 422, "8 to 1024"),
        ({"password": "password1"}, 422, "everybody tries"),
        ({"name": "abcdefgh1", "password": "ABCDEFGH1"}, 422, "user's name"),
        ({"epoch": 5}, 422, "epoch"),
        ({"hash": "x"}, 422, "hash"),
        ({"is_dev": True}, 422, "is_dev"),
    ],
    ids=str,
)
async def test_user_that_is_refused_is_told_why(
    asking: Asking, root: str, change: dict[str, object], status: int, detail: str
) -> None:
    told = await asking.post(USERS, token=root, json={**NEW, **change})
    assert told.status_code == status, told.text
    assert detail in told.json()["detail"]


async def test_users_are_listed_by_name_page_by_page(asking: Asking, root: str) -> None:
    first = (await asking.get(f"{USERS}?limit=2", token=root)).json()
    assert [user["name"] for user in first["items"]] == ["ann", "root"]
    second = (await asking.get(f"{USERS}?limit=2&cursor={first['cursor']}", token=root)).json()
    assert ([user["name"] for user in second["items"]], second["cursor"]) == (["wim"], None)
    assert (await asking.get(f"{USERS}?cursor=!", token=root)).status_code == 422
    assert (await asking.get(f"{USERS}?limit=501", token=root)).status_code == 422


async def test_changed_role_counts_at_once_and_ends_the_users_tokens(asking: Asking, house: House, root: str) -> None:
    token = house.token("ann")
    assert (await asking.get("/auth/me", token=token)).status_code == 200
    told = await asking.patch(f"{USERS}/ann", token=root, json={"role": "worker"})
    assert (told.status_code, told.json()["role"]) == (200, "worker")
    assert (await asking.get("/auth/me", token=token)).status_code == 401
    login = await asking.post("/auth/login", json={"username": "ann", "password": PASSWORD})
    assert login.json()["role"] == "worker", "the password stayed"


async def test_changed_password_counts_at_once_and_ends_the_users_tokens(
    asking: Asking, house: House, root: str
) -> None:
    token = house.token("ann")
    assert (await asking.get("/auth/me", token=token)).status_code == 200
    assert (await asking.patch(f"{USERS}/ann", token=root, json={"password": "another long one"})).status_code == 200
    assert (await asking.get("/auth/me", token=token)).status_code == 401
    statuses = [
        (await asking.post("/auth/login", json={"username": "ann", "password": word})).status_code
        for word in (PASSWORD, "another long one")
    ]
    assert statuses == [401, 200]


async def test_removed_user_is_gone_at_once(asking: Asking, house: House, root: str) -> None:
    token = house.token("ann")
    assert (await asking.get("/auth/me", token=token)).status_code == 200
    assert (await asking.delete(f"{USERS}/ann", token=root)).status_code == 204
    assert (await asking.get("/auth/me", token=token)).status_code == 401
    assert (await asking.post("/auth/login", json={"username": "ann", "password": PASSWORD})).status_code == 401


async def test_user_that_is_not_there_is_not_found(asking: Asking, root: str) -> None:
    path = f"{USERS}/nobody"
    told = [
        await asking.get(path, token=root),
        await asking.delete(path, token=root),
        await asking.patch(path, token=root, json={"role": "user"}),
    ]
    assert [answer.status_code for answer in told] == [404] * 3


async def test_change_of_nothing_or_of_what_is_no_ones_to_change_is_refused(asking: Asking, root: str) -> None:
    for body in ({}, {"epoch": 7}, {"name": "other"}, {"role": "gateway"}, {"password": "short"}):
        assert (await asking.patch(f"{USERS}/ann", token=root, json=body)).status_code == 422, body


async def test_last_admin_stays(asking: Asking, root: str) -> None:
    assert (await asking.delete(f"{USERS}/root", token=root)).status_code == 409
    assert (await asking.patch(f"{USERS}/root", token=root, json={"role": "user"})).status_code == 409


async def test_dev_user_with_a_password_of_its_own_is_one_no_more(asking: Asking, people: People, root: str) -> None:
    people.add("admin", "admin", is_dev=True)
    told = await asking.post("/auth/login", json={"username": "admin", "password": PASSWORD})
    assert told.status_code == 401, "the setting is off"
    people.add("admin2", "admin", is_dev=True)
    assert (await asking.patch(f"{USERS}/admin2", token=root, json={"password": "another long one"})).json()[
        "is_dev"
    ] is False


async def test_nodes_are_told_for_whom(asking: Asking, people: People, root: str) -> None:
    await asking.post(USERS, token=root, json=NEW)
    await asking.delete(f"{USERS}/ann", token=root)
    await asking.get("/api/v1/audit", token=root)
    voices = [(voice.user, voice.role, type(request)) for voice, request in people.voices if voice.user]
    assert voices == [("root", 3, PutUser), ("root", 3, RemoveUser), ("root", 3, AskEvents)]


async def test_admin_reads_in_the_audit_who_logged_in_and_from_where(asking: Asking, root: str) -> None:
    await asking.post("/auth/login", json={"username": "ann", "password": PASSWORD}, address="198.51.100.4")
    page = (await asking.get("/api/v1/audit?limit=1&since=2020-01-01T00:00:00Z", token=root)).json()
    (seen,) = page["items"]
    assert {name: seen[name] for name in ("who", "what", "subject", "node", "origin", "data")} == {
        "who": "ann", "what": "login", "subject": "ann", "node": "n1", "origin": "198.51.100.4", "data": {},
    }  # fmt: skip
    assert (seen["at"], page["cursor"]) == ("2027-01-15T08:00:00.000Z", None)
    assert (await asking.get("/api/v1/audit?since=yesterday", token=root)).status_code == 422
