"""Who is there, as one Raft node sees it. A leader hears everyone and may hold a silent one dead; the others hear but the leader.

leader     alive ──nothing for SUSPECT_AFTER──► suspect ──nothing for DEAD_AFTER──► dead; anything heard: alive
others     alive, or suspect when neither anything was heard of late nor the mesh has a connection: a hint, never a proof.
           Whom it held dead while it led stays dead until it is heard
"""

from __future__ import annotations

from dataclasses import dataclass

from .core import Config, Effects, Happened, Health, Kind, Member, Met, Time

SUSPECT_AFTER = 1
"""In timeouts: then a majority of such silence would end a leadership."""
DEAD_AFTER = 6
"""In timeouts. Lower finds dead nodes sooner; a process that a busy machine stops for so long is then held dead too."""
FORGET_AFTER = 120
"""In timeouts: a non-voter that has been silent and unconnected for so long is struck off, else names would pile up."""
KINDS = {Health.SUSPECT: Kind.MEMBER_SUSPECT, Health.DEAD: Kind.MEMBER_DEAD}


@dataclass(slots=True)
class Known:
    """`heard`: when anything came from it."""

    heard: Time
    since: Time
    health: Health | None = None
    """None: never seen alive, shown as suspect."""
    priority: int = 0
    is_up: bool = False


class Roster:
    """The voters from the start, the others once they are met. `now`: when this life began."""

    def __init__(self, now: Time, config: Config, others: tuple[str, ...]) -> None:
        self._timeout = config.timeout
        self._me = config.me
        self._mine = Member(Health.ALIVE, now, config.priority)
        self._shown: dict[str, Member] | None = None
        self._voters = frozenset(config.voters)
        self._led_since = now
        """A leader counts silence from then on."""
        self.known = {name: Known(now - config.timeout, now) for name in others}

    def met(self, now: Time, event: Met) -> None:
        known = self.known.get(event.peer)
        if known is None:
            known = self.known[event.peer] = Known(now - self._timeout, now)
        known.is_up, known.priority = event.is_up, event.priority
        self._shown = None

    def shift(self, lag: Time) -> None:
        for known in self.known.values():
            known.heard += lag

    def lead(self, now: Time) -> None:
        self._led_since = now

    def assess(self, now: Time, out: Effects, *, is_leader: bool) -> None:
        self._forget(now)
        for name, known in self.known.items():
            health = self._health(now, known, is_leader)
            if health is known.health or (known.health is None and health is Health.SUSPECT):
                continue
            kind = KINDS.get(health) or (Kind.MEMBER_REFUTED if known.health is Health.SUSPECT else Kind.MEMBER_JOINED)
            known.health, known.since = health, now
            self._shown = None
            out.happened.append(Happened(kind, name))

    def _forget(self, now: Time) -> None:
        gone = [
            name
            for name, known in self.known.items()
            if not known.is_up and now - known.heard >= FORGET_AFTER * self._timeout
        ]
        for name in gone:
            if name not in self._voters:
                del self.known[name]
                self._shown = None

    def _health(self, now: Time, known: Known, is_leader: bool) -> Health:
        if now - known.heard < SUSPECT_AFTER * self._timeout or (known.is_up and not is_leader):
            return Health.ALIVE
        silence = now - max(known.heard, self._led_since)
        if is_leader and silence < SUSPECT_AFTER * self._timeout:
            return known.health or Health.SUSPECT
        is_dead = silence >= DEAD_AFTER * self._timeout if is_leader else known.health is Health.DEAD
        return Health.DEAD if is_dead else Health.SUSPECT

    def members(self) -> dict[str, Member]:
        """This node first. A copy, made when something has changed."""
        if self._shown is None:
            others = {
                name: Member(known.health or Health.SUSPECT, known.since, known.priority)
                for name, known in self.known.items()
            }
            self._shown = {self._me: self._mine, **others}
        return self._shown
