"""What is said of members, and what to believe of it.

Claims about one member are ordered by incarnation, then alive < suspect < dead; the highest one counts, whatever the order in which they
come. So all who have heard the same hold the same. Only the member itself raises its incarnation, and only so undoes what is said of it.
Two rules go beyond SWIM:

    a   each message carries its sender's incarnation: a higher one than known acquits the sender here, whoever else has not heard yet
    b   an answer to an own ping acquits, here alone, a member suspected *before* that ping was sent. An answer to an older ping, or any
        other message, does not: it may have been under way, or be a replay

Dropped: suspicions of a node by itself; claims by somebody unknown; own suspicions that come back, for rule b may have undone them; jumps
of an incarnation; and, but for Alive, claims about somebody unknown: a joining node would else keep the tombstones of others alive.

Of a member that is not known yet any incarnation is believed, for there is none to compare it with; SWIM, whose members err by stopping
only, does the same. Should it be a wrong one, only this node and those who learn from it are deaf to rumours of that member, until it is
gone for a tombstone's time; pings, their answers and the member's own death by them work all the same.
"""

from __future__ import annotations

from ...wire.peers import Alive, Dead, Rumour, Suspect
from ..core import SECOND, Config, Effects, Happened, Health, Kind, Time
from .contacts import Contacts
from .identity import JUMP_MAX, Identity, Numbers
from .roster import GONE, Peer, Roster
from .rumours import Rumours
from .suspicion import CONFIRMATIONS, LocalHealth, Suspicion, lasting
from .timers import Timers, What
from .voice import Voice

TOMBSTONE_MIN = 60 * SECOND
TOMBSTONE_PERIODS = 30
"""A dead member is remembered for both of these at least: longer than any rumour lives, or a late one would revive it."""


