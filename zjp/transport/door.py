"""The node's ROUTER for producers: bound, bounded, drained from the loop. Knows frames, not messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import zmq

from ..errors import Unavailable
from .pump import Pump, set_limits, set_tcp_limits

OnFrames = Callable[[bytes, list[bytes]], None]
"""Called with the sender's routing id and the message's frames."""


class Door:
    """`bind`, then `send` and `on_frames` until `close`."""

    def __init__(self, on_frames: OnFrames) -> None:
        self._on_frames = on_frames
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._pump: Pump | None = None

    def bind(self, address: str) -> str:
        """Returns the address with its real port (`tcp://127.0.0.1:*` lets the system choose). Raises: Unavailable."""
        socket = self._context.socket(zmq.ROUTER)
        set_limits(socket, linger_ms=1_000)
        set_tcp_limits(socket)
        # Without MANDATORY a reply to a client that left, or that does not read, is dropped without a word.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        try:
            socket.bind(address)
        except zmq.ZMQError as fault:
            socket.close(0)
            raise Unavailable(
                f"ZMQ_BIND={address}: {zmq.strerror(fault.errno or 0).lower()}; another node or program listens there: "
                "stop it, or set ZMQ_BIND (--zmq-bind) to a free address"
            ) from None
        self._pump = Pump(socket, self._on_message)
        self._pump.start()
        return str(socket.getsockopt_string(zmq.LAST_ENDPOINT))

    def send(self, identity: bytes, frames: Sequence[bytes]) -> bool:
        """False: the client is gone, or does not read."""
        return self._pump is not None and self._pump.send([identity, *frames])

    def close(self) -> None:
        if self._pump is not None:
            self._pump.stop()
            self._pump.socket.close()
            self._pump = None
        self._context.term()

    def _on_message(self, frames: list[bytes]) -> None:
        self._on_frames(frames[0], frames[1:])
