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

if TYPE_CHECKING:
    from ...client.asyncio import AsyncClient

FAILED_MAX, FAILED_WINDOW_S = 30, 60.0
ORIGIN_CHARS_MAX = 64

log = logging.getLogger(__name__)


class Notes:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: list[float] = []

    async def write(self, client: AsyncClient, what: str, subject: str, origin: str) -> None:
        """A node that does not answer now must not keep anybody out: then the log has it alone."""
        origin = origin[:ORIGIN_CHARS_MAX]
        try:
            await client.note(what, subject[:NAME_CHARS_MAX], origin)
        except (NotAllowed, Unavailable, OutcomeUnknown) as fault:
            event(
                log,
                logging.WARNING,
                "auth.not_noted",
                what=what,
                user=subject[:NAME_CHARS_MAX],
                origin=origin,
                error=str(fault),
            )

    async def write_failed(self, client: AsyncClient, subject: str, origin: str) -> None:
        now = self._clock()
        self._failed = [at for at in self._failed if at > now - FAILED_WINDOW_S]
        if len(self._failed) < FAILED_MAX:
            self._failed.append(now)
            await self.write(client, "login-failed", subject, origin)
        else:
            event(log, logging.WARNING, "auth.login_failed", origin=origin[:ORIGIN_CHARS_MAX])
