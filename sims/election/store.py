"""The store as the nodes see it: the leadership as zjp/queue/lua/lead.lua keeps it, and duties that must carry its token.

Duties here are the three that a leader does on time: promote delayed jobs, fire a schedule, reap leases that have ended. Each is one
step at the store, as a script is: the token is compared and the effect is written, or nothing is. Time is the store's own clock.
"""

from __future__ import annotations

from zjp.election.core import SECOND, Deed, Installed, StoreOp

from .clock import Clock

FIRE_EVERY = SECOND
"""The one schedule of a run fires each second."""
JOB_EVERY = 700_000_000
"""A delayed job becomes due so often."""
LEASE = 3 * SECOND


class Store:
    """`epoch`, `owner`, `until`: the key `lead`. Everything it took is kept in lists for the invariants and the picture."""

    __slots__ = (
        "clock",
        "epoch",
        "fired",
        "is_away",
        "lapsed",
        "leases",
        "next_fire",
        "next_job",
        "owner",
        "promoted",
        "until",
    )

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.epoch, self.owner, self.until = 0, "", 0
        self.is_away = False
        self.next_fire, self.next_job = clock.read(0) + FIRE_EVERY, clock.read(0) + JOB_EVERY
        self.fired: list[int] = []
        self.promoted: list[int] = []
        self.leases: dict[str, int] = {}
        self.lapsed: list[tuple[str, int]] = []

    def lead(self, at: int, op: StoreOp) -> Installed:
        """As lead.lua: a claim needs a greater epoch, and an end of the former leadership unless it was elected."""
        now = self.clock.read(at)
        if op.deed is Deed.INSTALL:
            has_ended = self.until <= now or self.owner == op.owner or op.is_elected
            if op.epoch > self.epoch and has_ended:
                self.epoch, self.owner, self.until = op.epoch, op.owner, now + op.lead_for
        elif self.owner == op.owner and self.epoch == op.epoch:
            self.until = now + op.lead_for if op.deed is Deed.RENEW else 0
        return Installed(self.epoch, self.owner, max(0, self.until - now))

    def do_duties(self, at: int, epoch: int, owner: str) -> bool:
        """Promote, fire, reap; False: the token is not the installed one, and nothing was done."""
        if epoch != self.epoch or owner != self.owner:
            return False
        now = self.clock.read(at)
        while self.next_fire <= now:
            self.fired.append(self.next_fire)
            self.next_fire += FIRE_EVERY
        while self.next_job <= now:
            self.promoted.append(self.next_job)
            self.next_job += JOB_EVERY
        for life in [life for life, until in self.leases.items() if until <= now]:
            self.lapsed.append((life, self.leases.pop(life)))
        return True

    def renew_lease(self, at: int, life: str) -> None:
        """What every node does, leader or not."""
        self.leases[life] = self.clock.read(at) + LEASE
