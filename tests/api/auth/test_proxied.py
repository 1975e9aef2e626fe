"""Behind a proxy that ends TLS: its word counts where it is trusted, for the cookie and for HSTS, and nobody else's does."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.api.auth.asking import Asking
from tests.api.auth.people import PASSWORD, Clock, House, People

pytestmark = pytest.mark.covers("http:auth", "http:headers", "settings:TRUSTED_PROXIES")

PROXY, STRANGER = "10.0.0.1", "192.0.2.7"
BY_TLS = {"x-forwarded-proto": "https", "x-forwarded-for": STRANGER}
STRICT = "strict-transport-security"


@pytest.fixture
def behind(people: People, clock: Clock) -> Iterator[Asking]:
    house = House(people, clock, trusted_proxies="10.0.0.0/8")
    yield Asking(house.desk)
    house.door.hashing.close()


async def log_in(asking: Asking, address: str, **headers: str) -> httpx.Response:
    told = await asking.post(
        "/auth/login?session=cookie", json={"username": "ann", "password": PASSWORD}, address=address,
        headers={"origin": "https://zjp.example:8080", **headers},
    )  # fmt: skip
    assert told.status_code == 200, told.text
    return told


async def test_cookie_is_secure_where_a_trusted_proxy_ends_tls(behind: Asking) -> None:
    told = await log_in(behind, PROXY, **BY_TLS)
    cookie = told.headers["set-cookie"]
    assert cookie.startswith("__Host-zjp-8080=")
    assert cookie.endswith("; Secure")
    shown = {"cookie": cookie.partition(";")[0]}
    assert (await behind.get("/auth/me", address=PROXY, headers={**BY_TLS, **shown})).json()["name"] == "ann"
    out = await behind.post(
        "/auth/logout", address=PROXY,
        headers={**BY_TLS, **shown, "origin": "https://zjp.example:8080", "x-csrf-token": told.json()["csrf"]},
    )  # fmt: skip
    assert out.status_code == 204
    assert out.headers["set-cookie"].startswith("__Host-zjp-8080=; ")


async def test_cookie_that_was_set_without_tls_does_not_count_over_it(behind: Asking) -> None:
    told = await log_in(behind, PROXY)
    cookie = told.headers["set-cookie"]
    assert "Secure" not in cookie
    shown = {"cookie": cookie.partition(";")[0]}
    assert (await behind.get("/auth/me", address=PROXY, headers=shown)).status_code == 200
    assert (await behind.get("/auth/me", address=PROXY, headers={**BY_TLS, **shown})).status_code == 401


async def test_nobody_else_is_believed_that_tls_was_spoken(behind: Asking) -> None:
    told = await log_in(behind, STRANGER, **BY_TLS)
    assert "Secure" not in told.headers["set-cookie"]
    assert STRICT not in told.headers


@pytest.mark.parametrize(
    ("address", "scheme", "is_strict"),
    [(PROXY, "https", True), (PROXY, "HTTPS, http", True), (PROXY, "http", False), (PROXY, "", False), (STRANGER, "https", False)],
)
async def test_browser_is_told_to_ask_by_tls_only_where_it_was_spoken(behind: Asking, address: str, scheme: str, is_strict: bool) -> None:
    headers = {"x-forwarded-proto": scheme}
    for method, path in (("GET", "/"), ("GET", "/nowhere"), ("GET", "/auth/me"), ("POST", "/api/v1/jobs")):
        told = await behind.ask(method, path, address=address, headers=headers)
        assert (STRICT in told.headers) is is_strict, (method, path)
