"""The door's self-test: before a node counts as started it knocks at its own door, over the real socket.

    a stranger's key     must be refused
    no key at all        must be refused
    the node's own key   must pass, or the two refusals would prove nothing

Whatever a library's version, a build option or a mistake of ours does to the rules of who gets in, an open door is found before anybody
else finds it. It is repeated after each reload of the keys.
"""

from __future__ import annotations

import asyncio

import zmq

from ..errors import ConfigError, Unavailable
from .curve import KeyPair, make_pair, protect_client
from .pump import Pump, set_limits, set_tcp_limits, speak_ip_of
from .watch import WATCHED, read_event

KNOCK_LIMIT_S = 10.0
"""For one handshake of a machine with itself; far more than it needs, as a door that does not answer stops the start."""


class DoorIsOpen(ConfigError):
    """Somebody got in who must not."""


async def self_test(address: str, own: KeyPair) -> None:
    """Raises: DoorIsOpen, or Unavailable when it lets nobody in."""
    target = dialled(address)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()  # none of the node's own: nothing of its state can help
    try:
        for who, pair in (("a key that nobody authorized", make_pair("stranger")), ("no key", None)):
            if await knock(context, target, pair, own.public) is None:
                raise DoorIsOpen(
                    f"CURVE_ENABLED=true, but {address} let somebody in with {who}; the door stays shut. This is a fault of the program "
                    f"or of its ZeroMQ library ({zmq.zmq_version()}), not of the settings: please report it"
                )
        fault = await knock(context, target, own, own.public)
        if fault is not None:
            raise Unavailable(f"{address} refused the node's own key: {fault}; please report it")
    finally:
        context.destroy(linger=0)


async def knock(
    context: zmq.Context[zmq.Socket[bytes]], address: str, pair: KeyPair | None, server: bytes
) -> str | None:
    """One handshake. None: it got in, else why not. Raises: Unavailable when nothing happens."""
    socket = context.socket(zmq.DEALER)
    set_limits(socket, linger_ms=0)
    set_tcp_limits(socket)
    speak_ip_of(socket, address)
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    if pair is not None:
        protect_client(socket, pair, server)
    heard: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    def on_event(frames: list[bytes]) -> None:
        for fault in read_event(frames):
            if not heard.done():
                heard.set_result(fault)

    monitor = Pump(socket.get_monitor_socket(WATCHED), on_event)
    monitor.start()
    try:
        socket.connect(address)
        return await asyncio.wait_for(heard, KNOCK_LIMIT_S)
    except TimeoutError:
        raise Unavailable(f"{address} did not answer a handshake within {KNOCK_LIMIT_S:g} s") from None
    finally:
        monitor.stop()
        socket.disable_monitor()
        monitor.socket.close(0)
        socket.close(0)


def dialled(address: str) -> str:
    """Where to knock at an address that was bound: a wildcard is no place to connect to."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return f"tcp://{ {'0.0.0.0': '127.0.0.1', '*': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"
