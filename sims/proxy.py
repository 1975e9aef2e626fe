"""The fault proxy: a TCP hop that can be made slow, thin, choppy, silent or cut, in either direction, while connections are up.

Userspace and no rights needed. It changes when bytes arrive and whether; never which. Direction `up` is from the client to the upstream,
`down` the way back; each has a `Link` of faults that may be changed at any moment, for connections that are up and those to come:

    latency_s, jitter_s     each chunk is held back that long, plus up to jitter; order is kept
    bandwidth_bytes_s       0: no limit
    slice_bytes, slice_gap_s  chunks are sent in pieces of that size, that far apart (one byte at a time finds parsers that hope)
    is_blackhole            nothing arrives; the sender notices nothing but silence. What it swallowed is gone: heal by cutting

and deeds done once: `cut` (RST to both sides), `limit_data` (RST after so many more bytes: the answer is lost, the deed is done),
`half_close` (FIN in one direction), `refuse` (connections to come are reset at once).

In process: `async with FaultProxy("127.0.0.1", port) as proxy: proxy.address; proxy.down.latency_s = 0.2; proxy.cut()`.
As a process: `python -m sims.proxy --listen 127.0.0.1:0 --upstream 127.0.0.1:5570` prints `listening HOST:PORT` and takes verbs, a line
of JSON each, on stdin: `{"verb": "latency", "direction": "down", "latency_s": 0.2}`; each is answered `ok` or `error: ...`. It ends when
stdin ends.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal

Direction = Literal["up", "down"]

CHUNK_BYTES = 1 << 16
HELD_BYTES_MAX = 1 << 22
"""What one direction of one connection may hold back; beyond it the sender is not read, as with a full pipe."""
CONNECT_TIMEOUT_S = 5.0


@dataclass(slots=True)
class Link:
    """Faults of one direction; all at once when several are set."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    bandwidth_bytes_s: float = 0.0
    slice_bytes: int = 0
    slice_gap_s: float = 0.0
    is_blackhole: bool = False

    def heal(self) -> None:
        for knob in fields(self):
            setattr(self, knob.name, knob.default)


class FaultProxy:
    """Listens on a free port of loopback unless told otherwise. Methods are to be called in its event loop."""

    def __init__(
        self, upstream_host: str, upstream_port: int, *, host: str = "127.0.0.1", port: int = 0, seed: int = 0, source: str = ""
    ) -> None:
        """`source`: the address that connections to the upstream come from, where it matters."""
        self.up, self.down = Link(), Link()
        self.is_refusing = False
        self.accepted_count = 0
        self._upstream = (upstream_host, upstream_port)
        self._listen = (host, port)
        self._source = (source, 0) if source else None
        self._rng = random.Random(seed)
        self._pipes: set[_Pipe] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, *self._listen, limit=CHUNK_BYTES)

    @property
    def address(self) -> tuple[str, int]:
        assert self._server is not None, "start() comes first"
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    @property
    def connection_count(self) -> int:
        return len(self._pipes)

    def cut(self) -> int:
        """Reset all connections, both sides. Returns how many."""
        pipes = list(self._pipes)
        for pipe in pipes:
            pipe.reset()
        return len(pipes)

    def limit_data(self, direction: Direction, more_bytes: int) -> None:
        """Of what flows in that direction, let so many more bytes through on each connection that is up now, then reset it."""
        for pipe in self._pipes:
            pipe.limit(direction, more_bytes)

    def half_close(self, direction: Direction) -> None:
        """Send FIN to whom that direction leads, on all connections that are up; the other direction goes on."""
        for pipe in self._pipes:
            pipe.half_close(direction)

    def heal(self) -> None:
        """No faults for what comes; a blackholed connection must be cut, its bytes are gone."""
        self.up.heal()
        self.down.heal()
        self.is_refusing = False

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> FaultProxy:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted_count += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.is_refusing:
            _reset(writer)
            return
        try:
            connecting = asyncio.open_connection(*self._upstream, limit=CHUNK_BYTES, local_addr=self._source)
            upstream_reader, upstream_writer = await asyncio.wait_for(connecting, CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError):
            _reset(writer)
            return
        pipe = _Pipe((reader, writer), (upstream_reader, upstream_writer))
        self._pipes.add(pipe)
        try:
            with contextlib.suppress(asyncio.CancelledError):  # by `stop`; the stream that called this would log it as an error
                await pipe.run(self.up, self.down, self._rng)
        finally:
            pipe.reset()
            self._pipes.discard(pipe)


