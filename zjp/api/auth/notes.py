"""Log-ins and log-outs in the audit. The nodes note by themselves what users have them do; these only the door sees.

Failed ones are noted up to a limit: an audit that anybody can fill hides what it should show. Beyond it they are counted in the log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...errors import NotAllowed, OutcomeUnknown, Unavailable
from ...log import event
from ...wire.desk import NAME_CHARS_MAX
from ...wire.messages import Role
from ..table import Caller, Proof

if TYPE_CHECKING:
    from ..desk import Desk

FAILED_MAX, FAILED_WINDOW_S = 30, 60.0
ORIGIN_CHARS_MAX = 64

log = logging.getLogger(__name__)


class Notes:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: list[float] = []

    async def write(self, desk: Desk, what: str, who: Caller, subject: str = "") -> None:
        """`who`: did it, or whose name was given; the subject too, unless there is another. A node that does not answer now must not keep
        anybody out: then the log has it alone."""
        voice = desk.voice(who) if who.proof is not Proof.NONE else desk.client
        try:
            await voice.note(what, subject or who.name[:NAME_CHARS_MAX], who.address[:ORIGIN_CHARS_MAX])
            return
        except (Unavailable, OutcomeUnknown, NotAllowed) as trouble:
            fault = trouble
        event(
            log,
            logging.WARNING,
            "auth.not_noted",
            what=what,
            user=who.name[:NAME_CHARS_MAX],
            origin=who.address,
            error=str(fault),
        )

    async def write_failed(self, desk: Desk, name: str, address: str) -> None:
        now = self._clock()
        self._failed = [at for at in self._failed if at > now - FAILED_WINDOW_S]
        if len(self._failed) < FAILED_MAX:
            self._failed.append(now)
            await self.write(desk, "login-failed", Caller(name, Role.WORKER, Proof.NONE, address))
        else:
            event(log, logging.WARNING, "auth.login_failed", origin=address)
