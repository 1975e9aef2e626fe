"""Who may log in: small documents beside the queue, so that every node and every HTTP door sees the same.

Whoever changes one names the version it replaces; two who change one at once do not undo each other. The last admin cannot be taken away:
a change that takes one names another that stays, and the store carries it out only while that other one is as it was. So of two admins who
remove one another at the same moment through two nodes, the second is refused.

An epoch is in every token of its user: it rises when the password or the role changes, and older tokens end. One who was removed and made
again begins above all former ones, as it begins with the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec

from ..errors import InvalidJob, WrongState
from ..job import check_name
from ..queue.store import Beside, DocumentKind, QueueStore
from ..wire import messages as m
from ..wire.desk import NAME_CHARS_MAX, USERS_MAX, AskUsers, PutUser, RemoveUser, User
from ..wire.desk import Users as UsersReply
from .askers import Asker

ADMIN = m.Role.ADMIN.name.lower()
TRIES_MAX = 8
"""Of a change that takes an admin while other admins are being changed."""
ROLES = {role.name.lower() for role in (m.Role.WORKER, m.Role.USER, m.Role.ADMIN)}
HASH_START = "$argon2id$"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(User).decode


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Users:
    def __init__(self, queue: QueueStore, wall_ms: Callable[[], int] = _wall_ms) -> None:
        self._queue, self._wall_ms = queue, wall_ms
        self._turn = asyncio.Lock()
        """One change after the other: who is the last admin is asked of all of them."""

    async def ask(self, request: AskUsers, asker: Asker) -> m.Reply:
        found = [user for user in (await self._all()).values() if request.name in ("", user.name)]
        return UsersReply(found if asker.role is m.Role.GATEWAY else [_told(user) for user in found])

    async def put(self, request: PutUser, asker: Asker) -> m.Reply:
        """Raises: InvalidJob, WrongState."""
        name, version = request.user.name, request.user.version
        async with self._turn:
            for _ in range(TRIES_MAX):
                users = await self._all()
                user = self._made(request.user, users.get(name), len(users))
                beside = _other_admin(users, name, user.role)
                made = await self._queue.put_document(DocumentKind.USER, name, _encode(user), version, beside=beside)
                if made:
                    return UsersReply([_told(msgspec.structs.replace(user, version=made))])
                if beside is None:
                    break
        raise _changed(name)

    async def remove(self, request: RemoveUser, asker: Asker) -> m.Reply:
        """Raises: WrongState."""
        name = request.name
        async with self._turn:
            for _ in range(TRIES_MAX):
                users = await self._all()
                if name not in users:
                    return m.Done(0)
                beside = _other_admin(users, name, "")
                if await self._queue.remove_document(DocumentKind.USER, name, users[name].version, beside=beside):
                    return m.Done(1)
        raise _changed(name)

    async def _all(self) -> dict[str, User]:
        found: dict[str, User] = {}
        for document in await self._queue.documents(DocumentKind.USER):
            found[document.name] = msgspec.structs.replace(_decode(document.data), version=document.version)
        return found

    def _made(self, asked: User, former: User | None, count: int) -> User:
        """As it is to be stored. Raises: InvalidJob, WrongState."""
        check_name("user's name", asked.name, NAME_CHARS_MAX)
        if asked.role not in ROLES:
            raise InvalidJob(f"role is {asked.role[:40]!r}, it must be one of {', '.join(sorted(ROLES))}")
        if asked.hash and not asked.hash.startswith(HASH_START):
            raise InvalidJob(
                f"the password of {asked.name} is no hash of argon2id; what is stored must not be the password itself"
            )
        now_ms = self._wall_ms()
        made: dict[str, Any] = {"created_ms": now_ms, "epoch": max(asked.epoch, now_ms // 1000)}
        if former is None:
            self._check_new(asked, count)
        elif not asked.version:
            raise WrongState(f"there is a user {asked.name} already; change that one, or choose another name")
        elif asked.version != former.version:
            raise _changed(asked.name)
        else:
            made = {"created_ms": former.created_ms, "hash": asked.hash or former.hash, "epoch": _epoch(asked, former)}
        return msgspec.structs.replace(asked, changed_ms=now_ms, version=0, **made)

    @staticmethod
    def _check_new(asked: User, count: int) -> None:
        if asked.version:
            raise WrongState(f"there is no user {asked.name} (any more)")
        if not asked.hash:
            raise InvalidJob(f"user {asked.name} is new and has no password; give one")
        if count >= USERS_MAX:
            raise WrongState(f"there are {count} users, which is the limit; remove some")


def _other_admin(users: dict[str, User], name: str, role: str) -> Beside | None:
    """One that stays when `name` gets that role (empty: is removed). None: it was no admin, or stays one. Raises: WrongState."""
    if role == ADMIN or name not in users or users[name].role != ADMIN:
        return None
    other = min((user.name for user in users.values() if user.role == ADMIN and user.name != name), default="")
    if not other:
        raise WrongState(f"{name} is the last admin; make another one first")
    return other, users[other].version


def _changed(name: str) -> WrongState:
    return WrongState(f"user {name} was changed by somebody else meanwhile; look again")


def _epoch(asked: User, former: User) -> int:
    is_other = asked.role != former.role or (asked.hash and asked.hash != former.hash)
    return max(asked.epoch, former.epoch + 1 if is_other else former.epoch)


def _told(user: User) -> User:
    return msgspec.structs.replace(user, hash="")
