"""What a submit says to the server, and what of its answers still counts.

What was found out on one server must not be used on another, which may not have it: then all is asked again. So whoever has sought says
on which server: several requests seek at the same time, and a fail-over may come between any two of them.

An answer may leave open whether an earlier try has stored the request, whose answer was lost: then its caller must not be told that nothing
was stored, whatever else fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...redis.lane import Command, Lane
from ...redis.script import Scripts
from .deeds import Deeds

AGAIN = [b"again"]
QUEUES_KNOWN_AT = 0
"""Place in the arguments of the submit script."""


class Reply(NamedTuple):
    """Of the submit script, and whether the request may be stored although it does not say so."""

    told: list[Any]
    is_in_doubt: bool


class Submits:
    """`lane`: the one of submits. `require(run_id)`: see `Inspection.require_over`."""

    def __init__(self, scripts: Scripts, deeds: Deeds, lane: Callable[[], Lane], require: Callable[[bytes], None]) -> None:
        self._scripts, self._deeds, self._lane, self._require = scripts, deeds, lane, require
        self._stored_on = b""
        self._queues: set[str] = set()
        """Those that it knows, as far as it told."""

    async def store(self, arguments: list[Any], queues: set[str], sought_on: bytes | None) -> Reply:
        """`queues`: of the jobs. `sought_on`: by the request's own `seek`; None: it needs none.
        Raises: OutcomeUnknown, StoreUnavailable."""
        lane, script = self._lane(), self._scripts["submit"]
        was_tried = False

        def make(is_repeat: bool) -> Command:
            nonlocal was_tried
            was_tried = is_repeat
            self._require(lane.server)
            arguments[QUEUES_KNOWN_AT] = b"1" if lane.data == self._stored_on and queues <= self._queues else b"0"
            return script.command(arguments)

        if sought_on not in (None, lane.data):
            return Reply(AGAIN, is_in_doubt=False)
        stored_on, told = await self._deeds.send(lane, script, make, lambda told: told[0] == b"ok")
        if stored_on != self._stored_on:
            self._stored_on, self._queues = stored_on, set()
        if told[0] != b"ok":
            return Reply(told, is_in_doubt=was_tried)
        self._queues |= queues
        return Reply(AGAIN, is_in_doubt=True) if sought_on not in (None, stored_on) else Reply(told, is_in_doubt=False)

    def forget_queues(self) -> None:
        """The server may not know them any more."""
        self._queues.clear()

    async def seek(self, sessions: Sequence[bytes], ids: Sequence[bytes]) -> tuple[bytes, list[bytes], list[bytes]]:
        """On which server that was (`Lane.data`), and what the script tells. Raises: StoreUnavailable."""
        sought_on, (generations, values) = await self._scripts.told("seek", self._lane(), [len(sessions), *sessions, *ids])
        return sought_on, generations, values

    async def confirm(self, sought_on: bytes) -> bool:
        """After a `seek` that found all. False: seek again. Raises: OutcomeUnknown, StoreUnavailable."""
        return await self._deeds.confirm(self._lane()) == sought_on
