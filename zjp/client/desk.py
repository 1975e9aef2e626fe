"""What operators and the HTTP door ask of a node beyond jobs, for both clients: users, events, failures, the feed, other nodes.

The clients inherit these; `_ask_desk` is all that they give.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

import msgspec

from ..errors import WireError
from ..wire.desk import (
    AskEvents,
    AskFailures,
    AskFeed,
    AskNode,
    AskUsers,
    Events,
    Failures,
    Feed,
    Note,
    PutUser,
    RemoveJobs,
    RemoveUser,
    User,
    Users,
)
from ..wire.messages import Done, Reply, Request
from .calls import Outcome
from .deeds import Ref, expect, in_parts, read_verdicts, ref_bytes
from .options import Duration, duration_s

FEED_GRACE_S = 10.0
"""What an answer of the feed may take, beyond the time that was asked for."""
NODE_S = 3.0
"""A node waits 2 s for another one; beyond that it is of no use to ask again and again, as any other call does."""
_encode = msgspec.msgpack.Encoder().encode


class AsyncDesk:
    def _ask_desk(self, request: Request, within_s: float | None = None) -> Awaitable[Outcome]:
        """None: as long as any call may take."""
        raise NotImplementedError

    async def users(self, name: str = "") -> list[User]:
        """All who may log in, by name; of `name`, that one alone, or nobody. Hashes are told to the HTTP door only."""
        return expect(Users, await self._ask_desk(AskUsers(name))).users

    async def put_user(self, user: User) -> User:
        """Make or replace; as it is stored now. Raises: WrongState (another version is there, the last admin), InvalidJob."""
        return _one_user(await self._ask_desk(PutUser(user)))

    async def remove_user(self, name: str) -> bool:
        """False: there was none. Raises: WrongState (the last admin)."""
        return bool(expect(Done, await self._ask_desk(RemoveUser(name))).count)

    async def events(
        self, kind: str = "", *, since_ms: int = 0, until_ms: int = 0, cursor: bytes = b"", limit: int = 50
    ) -> Events:
        """One page of what happened to the cluster, newest first; `kind`: audit, election, member, mesh."""
        return expect(Events, await self._ask_desk(AskEvents(kind, since_ms, until_ms, cursor, limit)))

    async def note(self, what: str, subject: str = "", origin: str = "") -> None:
        """Into the audit; only for the HTTP door."""
        expect(Done, await self._ask_desk(Note(what, subject, origin)))

    async def failures(self, *, since_ms: int = 0, type: str = "", queue: str = "", limit: int = 50) -> Failures:
        """Failed jobs, grouped by type and error."""
        return expect(Failures, await self._ask_desk(AskFailures(since_ms, type, queue, limit)))

    async def feed(self, after: int = 0, timeout: Duration = 0.0) -> Feed:
        """What happened to jobs on the answering node after that place (0: from now on), as soon as there is something."""
        request = AskFeed(after, round(duration_s("timeout", timeout) * 1000))
        return expect(Feed, await self._ask_desk(request, request.timeout_ms / 1000 + FEED_GRACE_S))

    async def remove_jobs(self, refs: Iterable[Ref], /) -> list[str]:
        """Cancel them and remove their records; in order: removed, removing, unknown."""
        verdicts: list[str] = []
        for ids in in_parts([ref_bytes(ref) for ref in refs]):
            verdicts += read_verdicts(await self._ask_desk(RemoveJobs(list(ids))), len(ids))
        return verdicts

    async def ask_node(self, node: str, request: Request) -> Reply:
        """What that node answers. Raises: NotFound (no such node), Unavailable (it did not answer), and what the node itself refuses."""
        return _reply(await self._ask_desk(AskNode(node, _encode(request)), NODE_S))


class Desk:
    def _ask_desk(self, request: Request, within_s: float | None = None) -> Outcome:
        raise NotImplementedError

    def users(self, name: str = "") -> list[User]:
        """All who may log in, by name; of `name`, that one alone, or nobody."""
        return expect(Users, self._ask_desk(AskUsers(name))).users

    def put_user(self, user: User) -> User:
        """Make or replace; as it is stored now. Raises: WrongState (another version is there, the last admin), InvalidJob."""
        return _one_user(self._ask_desk(PutUser(user)))

    def remove_user(self, name: str) -> bool:
        """False: there was none. Raises: WrongState (the last admin)."""
        return bool(expect(Done, self._ask_desk(RemoveUser(name))).count)

    def events(
        self, kind: str = "", *, since_ms: int = 0, until_ms: int = 0, cursor: bytes = b"", limit: int = 50
    ) -> Events:
        """One page of what happened to the cluster, newest first; `kind`: audit, election, member, mesh."""
        return expect(Events, self._ask_desk(AskEvents(kind, since_ms, until_ms, cursor, limit)))

    def failures(self, *, since_ms: int = 0, type: str = "", queue: str = "", limit: int = 50) -> Failures:
        """Failed jobs, grouped by type and error."""
        return expect(Failures, self._ask_desk(AskFailures(since_ms, type, queue, limit)))

    def remove_jobs(self, refs: Iterable[Ref], /) -> list[str]:
        """Cancel them and remove their records; in order: removed, removing, unknown."""
        verdicts: list[str] = []
        for ids in in_parts([ref_bytes(ref) for ref in refs]):
            verdicts += read_verdicts(self._ask_desk(RemoveJobs(list(ids))), len(ids))
        return verdicts

    def ask_node(self, node: str, request: Request) -> Reply:
        """What that node answers. Raises: NotFound (no such node), Unavailable (it did not answer), and what the node itself refuses."""
        return _reply(self._ask_desk(AskNode(node, _encode(request)), NODE_S))


def _one_user(outcome: Outcome) -> User:
    users = expect(Users, outcome).users
    if len(users) != 1:
        raise WireError(f"the node answered {len(users)} users for one; upgrade the older side")
    return users[0]


def _reply(outcome: Outcome) -> Reply:
    """Nobody submits by way of another node, and refusals were raised."""
    assert isinstance(outcome, Reply)
    return outcome
