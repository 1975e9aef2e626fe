"""The HTTP server: uvicorn's protocol on httptools in the process's own loop, with the limits that uvicorn leaves to a proxy.

Each connection is in one phase at a time, and a sweep once a second ends those that are in it for too long:

    IDLE ──first byte──► HEADERS ──complete──► BODY ──complete──► ANSWERING ──sent──► IDLE
    KEEP_ALIVE_S          HEADER_S              BODY_IDLE_S, BODY_S   WRITE_IDLE_S while the peer reads nothing

One sweep instead of a timer per request: a request then costs no timer at all. Times are therefore late by up to a second.

Connections are counted, per address and in all. One too many is refused where the address has too many; where all places are taken, the
one that has waited longest without asking for anything gives way. Addresses of this machine, and proxies that are trusted, stand for
many callers and have no limit of their own.

`Listener` is one port. Its sockets are bound before anything is served, so a port in use is told at the start.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from enum import IntEnum
from time import monotonic, time
from typing import Any, Protocol, cast

from starlette.types import ASGIApp, Send
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from ..errors import ConfigError
from . import problems
from .caller import Problem

SWEEP_S = 1.0
STOP_S = 3.0
"""What requests under way may still take when the process stops; streams end at once."""
BACKLOG = 2048
SHORT_BYTES_MAX = 256 << 10
"""Of a body that is taken in before anybody has looked at who sends it."""


def is_own_machine(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return not address


@dataclass(frozen=True, slots=True)
class Limits:
    """`has_no_limit`: addresses that stand for many callers."""

    header_bytes: int = 16 << 10
    header_count: int = 100
    header_s: float = 10.0
    body_idle_s: float = 10.0
    body_s: float = 120.0
    write_idle_s: float = 30.0
    keep_alive_s: float = 75.0
    per_address: int = 100
    in_all: int = 2000
    has_no_limit: Callable[[str], bool] = is_own_machine


class ShortWay(Protocol):
    """Who answers some requests by POST without ASGI."""

    def takes(self, url: bytes, size: int) -> bool:
        """Whether `serve` is for this; `size`: of the body."""
        ...

    async def serve(self, url: bytes, raw: list[tuple[bytes, bytes]], peer: str, body: bytes, send: Send) -> None:
        """Answers by `send`, with ASGI's messages or one of type "whole"; raises nothing."""
        ...


class Phase(IntEnum):
    IDLE = 0
    HEADERS = 1
    BODY = 2
    ANSWERING = 3


class Tenants:
    """What all connections of a port share."""

    def __init__(self, config: Config, limits: Limits, short: ShortWay | None = None) -> None:
        self.config, self.limits, self.short = config, limits, short
        self.state = ServerState()
        self.by_address: Counter[str] = Counter()
        self.now = monotonic()
        """As of the last sweep, or the last connection: what looks at the clock for every request costs more than it is worth."""

    @property
    def connections(self) -> set[Connection]:
        return cast("set[Connection]", self.state.connections)

    def make(self) -> Connection:
        return Connection(self)

    def admits(self, address: str) -> bool:
        """Whether one more connection may come; makes room where it can."""
        limits = self.limits
        if self.by_address[address] >= limits.per_address and not limits.has_no_limit(address):
            return False
        return len(self.connections) < limits.in_all or self._evict()

    def _evict(self) -> bool:
        """End the connection that has waited longest without a whole request."""
        waiting = [one for one in self.connections if one.phase <= Phase.HEADERS and not one.transport.is_closing()]
        if not waiting:
            return False
        min(waiting, key=lambda one: one.since).transport.abort()
        return True

    def sweep(self) -> None:
        self.now = monotonic()
        date = formatdate(time(), usegmt=True).encode()
        self.state.default_headers = [(b"date", date)]
        for connection in list(self.connections):
            connection.look(self.now)


