"""What this node says to others. Every message carries its own incarnation; one to an accused starts with the accusation (Lifeguard's
buddy rule), so that it can refute it at once; what room is left is for rumours.

`told` is the newest leadership known, with messages that have a place for it.
"""

from __future__ import annotations

from ...wire.peers import Ack, Gossip, Nack, PeerMessage, PingPeer, PingReq, Rumours, Sync, SyncReply
from ..core import Effects, Send
from .identity import Identity
from .roster import Roster
from .rumours import Rumours as Queue
from .rumours import retransmit_limit


class Voice:
    def __init__(self, identity: Identity, roster: Roster, rumours: Queue) -> None:
        self._identity = identity
        self._roster = roster
        self._rumours = rumours
        self.told: tuple[int, str] = (0, "")

    def ping(self, to: str, seq: int, out: Effects) -> None:
        self._say(to, PingPeer(seq, to, self._identity.incarnation, *self.told, self._rumours_for(to)), out)

    def ask(self, to: str, seq: int, target: str, out: Effects) -> None:
        self._say(to, PingReq(seq, target, self._identity.incarnation, self._rumours_for(to)), out)

    def ack(self, to: str, seq: int, target: str, out: Effects) -> None:
        self._say(to, Ack(seq, target, self._identity.incarnation, *self.told, self._rumours_for(to)), out)

    def nack(self, to: str, seq: int, target: str, out: Effects) -> None:
        self._say(to, Nack(seq, target, self._identity.incarnation, self._rumours_for(to)), out)

    def gossip(self, to: str, out: Effects) -> None:
        self._say(to, Gossip(self._identity.incarnation, *self.told, self._rumours_for(to)), out)

    def sync(self, to: str, is_join: bool, out: Effects) -> None:
        self._say(to, Sync(self._identity.incarnation, is_join, *self.told, self._roster.table()), out)

    def sync_reply(self, to: str, out: Effects) -> None:
        self._say(to, SyncReply(self._identity.incarnation, *self.told, self._roster.table()), out)

    def _rumours_for(self, to: str) -> Rumours:
        peer = self._roster.get(to)
        accusation = peer.accusation if peer else None
        if accusation is None and not self._rumours.tier_of:
            return []
        return self._rumours.take(retransmit_limit(self._roster.present_count), accusation)

    def _say(self, to: str, message: PeerMessage, out: Effects) -> None:
        out.send.append(Send(to, message))
