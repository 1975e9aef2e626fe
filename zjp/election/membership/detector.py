"""Who answers: the probes of SWIM with the local health of Lifeguard.

    period ──ping──► ack: the member is well, and so am I
           └─ 0.4 P ─► three others are asked to ping it, and it is pinged once more (one lost message is no sign)
                      └─ end of the period without any answer ─► it is suspected

Those who are asked say at 80 % of the rest that they had no answer either. Who does not even say that makes this node doubt itself: for
each its local health worsens, and with it the period grows, up to eight times. When not even they answer, probe after probe, nobody hears
this node, though it may hear them all (`is_unheard`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import takewhile

from ...wire.peers import Ack, Nack, PingPeer, PingReq
from ..core import Config, Effects, Health, Time
from .claims import Claims
from .identity import Numbers
from .roster import GONE, Peer, Roster
from .suspicion import LocalHealth
from .timers import Timers, What
from .voice import Voice

HELPERS = 3
"""More: fewer false suspicions, more messages when there is loss."""
RELAYS_MAX = 256
"""Pings under way for others. Above it the asker hears at once that there is no answer."""
UNHEARD_PROBES = 2
"""In a row, answered neither by the member nor by anyone who was asked to help."""
PINGS_KEPT_PERIODS = 8
"""An answer that is later than that says nothing any more."""


@dataclass(slots=True)
class Ping:
    """One under way; `asker` and `asker_seq` when it is for somebody else."""

    target: str
    at: Time
    asker: str = ""
    asker_seq: int = 0


@dataclass(slots=True)
class Probe:
    """The one of this period. `seq`: of its first ping; `help_seq`: of the PingReqs, 0 before."""

    peer: Peer
    seq: int
    help_seq: int = 0
    asked: list[str] = field(default_factory=list)
    nacks: set[str] = field(default_factory=set)


class Detector:
    def __init__(
        self,
        config: Config,
        *,
        numbers: Numbers,
        roster: Roster,
        timers: Timers,
        health: LocalHealth,
        claims: Claims,
        voice: Voice,
    ) -> None:
        self._me = config.me
        self._period = config.interval
        self._direct_timeout = config.interval * 2 // 5
        self._nack_after = (config.interval - self._direct_timeout) * 4 // 5
        self._numbers = numbers
        self._roster = roster
        self._timers = timers
        self._health = health
        self._claims = claims
        self._voice = voice
        self._probe: Probe | None = None
        """None also once it was answered."""
        self._pings: dict[int, Ping] = {}
        self._relay_count = 0
        self._hinted: deque[str] = deque(maxlen=8)
        self._unanswered = 0

    @property
    def is_unheard(self) -> bool:
        return self._unanswered >= UNHEARD_PROBES

    def hint(self, name: str) -> None:
        """Probe this one next: the mesh has lost it."""
        if name not in self._hinted:
            self._hinted.append(name)

    # ── times ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_period(self, now: Time, out: Effects) -> None:
        self._judge(now, out)
        self._prune(now)
        # Set after judging: who just failed to reach anyone waits longer for the next.
        self._timers.set((What.PERIOD, 0), now + self._period * (self._health.score + 1))
        peer = self._next()
        if peer is not None:
            self._probe = Probe(peer, self._ping(now, peer.name, out))
            self._timers.set((What.DIRECT, 0), now + self._direct_timeout)

    def on_direct_timeout(self, now: Time, out: Effects) -> None:
        probe = self._probe
        if probe is None or probe.peer.health in GONE:
            return
        helpers = self._roster.draw(HELPERS, lambda peer: peer.health is Health.ALIVE and peer is not probe.peer)
        probe.help_seq = self._numbers.next()
        probe.asked = [helper.name for helper in helpers]
        for helper in helpers:
            self._voice.ask(helper.name, probe.help_seq, probe.peer.name, out)
        self._ping(now, probe.peer.name, out)

    def on_nack_due(self, now: Time, seq: int, out: Effects) -> None:
        """The asker is told that there is no answer yet; one that comes later is still passed on."""
        ping = self._pings.get(seq)
        if ping is not None:
            self._voice.nack(ping.asker, ping.asker_seq, ping.target, out)

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_ping(self, src: str, message: PingPeer, out: Effects) -> None:
        """One for somebody else came to the wrong address and is not answered."""
        if message.target == self._me:
            self._voice.ack(src, message.seq, self._me, out)

    def on_request(self, now: Time, src: str, message: PingReq, out: Effects) -> None:
        if message.target == self._me:
            self._voice.ack(src, message.seq, self._me, out)
        elif self._relay_count >= RELAYS_MAX or message.target == src:
            self._voice.nack(src, message.seq, message.target, out)
        else:
            seq = self._ping(now, message.target, out, src, message.seq)
            self._relay_count += 1
            self._timers.set((What.NACK, seq), now + self._nack_after)

    def on_ack(self, now: Time, src: str, message: Ack, out: Effects) -> None:
        ping = self._pings.get(message.seq)
        if ping is not None:
            if src == ping.target == message.target:
                self._on_direct_ack(now, message.seq, ping, out)
        elif self._is_help(src, message.seq, message.target):
            self._on_answer(now, message.target, message.seq, out)

    def on_nack(self, src: str, message: Nack) -> None:
        if self._probe is not None and self._is_help(src, message.seq, message.target):
            self._probe.nacks.add(src)
            self._unanswered = 0

    # ── leaves ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _judge(self, now: Time, out: Effects) -> None:
        probe, self._probe = self._probe, None
        if probe is None or probe.peer.health in GONE:
            return
        if not probe.nacks:
            self._unanswered += 1
        silent = len(probe.asked) - len(probe.nacks)
        # Nobody to ask: this node may be the one that is cut off.
        self._health.worsen(silent if probe.asked else 1)
        self._claims.accuse(now, probe.peer, out)

    def _next(self) -> Peer | None:
        while self._hinted:
            peer = self._roster.get(self._hinted.popleft())
            if peer is not None and peer.health not in GONE:
                return peer
        return self._roster.read()

    def _ping(self, now: Time, target: str, out: Effects, asker: str = "", asker_seq: int = 0) -> int:
        seq = self._numbers.next()
        self._pings[seq] = Ping(target, now, asker, asker_seq)
        self._voice.ping(target, seq, out)
        return seq

    def _on_direct_ack(self, now: Time, seq: int, ping: Ping, out: Effects) -> None:
        del self._pings[seq]
        if ping.asker:
            self._relay_count -= 1
            self._timers.cancel((What.NACK, seq))
            self._voice.ack(ping.asker, ping.asker_seq, ping.target, out)
        self._on_answer(now, ping.target, seq, out)

    def _on_answer(self, now: Time, name: str, seq: int, out: Effects) -> None:
        self._unanswered = 0
        if self._probe is not None and self._probe.peer.name == name and seq >= self._probe.seq:
            self._probe = None
            self._timers.cancel((What.DIRECT, 0))
            self._health.improve()
        peer = self._roster.get(name)
        if peer is not None:
            self._claims.acquit(now, peer, seq, out)

    def _is_help(self, src: str, seq: int, target: str) -> bool:
        probe = self._probe
        return probe is not None and seq == probe.help_seq and target == probe.peer.name and src in probe.asked

    def _prune(self, now: Time) -> None:
        """Numbers rise, so the oldest come first."""
        limit = now - PINGS_KEPT_PERIODS * self._period
        old = list(takewhile(lambda seq: self._pings[seq].at < limit, self._pings))
        for seq in old:
            self._relay_count -= self._pings.pop(seq).asker != ""
            self._timers.cancel((What.NACK, seq))
