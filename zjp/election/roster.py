"""Who is there, as this one node has noticed, and who ranks above whom. Pure; Bully's.

    not seen yet ──► alive ◄──► suspect ──timeout──► dead      left: said good-bye
                       ▲──────── any message ─────────┘

Suspect: the mesh lost it, it did not answer, or (to a leader, who hears all) it was silent for a timeout. A coordinator that fell silent
is dead at once: its timeout is over. Followers hear little of one another, so what they show of them is mostly the mesh's word.
Rank is (priority, name); one whose priority was never heard may be above anyone.
"""

from __future__ import annotations

from .core import Config, Effects, Happened, Health, Kind, Member, Time

AWAY = (Health.DEAD, Health.LEFT)
KINDS = {Health.SUSPECT: Kind.MEMBER_SUSPECT, Health.DEAD: Kind.MEMBER_DEAD, Health.LEFT: Kind.MEMBER_LEFT}


class Roster:
    """Holds the voters from the start and whom the mesh has greeted. `others`: the voters without this node."""

    def __init__(self, config: Config) -> None:
        self._me = config.me
        self._timeout = config.timeout
        self._priorities = {config.me: config.priority}
        self._heard_at: dict[str, Time] = {}
        self._table: dict[str, Member] = {}
        self._shown: dict[str, Member] | None = None
        self._seen: set[str] = set()
        self.others = tuple(dict.fromkeys(voter for voter in config.voters if voter != config.me))
        self.learners: list[str] = []
        """Those that do not vote and may still listen."""
        self.wake: Time | None = None
        """When `age` would find a suspect dead."""

    def start(self, now: Time) -> None:
        self._table = dict.fromkeys(self.others, Member(Health.SUSPECT, now))
        self._table[self._me] = Member(Health.ALIVE, now, self._priorities[self._me])
        self._look()

    # ── ranks ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def note(self, peer: str, priority: int) -> None:
        if self._priorities.get(peer) == priority or peer not in self._table:
            return
        self._priorities[peer] = priority
        member = self._table[peer]
        self._table[peer] = Member(member.health, member.since, priority)
        self._shown = None

    def is_known(self, peer: str) -> bool:
        """Whether its priority is."""
        return peer in self._priorities

    def outranks(self, one: str, other: str) -> bool:
        """Surely: both priorities are known."""
        ranks = self._priorities
        return one in ranks and other in ranks and (ranks[one], one) > (ranks[other], other)

    def above(self) -> list[str]:
        """The voters to ask before this node may lead: all that may rank above it and are not held dead."""
        return [
            peer for peer in self.others if self._table[peer].health not in AWAY and not self.outranks(self._me, peer)
        ]

    def best(self) -> str:
        """The highest other voter that is alive; empty: none is."""
        alive = [peer for peer in self.others if self._table[peer].health is Health.ALIVE]
        return max(alive, key=lambda peer: (self._priorities.get(peer, -(1 << 31)), peer), default="")

    # ── health ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def health(self, peer: str) -> Health:
        member = self._table.get(peer)
        return Health.DEAD if member is None else member.health

    def hear(self, now: Time, peer: str, out: Effects) -> bool:
        """A word from it; whether it is one that was not held alive."""
        member = self._table.get(peer)
        if member is None:
            return False
        self._heard_at[peer] = now
        if member.health is Health.ALIVE:
            return False
        is_refuted = member.health is Health.SUSPECT and peer in self._seen
        self._seen.add(peer)
        self._set(now, peer, Health.ALIVE)
        out.happened.append(Happened(Kind.MEMBER_REFUTED if is_refuted else Kind.MEMBER_JOINED, peer))
        return True

    def meet(self, now: Time, peer: str, priority: int, out: Effects) -> bool:
        """The mesh has greeted it; whether it was not held alive."""
        if peer == self._me:
            return False
        self._table.setdefault(peer, Member(Health.SUSPECT, now))
        self.note(peer, priority)
        return self.hear(now, peer, out)

    def suspect(self, now: Time, peer: str, out: Effects) -> None:
        if self.health(peer) is Health.ALIVE and peer != self._me:
            self._turn(now, peer, Health.SUSPECT, out)

    def bury(self, now: Time, peer: str, health: Health, out: Effects) -> None:
        """`health`: DEAD or LEFT."""
        if self.health(peer) not in AWAY and peer != self._me:
            self._turn(now, peer, health, out)

    def age(self, now: Time, out: Effects, *, is_leader: bool) -> None:
        """Suspects become dead; to a leader, the silent become suspects."""
        if is_leader:
            for peer, member in list(self._table.items()):
                if member.health is Health.ALIVE and now - self._heard_at.get(peer, now) >= self._timeout:
                    self.suspect(now, peer, out)
        if self.wake is not None and now >= self.wake:
            for peer, member in list(self._table.items()):
                if member.health is Health.SUSPECT and now - member.since >= self._timeout:
                    self._turn(now, peer, Health.DEAD, out)

    def refresh(self, now: Time) -> None:
        """What was not heard until now counts for nothing: a leadership begins, or this process did not run."""
        self._heard_at = dict.fromkeys(self._heard_at, now)

    def shown(self) -> dict[str, Member]:
        """A copy that no later step changes."""
        if self._shown is None:
            self._shown = dict(self._table)
        return self._shown

    def _turn(self, now: Time, peer: str, health: Health, out: Effects) -> None:
        self._set(now, peer, health)
        out.happened.append(Happened(KINDS[health], peer))

    def _set(self, now: Time, peer: str, health: Health) -> None:
        self._table[peer] = Member(health, now, self._priorities.get(peer, 0))
        self._shown = None
        self._look()

    def _look(self) -> None:
        away = (self._me, *self.others)
        self.learners = [p for p, m in self._table.items() if p not in away and m.health not in AWAY]
        since = [member.since for member in self._table.values() if member.health is Health.SUSPECT]
        self.wake = min(since) + self._timeout if since else None
