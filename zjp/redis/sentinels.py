"""Which server is the primary, as the Sentinels say.

All of them are asked at once, and of more than half the one with the highest configuration epoch is believed: so neither one that is gone,
nor one that is frozen, nor one that missed a fail-over decides. A server that was named must say itself that it is a primary before
anything is written to it (`PrimaryConnection`); a Sentinel may be late.

A primary that was frozen and wakes up after a fail-over takes writes until a Sentinel tells it better, and these are lost. So a connection
follows what is known (`serves`), and one that was silent for SILENT_S asks first: who was replaced was silent for longer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from redis.asyncio.connection import AbstractConnection, Connection
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import RedisError, ResponseError

from .packing import Packing

ASK_S = 0.5
"""For one Sentinel. Below a third of a call's time, so that a call may ask, find the answer outdated and ask again."""
SILENT_S = 1.5
"""Below what it takes at least to fail over, above the second in which an idle node's connections are used."""
BLIND_S = 5.0
"""While no Sentinel answers, connections that work are not doubted again for so long."""
DOWN = {"s_down", "o_down", "disconnected"}
Seat = tuple[str, int]


class Answer(msgspec.Struct, frozen=True):
    seat: Seat
    epoch: int
    is_down: bool


class Sentinels:
    def __init__(self, name: str, seats: Sequence[Seat], make: Callable[[Seat], AbstractConnection]) -> None:
        """`name`: what the Sentinels call the primary. `make`: a connection to one of them, not yet connected."""
        self._name, self._seats, self._make = name, seats, make
        self._known: Seat | None = None
        self._blind_until = 0.0

    async def primary(self) -> Seat:
        """Raises: redis' ConnectionError."""
        asked = [asyncio.create_task(self._ask(seat)) for seat in self._seats]
        try:
            answers = [task.result() for task in await _majority(asked)]
        finally:
            for task in asked:
                task.cancel()
        found = [answer for answer in answers if isinstance(answer, Answer)]
        if not found:
            raise Unreachable(f"no primary named {self._name!r} is known: {'; '.join(str(answer) for answer in answers)}")
        best = max(found, key=lambda answer: (answer.epoch, not answer.is_down))
        if best.is_down:
            raise Unreachable(f"the primary {self._name!r} at {best.seat[0]}:{best.seat[1]} is down; no other was chosen yet")
        self._known = best.seat
        return best.seat

    async def serves(self, connection: AbstractConnection, silent_s: float) -> bool:
        """Whether this connection, last answered `silent_s` ago, leads to the primary as far as one can know."""
        assert isinstance(connection, PrimaryConnection)
        now = asyncio.get_running_loop().time()
        if silent_s > SILENT_S and now > self._blind_until:
            try:
                await self.primary()
            except RedisError:  # they are away, or choosing; the server itself may be well
                self._blind_until = now + BLIND_S
        return connection.seat == self._known

    async def _ask(self, seat: Seat) -> Answer | str:
        connection = self._make(seat)
        try:
            async with asyncio.timeout(ASK_S):
                await connection.connect()
                await connection.send_command("SENTINEL", "MASTER", self._name)
                return _read(await connection.read_response(disable_decoding=True))
        except (OSError, TimeoutError, RedisError) as fault:
            return f"{seat[0]}:{seat[1]}: {str(fault) or f'no answer within {ASK_S:g} s'}"
        finally:
            await connection.disconnect(nowait=True)


async def _majority(asked: Sequence[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """As soon as more than half have named a server, or all have ended."""
    done: set[asyncio.Task[Any]] = set()
    pending = set(asked)
    while pending and 2 * sum(isinstance(task.result(), Answer) for task in done) <= len(asked):
        some, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        done |= some
    return done


def _read(reply: Any) -> Answer:
    flat = [part for pair in reply.items() for part in pair] if isinstance(reply, dict) else reply
    words = [part.decode() if isinstance(part, bytes) else str(part) for part in flat]
    facts = dict(zip(words[::2], words[1::2], strict=True))
    return Answer((facts["ip"], int(facts["port"])), int(facts["config-epoch"]), bool(DOWN & set(facts["flags"].split(","))))


class PrimaryConnection(Packing, Connection):
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
