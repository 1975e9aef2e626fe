"""Nodes' meshes for tests, several in one process, each with a door of its own; and a hand that sends what no node would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import zmq

from zjp.transport.curve import Holder, KeyPair, KeyRole, make_pair, protect_client
from zjp.transport.door import Caller, Door
from zjp.transport.envelope import Me
from zjp.transport.mesh import Mesh
from zjp.transport.zap import Guard
from zjp.wire.codec import encode_peer
from zjp.wire.greeting import MeshMessage, PeerEnvelope, RefusalKind
from zjp.wire.messages import PROTOCOL_VERSION
from zjp.wire.peers import Beat, PeerMessage

LIMIT_S = 40.0
ANY = "tcp://127.0.0.1:*"
Work = Callable[[Caller, list[bytes]], None]


class Town:
    """All stations of one test. `has_keys`: with CURVE, all authorized by all."""

    def __init__(self, *, has_keys: bool = False) -> None:
        self.has_keys = has_keys
        self.stations: list[Station] = []
        self.table: dict[str, Holder] = {}
        self.pairs: dict[str, KeyPair] = {}

    def pair(self, name: str) -> KeyPair:
        if name not in self.pairs:
            pair = self.pairs[name] = make_pair(name)
            self.authorize(name, pair)
        return self.pairs[name]

    def authorize(self, name: str, pair: KeyPair, role: KeyRole = KeyRole.NODE) -> None:
        self.table[pair.public.hex()] = Holder(name, role, pair.public)
        self.reload()

    def reload(self) -> None:
        for station in self.stations:
            if station.door.guard is not None:
                station.door.guard.reload()
                station.mesh.recheck_keys()

    def open(self, name: str, *seeds: Station, **facts: Any) -> Station:
        station = Station(self, name, [seed.address for seed in seeds], **facts)
        self.stations.append(station)
        return station

    async def all_meet(self, *stations: Station) -> None:
        for station in stations:
            await station.until(lambda at: at.met() >= {one.name for one in stations if one is not at})


class Station:
    def __init__(
        self, town: Town, name: str, seeds: Iterable[str], *, boot: int = 1, home: str = "", address: str = ANY, work: Work | None = None,
        algorithm: str = "bully", cluster: str = "zjp", priority: int = 0,
    ) -> None:  # fmt: skip
        self.name = name
        self.heard: list[tuple[str, PeerMessage]] = []
        self.told: list[tuple[str, int, bool]] = []
        self.refusals: list[RefusalKind] = []
        self.requests: list[list[bytes]] = []
        self._changed = asyncio.Event()
        guard = Guard(town.pair(name), lambda: dict(town.table)) if town.has_keys else None
        self.door = Door(work or (lambda _, frames: self.requests.append(frames)), lambda *_: None, guard)
        self.address = self.door.bind(address)
        self.mesh = Mesh(
            Me(
                node=name, boot=boot, home=home or f"home of {name}", cluster=cluster, address=self.address, algorithm=algorithm,
                priority=priority,
            ),
            self.door, seeds=tuple(seeds), on_message=self._hear, on_met=self._meet, on_refused=self._refuse,
        )  # fmt: skip
        self.mesh.start()

    def met(self) -> set[str]:
        return {peer.node for peer in self.mesh.peers() if peer.is_up}

    async def until(self, holds: Callable[[Station], bool]) -> None:
        """Looked at after every event of this station, and now and then, as counters say nothing when they change."""
        async with asyncio.timeout(LIMIT_S):
            while not holds(self):
                self._changed.clear()
                try:
                    await asyncio.wait_for(self._changed.wait(), 0.01)
                except TimeoutError:
                    pass

    def close(self, *, says_bye: bool = True) -> None:
        """Without a good-bye: as one whose process was killed."""
        if not says_bye:
            self.mesh._line_of.clear()
        self.mesh.close()
        self.door.close()

    def _hear(self, src: str, message: PeerMessage) -> None:
        self.heard.append((src, message))
        self._changed.set()

    def _meet(self, peer: str, priority: int, is_up: bool) -> None:
        self.told.append((peer, priority, is_up))
        self._changed.set()

    def _refuse(self, kind: RefusalKind, reason: str) -> None:
        assert reason
        self.refusals.append(kind)
        self._changed.set()


class Hand:
    """A DEALER that says what it is told, to one station."""

    def __init__(self, to: Station, pair: KeyPair | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 1000)
        if pair is not None and to.door.guard is not None:
            protect_client(self.socket, pair, to.door.guard.pair.public)
        self.socket.connect(to.address)

    def say(self, message: MeshMessage, sender: str, **facts: Any) -> None:
        envelope = PeerEnvelope(
            facts.get("version", PROTOCOL_VERSION), facts.get("cluster", "zjp"), sender, facts.get("boot", 1), facts.get("seq", 1),
            facts.get("to", "n1"),
        )  # fmt: skip
        self.socket.send_multipart(encode_peer(envelope, message))

    def close(self) -> None:
        self._context.destroy()


@asynccontextmanager
async def town(*, has_keys: bool = False) -> AsyncIterator[Town]:
    made = Town(has_keys=has_keys)
    try:
        yield made
    finally:
        for station in made.stations:
            station.close()


def beat(round: int) -> Beat:
    return Beat(1, round)
