"""The door while auth is on: who shows a token that counts comes in, by a bearer header or by a browser's cookie.

    Authorization: Bearer TOKEN  ──►  signature, claims, time ──► no log-out ──► the user is there, with this epoch  ──►  Caller
    Cookie: zjp-PORT=TOKEN       ──►  unsafe methods: same origin, X-CSRF-Token ──► the same

Of two the header counts. Whatever is wrong with a token, the answer is the same. A token that was read once is kept with what it says, for
signatures cost more than the rest of a small request; time, log-out and user are looked at each time.

Also the place where the parts of auth are joined: `make_door` gives the door for the settings, and the routes of login and users find in it
what they need.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from ...config import Settings
from ...tokens import Claims, Ring, TokenRefused, make_ring
from ...wire.desk import User
from ...wire.messages import Role
from ..table import Caller, Problem, Proof
from .dev import Keeper, keep
from .hashing import Hashing
from .limits import LoginLimits
from .login import Login
from .notes import Notes
from .revoked import Logouts, Revoked, Source
from .session import SAFE_METHODS, Cookie, check_csrf, check_same_origin
from .users import ROLES, Users

if TYPE_CHECKING:
    from ...client.asyncio import AsyncClient

READ_MAX = 1024
"""Tokens kept with what they say: 1 MB."""
REALM = 'Bearer realm="zjp"'


class Nodes(Keeper, Source, Protocol):
    """What of a client is needed here."""


class TokenDoor:
    """`clock`: monotonic seconds; `wall`: Unix seconds."""

    def __init__(
        self,
        settings: Settings,
        client: Nodes,
        ring: Ring,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.ring, self.wall = ring, wall
        self.ttl_s = settings.jwt_ttl_s
        self.cookie = Cookie(port=settings.server_port, is_tls=settings.tls_enabled)
        self.hashing = Hashing()
        self.users = Users(
            client,
            dev_users=settings.auth_dev_users,
            prepare=lambda: keep(client, self.hashing, is_on=settings.auth_dev_users),
            clock=clock,
        )
        self.revoked = Revoked()
        self._logouts = Logouts(client, self.revoked, settings.jwt_ttl_s, clock, wall)
        self.notes = Notes(clock)
        self.login = Login(self.users, self.hashing, LoginLimits(), clock)
        self._read: dict[str, Claims] = {}

    async def caller(self, request_headers: Mapping[str, str], method: str, address: str) -> Caller:
        """Raises: Problem 401, 403."""
        self._logouts.look()
        claims, proof = self.claims_of(request_headers)
        if proof is Proof.COOKIE and method not in SAFE_METHODS:
            check_same_origin(request_headers)
            check_csrf(request_headers, claims)
        return Caller(claims.name, await self._role(claims), proof, address)

    def challenge(self) -> dict[str, str]:
        return {"www-authenticate": REALM}

    def claims_of(self, headers: Mapping[str, str]) -> tuple[Claims, Proof]:
        """What the request's token says; whether its user still is there is not looked at. Raises: Problem 401."""
        token = bearer_of(headers)
        if token is not None:
            return self._claims(token), Proof.TOKEN
        token = self.cookie.read(headers)
        if not token:
            raise self.refusal()
        claims = self._claims(token)
        if not claims.csrf:
            raise self.refusal()  # made for a program: it has no word with which unsafe requests could show where they come from
        return claims, Proof.COOKIE

    def refusal(self) -> Problem:
        return Problem(
            401,
            "Unauthorized",
            "no valid token; POST /auth/login gives one, to be sent as Authorization: Bearer",
            headers=self.challenge(),
        )

    def _claims(self, token: str) -> Claims:
        now = self.wall()
        claims = self._read.get(token)
        if claims is None or now >= claims.expires_at:
            self._read.pop(token, None)
            try:
                claims = self.ring.read(token, now)
            except TokenRefused:
                raise self.refusal() from None
            if len(self._read) >= READ_MAX:
                del self._read[next(iter(self._read))]
            self._read[token] = claims
        if claims in self.revoked:
            raise self.refusal()
        return claims

    async def _role(self, claims: Claims) -> Role:
        """As the token says, when its user is still what it was then. Raises: Problem 401, ZjpError."""
        role = ROLES.get(claims.role)
        if not claims.is_local:
            user = await self.users.get(claims.name, claims.epoch)
            role = ROLES[user.role] if user is not None and user.epoch == claims.epoch else None
        if role is None:
            raise self.refusal()
        return role

    def use(self, ring: Ring) -> None:
        """From now on: what was signed with a key that is not in it any more ends."""
        self.ring = ring
        self._read.clear()

    def end(self, claims: Claims) -> None:
        self.revoked.add(claims.jti, claims.expires_at, self.wall())

    def changed(self, user: User) -> None:
        """Of one that this process has made or changed."""
        self.users.changed(user)
        self.login.limits.forget(user.name)

    def removed(self, name: str) -> None:
        self.users.removed(name)
        self.login.limits.forget(name)


def bearer_of(headers: Mapping[str, str]) -> str | None:
    """None without that header; empty where it is there and is none."""
    text = headers.get("authorization")
    if text is None:
        return None
    scheme, _, token = text.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def ring_of(settings: Settings) -> Ring:
    """Raises: ConfigError."""
    return make_ring(
        settings.jwt_secret, settings.jwt_key_file, issuer=settings.jwt_issuer, audience=settings.jwt_audience
    )


def make_door(settings: Settings, client: AsyncClient) -> TokenDoor | None:
    """None: auth is off. Raises: ConfigError."""
    if not settings.auth_effective:
        return None
    return TokenDoor(settings, client, ring_of(settings))
