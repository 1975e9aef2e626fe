"""Who may log in, as the nodes have it, at most two seconds old.

A token names a user and the user's epoch. It counts while the user is there with that epoch; the nodes raise it with every change of
password or role. So a changed password, a taken role and a removed user end their tokens here within `FRESH_S`, on every node.

All are read at once, when somebody shows a token and the last reading is old; however many show one meanwhile, it is read once. While no
node answers nothing is known of anybody, and nobody is let in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from ...wire.desk import User
from ...wire.messages import Role

FRESH_S = 2.0
AGAIN_S = 0.2
"""A name that is not known may have been made this moment: it is looked for once more, but not more often than this."""
ROLES = {"worker": Role.WORKER, "user": Role.USER, "admin": Role.ADMIN}


class Source(Protocol):
    """What of a client is needed here."""

    async def users(self, name: str = "") -> list[User]: ...


async def _nothing() -> None:
    pass


class Users:
    """`dev_users`: whether those made by AUTH_DEV_USERS count. `prepare`: done once, before anybody is looked for."""

    def __init__(
        self,
        source: Source,
        *,
        dev_users: bool,
        prepare: Callable[[], Awaitable[None]] = _nothing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._dev_users, self._clock = source, dev_users, clock
        self._prepare = prepare
        self._preparing: asyncio.Future[None] | None = None
        self._known: dict[str, User] = {}
        self._read_at = -1e9
        self._reading: asyncio.Task[None] | None = None
        self._change_count = 0

    async def get(self, name: str, epoch: int) -> User | None:
        """As it was two seconds ago or later. `epoch`: one that was signed, so that a newer one than is known is worth another reading.
        Raises: ZjpError when no node answers."""
        age_s = self._clock() - self._read_at
        user = self._known.get(name)
        if age_s >= FRESH_S or (age_s >= AGAIN_S and (user is None or user.epoch < epoch)):
            await self._read()
        return self._known.get(name)

    async def look_up(self, name: str) -> User | None:
        """As it is now; always one question to a node, whether there is such a user or not."""
        await self._prepared()
        found = [user for user in await self._source.users(name) if user.name == name]
        return found[0] if found and self._counts(found[0]) else None

    async def all(self) -> list[User]:
        """By name. Those that do not count are told too: an admin may want to remove them."""
        return await self._source.users()

    def changed(self, user: User) -> None:
        """What this process did itself counts here at once."""
        self.removed(user.name)
        if self._counts(user):
            self._known[user.name] = user

    def removed(self, name: str) -> None:
        self._change_count += 1
        self._known.pop(name, None)

    async def _prepared(self) -> None:
        """Whoever comes first waits for it; while it fails, it is tried again."""
        made = self._preparing
        if made is None or (made.done() and (made.cancelled() or made.exception() is not None)):
            made = self._preparing = asyncio.ensure_future(self._prepare())
        await asyncio.shield(made)

    async def _read(self) -> None:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read_all())
        await asyncio.shield(self._reading)

    async def _read_all(self) -> None:
        await self._prepared()
        began_at, change_count = self._clock(), self._change_count
        users = await self._source.users()
        if change_count != self._change_count:
            return  # it may tell what was before the change: the next one who asks reads again
        self._known = {user.name: user for user in users if self._counts(user)}
        self._read_at = began_at

    def _counts(self, user: User) -> bool:
        return user.role in ROLES and (self._dev_users or not user.is_dev)
