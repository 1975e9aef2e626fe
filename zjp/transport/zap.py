"""Who may connect: the ZAP handler (ZeroMQ RFC 27) of a node's door, on the node's own loop, and the table it asks.

pyzmq's authenticators are a thread, or zmq.asyncio; both leave the four ways open in which ZAP lets everybody in (no handler, a handler in
another context, a handler that has ended, an empty domain), as those lie in the server's socket. Here all four are closed:

    the socket      protect_server: a named domain, and option 93: no answer means no
    the order       `start` binds the handler in the door's own context before the door is bound, and nothing ends it before the door
    the table       one frozen mapping, replaced whole by `reload`; a folder that cannot be read leaves the old one
    the proof       probe.py knocks as a stranger and without a key, on the real socket, before the node counts as started

A session outlives its key in ZeroMQ: the handler is asked once, at the handshake. So each message is looked up again (`holder`), and when a
key is gone from the table the door cuts its connections (`on_revoked`).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import zmq

from ..errors import ConfigError
from ..log import event
from .curve import (
    AUTHORIZED,
    KEY_BYTES,
    NODE_KEY,
    ZAP_DOMAIN,
    Authorized,
    Holder,
    KeyPair,
    KeyRole,
    read_authorized,
    read_pair,
)
from .pump import Pump

ENDPOINT = "inproc://zeromq.zap.01"
VERSION = b"1.0"
FRAMES_BEFORE_CREDENTIALS = 8
"""Routing id, delimiter, version, request id, domain, address, routing id of the server, mechanism."""

log = logging.getLogger(__name__)


class Guard:
    """`start` before the door binds, `stop` after it has closed. `refused` counts handshakes and messages by reason. `on_revoked` is called
    when a key that was in the table is not any more."""

    def __init__(self, pair: KeyPair, read: Callable[[], Authorized]) -> None:
        self.pair = pair
        self.refused: Counter[str] = Counter()
        self.on_refused: Callable[[str], None] = lambda reason: None
        self.on_revoked: Callable[[], None] = lambda: None
        self._read = read
        self._pump: Pump | None = None
        self._table: Authorized = {}
        self.reload()

    def reload(self) -> None:
        """Raises: ConfigError; then everything is as before."""
        table = dict(self._read())
        me = Holder(self.pair.name, KeyRole.NODE, self.pair.public)
        if table.setdefault(me.user_id, me) != me:
            raise ConfigError(
                f"this node's own key is authorized as {table[me.user_id].role.value} {table[me.user_id].name}"
            )
        gone = self._table.keys() - table.keys()
        self._table = table
        if gone:
            self.on_revoked()

    def start(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        socket = context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(ENDPOINT)
        self._pump = Pump(socket, self._on_request)
        self._pump.start()

    def stop(self) -> None:
        if self._pump is not None:
            self._pump.stop()
            self._pump.socket.close()
            self._pump = None

    def holder(self, user_id: str) -> Holder | None:
        """None: no key of that id is authorized, or not any more."""
        return self._table.get(user_id)

    def holders(self) -> list[Holder]:
        """This node among them."""
        return list(self._table.values())

    def keys_of(self, node: str) -> list[bytes]:
        """Public keys with which that node may answer."""
        return [holder.public for holder in self._table.values() if holder.role is KeyRole.NODE and holder.name == node]

    def node_keys(self) -> list[bytes]:
        """Public keys of all other nodes: of an address alone nobody can say whose it is."""
        mine = self.pair.public
        return [
            holder.public for holder in self._table.values() if holder.role is KeyRole.NODE and holder.public != mine
        ]

    def refuse(self, reason: str) -> None:
        self.refused[reason] += 1
        self.on_refused(reason)
        event(log, logging.WARNING, "curve.refused", reason=reason)

    # ── the handler ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_request(self, frames: list[bytes]) -> None:
        """An exception here answers nothing, and no answer means no."""
        if len(frames) < FRAMES_BEFORE_CREDENTIALS:
            self.refuse("shape")
            return
        holder, reason = self._judge(frames[2:])
        if holder is None:
            self.refuse(reason)
            self._answer(frames, b"400", b"not authorized", b"")
        else:
            self._answer(frames, b"200", b"OK", holder.user_id.encode())

    def _judge(self, request: list[bytes]) -> tuple[Holder | None, str]:
        """`request`: version, request id, domain, address, routing id, mechanism, credentials."""
        version, _, domain, _, _, mechanism, *credentials = request
        if version != VERSION or domain != ZAP_DOMAIN.encode():
            return None, "domain"
        if mechanism != b"CURVE" or len(credentials) != 1 or len(credentials[0]) != KEY_BYTES:
            return None, "mechanism"
        return self.holder(credentials[0].hex()), "unknown key"

    def _answer(self, request: list[bytes], status: bytes, text: bytes, user_id: bytes) -> None:
        assert self._pump is not None
        self._pump.send([request[0], b"", VERSION, request[3], status, text, user_id, b""])


def open_guard(folder: Path, node: str) -> Guard:
    """The guard of a node with its keys in `folder` (CURVE_DIR). Raises: ConfigError."""
    path = folder / NODE_KEY
    if not path.exists():
        raise ConfigError(f"CURVE_ENABLED=true, and there is no key at {path}; make one: zjp keys node --name {node}")
    pair = read_pair(path)
    if pair.name != node:
        raise ConfigError(
            f"{path} is the key of node {pair.name}, and this node is {node}; set NODE_ID={pair.name}, or make a key for this one"
        )
    return Guard(pair, lambda: read_authorized(folder / AUTHORIZED))
