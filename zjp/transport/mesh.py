"""The mesh between nodes: every node has one ROUTER (its door), and one DEALER to each of the others.

    send(to)  ──►  own DEALER to `to`  ──►  door of `to`  ──►  on_message there

What a node says travels by its own DEALER to the other's door, never back through a door, so where a message goes is decided by the key of
the one that answers there, and not by a routing id that anybody may choose; only Welcome and Refused go back, on the connection that
brought the Hello. Whose a message is, is told by its key (envelope.py).

Joining: each address in CLUSTER_SEEDS is dialled, and dialled again for ever; a node that says Hello is dialled back at the address it
names; whom the others have met is learned from Welcome and Members, and dialled too. Seeds are never given up: two halves of a mesh that
lost each other find each other again by them. A node is met (`on_met`) when it welcomed us, so each direction is proved by itself.

Nothing here decides who lives: that is the election's, by its own pings. `on_met(..., False)` says that a connection broke.

Every message that is not handed on is counted in `dropped` by its reason:

    shape, size     no message of the mesh, or over a limit       to          meant for another node
    version         another protocol                              key         not the key of the node it names
    cluster         another CLUSTER_NAME                          boot        of a former life of its sender
    body            its body is no message                        duplicate   seen before, or far too old
    stranger        of a node that has not said Hello             algorithm, twin, full   a Hello that was refused
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..log import event
from ..wire.greeting import (
    MEMBERS_MAX,
    Bye,
    Hello,
    Member,
    Members,
    PeerEnvelope,
    RefusalKind,
    Refused,
    Welcome,
)
from ..wire.peers import PeerMessage
from ..wire.reach import AskStore, Reaching, TellStore
from ..wire.relayed import AskPeer, Relayed, TellPeer
from .door import Caller, Door
from .envelope import Envelopes, Me
from .line import PAUSE_MAX_S, Line
from .roster import Met, Peer, Roster

MEMBERS_EVERY_S = 5.0
"""One peer is told whom we have met, each in turn: what a lost message hid is found so."""
LEARNED_MAX = 64
"""Addresses that were learned from others and have not answered yet, each of which costs a socket. Who is left out is heard of again."""
FORGET_S = 3600.0
"""An address that was learned and never answered in so long is dialled no more."""
REFUSALS = {Met.TWIN: RefusalKind.TWIN, Met.FULL: RefusalKind.FULL}

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PeerState:
    """`silent_s`: for so long nothing was heard of it, `left_s` ago it said good-bye (None: it did not); this life of it, both."""

    node: str
    boot: int
    address: str
    priority: int
    is_up: bool
    silent_s: float = 0.0
    left_s: float | None = None


class Mesh:
    """After the door is bound: `start`, then `send` and `peers`, until `close`, which must come before the door's.

    `on_message(src, message)`: what a peer said. `on_met(peer, priority, is_up)`: it can be reached, or not any more. `on_refused(kind,
    reason)`: another node does not want this one; of kind TWIN: the name is in use, and this node must not go on under it.
    `on_relayed(src, message)`: a peer passes on what somebody asks, or answers to that. `on_reach(src, message)`: it asks whether the store
    answers here, or tells whether it does there.
    """

    def __init__(
        self,
        me: Me,
        door: Door,
        *,
        seeds: Sequence[str],
        on_message: Callable[[str, PeerMessage], None],
        on_met: Callable[[str, int, bool], None],
        on_refused: Callable[[RefusalKind, str], None] = lambda kind, reason: None,
        on_relayed: Callable[[str, Relayed], None] = lambda src, message: None,
        on_reach: Callable[[str, Reaching], None] = lambda src, message: None,
    ) -> None:
        self.unsent_count = 0
        self._envelopes = Envelopes(me, door.guard)
        self._me, self._door, self._seeds = me, door, tuple(dict.fromkeys(seeds))
        self._on_message, self._on_met, self._on_refused = on_message, on_met, on_refused
        self._on_relayed, self._on_reach = on_relayed, on_reach
        self._roster = Roster()
        self._lines: dict[str, Line] = {}
        """By address."""
        self._line_of: dict[str, Line] = {}
        """By node: the line on which it welcomed us."""
        self._told = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_open = False

    @property
    def dropped(self) -> Counter[str]:
        """Messages that did not count, by reason."""
        return self._envelopes.dropped

    def start(self) -> None:
        self._is_open = True
        self._door.on_peer = self._on_frames
        for address in self._seeds:
            self._dial(address, "", is_seed=True)
        self._plan_round()

    def send(self, to: str, message: PeerMessage | Relayed | Reaching) -> bool:
        """False: `to` is not connected, or does not read; nothing was sent. True does not say that it arrives.

        Raises: WireError when it is over the limit.
        """
        line = self._line_of.get(to)
        if line is not None and line.send(self._envelopes.write(to, message)):
            return True
        self.unsent_count += 1
        return False

    def peers(self) -> list[PeerState]:
        """Everybody who was met in this life, also those that are gone."""
        now = self._now()
        return [_state(peer, now) for peer in self._roster.peers.values()]

    def recheck_keys(self) -> None:
        """After the guard read its table again: who is no node any more is left at once."""
        for line in list(self._lines.values()):
            if line.is_welcomed and not self._envelopes.is_key_of(line.server, line.node):
                line.hang_up("its key was revoked", pause_s=PAUSE_MAX_S)

    def close(self) -> None:
        """Say good-bye and leave."""
        if not self._is_open:
            return
        self._is_open = False
        self._door.on_peer = None
        if self._timer is not None:
            self._timer.cancel()
        for node, line in self._line_of.items():
            line.send(self._envelopes.write(node, Bye()))
        for line in self._lines.values():
            line.close()
        self._lines.clear()
        self._line_of.clear()

    # ── in, by the door ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_frames(self, caller: Caller, frames: list[bytes]) -> None:
        key = b"" if caller.holder is None else caller.holder.public
        read = self._envelopes.read(frames, key)
        if read is None:
            return
        envelope, message = read
        if isinstance(message, Hello):
            self._on_hello(caller, envelope, message)
        elif not envelope.to:
            self._envelopes.drop("to", envelope.sender)
        elif isinstance(message, Welcome | Refused):
            self._envelopes.drop("stranger", envelope.sender)  # these come on the line that said Hello
        else:
            self._on_said(envelope, message)

    def _on_said(self, envelope: PeerEnvelope, message: PeerMessage | Relayed | Reaching | Members | Bye) -> None:
        peer = self._roster.peers.get(envelope.sender)
        reason = _fault(peer, envelope)
        if peer is None or reason:
            self._envelopes.drop(reason, envelope.sender)
            return
        peer.heard_at = self._now()
        if isinstance(message, Members):
            self._on_members(message.members)
        elif isinstance(message, Bye):
            self._on_bye(peer)
        elif isinstance(message, AskPeer | TellPeer):
            self._on_relayed(peer.node, message)
        elif isinstance(message, AskStore | TellStore):
            self._on_reach(peer.node, message)
        else:
            self._on_message(peer.node, message)

    def _on_hello(self, caller: Caller, envelope: PeerEnvelope, hello: Hello) -> None:
        if envelope.sender == self._me.node and hello.home == self._me.home:
            self._answer(
                caller, envelope.sender, self._welcome()
            )  # our own seed is ourselves: the line will see that by the name
            return
        refusal = self._refusal(hello.algorithm)
        met = Met.TWIN if envelope.sender == self._me.node else Met.OLD
        if refusal is None and envelope.sender != self._me.node:
            met = self._introduce(envelope, hello)
        kind = refusal or REFUSALS.get(met)
        if kind is not None:
            self._envelopes.drop(kind.value, envelope.sender)
            self._answer(caller, envelope.sender, Refused(kind, self._reason(kind, envelope.sender, hello.algorithm)))
        elif met is Met.OLD:
            self._envelopes.drop("boot", envelope.sender)
        elif not self._roster.peers[envelope.sender].window.is_new(envelope.seq):
            self._envelopes.drop("duplicate", envelope.sender)
        else:
            self._answer(caller, envelope.sender, self._welcome())
            self._dial(hello.address, envelope.sender, is_known=True)

    def _on_members(self, members: Sequence[Member]) -> None:
        for member in members:
            known = self._roster.peers.get(member.node)
            is_old = known is not None and (
                known.is_up or member.boot < known.boot or (known.has_left and member.boot == known.boot)
            )
            if member.node != self._me.node and not is_old:
                self._dial(member.address, member.node)

    def _on_bye(self, peer: Peer) -> None:
        peer.left_at = self._now()
        line = self._line_of.get(peer.node)
        if line is not None:
            line.hang_up("it said good-bye", pause_s=PAUSE_MAX_S)
        for one in [one for one in self._lines.values() if one.node == peer.node and not one.is_seed]:
            self._forget_line(one)

    # ── in, by a line ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_up(self, line: Line) -> None:
        me = self._me
        line.send(self._envelopes.write(line.node, Hello(me.home, me.address, me.priority, me.algorithm)))

    def on_down(self, line: Line, fault: str) -> None:
        event(log, logging.INFO, "mesh.line_down", address=line.address, node=line.node, reason=fault)
        if self._line_of.get(line.node) is line:
            del self._line_of[line.node]
            self._set_up(line.node, False)
            for spare in [one for one in self._lines.values() if one.node == line.node and one is not line]:
                spare.open()

    def on_reply(self, line: Line, frames: list[bytes]) -> None:
        read = self._envelopes.read(frames, line.server)
        if read is None:
            return
        envelope, message = read
        if isinstance(message, Welcome):
            self._on_welcome(line, envelope, message)
        elif isinstance(message, Refused):
            event(
                log, logging.ERROR, "mesh.refused", node=envelope.sender, kind=message.kind.value, reason=message.reason
            )
            line.hang_up(message.reason, pause_s=PAUSE_MAX_S)
            self._on_refused(message.kind, message.reason)
        else:
            self._envelopes.drop("stranger", envelope.sender)

    def _on_welcome(self, line: Line, envelope: PeerEnvelope, welcome: Welcome) -> None:
        if envelope.sender == self._me.node:
            self._on_own_name(line, welcome)
            return
        if self._refusal(welcome.algorithm) is not None:
            self._envelopes.drop("algorithm", envelope.sender)
            line.hang_up("it runs another ELECTION_ALGORITHM", pause_s=PAUSE_MAX_S)
            return
        met = self._introduce(envelope, welcome)
        if met not in (Met.NEW, Met.AGAIN, Met.REBORN):
            self._envelopes.drop("boot" if met is Met.OLD else met.value, envelope.sender)
            line.hang_up(f"the node there is {met.value}", pause_s=PAUSE_MAX_S)
            return
        self._roster.peers[envelope.sender].window.is_new(envelope.seq)
        other = self._line_of.get(envelope.sender)
        if other is not None and other is not line:
            line.node = envelope.sender
            line.close()  # a second way to the same node: kept for when the first one breaks
            return
        line.node = envelope.sender
        line.welcomed()
        self._line_of[line.node] = line
        self._set_up(line.node, True)
        self._on_members(welcome.members)
        self._make_known(line.node)

    def _on_own_name(self, line: Line, welcome: Welcome) -> None:
        if welcome.home == self._me.home:
            line.close()  # this very node; the line stays in the table, so that the address is not dialled again
            return
        line.hang_up("a node of our own name", pause_s=PAUSE_MAX_S)
        self._on_refused(RefusalKind.TWIN, self._reason(RefusalKind.TWIN, self._me.node, ""))

    # ── who may be met ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _introduce(self, envelope: PeerEnvelope, facts: Hello | Welcome) -> Met:
        met = self._roster.introduce(envelope.sender, envelope.boot, facts, self._now())
        line = self._line_of.get(envelope.sender)
        if met is Met.REBORN and line is not None:
            line.hang_up("it was started again", pause_s=0.0)  # what we had was a connection to its former life
        return met

    def _refusal(self, algorithm: str) -> RefusalKind | None:
        """Before it is met at all."""
        return None if algorithm == self._me.algorithm else RefusalKind.ALGORITHM

    def _reason(self, kind: RefusalKind, node: str, algorithm: str) -> str:
        if kind is RefusalKind.ALGORITHM:
            return f"ELECTION_ALGORITHM is {algorithm} at {node} and {self._me.algorithm} at {self._me.node}; set it alike on all nodes"
        if kind is RefusalKind.TWIN:
            return f"a node of the id {node} lives already; give each node a NODE_ID of its own"
        return f"{self._me.node} knows {MEMBERS_MAX} nodes, which is the limit"

    # ── out ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _dial(self, address: str, node: str, *, is_seed: bool = False, is_known: bool = False) -> None:
        """Unless there is a way to that node already."""
        if not self._is_open or (node and node in self._line_of):
            return
        if address in self._lines:
            line = self._lines[address]
            if node and line.node != node and not line.is_welcomed:
                line.lead_to(node)  # whoever had the address before
            line.open()
            return
        if not is_seed and not self._has_room(is_known):
            return
        for old in [one for one in self._lines.values() if node and one.node == node and not one.is_seed]:
            self._forget_line(old)  # it has another address now
        guard = self._door.guard
        line = self._lines[address] = Line(
            self,
            self._door.context,
            address,
            node,
            is_seed=is_seed,
            pair=None if guard is None else guard.pair,
            keys=self._envelopes.keys_of,
        )
        line.open()

    def _has_room(self, is_known: bool) -> bool:
        if len(self._lines) >= MEMBERS_MAX + len(self._seeds):
            return False
        return is_known or sum(not one.is_welcomed for one in self._lines.values()) < LEARNED_MAX

    def _forget_line(self, line: Line) -> None:
        line.close()
        self._lines.pop(line.address, None)
        if self._line_of.get(line.node) is line:
            del self._line_of[line.node]
            self._set_up(line.node, False)

    def _set_up(self, node: str, is_up: bool) -> None:
        peer = self._roster.peers.get(node)
        if peer is not None and peer.is_up != is_up:
            peer.is_up = is_up
            event(
                log, logging.INFO, "mesh.met" if is_up else "mesh.lost", node=node, boot=peer.boot, address=peer.address
            )
            self._on_met(node, peer.priority, is_up)

    def _plan_round(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(MEMBERS_EVERY_S, self._round)

    def _round(self) -> None:
        now = self._now()
        for line in list(self._lines.values()):
            if not line.is_seed and line.failing_since is not None and now - line.failing_since > FORGET_S:
                self._forget_line(line)
        names = sorted(self._line_of)
        if names:
            self._told += 1
            node = names[self._told % len(names)]
            self._line_of[node].send(self._envelopes.write(node, Members(self._roster.members())))
        self._plan_round()

    def _make_known(self, new: str) -> None:
        """To all others, and all others to it: what our Welcome said may be from before they were met."""
        peer = self._roster.peers[new]
        news = Members([Member(peer.node, peer.boot, peer.address)])
        for node, line in self._line_of.items():
            line.send(self._envelopes.write(node, Members(self._roster.members()) if node == new else news))

    def _welcome(self) -> Welcome:
        me = self._me
        return Welcome(me.home, me.address, me.priority, me.algorithm, self._roster.members())

    def _answer(self, caller: Caller, to: str, message: Welcome | Refused) -> None:
        self._door.send(caller, self._envelopes.write(to, message))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _state(peer: Peer, now: float) -> PeerState:
    left_s = None if peer.left_at is None else now - peer.left_at
    return PeerState(peer.node, peer.boot, peer.address, peer.priority, peer.is_up, now - peer.heard_at, left_s)


def _fault(peer: Peer | None, envelope: PeerEnvelope) -> str:
    """Why what a peer says does not count; empty when it does."""
    if peer is None or envelope.boot > peer.boot:
        return "stranger"
    if envelope.boot < peer.boot:
        return "boot"
    return "" if peer.window.is_new(envelope.seq) else "duplicate"
