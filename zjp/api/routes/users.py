"""Who may log in: listed, made, changed and removed by admins.

Every change of password or role raises the user's epoch at the nodes, which ends all tokens of the user within two seconds, everywhere.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec

from ...errors import NotFound, WrongState
from ...job_json import time_json
from ...tokens import check_user_name
from ...wire.desk import User
from ...wire.messages import Role
from ..auth.hashing import Hashing
from ..shapes import Cursor, Limit, PageOf, Time, decode_cursor, encode_cursor
from ..table import Answer, Call, NoQuery, Problem, Route
from .login import check_new_password, door_of

RoleName = Literal["admin", "user", "worker"]
Password = Annotated[str, msgspec.Meta(max_length=4096)]


class UserQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limit: Limit = 50
    cursor: Cursor = ""


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    password: Password
    role: RoleName


class UserChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays."""

    role: RoleName | None = None
    password: Password | None = None


class UserShape(msgspec.Struct):
    name: str
    role: str
    created_at: Time
    changed_at: Time
    is_dev: bool


class UserPage(PageOf):
    items: list[UserShape]


async def list_users(call: Call[None, UserQuery]) -> Answer:
    after = _after(call.query.cursor)
    users = [
        user
        for user in sorted(await call.desk.voice(call.caller).users(), key=lambda user: user.name)
        if user.name > after
    ]
    shown = users[: call.query.limit]
    cursor = encode_cursor(shown[-1].name.encode()) if len(users) > len(shown) else None
    return Answer(UserPage(items=[user_json(user) for user in shown], cursor=cursor))


async def show_user(call: Call[None, NoQuery]) -> Answer:
    return Answer(user_json(await _found(call)))


async def add_user(call: Call[NewUser, NoQuery]) -> Answer:
    wanted = call.body
    try:
        check_user_name(wanted.name)
    except ValueError as fault:
        raise Problem(422, "Unprocessable Content", f"name: {fault}", code="invalid") from None
    check_new_password(wanted.name, wanted.password)
    voice = call.desk.voice(call.caller)
    if await _named(voice, wanted.name) is not None:
        raise _there(wanted.name)
    made = User(wanted.name, wanted.role, await _hash(call, wanted.password))
    try:
        stored = await voice.put_user(made)
    except WrongState:
        raise _there(wanted.name) from None
    _changed(call, stored)
    return Answer(user_json(stored), HTTPStatus.CREATED, {"location": f"/api/v1/users/{stored.name}"})


async def change_user(call: Call[UserChange, NoQuery]) -> Answer:
    """A dev user whose password or role is changed is one no more: it is somebody's now, and stays when the setting is off."""
    wanted = call.body
    if wanted.role is None and wanted.password is None:
        raise Problem(422, "Unprocessable Content", "nothing to change: give role, password or both", code="invalid")
    user = await _found(call)
    made_hash = ""
    if wanted.password is not None:
        check_new_password(user.name, wanted.password)
        made_hash = await _hash(call, wanted.password)
    is_dev = user.is_dev and wanted.password is None
    changed = msgspec.structs.replace(user, role=wanted.role or user.role, hash=made_hash, is_dev=is_dev)
    stored = await call.desk.voice(call.caller).put_user(changed)
    _changed(call, stored)
    return Answer(user_json(stored))


async def remove_user(call: Call[None, NoQuery]) -> Answer:
    name = call.path["name"]
    if not await call.desk.voice(call.caller).remove_user(name):
        raise _unknown(name)
    door = door_of(call)
    if door is not None:
        door.removed(name)
    return Answer(status=HTTPStatus.NO_CONTENT)


def user_json(user: User) -> UserShape:
    return UserShape(user.name, user.role, time_json(user.created_ms), time_json(user.changed_ms), user.is_dev)


async def _found(call: Call[Any, Any]) -> User:
    """Raises: NotFound."""
    user = await _named(call.desk.voice(call.caller), call.path["name"])
    if user is None:
        raise _unknown(call.path["name"])
    return user


async def _named(voice: Any, name: str) -> User | None:
    return next((user for user in await voice.users(name) if user.name == name), None) if name else None


async def _hash(call: Call[Any, Any], password: str) -> str:
    door = door_of(call)
    return await (_hashing() if door is None else door.hashing).make(password)


@cache
def _hashing() -> Hashing:
    """While auth is off."""
    return Hashing()


def _changed(call: Call[Any, Any], user: User) -> None:
    door = door_of(call)
    if door is not None:
        door.changed(user)


def _unknown(name: str) -> NotFound:
    return NotFound(f"there is no user {name[:64]!r}")


def _there(name: str) -> WrongState:
    return WrongState(f"there is a user {name!r} already; PATCH /api/v1/users/{name} changes it")


def _after(cursor: str) -> str:
    """Raises: InvalidJob."""
    return decode_cursor(cursor).decode("utf-8", "replace")


_GONE = {404: "There is no such user."}
ROUTES = (
    Route("GET", "/api/v1/users", Role.ADMIN, "Who may log in, by name.", list_users, query=UserQuery, reply=UserPage, group="Users"),
    Route(
        "POST", "/api/v1/users", Role.ADMIN, "Make a user.", add_user, NewUser, reply=UserShape, status=201, group="Users",
        statuses={409: "There is a user of this name."},
    ),
    Route("GET", "/api/v1/users/{name}", Role.ADMIN, "One user.", show_user, reply=UserShape, group="Users", statuses=_GONE),
    Route(
        "PATCH", "/api/v1/users/{name}", Role.ADMIN, "Change role or password; ends all tokens of the user.", change_user, UserChange,
        reply=UserShape, group="Users", statuses={**_GONE, 409: "It is the last admin, or was changed meanwhile."},
    ),
    Route(
        "DELETE", "/api/v1/users/{name}", Role.ADMIN, "Remove a user; ends all its tokens.", remove_user, status=204, group="Users",
        statuses={**_GONE, 409: "It is the last admin."},
    ),
)  # fmt: skip
