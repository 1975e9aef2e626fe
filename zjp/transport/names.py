"""Names of other nodes, looked up off ZeroMQ.

ZeroMQ looks names up in its one thread of input and output, so that a name server which says nothing (20 s were seen for the name of a
container that had died) stops every other connection of the process: the nodes that live hear each other no more, and elect nobody. Here
each look-up has a thread of its own, and ZeroMQ is given numbers.

The threads are daemons: a process that ends must not wait for a name server. There is one look-up at a time for each address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

LookUp = Callable[[str, int], str]
"""Name and port -> a numeric address. Raises: any of FAULTS."""
FAULTS = (OSError, ValueError, OverflowError)
"""Besides "not known" the system's own look-up refuses what is no name (an empty or too long part, a zero byte) or no port. Peers tell
their addresses themselves, so all of it is met."""


def first_address(name: str, port: int) -> str:
    """The first IPv4 address of a name: IPv6 is spoken where an address says so itself, in brackets. Raises: any of FAULTS."""
    return str(socket.getaddrinfo(name, port, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])


def name_in(address: str) -> tuple[str, int] | None:
    """(name, port) of a tcp address that has a name to be looked up; None: there is nothing to look up."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    if not address.startswith("tcp://") or not port.isdecimal():
        return None  # as it is: ZeroMQ says what is wrong with it
    with suppress(ValueError):
        ipaddress.ip_address(host.strip("[]"))
        return None
    return host, int(port)


class Finding:
    """One look-up: `found(number)` or `failed(why)` is called in the loop, unless it was given up before."""

    def __init__(
        self, name: str, port: int, found: Callable[[str], None], failed: Callable[[str], None], look_up: LookUp
    ) -> None:
        self._found, self._failed, self._look_up = found, failed, look_up
        self._is_wanted = True
        loop = asyncio.get_running_loop()
        try:
            threading.Thread(target=self._run, args=(loop, name, port), name=f"name {name}", daemon=True).start()
        except RuntimeError as fault:  # the system has no thread left; told later, as whoever asks does not have this object yet
            loop.call_soon(self._tell, failed, f"the name {name} cannot be looked up: {fault}")

    def give_up(self) -> None:
        self._is_wanted = False

    def _run(self, loop: asyncio.AbstractEventLoop, name: str, port: int) -> None:
        try:
            told, text = self._found, self._look_up(name, port)
        except FAULTS as fault:
            told, text = self._failed, f"the name {name} cannot be looked up: {getattr(fault, 'strerror', None) or fault}"
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._tell, told, text)

    def _tell(self, told: Callable[[str], None], text: str) -> None:
        if self._is_wanted:
            told(text)
