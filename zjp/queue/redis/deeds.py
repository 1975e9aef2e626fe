"""What changes something for a caller, and when it may be told as done.

Of a call that went out and was not answered nobody knows whether it was carried out, and the caller is told so (OutcomeUnknown); of one
that never left, that nothing was done (StoreUnavailable).

At level `replica` a deed is acknowledged when a replica has it: WAIT on the connection that wrote it, since the server waits for what
*that connection* wrote; on another, made after a break or a fail-over, it would wait for nothing. A repeat whose first try did it all
writes nothing by itself, and that try may still be unconfirmed. So it writes a mark and waits for that, which is behind the deed in the
stream to the replica; on another server than the one that answered, the mark would say nothing of the deed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...errors import OutcomeUnknown, Unavailable
from ...redis.lane import Command, Lane, Unanswered
from ...redis.script import Script, Scripts

WAIT: Command = (b"WAIT", b"1", b"1000")


class Deeds:
    """`is_replicated`: whether the level is `replica`."""

    def __init__(self, scripts: Scripts, *, is_replicated: bool) -> None:
        self._scripts, self.is_replicated = scripts, is_replicated

    async def carry_out(
        self, name: str, lane: Lane, arguments: list[Any], wrote: Callable[[Any], bool | None], repeat_at: int | None = None
    ) -> Any:
        """The script's reply. `wrote(reply)`: whether it changed something; False: perhaps an earlier try did; None: none did.
        The argument at `repeat_at` tells the script whether this is a repeat.

        Raises: OutcomeUnknown, StoreUnavailable."""
        script = self._scripts[name]
        data, reply = await self.send(lane, script, script.retelling(arguments, repeat_at), lambda reply: bool(wrote(reply)))
        if self.is_replicated and wrote(reply) is False and await self.confirm(lane) != data:
            raise OutcomeUnknown(f"{name}: the server that did it was replaced at once, perhaps by one that does not know; ask again")
        return reply

    async def confirm(self, lane: Lane) -> bytes:
        """At level `replica`: until a replica has all that came before; below it nothing is asked. Returns the `data` of the server that
        this holds for. Raises: OutcomeUnknown, StoreUnavailable."""
        if not self.is_replicated:
            return lane.data
        script = self._scripts["confirm"]
        data, _ = await self.send(lane, script, lambda _: script.command(()), lambda _: True)
        return data

    async def send(
        self, lane: Lane, script: Script, make: Callable[[bool], Command], has_written: Callable[[Any], bool]
    ) -> tuple[bytes, Any]:
        """The `data` of the server that answered, and its reply. Raises: OutcomeUnknown, StoreUnavailable."""
        try:
            if not self.is_replicated:
                return await lane.told(make, script.load)
            data, (reply, confirmed) = await lane.told(make, script.load, lambda reply: WAIT if has_written(reply) else None)
        except Unanswered as fault:
            raise unknown(fault) from fault
        if confirmed is not None and confirmed < 1:
            raise OutcomeUnknown("stored, but no replica has confirmed it within 1 s; repeat the request as it is")
        return data, reply


def unknown(fault: Unavailable) -> OutcomeUnknown:
    return OutcomeUnknown(f"{fault}; what was asked may or may not have been carried out: ask again as it is, a repeat does no harm")


def cancel_wrote(reply: Any) -> bool | None:
    verdicts, ended = reply[:2]
    return True if ended else False if any(verdict != b"u" for verdict in verdicts) else None


def requeue_wrote(reply: Any) -> bool | None:
    kind, _, _, *answers = reply
    return 1 in answers if kind == b"ok" else None
