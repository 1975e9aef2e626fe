"""The sockets of one client: a DEALER per address, and its monitor, which tells when the connection stands and when it broke.

With IMMEDIATE a DEALER takes messages only while its connection stands, so what it refused has not left this machine. ZeroMQ's own
reconnecting is off: a broken wire is closed, and the session says when to open another. So an idle client leaves a dead node in peace, and
no events pile up in a monitor that nobody reads. A socket may be touched by one thread at a time: the callers (exchange.py, asyncio.py)
see to that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import zmq

from ..config.kinds import Address, Addresses
from ..errors import ConfigError
from ..transport.pump import has_message, send_now, set_limits, set_tcp_limits, speak_ip_of
from ..transport.watch import WATCHED, read_event
from .keys import Keyring

LINGER_MS = 500
ADDRESSES_MAX = 32
HTTP = ("http://", "https://")


def is_http(address: str) -> bool:
    return address.startswith(HTTP)


def split_addresses(addresses: Sequence[str]) -> list[str]:
    """Several arguments, comma lists, or both; in fail-over order. Raises: ConfigError."""
    for address in addresses:
        if not isinstance(address, str):
            raise ConfigError(f"address {address!r:.100} is {type(address).__name__}, it must be a str such as tcp://127.0.0.1:5570")
    found = [part.strip() for address in addresses for part in address.split(",") if part.strip()]
    if not 1 <= len(found) <= ADDRESSES_MAX:
        raise ConfigError(
            f"{len(found)} addresses were given, there must be 1 to {ADDRESSES_MAX}, such as tcp://127.0.0.1:5570"
        )
    for address in found:
        _check(address)
    if len({is_http(address) for address in found}) > 1:
        raise ConfigError(f"addresses {', '.join(found)}: some are HTTP and some ZeroMQ; a client speaks one of them")
    return list(dict.fromkeys(found))


def _check(address: str) -> None:
    """One of HTTP is read by its own entry. Raises: ConfigError."""
    if is_http(address):
        return
    try:
        Address().parse(address)
        if address.endswith(":*"):
            raise ValueError("it has no port")
    except ValueError as fault:
        raise ConfigError(f"address {address!r}: {fault}; accepted: {Addresses().accepted}") from None


class CannotOpen(Exception):
    """No wire to an address, with the reason: no descriptor is left, or ZeroMQ does not take the address here."""


_contexts: dict[int, zmq.Context[zmq.Socket[bytes]]] = {}
"""By process: one that was forked leaves its parent's alone."""


def _context() -> zmq.Context[zmq.Socket[bytes]]:
    """Not Context.instance(): a signal handler that opens a wire while its thread makes the first one would wait for its lock for ever."""
    pid = os.getpid()
    found = _contexts.get(pid)
    if found is None:
        made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        found = _contexts.setdefault(pid, made)
        if found is not made:
            made.term()
    return found


def _receive(socket: zmq.Socket[bytes]) -> list[bytes]:
    """One message that is there. Copied: where pyzmq frees a frame it runs signal handlers, and what one raises there (Ctrl-C) is lost."""
    return socket.recv_multipart(zmq.NOBLOCK)


class Wire:
    """One address: `dealer` carries messages, `monitor` tells of the connection."""

    def __init__(self, address: str, keyring: Keyring | None = None) -> None:
        """Raises: CannotOpen; then nothing is left open."""
        self.address = address
        self._keyring = keyring
        try:
            with ExitStack() as opened:
                self.dealer: zmq.Socket[bytes] = _context().socket(zmq.DEALER)
                opened.callback(self.dealer.close)
                set_limits(self.dealer, linger_ms=LINGER_MS)
                set_tcp_limits(self.dealer)
                speak_ip_of(self.dealer, address)
                self.dealer.setsockopt(zmq.IMMEDIATE, 1)
                self.dealer.setsockopt(zmq.RECONNECT_IVL, -1)
                if keyring is not None:
                    keyring.protect(self.dealer, address)
                self.monitor: zmq.Socket[bytes] = self.dealer.get_monitor_socket(WATCHED)
                opened.callback(self.monitor.close, 0)
                opened.callback(self.dealer.disable_monitor)
                self.dealer.connect(address)
                # Descriptors that become readable when something happens; edge-triggered (see transport/pump.py).
                self.dealer_file = int(self.dealer.getsockopt(zmq.FD))
                self.monitor_file = int(self.monitor.getsockopt(zmq.FD))
                self._opened = opened.pop_all()
        except zmq.ZMQError as fault:
            raise CannotOpen(f"no connection can be opened: {fault.strerror or fault}".lower()) from None

    def send(self, frames: Sequence[bytes]) -> bool:
        """Never blocks. False: nothing was sent."""
        try:
            send_now(self.dealer, frames)
        except zmq.Again:
            return False
        return True

    def messages(self) -> Iterator[list[bytes]]:
        """What has come, until there is no more."""
        while has_message(self.dealer):
            yield _receive(self.dealer)

    def events(self) -> Iterator[str | None]:
        """What became of the connection: None when it stands, else what is wrong."""
        while has_message(self.monitor):
            yield from self.read(_receive(self.monitor))

    def read(self, frames: Sequence[bytes]) -> Iterator[str | None]:
        """The same of one message of the monitor."""
        for fault in read_event(frames):
            if fault is not None and self._keyring is not None:
                self._keyring.learn(self.address, fault)
            yield fault

    def close(self) -> None:
        self._opened.close()