class _Pipe:
    """One client connection and its upstream connection."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._readers: dict[Direction, asyncio.StreamReader] = {"up": client[0], "down": upstream[0]}
        self._writers: dict[Direction, asyncio.StreamWriter] = {"up": upstream[1], "down": client[1]}
        self._left: dict[Direction, int | None] = {"up": None, "down": None}
        self._flows: list[asyncio.Task[None]] = []
        for writer in self._writers.values():
            writer.transport.set_write_buffer_limits(0)

    async def run(self, up: Link, down: Link, rng: random.Random) -> None:
        """Until both directions have ended, or one of them was reset."""
        links: dict[Direction, Link] = {"up": up, "down": down}
        self._flows = [asyncio.ensure_future(_Flow(self, name, link, rng).run()) for name, link in links.items()]
        try:
            await asyncio.wait(self._flows, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for flow in self._flows:
                flow.cancel()
            await asyncio.gather(*self._flows, return_exceptions=True)

    def reader(self, direction: Direction) -> asyncio.StreamReader:
        return self._readers[direction]

    def limit(self, direction: Direction, more_bytes: int) -> None:
        self._left[direction] = more_bytes

    async def send(self, direction: Direction, data: bytes) -> None:
        """Raises: ConnectionError, also when the limit is reached."""
        left = self._left[direction]
        writer = self._writers[direction]
        if left is not None:
            data = data[:left]
            self._left[direction] = left - len(data)
        writer.write(data)
        # The write buffer's limit is 0: after this the kernel has it all, and a reset cannot overtake it.
        await writer.drain()
        if left is not None and left == len(data):
            self.reset()
            raise ConnectionResetError("data limit reached")

    def half_close(self, direction: Direction) -> None:
        writer = self._writers[direction]
        if not writer.is_closing() and writer.can_write_eof():
            writer.write_eof()

    def reset(self) -> None:
        for writer in self._writers.values():
            _reset(writer)
        for flow in self._flows:
            if flow is not asyncio.current_task():
                flow.cancel()


class _Flow:
    """One direction of one connection: what is read is held until its time, then sent in pieces."""

    def __init__(self, pipe: _Pipe, direction: Direction, link: Link, rng: random.Random) -> None:
        self._pipe, self._direction, self._link, self._rng = pipe, direction, link, rng
        self._held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD_BYTES_MAX // CHUNK_BYTES)
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        reading = asyncio.ensure_future(self._read())
        try:
            await self._write()
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await reading

    async def _read(self) -> None:
        reader = self._pipe.reader(self._direction)
        arrives_at = 0.0
        data = b"-"
        while data:
            try:
                data = await reader.read(CHUNK_BYTES)
            except OSError:
                self._pipe.reset()
                data = b""
            delay_s = self._link.latency_s + self._rng.uniform(0.0, self._link.jitter_s)
            arrives_at = max(arrives_at, self._loop.time() + delay_s)
            await self._held.put((arrives_at, data))

    async def _write(self) -> None:
        while True:
            arrives_at, data = await self._held.get()
            await self._until(arrives_at)
            if not data:
                await self._end()
                return
            for piece in _pieces(data, self._link.slice_bytes):
                if not self._link.is_blackhole:
                    await self._pipe.send(self._direction, piece)
                await self._pause_after(piece)

    async def _end(self) -> None:
        if self._link.is_blackhole:
            # The FIN is swallowed too: the other side learns nothing until somebody cuts.
            await asyncio.Event().wait()
        self._pipe.half_close(self._direction)

    async def _pause_after(self, piece: bytes) -> None:
        rate = self._link.bandwidth_bytes_s
        pause_s = (len(piece) / rate if rate else 0.0) + (self._link.slice_gap_s if self._link.slice_bytes else 0.0)
        if pause_s:
            await asyncio.sleep(pause_s)

    async def _until(self, at: float) -> None:
        wait_s = at - self._loop.time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)


def _pieces(data: bytes, slice_bytes: int) -> Iterator[bytes]:
    step = slice_bytes or len(data)
    return (data[start : start + step] for start in range(0, len(data), step))


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: linger on, zero seconds."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# As a process --------------------------------------------------------------------------------------------------------------------

KNOBS = {
    "latency": ("latency_s", "jitter_s"),
    "bandwidth": ("bandwidth_bytes_s",),
    "slicer": ("slice_bytes", "slice_gap_s"),
    "blackhole": ("is_blackhole",),
}
"""Verb -> what it sets on a link; what is left out goes back to no fault."""


def obey(proxy: FaultProxy, command: dict[str, Any]) -> None:
    """Carry out one verb. Raises: ValueError naming what is wrong."""
    verb = command.pop("verb", None)
    direction = command.pop("direction", None)
    if direction not in ("up", "down", None):
        raise ValueError(f"direction is {direction!r}, it must be up or down; leave it out for both")
    links = {"up": [proxy.up], "down": [proxy.down], None: [proxy.up, proxy.down]}[direction]
    if verb in KNOBS:
        unknown = command.keys() - set(KNOBS[verb])
        if unknown:
            raise ValueError(f"{verb} takes {', '.join(KNOBS[verb])}, not {', '.join(sorted(unknown))}")
        for link in links:
            for knob in KNOBS[verb]:
                default = next(known.default for known in fields(Link) if known.name == knob)
                setattr(link, knob, command.get(knob, default))
    elif verb == "cut":
        proxy.cut()
    elif verb == "heal":
        proxy.heal()
    elif verb == "refuse":
        proxy.is_refusing = True
    elif verb == "limit_data" and direction:
        proxy.limit_data(direction, int(command["more_bytes"]))
    elif verb == "half_close" and direction:
        proxy.half_close(direction)
    else:
        raise ValueError(
            f"verb is {verb!r}; the verbs are {', '.join(KNOBS)}, cut, heal, refuse, limit_data and half_close with a direction"
        )


async def serve(listen: str, upstream: str) -> None:
    """Until stdin ends."""
    (host, _, port), (upstream_host, _, upstream_port) = listen.rpartition(":"), upstream.rpartition(":")
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    async with FaultProxy(upstream_host, int(upstream_port), host=host, port=int(port)) as proxy:
        print("listening {}:{}".format(*proxy.address), flush=True)
        while line := await commands.readline():
            try:
                obey(proxy, json.loads(line))
                print("ok", flush=True)
            except (ValueError, KeyError, TypeError) as error:
                print(f"error: {error}", flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sims.proxy", description="A TCP hop with faults on demand.")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--upstream", required=True, metavar="HOST:PORT")
    options = parser.parse_args(arguments)
    asyncio.run(serve(options.listen, options.upstream))
    return 0


if __name__ == "__main__":
    sys.exit(main())