class Connection(HttpToolsProtocol):
    """One connection. What uvicorn's protocol does stays as it is; this keeps the phase and the limits."""

    def __init__(self, house: Tenants) -> None:
        super().__init__(config=house.config, server_state=house.state, app_state={})
        self.house = house
        self.phase = Phase.HEADERS
        self.since = house.now
        self._heard_at = 0.0
        self._stuck_since: float | None = None
        self._is_in_headers, self._header_bytes = False, 0
        self._address = ""
        self._is_counted = False

    # ── coming and going ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.since = self.house.now = monotonic()
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self.house.admits(self._address):
            transport.abort()
            self.transport = transport
            return
        self._is_counted = True
        self.house.by_address[self._address] += 1
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_counted:
            self.house.by_address[self._address] -= 1
            if not self.house.by_address[self._address]:
                del self.house.by_address[self._address]
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._is_counted:
            return
        if self.phase is Phase.IDLE:
            self.phase, self.since = Phase.HEADERS, self.house.now
        elif self.phase is Phase.BODY:
            self._heard_at = self.house.now
        was_in_headers = self._is_in_headers
        super().data_received(data)
        if was_in_headers and self._is_in_headers:
            self._count_headers(len(data))

    def _count_headers(self, size: int) -> None:
        """Of headers that are not complete, which the parser would take without an end."""
        self._header_bytes += size
        if self._header_bytes > self.house.limits.header_bytes:
            self._refuse(
                Problem(431, "Request Header Fields Too Large", f"the limit is {self.house.limits.header_bytes} bytes")
            )

    # ── what the parser says ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_headers, self._header_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._is_in_headers = False
        limits, headers = self.house.limits, self.headers
        size = len(self.url) + sum([len(name) + len(value) for name, value in headers])
        if len(headers) > limits.header_count or size > limits.header_bytes:
            self._refuse(
                Problem(
                    431,
                    "Request Header Fields Too Large",
                    f"{len(headers)} headers of {size} bytes, the limits are {limits.header_count} and {limits.header_bytes}",
                )
            )
            return
        self.phase = Phase.BODY
        self.since = self._heard_at = self.house.now
        short = self.house.short
        if short is None or self.parser.get_method() != b"POST" or not self._goes_short(short):
            super().on_headers_complete()

    def _goes_short(self, short: ShortWay) -> bool:
        """Whether the request is served by the connection itself; then it is the present cycle."""
        cycle = self._cycle_or_none()
        if self.expect_100_continue or (cycle is not None and not cycle.response_complete):
            return False
        size = -1
        for name, value in self.headers:
            if name == b"content-length":
                size = int(value)
            elif name == b"transfer-encoding":
                return False
        if not 0 <= size <= SHORT_BYTES_MAX or not short.takes(self.url, size):
            return False
        is_kept = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        self.cycle = cast(RequestResponseCycle, ShortCycle(self, short, is_kept=bool(is_kept)))
        return True

    def on_body(self, body: bytes) -> None:
        if self._cycle_or_none() is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._cycle_or_none() is None or self.transport.is_closing():
            return
        super().on_message_complete()
        cycle: object = self.cycle
        if isinstance(cycle, ShortCycle):
            cycle.begin()
        if self.phase is Phase.BODY:
            self.phase = Phase.IDLE if self.cycle.response_complete else Phase.ANSWERING
            self.since = self.house.now

    def on_response_complete(self) -> None:
        """As uvicorn's, but without a timer of its own: the sweep ends idle connections."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self.phase is Phase.ANSWERING:
            self.phase, self.since = Phase.HEADERS if self._is_in_headers else Phase.IDLE, self.house.now

    def pause_writing(self) -> None:
        self._stuck_since = self.house.now
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stuck_since = None
        super().resume_writing()

    # ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def look(self, now: float) -> None:
        """End the connection when it has been in its phase for too long."""
        limits = self.house.limits
        if self._stuck_since is not None and now - self._stuck_since > limits.write_idle_s:
            self.transport.abort()
        elif self.phase is Phase.IDLE and now - self.since > limits.keep_alive_s:
            self.transport.close()
        elif self.phase is Phase.HEADERS and now - self.since > limits.header_s:
            self._refuse(Problem(408, "Request Timeout", f"the headers did not come within {limits.header_s:g} s"))
        elif self.phase is Phase.BODY:
            self._look_at_body(now, limits)

    def _look_at_body(self, now: float, limits: Limits) -> None:
        if self.flow.read_paused:
            self._heard_at = now  # it is us who does not read
        if now - self._heard_at > limits.body_idle_s or now - self.since > limits.body_s:
            self._refuse(
                Problem(
                    408,
                    "Request Timeout",
                    f"of the body nothing came for {limits.body_idle_s:g} s, or not all in {limits.body_s:g} s",
                )
            )

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem(400, "Bad Request", "this is not HTTP/1.1 as RFC 9112 has it"))

    def _cycle_or_none(self) -> RequestResponseCycle | None:
        """uvicorn's types leave out that there is none before the first request."""
        return cast("RequestResponseCycle | None", self.cycle)

    def _refuse(self, problem: Problem) -> None:
        """Answer where nothing was answered yet, and close."""
        if self.transport.is_closing():
            return
        cycle = self._cycle_or_none()
        if cycle is None or not cycle.response_started or cycle.response_complete:
            told = problems.tell(problem)
            head = [f"HTTP/1.1 {told.status} {problem.title}"]
            head += [f"{name}: {text}" for name, text in told.headers.items()]
            head += [
                f"content-length: {len(told.body)}",
                "x-content-type-options: nosniff",
                "connection: close",
                "",
                "",
            ]
            self.transport.write("\r\n".join(head).encode("latin-1") + told.body)
        self.transport.close()


class _NoEvent:
    """Nobody waits for the body of a short request."""

    def set(self) -> None:
        pass


