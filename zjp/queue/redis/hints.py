"""What other nodes tell this one, by pub/sub: jobs are ready, jobs that it waits for are final. Both may be lost; nobody depends on them.

A subscription is a connection of its own, made again for as long as the store is open. It is asked for a sign of life every PING_S, and
where Sentinels name the server, whether it still is the right one.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from ...redis.address import Address
from ...redis.lane import send
from ...redis.packing import ID_BYTES

RETRY_S = (0.1, 1.0)
BEGIN_S = 3.0
"""To be subscribed. A frozen server takes connections, and then says nothing."""
PING_S = 5.0
CANCEL_S = 0.2


class Hints:
    """`start`, then `close`. `on_ready` is also called when a subscription begins anew: something may have been missed."""

    def __init__(
        self, address: Address, channel: bytes, *, on_ready: Callable[[], None], on_final: Callable[[Sequence[bytes]], None]
    ) -> None:
        self._address, self._channel = address, channel
        self._on_ready, self._on_final = on_ready, on_final
        self._task: asyncio.Task[None] | None = None
        self._was_heard = False
        self.is_listening = asyncio.Event()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="zjp-queue-hints")

    async def close(self) -> None:
        while self._task is not None and not self._task.done():
            self._task.cancel()  # again if need be: a driver in the middle of a connect may take a cancel for its own time-out
            await asyncio.wait([self._task], timeout=CANCEL_S)

    async def _run(self) -> None:
        pause_s = RETRY_S[0]
        while True:
            connection = self._address.make()
            try:
                async with asyncio.timeout(BEGIN_S):
                    await connection.connect()
                    await send(connection, (b"SUBSCRIBE", self._channel))
                pause_s = RETRY_S[0]
                await self._listen(connection)
            except (OSError, RedisError, TimeoutError):
                pass
            finally:
                self.is_listening.clear()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(pause_s * (0.5 + random.random()))
            pause_s = min(2 * pause_s, RETRY_S[1])

    async def _listen(self, connection: AbstractConnection) -> None:
        was_asked = False
        while True:
            try:
                async with asyncio.timeout(PING_S):
                    message = await connection.read_response(disable_decoding=True, disconnect_on_error=False, push_request=True)
            except TimeoutError:
                if was_asked:
                    raise
                if self._address.serves is not None and not await self._address.serves(connection, True):
                    return
                was_asked = True
                await send(connection, (b"PING",))
                continue
            was_asked = False
            self._take(message)

    def _take(self, message: object) -> None:
        if not isinstance(message, list) or len(message) != 3:
            return
        kind, _, data = message
        if kind == b"subscribe":
            self.is_listening.set()
            if self._was_heard:
                self._on_ready()
            self._was_heard = True
        elif kind == b"message" and data[:1] == b"r":
            self._on_ready()
        elif kind == b"message" and data[:1] == b"f":
            self._on_final([data[at : at + ID_BYTES] for at in range(1, len(data), ID_BYTES)])
