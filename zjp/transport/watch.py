"""What a socket's monitor tells of its connection: it stands, or what is wrong with it."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import zmq

KEY_REFUSED = "the key was refused"
HANDSHAKE_FAILED = "the handshake failed, as it does when the node has another key, or when only one of the two uses CURVE"
"""Also what a CURVE server does with a client that expects another server key: it says nothing and closes."""

_UP = zmq.EVENT_HANDSHAKE_SUCCEEDED
_DOWN = {
    int(zmq.EVENT_DISCONNECTED): "the connection broke",
    int(zmq.EVENT_CLOSED): "nothing listens there",
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): HANDSHAKE_FAILED,
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): "no zjp node listens there, or only one of the two uses CURVE",
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): KEY_REFUSED,
}
WATCHED = zmq.EVENT_CONNECTED | _UP | sum(_DOWN)
_EVENT = struct.Struct("=Hi")


def read_event(frames: Sequence[bytes]) -> Iterator[str | None]:
    """What one message of a monitor means: None when the connection stands, else what is wrong; nothing when it is none of
    those watched."""
    event, _ = _EVENT.unpack(frames[0])
    if event == _UP:
        yield None
    elif event in _DOWN:
        yield _DOWN[event]


def connected_file(frames: Sequence[bytes]) -> int | None:
    """The descriptor of a connection that was just made, before its handshake; None for any other event."""
    event, value = _EVENT.unpack(frames[0])
    return value if event == zmq.EVENT_CONNECTED else None
