"""What a submit says to the server, and when it may be acknowledged.

At level `replica` a request is acknowledged when a replica has it: WAIT on the connection that wrote it, since the server waits for what
*that connection* wrote; on another, made after a break or a fail-over, it would wait for nothing. A repeat whose jobs are all known
writes nothing by itself, and its first try may still be unconfirmed. So it writes a mark and waits for that, which is behind the jobs in
the stream to the replica.

What was found out on one server must not be used on another, which may not have it: then all is asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...errors import StoreUnavailable
from ...redis.lane import Command, Lane
from ...redis.script import Script, Scripts

WAIT: Command = (b"WAIT", b"1", b"1000")
AGAIN = [b"again"]
QUEUES_KNOWN_AT = 0
"""Place in the arguments of the submit script."""


class Submits:
    """`lane`: the one of submits. `is_replicated`: whether the level is `replica`."""

    def __init__(self, scripts: Scripts, lane: Callable[[], Lane], *, is_replicated: bool) -> None:
        self._scripts, self._lane, self._is_replicated = scripts, lane, is_replicated
        self._stored_on = self._sought_on = b""

    async def store(self, arguments: list[Any], is_after_seek: bool) -> list[Any]:
        """The script's reply. Raises: StoreUnavailable."""
        lane, script = self._lane(), self._scripts["submit"]

        def make(_: bool) -> Command:
            if lane.server != self._stored_on:  # which may not know the queues
                arguments[QUEUES_KNOWN_AT] = b"0"
            return script.command(arguments)

        if is_after_seek and lane.server != self._sought_on:
            return AGAIN
        reply: list[Any] = await self._send(lane, script, make, lambda reply: reply[0] == b"ok")
        self._stored_on = lane.server
        return AGAIN if is_after_seek and reply[0] == b"ok" and lane.server != self._sought_on else reply

    async def seek(self, sessions: Sequence[bytes], ids: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
        lane = self._lane()
        generations, values = await self._scripts("seek", lane, [len(sessions), *sessions, *ids])
        self._sought_on = lane.server
        return generations, values

    async def confirm(self) -> bool:
        """After a `seek` that found all. False: seek again. Raises: StoreUnavailable."""
        lane, script = self._lane(), self._scripts["confirm"]
        if self._is_replicated:
            await self._send(lane, script, lambda _: script.command(()), lambda _: True)
        return lane.server == self._sought_on

    async def _send(self, lane: Lane, script: Script, make: Callable[[bool], Command], has_written: Callable[[Any], bool]) -> Any:
        if not self._is_replicated:
            return await lane.call(make, script.load)
        reply, confirmed = await lane.call(make, script.load, lambda reply: WAIT if has_written(reply) else None)
        if confirmed is not None and confirmed < 1:
            raise StoreUnavailable("stored, but no replica has confirmed it within 1 s; repeat the request as it is")
        return reply
