"""A door with keys for tests, in this process, and people who knock at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import zmq

from zjp.transport.curve import Holder, KeyPair, KeyRole, make_pair, protect_client
from zjp.transport.door import Caller, Door
from zjp.transport.pump import Pump, speak_ip_of
from zjp.transport.watch import WATCHED, read_event
from zjp.transport.zap import Guard

Socket = zmq.Socket[bytes]
Configure = Callable[[Socket], None]

LIMIT_S = 30.0
ANY = "tcp://127.0.0.1:*"


class House:
    """`people`: pairs by name, authorized in the role of that name. `heard`: what came in."""

    def __init__(self) -> None:
        self.node = make_pair("n1")
        self.people = {role.value: make_pair(f"{role.value}-1") for role in KeyRole}
        self.table = {
            holder.user_id: holder
            for role in KeyRole
            for holder in [Holder(f"{role.value}-1", role, self.people[role.value].public)]
        }
        self.guard = Guard(self.node, lambda: dict(self.table))
        self.heard: asyncio.Queue[tuple[Caller, list[bytes]]] = asyncio.Queue()
        self.peers_heard: asyncio.Queue[tuple[Caller, list[bytes]]] = asyncio.Queue()
        self.door = Door(self._hear, self._hear, self.guard)
        self.door.on_peer = lambda caller, frames: self.peers_heard.put_nowait((caller, frames))
        self.address = ""
        self.context: zmq.Context[Socket] = zmq.Context()
        self._pumps: list[tuple[Socket, Pump]] = []

    def _hear(self, caller: Caller, frames: list[bytes]) -> None:
        self.heard.put_nowait((caller, frames))

    def bind(self, address: str = ANY) -> None:
        self.address = self.door.bind(address)

    def close(self) -> None:
        for socket, monitor in self._pumps:
            monitor.stop()
            socket.disable_monitor()
            monitor.socket.close(0)
        self.guard.stop()  # one test has its socket in the visitors' context
        self.context.destroy(linger=0)
        self.door.close()

    def revoke(self, role: str) -> None:
        del self.table[self.people[role].public.hex()]
        self.guard.reload()

    def connect(self, configure: Configure, kind: int = zmq.DEALER) -> tuple[Socket, asyncio.Queue[str | None]]:
        """A socket, and what becomes of its connection: None when it stands, else what is wrong."""
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, -1)
        configure(socket)
        speak_ip_of(socket, self.address)
        events: asyncio.Queue[str | None] = asyncio.Queue()

        def on_event(frames: list[bytes]) -> None:
            for fault in read_event(frames):
                events.put_nowait(fault)

        monitor = Pump(socket.get_monitor_socket(WATCHED), on_event)
        monitor.start()
        self._pumps.append((socket, monitor))
        socket.connect(self.address)
        return socket, events

    def key(self, role: str) -> Configure:
        return lambda socket: protect_client(socket, self.people[role], self.node.public)

    async def guest(self, role: str) -> tuple[Socket, asyncio.Queue[str | None]]:
        """One who was let in."""
        socket, events = self.connect(self.key(role))
        assert await soon(events.get()) is None
        return socket, events

    async def hears_nobody_but(self, role: str) -> None:
        """A message of that guest arrives, and none that was sent before it by anybody else."""
        socket, _ = await self.guest(role)
        socket.send_multipart([b"it", b"is me"])
        caller, frames = await soon(self.heard.get())
        assert frames == [b"it", b"is me"]
        assert caller.holder is not None
        assert caller.holder.name == f"{role}-1"


async def soon(waited: Any) -> Any:
    return await asyncio.wait_for(waited, LIMIT_S)


@asynccontextmanager
async def house(*, is_bound: bool = True) -> AsyncIterator[House]:
    made = House()
    try:
        if is_bound:
            made.bind()
        yield made
    finally:
        made.close()


def with_pair(pair: KeyPair, server: bytes) -> Configure:
    return lambda socket: protect_client(socket, pair, server)
