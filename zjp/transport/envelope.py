"""The envelope of what this node says to others, and what of theirs counts as said: by whom, to whom, from which cluster.

With CURVE a message is its sender's when the key that it came with is authorized as a node of that name; without, whoever reaches the door
may say anything in any name. What does not count is counted, by reason.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import WireError
from ..log import event
from ..wire.codec import decode_peer, decode_peer_envelope, encode_peer
from ..wire.greeting import MeshMessage, PeerEnvelope
from ..wire.messages import PROTOCOL_VERSION
from .curve import KeyRole
from .zap import Guard

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Me:
    """What this node tells of itself. `address`: where the others reach its door (ZMQ_ADVERTISE)."""

    node: str
    boot: int
    home: str
    cluster: str
    address: str
    algorithm: str
    priority: int = 0


class Envelopes:
    def __init__(self, me: Me, guard: Guard | None) -> None:
        self.dropped: Counter[str] = Counter()
        self._me, self._guard = me, guard
        self._seq = 0

    def write(self, to: str, message: MeshMessage) -> list[bytes]:
        """`to` empty: whoever is there. Raises: WireError when it is over the limit."""
        self._seq += 1
        return encode_peer(
            PeerEnvelope(PROTOCOL_VERSION, self._me.cluster, self._me.node, self._me.boot, self._seq, to), message
        )

    def read(self, frames: list[bytes], key: bytes) -> tuple[PeerEnvelope, MeshMessage] | None:
        """`key`: public key of the connection it came by. None: it was dropped, and counted."""
        try:
            envelope = decode_peer_envelope(frames)
        except WireError as fault:
            self.drop("size" if "the limit" in str(fault) else "shape", "")
            return None
        reason = self._fault(envelope, key)
        if reason:
            self.drop(reason, envelope.sender)
            return None
        try:
            return envelope, decode_peer(frames[2])
        except WireError:
            self.drop("body", envelope.sender)
            return None

    def drop(self, reason: str, sender: str) -> None:
        self.dropped[reason] += 1
        event(log, logging.WARNING, "mesh.dropped", reason=reason, sender=sender)

    def is_key_of(self, key: bytes, node: str) -> bool:
        if self._guard is None:
            return True
        holder = self._guard.holder(key.hex())
        return holder is not None and holder.role is KeyRole.NODE and holder.name == node

    def keys_of(self, node: str) -> Sequence[bytes]:
        """With which that node may answer; `node` empty: whoever is at an address, which may be this node itself."""
        if self._guard is None:
            return ()
        return self._guard.keys_of(node) if node else [self._guard.pair.public, *self._guard.node_keys()]

    def _fault(self, envelope: PeerEnvelope, key: bytes) -> str:
        if envelope.version != PROTOCOL_VERSION:
            return "version"
        if envelope.cluster != self._me.cluster:
            return "cluster"
        if envelope.to not in ("", self._me.node):
            return "to"
        return "" if self.is_key_of(key, envelope.sender) else "key"