class Claims:
    def __init__(
        self,
        config: Config,
        *,
        identity: Identity,
        numbers: Numbers,
        roster: Roster,
        rumours: Rumours,
        timers: Timers,
        contacts: Contacts,
        health: LocalHealth,
        voice: Voice,
    ) -> None:
        self._me = config.me
        self._timeout = config.timeout
        self._remind_every = config.interval // 5
        self._tombstone = max(TOMBSTONE_MIN, TOMBSTONE_PERIODS * config.interval)
        self._identity = identity
        self._numbers = numbers
        self._roster = roster
        self._rumours = rumours
        self._timers = timers
        self._contacts = contacts
        self._health = health
        self._voice = voice

    def hear(self, now: Time, rumour: Rumour, out: Effects) -> None:
        if rumour.node == self._me:
            self._hear_of_me(now, rumour, out)
        elif isinstance(rumour, Alive):
            self._hear_alive(now, rumour, out)
        elif self._is_believable(rumour):
            peer = self._roster.get(rumour.node)
            if peer is None or not self._is_reachable(peer, rumour.incarnation):
                return
            if isinstance(rumour, Dead):
                self._hear_dead(now, peer, rumour, out)
            elif rumour.by != self._me:
                self._hear_suspect(now, peer, rumour, out)

    def hear_from(self, now: Time, peer: Peer, incarnation: int, out: Effects) -> bool:
        """Rule a. False: no such incarnation can be; forget the message."""
        if incarnation - peer.incarnation > JUMP_MAX:
            return False
        if incarnation > peer.incarnation:
            peer.incarnation = incarnation
            if peer.accusation is not None:
                self._rumours.drop(peer.name)
                self._believe_alive(now, peer, "word", out)
        return True

    def accuse(self, now: Time, peer: Peer, out: Effects) -> None:
        """This node's own ping was in vain."""
        self._hear_suspect(now, peer, Suspect(peer.name, peer.incarnation, self._me), out)

    def acquit(self, now: Time, peer: Peer, seq: int, out: Effects) -> None:
        """Rule b: it answered ping `seq`."""
        if peer.suspicion is not None and seq > peer.suspicion.after:
            self._rumours.drop(peer.name)
            self._believe_alive(now, peer, "ack", out)

    def expire(self, now: Time, name: str, out: Effects) -> None:
        """A suspicion that nobody refuted."""
        peer = self._roster.get(name)
        if peer is not None and peer.health is Health.SUSPECT:
            self._hear_dead(now, peer, Dead(name, peer.incarnation, self._me), out)

    def forget(self, name: str) -> None:
        """A tombstone's time is over."""
        peer = self._roster.get(name)
        if peer is not None and peer.health in GONE:
            self._rumours.drop(name)
            self._roster.forget(peer)

    def announce(self, now: Time, incarnation: int, priority: int) -> None:
        """Say of oneself what is not yet known, in a new incarnation."""
        self._identity.rise(incarnation, priority)
        self._roster.set_mine(self._identity.word, now)
        self._rumours.spread(self._identity.word)

    def remind(self, now: Time, peer: Peer, out: Effects) -> None:
        """Tell an accused, who seems not to know, what it must refute; not with each message. One that left is only late to fall silent."""
        if peer.health is Health.LEFT:
            return
        if peer.accused_at is None or now - peer.accused_at >= self._remind_every:
            peer.accused_at = now
            self._voice.gossip(peer.name, out)

    # ── by kind ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _hear_of_me(self, now: Time, rumour: Rumour, out: Effects) -> None:
        """An accusation is refuted. An Alive above the own incarnation is of a life whose disk is lost: pass it, or nobody listens."""
        above = rumour.incarnation - self._identity.incarnation
        is_accusation = not isinstance(rumour, Alive)
        if above > JUMP_MAX or above < 0 or (above == 0 and not is_accusation):
            return
        if is_accusation:
            self._health.worsen()
        self.announce(now, rumour.incarnation + 1, self._identity.word.priority)

    def _hear_alive(self, now: Time, word: Alive, out: Effects) -> None:
        peer = self._roster.get(word.node)
        if peer is None:
            self._welcome(now, word, out)
        elif not self._is_reachable(peer, word.incarnation):
            if peer.accusation is not None and word.incarnation < peer.incarnation:
                self.remind(now, peer, out)
        elif word.incarnation > peer.incarnation:
            peer.incarnation = word.incarnation
            self._take_word(peer, word)
            self._believe_alive(now, peer, "word", out)
        elif peer.accusation is not None:
            self._take_word(peer, word)
            self.remind(now, peer, out)
        elif word.incarnation > peer.word.incarnation:
            self._take_word(peer, word)

    def _hear_suspect(self, now: Time, peer: Peer, rumour: Suspect, out: Effects) -> None:
        is_newer = rumour.incarnation > peer.incarnation
        if peer.suspicion is None or is_newer:
            if peer.health is Health.ALIVE or is_newer:
                self._begin(now, peer, rumour, out)
            return
        if rumour.by in peer.suspicion.by or peer.suspicion.confirmations >= CONFIRMATIONS:
            return
        peer.suspicion.by.add(rumour.by)
        self._rumours.spread(rumour)
        self._set_deadline(peer, peer.suspicion)

    def _hear_dead(self, now: Time, peer: Peer, rumour: Dead, out: Effects) -> None:
        was = peer.health
        if was in GONE and rumour.incarnation == peer.incarnation:
            return
        health = Health.LEFT if rumour.by == peer.name else Health.DEAD
        peer.incarnation, peer.accusation, peer.suspicion, peer.accused_at = rumour.incarnation, rumour, None, None
        self._rumours.spread(rumour)
        self._timers.cancel((What.SUSPICION, peer.name))
        self._timers.set((What.FORGET, peer.name), now + self._tombstone)
        if was is health:
            return
        self._contacts.on_gone(peer.name, health is Health.LEFT)
        self._roster.set_health(peer, health, now)
        why = "unanswered" if rumour.by == self._me else "told"
        out.happened.append(
            Happened(Kind.MEMBER_LEFT, peer.name)
            if health is Health.LEFT
            else Happened(Kind.MEMBER_DEAD, peer.name, why=why)
        )

    # ── leaves ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _is_believable(self, rumour: Suspect | Dead) -> bool:
        """A node that says it is dead has left; one cannot suspect oneself; strangers say nothing."""
        if rumour.by == rumour.node:
            return isinstance(rumour, Dead)
        return self._roster.is_known(rumour.by)

    def _is_reachable(self, peer: Peer, incarnation: int) -> bool:
        return 0 <= incarnation - peer.incarnation <= JUMP_MAX

    def _welcome(self, now: Time, word: Alive, out: Effects) -> None:
        if self._roster.add(word, now) is not None:
            self._contacts.on_present(word.node)
            self._rumours.spread(word)
            out.happened.append(Happened(Kind.MEMBER_JOINED, word.node))

    def _take_word(self, peer: Peer, word: Alive) -> None:
        if word.incarnation > peer.word.incarnation:
            self._roster.set_word(peer, word)
            if peer.accusation is None or word.incarnation > peer.accusation.incarnation:
                self._rumours.spread(word)

    def _believe_alive(self, now: Time, peer: Peer, why: str, out: Effects) -> None:
        was = peer.health
        if was is Health.ALIVE:
            return
        self._timers.cancel((What.SUSPICION, peer.name))
        self._timers.cancel((What.FORGET, peer.name))
        self._contacts.on_present(peer.name)
        self._roster.set_health(peer, Health.ALIVE, now)
        peer.accused_at = None
        kind = Kind.MEMBER_JOINED if was in GONE else Kind.MEMBER_REFUTED
        out.happened.append(Happened(kind, peer.name, why=why))

    def _begin(self, now: Time, peer: Peer, rumour: Suspect, out: Effects) -> None:
        was = peer.health
        peer.incarnation, peer.accusation, peer.accused_at = rumour.incarnation, rumour, None
        peer.suspicion = Suspicion(now, self._numbers.last, {rumour.by})
        self._rumours.spread(rumour)
        self._roster.set_health(peer, Health.SUSPECT, now)
        self._timers.cancel((What.FORGET, peer.name))
        self._set_deadline(peer, peer.suspicion)
        if was in GONE:
            self._contacts.on_present(peer.name)
            out.happened.append(Happened(Kind.MEMBER_JOINED, peer.name, why="word"))
        if was is not Health.SUSPECT:
            out.happened.append(Happened(Kind.MEMBER_SUSPECT, peer.name))

    def _set_deadline(self, peer: Peer, suspicion: Suspicion) -> None:
        span = lasting(self._timeout, self._roster.present_count, suspicion.confirmations)
        self._timers.set((What.SUSPICION, peer.name), suspicion.began + span)
