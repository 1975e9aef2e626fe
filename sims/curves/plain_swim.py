"""SWIM as the paper has it, with its suspicion (section 4.2), to compare ours with. Das, Gupta, Motivala (2002).

Each period the next member in a shuffled order is pinged; without an answer in 0.4 of it three others are asked to ping it; without any by
the period's end it is suspected, and after a fixed time held dead. What is said travels on pings and answers, each rumour 4 ceil(log10(n
+ 1)) times. Newer incarnations undo a suspicion; only the member itself raises its own.

It has what the paper leaves to others, so that the number of members stays: who is held dead and speaks is told so with the answer, and
comes back in a new incarnation. It has not: Lifeguard's local health, confirmations, nacks and buddy rule; our four rules; tables that
are compared; a leader. Same messages, network and times as ours.

`gossips`: what most implementations add, and ours: each fifth of a period three members are told the rumours, as long as there are any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import log10

from zjp.election.core import (
    Config,
    Effects,
    Event,
    Happened,
    Health,
    Kind,
    Member,
    Recv,
    Role,
    Send,
    Time,
    Uniform,
    View,
    Wake,
)
from zjp.election.membership.rumours import Rumours, retransmit_limit
from zjp.wire.peers import Ack, Alive, Dead, Gossip, PeerMessage, PingPeer, PingReq, Rumour, Stored, Suspect, SyncReply

HELPERS = 3
TOLD_AT_ONCE = 3
ORDER = {Alive: 0, Suspect: 1, Dead: 2}


@dataclass(slots=True)
class Peer:
    name: str
    said: Rumour
    ends_at: Time | None = None
    """When the suspicion ends, if there is one."""


@dataclass(slots=True)
class Probe:
    """`seq` is that of the ping and of the requests."""

    target: str
    seq: int
    helps_at: Time
    ends_at: Time
    is_helped: bool = False
    is_answered: bool = False


@dataclass(slots=True)
class PlainSwim:
    config: Config
    uniform: Uniform
    gossips: bool = False
    peers: dict[str, Peer] = field(default_factory=dict)
    turn: list[str] = field(default_factory=list)
    rumours: Rumours = field(default_factory=Rumours)
    relays: dict[int, tuple[str, int]] = field(default_factory=dict)
    """Own ping for another -> who asked, and its number."""
    incarnation: int = 1
    seq: int = 0
    probe: Probe | None = None
    period_at: Time = 0
    gossip_at: Time | None = None

    # ── the interface ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, now: Time, records: Sequence[Stored]) -> Effects:
        self.period_at = now + int(self.uniform() * self.config.interval)
        return self._close(now, Effects())

    def step(self, now: Time, event: Event) -> Effects:
        out = Effects()
        if isinstance(event, Recv):
            self._on_message(now, event.src, event.message, out)
        elif isinstance(event, Wake):
            self._on_wake(now, out)
        return self._close(now, out)

    def view(self) -> View:
        health = {Alive: Health.ALIVE, Suspect: Health.SUSPECT, Dead: Health.DEAD}
        members = {peer.name: Member(health[type(peer.said)], 0) for peer in self.peers.values()}
        return View(Role.FOLLOWER, "", 0, False, False, members)

    def durable(self) -> Sequence[Stored]:
        return ()

    def _close(self, now: Time, out: Effects) -> Effects:
        times = [self.period_at, *(peer.ends_at for peer in self.peers.values() if peer.ends_at is not None)]
        if self.gossips and self.rumours.tier_of:
            self.gossip_at = self.gossip_at or now + self.config.interval // 5
            times.append(self.gossip_at)
        if self.probe is not None and not self.probe.is_helped:
            times.append(self.probe.helps_at)
        out.wake = min(times)
        return out

    # ── times ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_wake(self, now: Time, out: Effects) -> None:
        for peer in list(self.peers.values()):
            if peer.ends_at is not None and now >= peer.ends_at:
                self._believe(now, Dead(peer.name, peer.said.incarnation, self.config.me), out)
        probe = self.probe
        if probe is not None and not probe.is_helped and now >= probe.helps_at:
            probe.is_helped = True
            if not probe.is_answered:
                self._ask_for_help(probe, out)
        if self.gossip_at is not None and now >= self.gossip_at:
            self.gossip_at = None
            for name in [name for name in self._shuffled() if not isinstance(self.peers[name].said, Dead)][
                :TOLD_AT_ONCE
            ]:
                out.send.append(Send(name, Gossip(self.incarnation, 0, "", self._told(name))))
        if now >= self.period_at:
            self._next_period(now, out)

    def _next_period(self, now: Time, out: Effects) -> None:
        if self.probe is not None and not self.probe.is_answered:
            peer = self.peers[self.probe.target]
            if isinstance(peer.said, Alive):
                self._believe(now, Suspect(peer.name, peer.said.incarnation, self.config.me), out)
        self.period_at = now + self.config.interval
        self.relays.clear()
        target = self._next_target()
        self.probe = None
        if target is not None:
            self.seq += 1
            self.probe = Probe(target, self.seq, now + self.config.interval * 2 // 5, self.period_at)
            self._ping(target, self.seq, out)

    def _next_target(self) -> str | None:
        for _ in range(2):
            while self.turn:
                name = self.turn.pop()
                if not isinstance(self.peers[name].said, Dead):
                    return name
            self.turn = self._shuffled()
        return None

    def _ask_for_help(self, probe: Probe, out: Effects) -> None:
        others = [
            name for name in self._shuffled() if name != probe.target and isinstance(self.peers[name].said, Alive)
        ]
        for name in others[:HELPERS]:
            out.send.append(Send(name, PingReq(probe.seq, probe.target, self.incarnation, self._told(name))))

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_message(self, now: Time, src: str, message: PeerMessage, out: Effects) -> None:
        for rumour in message.table if isinstance(message, SyncReply) else getattr(message, "rumours", ()):
            self._believe(now, rumour, out)
        handler = _ON.get(type(message))
        if handler is not None:
            handler(self, src, message, out)

    def _on_ping(self, src: str, message: PingPeer, out: Effects) -> None:
        out.send.append(Send(src, Ack(message.seq, self.config.me, self.incarnation, 0, "", self._told(src))))

    def _on_request(self, src: str, message: PingReq, out: Effects) -> None:
        self.seq += 1
        self.relays[self.seq] = (src, message.seq)
        self._ping(message.target, self.seq, out)

    def _on_ack(self, src: str, message: Ack, out: Effects) -> None:
        asked = self.relays.pop(message.seq, None)
        if asked is not None:
            asker, seq = asked
            out.send.append(Send(asker, Ack(seq, message.target, self.incarnation, 0, "", self._told(asker))))
        elif self.probe is not None and (message.seq, message.target) == (self.probe.seq, self.probe.target):
            self.probe.is_answered = True

    # ── what to believe ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _believe(self, now: Time, rumour: Rumour, out: Effects) -> None:
        if rumour.node == self.config.me:
            if not isinstance(rumour, Alive) and rumour.incarnation >= self.incarnation:
                self.incarnation = rumour.incarnation + 1
                self.rumours.spread(Alive(self.config.me, self.incarnation, self.config.priority))
            return
        peer = self.peers.get(rumour.node)
        if peer is None:
            self.peers[rumour.node] = Peer(rumour.node, rumour)
            return
        before = peer.said
        # Dead overrides all of its incarnation and below; nothing of the same one comes after it.
        if (rumour.incarnation, ORDER[type(rumour)]) <= (before.incarnation, ORDER[type(before)]):
            return
        peer.said = rumour
        self.rumours.spread(rumour)
        self._tell(before, rumour, out)
        lasts = int(self.config.timeout * max(1.0, log10(len(self.peers) + 1)))
        peer.ends_at = now + lasts if isinstance(rumour, Suspect) else None

    def _tell(self, before: Rumour, rumour: Rumour, out: Effects) -> None:
        if type(before) is type(rumour):
            return
        kind = {
            Alive: Kind.MEMBER_JOINED if isinstance(before, Dead) else Kind.MEMBER_REFUTED,
            Suspect: Kind.MEMBER_SUSPECT,
        }
        by_me = isinstance(rumour, Dead) and rumour.by == self.config.me
        out.happened.append(
            Happened(kind.get(type(rumour), Kind.MEMBER_DEAD), rumour.node, why="unanswered" if by_me else "told")
        )

    # ── leaves ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _ping(self, target: str, seq: int, out: Effects) -> None:
        out.send.append(Send(target, PingPeer(seq, target, self.incarnation, 0, "", self._told(target))))

    def _told(self, to: str) -> list[Rumour]:
        peer = self.peers.get(to)
        first = peer.said if peer is not None and isinstance(peer.said, Dead) else None
        return self.rumours.take(retransmit_limit(len(self.peers) + 1), first)

    def _shuffled(self) -> list[str]:
        names = list(self.peers)
        for last in range(len(names) - 1, 0, -1):
            other = int(self.uniform() * (last + 1))
            names[last], names[other] = names[other], names[last]
        return names


_ON: dict[type, Callable[..., None]] = {
    PingPeer: PlainSwim._on_ping,
    PingReq: PlainSwim._on_request,
    Ack: PlainSwim._on_ack,
}
