"""Which server is the primary, as the Sentinels say.

All of them are asked at once, and the one with the highest configuration epoch is believed: one of them carries a fail-over out, and the
others hear of it up to some seconds later. So all are waited for, those that were mute a while ago only until more than half have answered.
While any says that a fail-over is under way there is no primary. A server that was named must say itself that it is one before
anything is written to it (`PrimaryConnection`).

A primary that was frozen and wakes up after a fail-over takes writes until a Sentinel tells it better, and these are lost. So a connection
follows what is known (`serves`), and when it is doubtful the Sentinels are asked: before it is used after a silence of SILENT_S, and after
it was made or used, when that took SLOW_S. Who was replaced was silent for down-after-milliseconds, which must be longer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as Unreachable

from .packing import Packing

ASK_S = 0.5
"""For one Sentinel. Below a third of a call's time, so that a call may ask, find the answer outdated and ask again."""
MUTE_S = 10.0
"""One that gave no answer is not waited for in this time."""
SILENT_S = 1.5
"""Below what it takes at least to fail over, above the second in which an idle node's connections are used."""
SLOW_S = 0.25
"""Below what it takes from the moment in which the Sentinels still hold a primary for well to its replacement."""
BLIND_S = 5.0
"""While no Sentinel answers, connections that work are not doubted again for so long."""
DOWN = {"s_down", "disconnected"}
"""What one Sentinel finds; another may reach it."""
REPLACED = {"o_down", "failover_in_progress"}
OUTDATED_S = 15.0
"""When more than half say for so long that the configuration is older than one that was seen, it is: Sentinels that were set up again begin
at 0. Above the 8 s after which a Sentinel that knows better puts the servers right."""
Seat = tuple[str, int]


class NobodyAnswers(Unreachable):
    """No Sentinel that knows the name."""


class NobodyAllows(NobodyAnswers, AuthenticationError):
    """And some refuse the log-in."""


class Answer(msgspec.Struct, frozen=True):
    seat: Seat
    epoch: int
    flags: frozenset[str]


class Refusal(str):
    """Why one lets nobody in."""

    __slots__ = ()


class Sentinels:
    def __init__(self, name: str, seats: Sequence[Seat], make: Callable[[Seat], AbstractConnection]) -> None:
        """`name`: what the Sentinels call the primary. `make`: a connection to one of them, not yet connected."""
        self._name, self._seats, self._make = name, seats, make
        self._known: Seat | None = None
        self._epoch = 0
        self._outdated_since: float | None = None
        self._blind_until = 0.0
        self._mute_until: dict[Seat, float] = {}

    async def primary(self) -> Seat:
        """Raises: redis' ConnectionError."""
        now = asyncio.get_running_loop().time()
        asked = {asyncio.create_task(self._ask(seat)): seat for seat in self._seats}
        awaited = {task for task, seat in asked.items() if self._mute_until.get(seat, 0.0) <= now}
        try:
            answers = [task.result() for task in await _answered(set(asked), awaited)]
        finally:
            for task in asked:
                task.cancel()
        found = [answer for answer in answers if isinstance(answer, Answer)]
        if not found:
            kind = NobodyAllows if any(isinstance(answer, Refusal) for answer in answers) else NobodyAnswers
            raise kind(f"no primary named {self._name!r} is known: {'; '.join(str(answer) for answer in answers)}")
        self._epoch = self._believed(found)
        latest = [answer for answer in found if answer.epoch == self._epoch]
        best = min(latest or found, key=lambda answer: bool(answer.flags & DOWN))
        if not latest or best.flags & DOWN or any(answer.flags & REPLACED for answer in latest):
            raise Unreachable(f"the primary {self._name!r} at {best.seat[0]}:{best.seat[1]} is down or replaced; no other is known yet")
        self._known = best.seat
        return best.seat

    def _believed(self, found: Sequence[Answer]) -> int:
        """The epoch of the configuration that counts."""
        told, now = max(answer.epoch for answer in found), asyncio.get_running_loop().time()
        if told >= self._epoch:
            self._outdated_since = None
            return told
        if 2 * len(found) <= len(self._seats):
            return self._epoch
        if self._outdated_since is None:
            self._outdated_since = now
        return told if now - self._outdated_since > OUTDATED_S else self._epoch

    async def serves(self, connection: AbstractConnection, is_doubtful: bool) -> bool:
        """Whether this connection leads to the primary as far as one can know."""
        assert isinstance(connection, _ToPrimary)
        now = asyncio.get_running_loop().time()
        if is_doubtful and now > self._blind_until:
            try:
                await self.primary()
            except NobodyAnswers:  # the server itself may be well
                self._blind_until = now + BLIND_S
            except Unreachable:
                return False
        return connection.seat == self._known

    async def _ask(self, seat: Seat) -> Answer | str:
        connection = self._make(seat)
        try:
            async with asyncio.timeout(ASK_S):
                await connection.connect()
                await connection.send_command("SENTINEL", "MASTER", self._name)
                answer = _read(await connection.read_response(disable_decoding=True))
                self._mute_until.pop(seat, None)
                return answer
        except AuthenticationError as fault:
            return Refusal(f"{seat[0]}:{seat[1]}: {fault} (sentinel_username and sentinel_password in REDIS_ADDR)")
        except (OSError, TimeoutError, RedisError) as fault:
            self._mute_until[seat] = asyncio.get_running_loop().time() + MUTE_S
            return f"{seat[0]}:{seat[1]}: {str(fault) or f'no answer within {ASK_S:g} s'}"
        finally:
            await connection.disconnect(nowait=True)


async def _answered(asked: set[asyncio.Task[Any]], awaited: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """Those that have ended when all awaited have, and more than half of all have named a server. Each has its own limit."""
    done: set[asyncio.Task[Any]] = set()
    pending = asked
    while pending and (pending & awaited or 2 * sum(isinstance(task.result(), Answer) for task in done) <= len(asked)):
        some, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        done |= some
    return done


def _read(reply: Any) -> Answer:
    flat = [part for pair in reply.items() for part in pair] if isinstance(reply, dict) else reply
    words = [part.decode() if isinstance(part, bytes) else str(part) for part in flat]
    facts = dict(zip(words[::2], words[1::2], strict=True))
    return Answer((facts["ip"], int(facts["port"])), int(facts["config-epoch"]), frozenset(facts["flags"].split(",")))


class _ToPrimary(Connection):
    """To the primary of that moment, which said itself that it is one."""

    def __init__(self, *, sentinels: Sentinels, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._sentinels = sentinels

    @property
    def seat(self) -> Seat:
        return self.host, self.port

    async def connect(self) -> None:
        """Raises: redis' ConnectionError."""
        self.host, self.port = await self._sentinels.primary()
        await super().connect()  # type: ignore[no-untyped-call]
        await self.send_command("ROLE")
        with contextlib.suppress(ResponseError):  # not allowed to ask
            role = (await self.read_response(disable_decoding=True))[0]
            if role != b"master":
                await self.disconnect(nowait=True)
                raise Unreachable(f"{self.host}:{self.port}, which the Sentinels name, is not the primary but a {role.decode()}")


class PrimaryConnection(Packing, _ToPrimary):
    pass


class TLSPrimaryConnection(Packing, _ToPrimary, SSLConnection):
    pass
