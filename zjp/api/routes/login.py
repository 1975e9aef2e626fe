"""Logging in and out, and who one is.

A program logs in and sends the token with each request. A browser asks with `?session=cookie`: the token then travels in a cookie that its
scripts cannot read, and the answer has the word that its unsafe requests must show (X-CSRF-Token).

While auth is off a login is answered too, so that what logs in first works in both cases; its token is an empty one that nobody ever looks
at, made of no key.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec

from ... import passwords
from ...job_json import time_json
from ...tokens import Claims
from ...wire.desk import User
from ...wire.messages import Role
from ..auth.door import TokenDoor
from ..auth.revoked import LOGOUT, subject_of
from ..auth.session import check_same_origin, make_csrf
from ..auth.users import ROLES
from ..table import Answer, Call, Caller, NoQuery, Problem, Proof, Route

REFUSED = "name or password is wrong"
Text = Annotated[str, msgspec.Meta(max_length=4096)]


class LoginBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    username: Text
    password: Text


class LoginQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`session=cookie`: for a browser."""

    session: Literal["", "cookie"] = ""


class LoginReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """`csrf` and no `token`: the session of a browser."""

    name: str
    role: str
    expires_at: str
    token: str = ""
    token_type: str = ""
    csrf: str = ""


class Me(msgspec.Struct, frozen=True):
    """`proof`: none, token or cookie. `csrf`: null but in the session of a browser."""

    name: str
    role: str
    auth: bool
    proof: str
    expires_at: str | None
    csrf: str | None


class Jwks(msgspec.Struct, frozen=True):
    """RFC 7517, 5. Empty where tokens are signed with a secret."""

    keys: list[Mapping[str, Any]]


class PasswordBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: Text
    old_password: Text


async def log_in(call: Call[LoginBody, LoginQuery]) -> Answer:
    name, address = call.body.username, call.caller.address
    wants_cookie = call.query.session == "cookie"
    door = door_of(call)
    if door is None:
        return Answer(_empty_login(name, call.desk.settings.jwt_ttl_s))
    if wants_cookie:
        check_same_origin(call.headers)
    user = await door.login.user(name, call.body.password, address)
    if user is None:
        await door.notes.write_failed(call.desk, name, address)
        raise Problem(401, "Unauthorized", REFUSED)
    user = await _with_strong_hash(call, door, user, call.body.password)
    await door.notes.write(call.desk, "login", Caller(user.name, ROLES[user.role], Proof.TOKEN, address))
    return grant(door, user, call.headers, as_cookie=wants_cookie)


async def _with_strong_hash(call: Call[Any, Any], door: TokenDoor, user: User, password: str) -> User:
    """The hash is made anew with today's parameters, now that the password is at hand."""
    if not passwords.is_weak(user.hash):
        return user
    made = msgspec.structs.replace(user, hash=await door.hashing.make(password))
    return await call.desk.client.put_user(made)


def grant(door: TokenDoor, user: User, headers: Mapping[str, str], *, as_cookie: bool) -> Answer:
    """A new token for a user who has shown the password. `headers`: of the request."""
    now = int(door.wall())
    csrf = make_csrf() if as_cookie else ""
    claims = Claims(
        user.name, user.role, user.epoch, secrets.token_urlsafe(16), now, now + max(1, int(door.ttl_s)), csrf
    )
    token, expires_at = door.ring.sign(claims), str(time_json(claims.expires_at * 1000))
    door.users.changed(user)
    if not as_cookie:
        return Answer(LoginReply(user.name, user.role, expires_at, token=token, token_type="Bearer"))
    cookie = door.cookie.write(token, claims.expires_at - now, headers)
    return Answer(LoginReply(user.name, user.role, expires_at, csrf=csrf), headers={"set-cookie": cookie})


def _empty_login(name: str, ttl_s: float) -> LoginReply:
    expires_at = str(time_json(int((time.time() + ttl_s) * 1000)))
    return LoginReply(
        name, Role.ADMIN.name.lower(), expires_at, token=f"auth-is-off.{secrets.token_urlsafe(16)}", token_type="Bearer"
    )


