"""Who is there: SWIM (Das, Gupta, Motivala 2002) with Lifeguard, and four cheap rules that make it err about a hundred times less when one
message in four is lost. Pure. Who leads is decided above, in gossip.py.

    detector   who answers my probes?                      claims     what is said of members, what to believe
    rumours    what is passed on, how often                contacts   who is no member, but should be asked again
    roster     what is held of each member                 identity   my own incarnation
    voice      all that I say                              timers     all that I wait for

Each period (`interval`) one member is probed, all in turn. Changes travel on the back of probes and answers, and every fifth of a period
to three members at random, as long as there is news; the recently dead are among the three, for they may be alive and want to know. At
rest there are two messages a node and period, and no table of N rows is looked through.

Two nodes compare their whole tables when they meet, then each once in SYNC_PERIODS with one at random (longer in large clusters, so that
the bytes a node sends do not grow with their number), and every CONTACT_PERIODS one that is not there is asked, for ever: halves that
were cut apart find each other again. A table never revives the dead: what it says dead is suspected, and the suspect refutes it if it
lives.

`timeout` is the shortest suspicion of up to ten members; the customary 4 x max(1, log10 n) x P when it is four intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from ..wire.peers import Ack, Dead, Gossip, Nack, PingPeer, PingReq, Rumour, Stored, Suspect, Sync, SyncReply
from .core import Config, Effects, Health, Met, Time, Uniform
from .membership import identity, rumours, suspicion
from .membership.claims import Claims
from .membership.contacts import Contacts
from .membership.detector import Detector
from .membership.journal import Journal
from .membership.roster import GONE, Roster
from .membership.timers import Timers, What
from .membership.voice import Voice

FANOUT = 3
"""Members told in one fifth of a period; also: members greeted."""
FIFTHS = 5
GOSSIP_TO_DEAD_PERIODS = 60
SYNC_PERIODS = 30
SYNC_MEMBERS = 32
"""Up to so many members tables are compared every SYNC_PERIODS; above, more seldom in proportion."""
CONTACT_PERIODS = 20
FIRST_CONTACTS = 8
"""Of the first names, asked at once at the start; and told at the end."""

GOSSIP = (What.GOSSIP, 0)

MembershipMessage = PingPeer | PingReq | Ack | Nack | Gossip | Sync | SyncReply
MESSAGES = (PingPeer, PingReq, Ack, Nack, Gossip, Sync, SyncReply)


class Swim:
    """`roster`: what is known; `voice.told`: what to say of who leads. Call `close` at the end of each step."""

    def __init__(self, config: Config, uniform: Uniform, journal: Journal) -> None:
        self._config = config
        self._period = config.interval
        self._fifth = max(1, config.interval // FIFTHS)
        self._uniform = uniform
        self._identity = identity.Identity(config, journal)
        self._health = suspicion.LocalHealth()
        self._rumours = rumours.Rumours()
        self._contacts = Contacts(config.me, config.voters)
        self._is_joining = True
        self._is_leaving = False
        self._news = 0
        """Messages that are still to be sent only because somebody else leads now."""
        self.timers = Timers()
        self.roster = Roster(self._identity.word, uniform)
        self.voice = Voice(self._identity, self.roster, self._rumours)
        numbers = identity.Numbers(config.boot)
        self._claims = Claims(
            config,
            identity=self._identity,
            numbers=numbers,
            roster=self.roster,
            rumours=self._rumours,
            timers=self.timers,
            contacts=self._contacts,
            health=self._health,
            voice=self.voice,
        )
        self._detector = Detector(
            config,
            numbers=numbers,
            roster=self.roster,
            timers=self.timers,
            health=self._health,
            claims=self._claims,
            voice=self.voice,
        )

    def on_durable(self) -> None:
        self._identity.on_durable()

    def durable(self) -> Stored:
        return self._identity.durable()

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, now: Time, records: Sequence[Stored], out: Effects) -> None:
        self._identity.start(records)
        self.roster.set_mine(self._identity.word, now)
        self._rumours.spread(self._identity.word)
        # Nodes that start together shall not probe together.
        self.timers.set((What.PERIOD, 0), now + int(self._uniform() * self._period))
        self.timers.set((What.SYNC, 0), now + int((1 + self._uniform()) * self._sync_span))
        self._contact(now, FIRST_CONTACTS, out)

    def on_message(self, now: Time, src: str, message: MembershipMessage, out: Effects) -> bool:
        """False: it was not believed at all."""
        if self._is_leaving or src == self._config.me:
            return False
        peer = self.roster.get(src)
        if peer is None:
            # A table says who its sender is.
            if not isinstance(message, (Sync, SyncReply)):
                self._greet(now, src)
        elif not self._claims.hear_from(now, peer, message.incarnation, out):
            return False
        self._handle(now, src, message, out)
        if peer is not None and peer.accusation is not None and not isinstance(message, (PingPeer, PingReq, Sync)):
            # A ping's or table's answer tells it anyway.
            self._claims.remind(now, peer, out)
        return True

    def on_due(self, now: Time, out: Effects) -> None:
        while (key := self.timers.pop_due(now)) is not None:
            what, about = key
            if isinstance(about, str):
                (self._claims.expire(now, about, out) if what is What.SUSPICION else self._claims.forget(about))
            elif what is What.NACK:
                self._detector.on_nack_due(now, about, out)
            else:
                self._on_time[what](self, now, out)

    def on_met(self, now: Time, met: Met, out: Effects) -> None:
        """Greeted: exchange tables, unless it became known meanwhile. Lost: look after it next."""
        peer = self.roster.get(met.peer)
        if met.is_up and (peer is None or peer.health is not Health.ALIVE):
            self._greet(now, met.peer)
        elif not met.is_up:
            self._detector.hint(met.peer)

    @property
    def is_unheard(self) -> bool:
        """This node may hear the others; none of them hears it."""
        return self._detector.is_unheard

    def on_stall(self, lag: Time) -> None:
        self.timers.shift(lag)
        self.roster.shift_suspicions(lag)

    def set_priority(self, now: Time, priority: int) -> None:
        self._claims.announce(now, 0, priority)

    def leave(self, now: Time, out: Effects) -> None:
        """Say good-bye at once to some, who pass it on. Once, and no priority is set after it."""
        self._is_leaving = True
        self.timers.clear()
        word = self._identity.word
        self.roster.set_mine(word, now, Health.LEFT)
        self._rumours.spread(Dead(word.node, word.incarnation, word.node))
        for peer in self.roster.draw(FIRST_CONTACTS, lambda peer: peer.health not in GONE):
            self.voice.gossip(peer.name, out)

    def spread_news(self) -> None:
        """Who leads has changed: tell it as a rumour is told."""
        self._news = rumours.retransmit_limit(self.roster.present_count)

    def close(self, now: Time, out: Effects) -> None:
        if (self._rumours.tier_of or self._news) and len(self.roster) and GOSSIP not in self.timers:
            self.timers.set(GOSSIP, now + self._fifth)
        if not self._identity.is_reserved:
            out.send_after += out.send
            out.send = []

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _handle(self, now: Time, src: str, message: MembershipMessage, out: Effects) -> None:
        if isinstance(message, (Sync, SyncReply)):
            self._on_table(now, src, message, out)
            return
        for rumour in message.rumours:
            self._claims.hear(now, rumour, out)
        if isinstance(message, PingPeer):
            self._detector.on_ping(src, message, out)
        elif isinstance(message, Ack):
            self._detector.on_ack(now, src, message, out)
        elif isinstance(message, PingReq):
            self._detector.on_request(now, src, message, out)
        elif isinstance(message, Nack):
            self._detector.on_nack(src, message)

    def _on_table(self, now: Time, src: str, message: Sync | SyncReply, out: Effects) -> None:
        is_answer = isinstance(message, SyncReply)
        # What a newcomer learns from its first table, all whom it knows by then know too: not to be passed on.
        self._rumours.is_closed = is_answer and self._is_joining and self.roster.present_count == 1
        for row in message.table:
            self._claims.hear(now, self._softened(row, src), out)
        self._rumours.is_closed = False
        if not is_answer:
            self.voice.sync_reply(src, out)
        elif self._is_joining:
            self._is_joining = False
            self._rumours.spread(self._identity.word)

    def _softened(self, row: Rumour, src: str) -> Rumour:
        """What a table calls dead may only have been out of reach of its sender."""
        if isinstance(row, Dead) and row.by != row.node:
            peer = self.roster.get(row.node)
            if peer is not None and peer.health not in GONE:
                return Suspect(row.node, row.incarnation, src)
        return row

    # ── times ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _period_due(self, now: Time, out: Effects) -> None:
        self._detector.on_period(now, out)

    def _direct_due(self, now: Time, out: Effects) -> None:
        self._detector.on_direct_timeout(now, out)

    def _gossip_due(self, now: Time, out: Effects) -> None:
        recent = now - GOSSIP_TO_DEAD_PERIODS * self._period
        for peer in self.roster.draw(
            FANOUT, lambda peer: peer.health not in GONE or (peer.health is Health.DEAD and peer.since > recent)
        ):
            self.voice.gossip(peer.name, out)
            self._news = max(0, self._news - 1)

    def _greet_due(self, now: Time, out: Effects) -> None:
        for name in self._contacts.met(FANOUT):
            self.voice.sync(name, self._is_joining, out)
        if self._contacts.has_met:
            self.timers.set((What.GREET, 0), now + self._fifth)

    def _sync_due(self, now: Time, out: Effects) -> None:
        for peer in self.roster.draw(1, lambda peer: peer.health is Health.ALIVE):
            self.voice.sync(peer.name, self._is_joining, out)
        self.timers.set((What.SYNC, 0), now + self._sync_span)

    def _contact_due(self, now: Time, out: Effects) -> None:
        self._contact(now, 1, out)

    _on_time: ClassVar[dict[What, Callable[[Swim, Time, Effects], None]]] = {
        What.PERIOD: _period_due,
        What.DIRECT: _direct_due,
        What.GOSSIP: _gossip_due,
        What.GREET: _greet_due,
        What.SYNC: _sync_due,
        What.CONTACT: _contact_due,
    }

    # ── leaves ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _sync_span(self) -> Time:
        return self._period * SYNC_PERIODS * max(SYNC_MEMBERS, self.roster.present_count) // SYNC_MEMBERS

    def _contact(self, now: Time, count: int, out: Effects) -> None:
        """Some that are not there; who is alone looks around each period."""
        names = dict.fromkeys(self._contacts.absent() for _ in range(count))
        for name in names:
            if name is not None:
                self.voice.sync(name, self._is_joining, out)
        periods = CONTACT_PERIODS if self.roster.present_count > 1 else 1
        self.timers.set((What.CONTACT, 0), now + periods * self._period)

    def _greet(self, now: Time, name: str) -> None:
        if name == self._config.me:
            return
        self._contacts.on_met(name)
        if (What.GREET, 0) not in self.timers:
            self.timers.set((What.GREET, 0), now)
