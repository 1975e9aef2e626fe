"""The asyncio client's door to the HTTP API: HTTP/1.1 over streams, with connections that are kept.

What is understood of HTTP is what an API answers with: a status line, headers, and a body by Content-Length, in chunks, or up to the end of
the connection. Calls that are cancelled close their connection. At most BUSY_MAX calls are under way at once, long polls not counted: they
are silent, and would keep everybody else from asking.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from typing import NamedTuple

from ..errors import ConfigError, WireError
from ..job import JobSpec
from ..wire import messages as m
from .calls import Outcome, Voice
from .exchange import new_session_number
from .gathering import IdMaker
from .http_blocking import KEPT_MAX, KEPT_S, head_of, is_lasting, tls_context, told
from .http_entry import Entry
from .http_trip import BODY_BYTES_MAX, CONNECT_S, HttpAnswer, HttpCall, Pause, Place, Places, Trip
from .http_wire import talk

BUSY_MAX = 64
HEAD_BYTES_MAX = 64 << 10
"""One line of a head, and the read buffer's limit."""
HEADERS_MAX = 100
FAULTS = (OSError, EOFError)
"""asyncio.IncompleteReadError is an EOFError."""


class Broken(OSError):
    """What came is no HTTP."""


class _Line(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    since: float


class AsyncHttpDoor:
    """`addresses` in fail-over order. Used from one loop only."""

    def __init__(self, addresses: Sequence[str], entry: Entry, ca_file: str | None = None) -> None:
        self._places, self._entry = Places(addresses), entry
        self._tls = tls_context(self._places, ca_file)
        self._new_ids = IdMaker(new_session_number())
        self._kept: defaultdict[Place, list[_Line]] = defaultdict(list)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._busy = asyncio.Semaphore(BUSY_MAX)
        self._login_lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._is_closed = False

    def close(self) -> None:
        """Whoever still waits gets RuntimeError."""
        self._is_closed = True
        if self._loop is None or self._loop.is_closed():
            return
        for task in self._tasks:
            task.cancel()
        for place in self._places.all:
            self._close_kept(place)

    def speaking_for(self, voice: Voice) -> AsyncHttpDoor:
        """Raises: ConfigError."""
        raise ConfigError(
            "over HTTP a client speaks for whoever its token is of; only a node's gate may speak for others"
        )

    def make_ids(self, count: int) -> list[bytes]:
        return self._new_ids(time.time_ns() // 1_000_000, count)

    def gather(self, spec: JobSpec, within_s: float) -> Awaitable[Outcome]:
        return self.ask(m.Submit([spec]), within_s)

    async def ask(self, request: m.Request, within_s: float) -> Outcome:
        """The reply. Raises: ZjpError."""
        self._adopt(asyncio.get_running_loop())
        task = asyncio.ensure_future(self._talk(request, time.monotonic() + within_s))
        self._tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if self._is_closed and task.cancelled():
                raise _closed() from None
            task.cancel()
            raise
        finally:
            self._tasks.discard(task)

    def _adopt(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._is_closed:
            raise _closed()
        if self._loop not in (None, loop):
            raise RuntimeError("this AsyncClient belongs to another event loop; make one per loop")
        self._loop = loop

    async def _talk(self, request: m.Request, deadline: float) -> Outcome:
        talking = talk(request)
        try:
            call = next(talking)
            while True:
                call = talking.send(await self._signed(call, deadline))
        except StopIteration as end:
            reply: m.Reply = end.value
            return reply

    # ── one call ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _signed(self, call: HttpCall, deadline: float) -> HttpAnswer:
        signed = await self._sign(call, deadline)
        answer = await self._carry(signed, deadline)
        if self._entry.is_refused(signed, answer):
            answer = await self._carry(await self._sign(call, deadline), deadline)
        return answer

    async def _sign(self, call: HttpCall, deadline: float) -> HttpCall:
        if self._entry.needs_login(time.monotonic()):
            async with self._login_lock:
                if self._entry.needs_login(time.monotonic()):
                    self._entry.take(await self._carry(self._entry.login_call(), deadline), time.monotonic())
        return self._entry.sign(call)

    async def _carry(self, call: HttpCall, deadline: float) -> HttpAnswer:
        trip = Trip(call, self._places, now=time.monotonic(), deadline=deadline, uniform=random.random())
        while True:
            step = trip.next(time.monotonic())
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                continue
            attempt = _Attempt(call, step.place)
            try:
                async with AsyncExitStack() as held:
                    await held.enter_async_context(asyncio.timeout(step.limit_s))
                    if not call.patience_s:
                        await held.enter_async_context(self._busy)
                    answer = await self._attempt(attempt)
            except FAULTS as fault:
                trip.broke(
                    step.place, told(fault), time.monotonic(), was_sent=attempt.was_sent, is_lasting=is_lasting(fault)
                )
                continue
            settled = trip.answered(step.place, answer, time.monotonic())
            if settled is not None:
                return settled

    async def _attempt(self, attempt: _Attempt) -> HttpAnswer:
        """Over a connection that was kept, or, when there is none or it was closed meanwhile, over a new one. Raises: FAULTS."""
        kept = self._take(attempt.place) if attempt.call.is_repeatable else None
        if kept is not None:
            try:
                return await self._exchange(kept, attempt)
            except TimeoutError:
                raise
            except FAULTS:
                self._close_kept(attempt.place)
        async with asyncio.timeout(CONNECT_S):
            place = attempt.place
            tls = self._tls if place.is_tls else None
            streams = await asyncio.open_connection(place.host, place.port, ssl=tls, limit=HEAD_BYTES_MAX)
        return await self._exchange(_Line(*streams, time.monotonic()), attempt)

    async def _exchange(self, line: _Line, attempt: _Attempt) -> HttpAnswer:
        """Closes the connection unless the answer was read to its end."""
        is_kept = False
        try:
            attempt.was_sent = True
            line.writer.write(attempt.message())
            await line.writer.drain()
            answer, is_kept = await read_answer(line.reader, attempt.call.method)
            return answer
        finally:
            if is_kept and not self._is_closed and len(self._kept[attempt.place]) < KEPT_MAX:
                self._kept[attempt.place].append(line._replace(since=time.monotonic()))
            else:
                _drop(line)

    # ── connections that are kept ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, place: Place) -> _Line | None:
        kept = self._kept[place]
        while kept:
            line = kept.pop()
            if time.monotonic() - line.since < KEPT_S and not line.reader.at_eof():
                return line
            _drop(line)
        return None

    def _close_kept(self, place: Place) -> None:
        kept, self._kept[place] = self._kept[place], []
        for line in kept:
            _drop(line)


class _Attempt:
    """One sending. `was_sent`: bytes of it may have left."""

    def __init__(self, call: HttpCall, place: Place) -> None:
        self.call, self.place = call, place
        self.was_sent = False

    def message(self) -> bytes:
        call, place = self.call, self.place
        host = f"[{place.host}]" if ":" in place.host else place.host
        head = {"Host": f"{host}:{place.port}", **head_of(call)}
        if call.body or call.is_deed:
            head["Content-Length"] = str(len(call.body))
        lines = [f"{call.method} {call.target(place)} HTTP/1.1", *(f"{name}: {text}" for name, text in head.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + call.body


def _drop(line: _Line) -> None:
    """At once: closing politely would wait for the other side's farewell, which with TLS may outlive the loop."""
    line.writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader, method: str = "GET") -> tuple[HttpAnswer, bool]:
    """The answer, and whether the connection can be used again. Raises: FAULTS, WireError."""
    try:
        status, version = await _status_of(reader)
        headers = await _headers_of(reader)
        while 100 <= status < 200:
            status, version = await _status_of(reader)
            headers = await _headers_of(reader)
        is_kept = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        if status in (204, 304) or method == "HEAD":
            return HttpAnswer(status, headers, b""), is_kept
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return HttpAnswer(status, headers, await _chunks_of(reader)), is_kept
        if "content-length" in headers:
            size_bytes = _fitting(int(headers["content-length"]))
            return HttpAnswer(status, headers, await reader.readexactly(size_bytes)), is_kept
        body = await reader.read(BODY_BYTES_MAX + 1)
        while (part := await reader.read(BODY_BYTES_MAX + 1)) and _fitting(len(body) + len(part)):
            body += part
        return HttpAnswer(status, headers, body), False
    except (ValueError, asyncio.LimitOverrunError) as fault:
        raise Broken(f"it answers what is no HTTP: {fault}") from None


async def _status_of(reader: asyncio.StreamReader) -> tuple[int, str]:
    """(status, version)"""
    version, _, rest = (await _line_of(reader)).partition(" ")
    if not version.startswith("HTTP/1."):
        raise Broken("it answers what is no HTTP/1")
    return int(rest[:3]), version


async def _headers_of(reader: asyncio.StreamReader) -> dict[str, str]:
    headers: dict[str, str] = {}
    while text := await _line_of(reader):
        name, colon, value = text.partition(":")
        if not colon or len(headers) >= HEADERS_MAX:
            raise Broken("it answers broken or too many headers")
        headers[name.lower()] = value.strip()
    return headers


async def _chunks_of(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size_bytes := int((await _line_of(reader)).partition(";")[0], 16):
        _fitting(len(body) + size_bytes)
        body += await reader.readexactly(size_bytes)
        await reader.readexactly(2)
    await _headers_of(reader)
    return bytes(body)


async def _line_of(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n"))[:-2].decode("latin-1")


def _fitting(size_bytes: int) -> int:
    """Raises: WireError."""
    if not 0 <= size_bytes <= BODY_BYTES_MAX:
        raise WireError(f"the answer has {size_bytes} bytes, the limit is {BODY_BYTES_MAX}; ask for fewer jobs at once")
    return size_bytes


def _closed() -> RuntimeError:
    return RuntimeError("this AsyncClient is closed; make another one")
