"""How long a caller is asked to wait before it comes again (Retry-After), where this process knows more than a fixed number.

While the store or the nodes are away nobody knows when they come back. What is known is for how long they have been away: half of that,
at least a second and at most AGAIN_S_MAX, is when asking again makes sense. So a short outage is noticed to be over at once, and a long one
is not asked about by everybody each second. It is over when a submit succeeds, or nobody has met it for FORGET_S.
"""

from __future__ import annotations

import time
from collections.abc import Callable

AWAY = frozenset({"store-unavailable", "unreachable"})
"""Codes of problems that say so."""
AGAIN_S_MAX = 30
FORGET_S = 2.0 * AGAIN_S_MAX


class Patience:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._met_at = 0.0

    def after_s(self, code: str) -> int | None:
        """Whole seconds; None: this knows nothing better than the code's own."""
        if code not in AWAY:
            return None
        now = self._clock()
        if self._since is None or now > self._met_at + FORGET_S:
            self._since = now
        self._met_at = now
        return min(max(1, int(now - self._since) // 2), AGAIN_S_MAX)

    def worked(self) -> None:
        self._since = None
