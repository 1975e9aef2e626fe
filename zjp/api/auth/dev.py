"""The users of AUTH_DEV_USERS, whose passwords everybody knows: made while it is on, removed when it is off.

They are told apart by `is_dev`, which nothing else sets. So a person's account that happens to be called admin is neither replaced nor
removed, and one with a known password does not outlive the setting: where it cannot be removed, since it is the last admin, it does not
count (see users.py). Whoever starts a process with the setting on is warned of it elsewhere (zjp.config.cautions).
"""

from __future__ import annotations

import logging
from typing import Protocol

from ...errors import NotAllowed, WrongState
from ...log import event
from ...wire.desk import User
from .hashing import Hashing

DEV_USERS = (("admin", "admin", "admin123"), ("user", "user", "user123"), ("worker", "worker", "worker123"))
"""(name, role, password)"""

log = logging.getLogger(__name__)


class Keeper(Protocol):
    """What of a client is needed here."""

    async def users(self, name: str = "") -> list[User]: ...
    async def put_user(self, user: User) -> User: ...
    async def remove_user(self, name: str) -> bool: ...


async def keep(client: Keeper, hashing: Hashing, *, is_on: bool) -> None:
    """Raises: ZjpError when no node answers."""
    try:
        await _keep(client, hashing, is_on)
    except NotAllowed as fault:
        event(log, logging.WARNING, "auth.dev_users_unchanged", hint=str(fault))


async def _keep(client: Keeper, hashing: Hashing, is_on: bool) -> None:
    users = {user.name: user for user in await client.users()}
    if is_on:
        for name, role, password in DEV_USERS:
            if name in users:
                _tell_of_namesake(users[name])
            else:
                await _make(client, User(name, role, await hashing.make(password), is_dev=True))
        return
    for user in users.values():
        if user.is_dev:
            await _remove(client, user)


def _tell_of_namesake(user: User) -> None:
    if not user.is_dev:
        event(
            log,
            logging.WARNING,
            "auth.dev_user_kept",
            user=user.name,
            hint="somebody's own account has this name, it is left as it is",
        )


async def _make(client: Keeper, user: User) -> None:
    try:
        await client.put_user(user)
    except WrongState:
        pass  # another node's door made it this moment


async def _remove(client: Keeper, user: User) -> None:
    try:
        if await client.remove_user(user.name):
            event(log, logging.WARNING, "auth.dev_user_removed", user=user.name, hint="AUTH_DEV_USERS is off")
    except WrongState:
        event(
            log, logging.WARNING, "auth.dev_user_ignored", user=user.name,
            hint="the last admin cannot be removed; it cannot log in: make another with `zjp users add NAME --role admin`",
        )  # fmt: skip
