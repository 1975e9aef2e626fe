"""What a submit says to the server, and what of its answers still counts.

What was found out on one server must not be used on another, which may not have it: then all is asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...redis.lane import Command, Lane
from ...redis.script import Scripts
from .deeds import Deeds

AGAIN = [b"again"]
QUEUES_KNOWN_AT = 0
"""Place in the arguments of the submit script."""


class Submits:
    """`lane`: the one of submits. `require(run_id)`: see `Inspection.require_over`."""

    def __init__(self, scripts: Scripts, deeds: Deeds, lane: Callable[[], Lane], require: Callable[[bytes], None]) -> None:
        self._scripts, self._deeds, self._lane, self._require = scripts, deeds, lane, require
        self._stored_on = self._sought_on = b""

    async def store(self, arguments: list[Any], is_after_seek: bool) -> list[Any]:
        """The script's reply. Raises: OutcomeUnknown, StoreUnavailable."""
        lane, script = self._lane(), self._scripts["submit"]

        def make(_: bool) -> Command:
            self._require(lane.server)
            if lane.data != self._stored_on:  # which may not know the queues
                arguments[QUEUES_KNOWN_AT] = b"0"
            return script.command(arguments)

        if is_after_seek and lane.data != self._sought_on:
            return AGAIN
        reply: list[Any] = await self._deeds.send(lane, script, make, lambda reply: reply[0] == b"ok")
        self._stored_on = lane.data
        return AGAIN if is_after_seek and reply[0] == b"ok" and lane.data != self._sought_on else reply

    async def seek(self, sessions: Sequence[bytes], ids: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
        lane = self._lane()
        generations, values = await self._scripts("seek", lane, [len(sessions), *sessions, *ids])
        self._sought_on = lane.data
        return generations, values

    async def confirm(self) -> bool:
        """After a `seek` that found all. False: seek again. Raises: OutcomeUnknown, StoreUnavailable."""
        lane = self._lane()
        await self._deeds.confirm(lane)
        return lane.data == self._sought_on
