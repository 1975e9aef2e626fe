"""When a life has lost its claims. Pure.

The lease is judged at each pass (claim, renew, tend). A pass that finds the last one more than PAUSE_S ago was stopped itself, by
SIGSTOP, a suspended machine or a full disk: nobody else could take the jobs meanwhile, so it extends the lease instead.
"""

from __future__ import annotations

PAUSE_S = 3.0


class Lease:
    def __init__(self, lease_s: float, now: float) -> None:
        self._lease_s = lease_s
        self._until = now + lease_s
        self._passed_at = now
        self.is_alive = True
        """False from the loss of the lease until `renew` has told it."""

    def has_ended(self, now: float) -> bool:
        """True once, at the pass that finds the lease lost."""
        if now - self._passed_at > PAUSE_S:
            self._until = max(self._until, now + self._lease_s)
        self._passed_at = now
        if self.is_alive and now > self._until:
            self.is_alive = False
            return True
        return False

    def renew(self, now: float) -> bool:
        """Call `has_ended` first. False: it was lost; a new one has begun."""
        was_alive, self.is_alive = self.is_alive, True
        self._until = now + self._lease_s
        return was_alive
