"""Every route by every kind of caller: who may not is told so (401, 403) before its handler runs, and who may gets past that.

No node is there, so whoever gets past is answered something else. A route that is added is in here at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.api.auth.asking import Asking
from tests.api.auth.people import NOW, OTHER_SECRET, SECRET, Clock, House, People
from tests.test_tokens import encoded, pem, signed_with
from zjp.api.app import all_routes
from zjp.api.table import Route
from zjp.tokens import Ring, pem_key, secret_keys
from zjp.wire.messages import Role

pytestmark = pytest.mark.covers("http:auth", "http:roles")

ROUTES = all_routes()
OPEN = {
    "/auth/login",
    "/health",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/docs",
    "/.well-known/jwks.json",
    "/favicon.ico",
    "/",
}
"""What may be had without a token, beside the page's own files."""
BARRED = (401, 403)
KID = secret_keys(SECRET)[0].kid
SAID = {
    "iss": "zjp",
    "aud": "zjp",
    "sub": "root",
    "jti": "t1",
    "iat": int(NOW),
    "exp": int(NOW) + 3600,
    "role": "admin",
    "epoch": 1,
}
HEADER = {"alg": "HS256", "typ": "JWT", "kid": KID}

PUBLIC_PEM = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"
ROLES = {"worker": ("wim", Role.WORKER), "user": ("ann", Role.USER), "admin": ("root", Role.ADMIN)}


def forgeries(house: House) -> Iterator[tuple[str, str | None]]:
    """(what it is, token)"""
    claims = house.door.ring.read(house.token("root", "admin"), NOW)
    yield "no token", None
    yield "expired", signed_with(SECRET.encode(), HEADER, {**SAID, "iat": int(NOW) - 7200, "exp": int(NOW) - 1})
    yield "not yet", signed_with(SECRET.encode(), HEADER, {**SAID, "nbf": int(NOW) + 60})
    yield "forged", house.token("wim", "worker").rpartition(".")[0] + ".AAAA"
    yield "other claims", ".".join([*_spliced(house.token("wim", "worker"))])
    yield "alg none", f"{encoded({**HEADER, 'alg': 'none'})}.{encoded(SAID)}."
    yield "other key", Ring(secret_keys(OTHER_SECRET), issuer="zjp", audience="zjp").sign(claims)
    yield "other key by our name", signed_with(OTHER_SECRET.encode(), HEADER, SAID)
    yield "public key as secret", signed_with(PUBLIC_PEM, HEADER, SAID)
    yield "EdDSA", Ring([pem_key(pem("-algorithm", "ed25519"))], issuer="zjp", audience="zjp").sign(claims)
    yield "HS512", signed_with(SECRET.encode(), {**HEADER, "alg": "HS512"}, SAID)
    for claim, wrong in (("iss", "else"), ("aud", "else"), ("sub", "nobody"), ("epoch", 2)):
        yield f"wrong {claim}", signed_with(SECRET.encode(), HEADER, {**SAID, claim: wrong})
    for claim in SAID:
        yield (
            f"no {claim}",
            signed_with(SECRET.encode(), HEADER, {name: value for name, value in SAID.items() if name != claim}),
        )
    for name, value in (
        ("jku", "https://evil.example"),
        ("jwk", {"kty": "oct", "k": "AAAA"}),
        ("kid", "../../dev/null"),
        ("cty", "JWT"),
    ):
        yield f"header {name}", signed_with(SECRET.encode(), {**HEADER, name: value}, SAID)


def _spliced(token: str) -> Iterator[str]:
    head, _, signature = token.split(".")
    yield from (head, encoded(SAID), signature)


def path_of(route: Route) -> str:
    return re.sub(r"\{[^}]*\}", "00000000-0000-7000-8000-000000000000", route.path)


async def status(asking: Asking, route: Route, token: str | None) -> int:
    """Streams are to end at once: the desk is told to stop."""
    body = b"{}" if route.method in ("POST", "PATCH", "PUT") else None
    headers = {"content-type": "application/json"}
    return (await asking.ask(route.method, path_of(route), token=token, content=body, headers=headers)).status_code


@pytest.fixture
def closing(house: House) -> House:
    house.desk.stop.set()
    return house


def test_open_routes_are_those_that_are_meant_to_be() -> None:
    found = {route.path for route in ROUTES if route.role is None}
    assert {path for path in found - OPEN if not path.startswith("/static/")} == set()
    assert all(route.method == "GET" or route.path == "/auth/login" for route in ROUTES if route.role is None)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_route_lets_in_its_roles_and_nobody_else(closing: House, route: Route) -> None:
    asking = Asking(closing.desk)
    if route.role is None:
        return
    for name, role in ROLES.values():
        found = await status(asking, route, closing.token(name, role.name.lower(), jti=f"{name}-{route.method}"))
        assert (found in BARRED) == (role < route.role), (role, found)
        assert found not in BARRED or found == 403
    for what, token in forgeries(closing):
        assert await status(asking, route, token) == 401, what


async def test_what_a_token_is_refused_for_cannot_be_told_from_the_answer(closing: House) -> None:
    asking = Asking(closing.desk)
    answers = [await asking.get("/auth/me", token=token) for _, token in forgeries(closing)]
    assert (
        len({(answer.status_code, answer.json()["detail"], answer.headers["www-authenticate"]) for answer in answers})
        == 1
    )


@pytest.mark.parametrize("headers", [
    {"host": "evil.example:8080"}, {"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"},
    {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"},
], ids=str)  # fmt: skip
async def test_while_auth_is_off_no_page_of_another_site_gets_past(
    open_asking: Asking, headers: dict[str, str]
) -> None:
    told = await open_asking.post(
        "/api/v1/users", content=b"{}", headers={"content-type": "application/json", **headers}
    )
    assert told.status_code in (403, 415)
    assert (await open_asking.get("/auth/me")).status_code == 200


async def test_every_answer_has_the_headers_that_keep_browsers_out_of_trouble(people: People, clock: Clock) -> None:
    house = House(people, clock, tls_enabled=True)
    house.desk.stop.set()
    asking = Asking(house.desk)
    token = house.token("root", "admin")
    for route in ROUTES:
        for shown in (token, None):
            told = await asking.ask(route.method, path_of(route), token=shown)
            assert told.headers["x-content-type-options"] == "nosniff", route.path
            assert "frame-ancestors 'none'" in told.headers["content-security-policy"], route.path
            assert "unsafe-inline" not in told.headers["content-security-policy"], route.path
            assert told.headers["referrer-policy"] == "no-referrer", route.path
            assert told.headers["strict-transport-security"] == "max-age=31536000", route.path
            if route.path.startswith(("/api/", "/auth/")):
                assert told.headers["cache-control"] == "no-store", route.path