async def log_out(call: Call[None, NoQuery]) -> Answer:
    door = door_of(call)
    if door is None:
        return Answer(status=HTTPStatus.NO_CONTENT)
    claims, _ = door.claims_of(call.headers)
    door.end(claims)
    await door.notes.write(call.desk, LOGOUT, call.caller, subject_of(claims))
    return Answer(status=HTTPStatus.NO_CONTENT, headers={"set-cookie": door.cookie.clear(call.headers)})


async def me(call: Call[None, NoQuery]) -> Answer:
    caller, door = call.caller, door_of(call)
    role = caller.role.name.lower()
    if door is None:
        return Answer(Me(caller.name, role, auth=False, proof=Proof.NONE.value, expires_at=None, csrf=None))
    claims, proof = door.claims_of(call.headers)
    return Answer(
        Me(
            caller.name,
            role,
            auth=True,
            proof=proof.value,
            expires_at=time_json(claims.expires_at * 1000),
            csrf=claims.csrf or None,
        )
    )


async def change_own_password(call: Call[PasswordBody, NoQuery]) -> Answer:
    """The old one is asked for: a stolen token must not be enough to keep its owner out. It counts as a login, with its limits."""
    door = door_of(call)
    if door is None:
        raise Problem(
            409, "Conflict", "auth is off: nobody is logged in whose password could be changed", code="wrong-state"
        )
    claims, proof = door.claims_of(call.headers)
    if claims.is_local:
        raise Problem(409, "Conflict", f"{claims.name} is no user, and has no password", code="wrong-state")
    check_new_password(claims.name, call.body.password)
    user = await door.login.user(claims.name, call.body.old_password, call.caller.address)
    if user is None:
        raise Problem(403, "Forbidden", "old_password is wrong")
    made = msgspec.structs.replace(user, hash=await door.hashing.make(call.body.password), is_dev=False)
    # Users may change nobody, but this one thing of themselves: said by the door in the user's name.
    stored = await call.desk.voice(Caller(user.name, Role.ADMIN, proof, call.caller.address)).put_user(made)
    door.changed(stored)
    return grant(door, stored, call.headers, as_cookie=proof is Proof.COOKIE)


async def keys(call: Call[None, NoQuery]) -> Answer:
    """Open to everybody: these are public halves. Others keep them for a while, so a new key is shown before it signs."""
    door = door_of(call)
    return Answer(Jwks([] if door is None else door.ring.public_keys), media_type="application/jwk-set+json")


def check_new_password(name: str, password: str) -> None:
    """Raises: Problem 422."""
    try:
        passwords.check_strength(name, password)
    except ValueError as fault:
        raise Problem(422, "Unprocessable Content", str(fault), code="invalid") from None


def door_of(call: Call[Any, Any]) -> TokenDoor | None:
    """None: auth is off."""
    door = call.desk.door
    return door if isinstance(door, TokenDoor) else None


TOO_MANY = {429: "Too many attempts; Retry-After says when the next one counts."}
ROUTES = (
    Route(
        "POST", "/auth/login", None, "Log in: a name and a password for a token.", log_in, LoginBody, LoginQuery, LoginReply, group="Auth",
        statuses={401: "Name or password is wrong; the same for every cause.", **TOO_MANY},
    ),
    Route("POST", "/auth/logout", Role.WORKER, "End this token.", log_out, status=204, group="Auth"),
    Route("GET", "/auth/me", Role.WORKER, "Who one is, and until when.", me, reply=Me, group="Auth"),
    Route(
        "PATCH", "/auth/me", Role.WORKER, "Change the own password. Ends all tokens of the user; the answer has a new one.",
        change_own_password, PasswordBody, reply=LoginReply, group="Auth",
        statuses={409: "There is no user behind this token.", **TOO_MANY},
    ),
    Route(
        "GET", "/.well-known/jwks.json", None, "The public keys that check tokens, where JWT_KEY_FILE signs them.", keys, reply=Jwks,
        group="Auth",
    ),
)  # fmt: skip
