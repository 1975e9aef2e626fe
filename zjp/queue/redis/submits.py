"""What a submit says to the server, and what of its answers still counts.

What was found out on one server must not be used on another, which may not have it: then all is asked again. So whoever has sought says
on which server: several requests seek at the same time, and a fail-over may come between any two of them.
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
        self._stored_on = b""

    async def store(self, arguments: list[Any], sought_on: bytes | None) -> list[Any]:
        """The script's reply. `sought_on`: by the request's own `seek`; None: it needs none. Raises: OutcomeUnknown, StoreUnavailable."""
        lane, script = self._lane(), self._scripts["submit"]

        def make(_: bool) -> Command:
            self._require(lane.server)
            if lane.data != self._stored_on:  # which may not know the queues
                arguments[QUEUES_KNOWN_AT] = b"0"
            return script.command(arguments)

        if sought_on not in (None, lane.data):
            return AGAIN
        reply: list[Any]
        stored_on, reply = await self._deeds.send(lane, script, make, lambda reply: reply[0] == b"ok")
        self._stored_on = stored_on
        return AGAIN if sought_on not in (None, stored_on) and reply[0] == b"ok" else reply

    async def seek(self, sessions: Sequence[bytes], ids: Sequence[bytes]) -> tuple[bytes, list[bytes], list[bytes]]:
        """On which server that was (`Lane.data`), and what the script tells. Raises: StoreUnavailable."""
        sought_on, (generations, values) = await self._scripts.told("seek", self._lane(), [len(sessions), *sessions, *ids])
        return sought_on, generations, values

    async def confirm(self, sought_on: bytes) -> bool:
        """After a `seek` that found all. False: seek again. Raises: OutcomeUnknown, StoreUnavailable."""
        return await self._deeds.confirm(self._lane()) == sought_on
