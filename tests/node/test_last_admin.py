"""The last admin stays, also when two nodes are asked at the same moment: on every store, with both nodes reading before either writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.queue.making import BENCHES
from zjp.errors import WrongState
from zjp.node.askers import Asker
from zjp.node.users import TRIES_MAX, Users
from zjp.queue.store import Document, DocumentKind, QueueStore
from zjp.wire import messages as m
from zjp.wire.desk import AskUsers, PutUser, RemoveUser, User
from zjp.wire.desk import Users as UsersReply

pytestmark = pytest.mark.covers("http:users")

HASH = "$argon2id$v=19$one"
ASKER: Any = None
"""Who asks makes no difference to these two."""


@pytest.fixture(params=sorted(BENCHES))
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[QueueStore]:
    bench = BENCHES[request.param](tmp_path)
    yield await bench.open()
    await bench.close()


class Slow:
    """A store whose first readings come back when as many have read as there are nodes."""

    def __init__(self, store: QueueStore, nodes: int) -> None:
        self._store, self._left, self._all_have_read = store, nodes, asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def documents(self, kind: DocumentKind) -> Sequence[Document]:
        found = await self._store.documents(kind)
        self._left -= 1
        if self._left <= 0:
            self._all_have_read.set()
        await self._all_have_read.wait()
        return found


async def with_users(store: QueueStore, *admins: str) -> list[User]:
    for name in admins:
        await Users(store).put(PutUser(User(name, "admin", HASH)), ASKER)
    return await all_of(store)


async def all_of(store: QueueStore) -> list[User]:
    reply = await Users(store).ask(AskUsers(), Asker("door", m.Role.GATEWAY))
    assert isinstance(reply, UsersReply)
    return reply.users


def admins_of(users: Sequence[User]) -> set[str]:
    return {user.name for user in users if user.role == "admin"}


async def at_once(store: QueueStore, *requests: PutUser | RemoveUser) -> list[Any]:
    """Each through a node of its own."""
    slow: Any = Slow(store, len(requests))
    nodes = [Users(slow) for _ in requests]
    deeds = [
        node.put(request, ASKER) if isinstance(request, PutUser) else node.remove(request, ASKER)
        for node, request in zip(nodes, requests, strict=True)
    ]
    return await asyncio.gather(*deeds, return_exceptions=True)


def demoted(user: User) -> PutUser:
    return PutUser(msgspec.structs.replace(user, role="user", hash=""))


@pytest.mark.parametrize("deeds", ["remove remove", "demote demote", "remove demote"])
async def test_of_two_admins_who_take_away_each_other_at_once_one_stays(store: QueueStore, deeds: str) -> None:
    users = await with_users(store, "ada", "ben")
    made = [RemoveUser(user.name) if deed == "remove" else demoted(user) for deed, user in zip(deeds.split(), users, strict=True)]
    told = await at_once(store, *made)
    (refused,) = (one for one in told if isinstance(one, Exception))
    assert isinstance(refused, WrongState)
    assert "is the last admin" in str(refused)
    assert len(admins_of(await all_of(store))) == 1


async def test_of_three_admins_whom_three_nodes_remove_at_once_one_stays(store: QueueStore) -> None:
    await with_users(store, "ada", "ben", "cyd")
    told = await at_once(store, *(RemoveUser(name) for name in ("ada", "ben", "cyd")))
    assert [type(one) for one in told].count(WrongState) == 1
    assert len(admins_of(await all_of(store))) == 1


async def test_admin_is_taken_away_though_the_one_who_stays_changes_meanwhile(store: QueueStore) -> None:
    ada, _ = await with_users(store, "ada", "ben")
    changed = PutUser(msgspec.structs.replace(ada, hash="$argon2id$v=19$two"))
    told = await at_once(store, changed, RemoveUser("ben"))
    assert told[1] == m.Done(1)
    assert admins_of(await all_of(store)) == {"ada"}


async def test_change_of_an_admin_who_was_changed_meanwhile_is_refused(store: QueueStore) -> None:
    ada, _ = await with_users(store, "ada", "ben")
    told = await at_once(store, demoted(ada), demoted(ada))
    (refused,) = (one for one in told if isinstance(one, Exception))
    assert "was changed by somebody else" in str(refused)
    assert 1 < TRIES_MAX < 100
