"""The tcp connections of a door with keys, as the system sees them: whose each is, and how one is ended; ZeroMQ has no call for either.

A message tells the descriptor it came by. That is noted with the key that the connection proved, once per connection (`spoke`). When keys
are gone (`keep`), every connection to the door's port ends that is not noted as one of a key that is still welcome: also those that never
spoke or whose handshake is under way, as nobody can tell whose they are. An honest one of these connects again by itself.

ZeroMQ closes descriptors on a thread of its own, and the system gives the number to the next connection. So a note holds the address of the
other end too, and is of no use once another one is there. There are no more notes than descriptors.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from .tcp import opened

OPEN_FILES = "/dev/fd"
"""One name per descriptor of this process."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Who spoke last by a descriptor. `identity`: the routing id, another one for each connection. `peer`: None: it had ended already."""

    identity: bytes
    user_id: str
    peer: object


class Sessions:
    """`port`: what the door is bound to; no other connection is touched."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._spoken: dict[int, Spoken] = {}
        self._is_behind = False

    def spoke(self, file: int, identity: bytes, user_id: str) -> None:
        """A message of that key came by `file`. Costs a look-up, but for the first message of a connection."""
        known = self._spoken.get(file)
        if known is None or known.identity != identity or known.user_id != user_id:
            self._spoken[file] = Spoken(identity, user_id, self._peer(file))

    def cut(self, file: int) -> None:
        """What came by `file` was of a key that is gone. Where `keep` did its work its connection has ended, and the number may be another
        one's already; where it could not, an honest client that is hit connects again."""
        found = self._find(file) if self._is_behind else None
        if found is not None:
            _end(found[0])

    def keep(self, is_welcome: Callable[[str], bool]) -> int:
        """End the connections that are not known to be of a key that is welcome; how many. Raises: OSError when they cannot be listed."""
        self._is_behind = True
        kept: dict[int, Spoken] = {}
        cut_count = 0
        for file in [int(name) for name in os.listdir(OPEN_FILES)]:
            found = self._find(file)
            if found is None:
                continue
            known = self._spoken.get(file)
            if known is not None and known.peer == found[1] and is_welcome(known.user_id):
                kept[file] = known
                found[0].close()
            else:
                _end(found[0])
                cut_count += 1
        self._spoken, self._is_behind = kept, False
        return cut_count

    def _peer(self, file: int) -> object:
        found = self._find(file)
        if found is None:
            return None
        found[0].close()
        return found[1]

    def _find(self, file: int) -> tuple[socket.socket, object] | None:
        """A second descriptor of that connection, so that it stays what it is until it is closed, and the address of the other end.
        None: no connection of this door, or one that has ended."""
        found = opened(file)
        if found is None:
            return None
        with contextlib.suppress(OSError):
            if found.family in (socket.AF_INET, socket.AF_INET6) and found.getsockname()[1] == self._port:
                return found, found.getpeername()
        found.close()
        return None


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection:
        connection.shutdown(socket.SHUT_RDWR)