class ShortCycle:
    """One request that is served without ASGI: what of uvicorn's cycle its protocol looks at, and nothing more."""

    __slots__ = (
        "body", "connection", "disconnected", "keep_alive", "message_event", "more_body", "response_complete", "response_started", "short",
        "started", "url",
    )  # fmt: skip

    def __init__(self, connection: Connection, short: ShortWay, *, is_kept: bool) -> None:
        self.connection, self.short, self.url = connection, short, connection.url
        self.keep_alive = is_kept
        self.body = bytearray()
        self.more_body = True
        self.response_started = self.response_complete = self.disconnected = False
        self.message_event = _NO_EVENT

    def begin(self) -> None:
        """Once the body is there."""
        connection = self.connection
        work = self.short.serve(self.url, connection.headers, connection._address, bytes(self.body), self.send)
        task = connection.loop.create_task(work)
        connection.tasks.add(task)
        task.add_done_callback(connection.tasks.discard)

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.started = message
        elif message["type"] == "whole":
            self._write(message["status"], message["headers"], message["body"])
        else:
            self._write(self.started["status"], self.started["headers"], message["body"])

    def _write(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        if self.disconnected:
            return
        self.response_started = True
        connection = self.connection
        if (b"connection", b"close") in headers:
            self.keep_alive = False
        parts = [STATUS_LINE[status]]
        parts += [b"%b: %b\r\n" % pair for pair in connection.server_state.default_headers]
        parts += [b"%b: %b\r\n" % pair for pair in headers]
        parts.append(
            b"\r\n" if self.keep_alive or (b"connection", b"close") in headers else b"connection: close\r\n\r\n"
        )
        parts.append(body)
        connection.transport.write(b"".join(parts))
        self.response_complete = True
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()


_NO_EVENT = _NoEvent()


class Listener:
    """One port that serves one application.

    First the constructor (which binds), then `start`, in the end `stop`. `port`: as bound; `context`: for TLS.
    """

    def __init__(
        self, host: str, port: int, setting: str, limits: Limits | None = None, sweep_s: float = SWEEP_S
    ) -> None:
        """Raises: ConfigError naming the setting when the address cannot be had."""
        self.sockets = bind(host, port, setting)
        self.port = int(self.sockets[0].getsockname()[1])
        self.host = host
        self._limits, self._sweep_s = limits or Limits(), sweep_s
        self._servers: list[asyncio.Server] = []
        self._sweeping: asyncio.Task[None] | None = None
        self.house: Tenants | None = None

    async def start(self, app: ASGIApp, context: ssl.SSLContext | None = None, short: ShortWay | None = None) -> None:
        config = Config(
            app=cast(Any, app), log_config=None, access_log=False, lifespan="off", ws="none", http=HttpToolsProtocol, proxy_headers=False,
            server_header=False,
        )  # fmt: skip
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of every bad request
        config.load()
        self.house = Tenants(config, self._limits, short)
        self.house.sweep()
        loop = asyncio.get_running_loop()
        handshake_s = None if context is None else self._limits.header_s
        for one in self.sockets:
            server = await loop.create_server(
                self.house.make, sock=one, ssl=context, backlog=BACKLOG, ssl_handshake_timeout=handshake_s
            )
            self._servers.append(server)
        self._sweeping = asyncio.ensure_future(self._sweep())

    async def _sweep(self) -> None:
        assert self.house is not None
        while True:
            await asyncio.sleep(self._sweep_s)
            self.house.sweep()

    async def stop(self) -> None:
        """Take no more connections, let requests under way end, then cut whatever is left."""
        for server in self._servers:
            server.close()
        for one in self.sockets:
            one.close()
        if self.house is None or self._sweeping is None:
            return
        self._sweeping.cancel()
        for connection in list(self.house.connections):
            connection.shutdown()
        tasks = set(self.house.state.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_S)
        for task in tasks:
            task.cancel()
        for connection in list(self.house.connections):
            connection.transport.abort()


def bind(host: str, port: int, setting: str) -> list[socket.socket]:
    """A listening socket for each address of the host name. Raises: ConfigError."""
    name = host.strip("[]") if host != "*" else ""
    try:
        places = socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as fault:
        raise ConfigError(f"{setting}: {host} is no address of this machine: {fault.strerror}") from None
    sockets: list[socket.socket] = []
    for family, kind, number, _, address in dict.fromkeys(places):
        one = socket.socket(family, kind, number)
        sockets.append(one)
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            one.bind(address)
            one.listen(BACKLOG)
        except OSError as fault:
            for other in sockets:
                other.close()
            raise ConfigError(_why_not_bound(host, port, setting, fault)) from None
    return sockets


def _why_not_bound(host: str, port: int, setting: str, fault: OSError) -> str:
    if fault.errno == errno.EADDRINUSE:
        return (
            f"{setting}={port}: the port is in use on {host}; set {setting} to another one, or stop what listens there"
        )
    if fault.errno == errno.EACCES:
        return f"{setting}={port}: ports below 1024 need privileges; set {setting} to a higher one"
    return f"{setting}={port}: cannot listen on {host}: {os.strerror(fault.errno or 0)}"
