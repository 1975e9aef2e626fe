"""What goes out: an Answer or a problem as an HTTP response, with the headers that every response has, counted.

Jobs carry an ETag (If-None-Match: 304), larger answers to GET are compressed for those who accept gzip, HEAD sends no body. A stream is
sent part by part and ends when the caller goes or its source does.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import itertools
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import aclosing
from time import monotonic

import msgspec
from starlette.types import Receive, Scope, Send

from . import problems
from .desk import Desk
from .exposition import HttpCounts
from .headers import secure
from .patience import Patience
from .proxies import is_tls_ended_before
from .reading import Gone, is_left_unread
from .table import Answer

JOBS = "/api/v1/jobs"
GZIP_LEAST_BYTES = 1024
GZIP_LEVEL = 1
GZIP_APART_BYTES = 64 << 10
"""From here on it is done in a thread."""
READ_OVER_S = 10.0
READ_OVER_BYTES_MAX = 64 << 20
"""Of a body that was refused before it was read."""
PAGE_TYPES = frozenset(
    {"text/html; charset=utf-8", "text/css; charset=utf-8", "text/javascript; charset=utf-8", "image/svg+xml"}
)
"""What a browser makes a page of, and may keep."""
GZIP_TYPES = frozenset({"application/json", *PAGE_TYPES})

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
RawHeaders = list[tuple[bytes, bytes]]
encode = msgspec.json.Encoder().encode


class Answering:
    """One for all requests of a process."""

    def __init__(self, desk: Desk, counts: HttpCounts | None = None) -> None:
        self._desk, self._counts = desk, counts
        self._is_tls = desk.settings.tls_enabled
        self._patience = Patience()
        self._ids = map("{:x}".format, itertools.count(1))
        self._id_prefix = secrets.token_hex(6) + "-"
        self.fixed = self._fixed_headers()

    def _fixed_headers(self) -> RawHeaders:
        """Of every JSON answer, encoded once."""
        headers: dict[str, str] = {}
        secure(headers, is_tls=self._is_tls, is_page=False)
        return raw(headers)

    def request_id(self, given: str | None) -> str:
        """The caller's own where it has the form of one."""
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return self._id_prefix + next(self._ids)

    def count(self, method: str, path: str, status: int, started_at: float) -> None:
        if method == "POST" and status < 300 and path.startswith(JOBS):
            self._patience.worked()
        if self._counts is not None:
            self._counts.took(method, path, status, monotonic() - started_at)

    async def refuse(
        self, scope: Scope, send: Send, fault: Exception, headers: Mapping[str, str], *, path: str, started_at: float,
        unread: Receive | None = None,
    ) -> None:  # fmt: skip
        """Answer with a problem document. `unread`: where a body comes from that was not read to its end."""
        told = problems.tell(fault)
        own = dict(told.headers)
        if (after_s := self._patience.after_s(told.code)) is not None:
            own["retry-after"] = str(after_s)
        if told.status == 401:
            for name, text in self._desk.door.challenge().items():
                own.setdefault(name.lower(), text)
        if unread is not None and is_left_unread(headers):
            own["connection"] = "close"
        if "connection" not in own:
            unread = None
        await self._write(scope, send, told.status, own, told.body, headers, is_page=False, unread=unread)
        self.count(scope["method"], path, told.status, started_at)

    async def send(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        answer: Answer,
        headers: Mapping[str, str],
        *,
        path: str,
        started_at: float,
    ) -> None:
        own = {name.lower(): text for name, text in answer.headers.items()}
        is_head = scope["method"] == "HEAD"
        if answer.stream is not None:
            own["content-type"] = answer.media_type
            await self._stream(
                scope, receive, send, answer.status, own, _nothing() if is_head else answer.stream, headers
            )
            self.count(scope["method"], path, answer.status, started_at)
            return
        status, body = answer.status, _body(answer)
        if body or answer.status not in (204, 304):
            own.setdefault("content-type", answer.media_type)
        if "etag" in own and own["etag"] in _tags(headers.get("if-none-match", "")):
            status, body = 304, b""
        if scope["method"] in ("GET", "HEAD") and status == 200:
            body = await _pressed(body, own, headers)
        is_page = own.get("content-type", "") in PAGE_TYPES
        await self._write(scope, send, status, own, body, headers, is_page=is_page)
        self.count(scope["method"], path, status, started_at)

    def _head(self, own: dict[str, str], asked: Mapping[str, str], *, is_page: bool) -> RawHeaders:
        own["x-request-id"] = self.request_id(asked.get("x-request-id"))
        secure(own, is_tls=self._is_tls or is_tls_ended_before(asked), is_page=is_page)
        return raw(own)

    async def _write(
        self,
        scope: Scope,
        send: Send,
        status: int,
        own: dict[str, str],
        body: bytes,
        asked: Mapping[str, str],
        *,
        is_page: bool,
        unread: Receive | None = None,
    ) -> None:
        if status not in (204, 304):
            own["content-length"] = str(len(body))
        await send(
            {"type": "http.response.start", "status": status, "headers": self._head(own, asked, is_page=is_page)}
        )
        body = b"" if scope["method"] == "HEAD" else body
        if unread is not None and "expect" not in asked:
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await _read_over(unread)
            body = b""
        await send({"type": "http.response.body", "body": body})

    async def _stream(
        self, scope: Scope, receive: Receive, send: Send, status: int, own: dict[str, str], parts: AsyncIterator[bytes],
        asked: Mapping[str, str],
    ) -> None:  # fmt: skip
        """Ends when `parts` does, or the caller goes."""
        await send({"type": "http.response.start", "status": status, "headers": self._head(own, asked, is_page=False)})
        sending = asyncio.ensure_future(_send_parts(send, parts))
        leaving = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not sending.done():
                sending.cancel()
        if sending.done() and not sending.cancelled():
            sending.result()


async def _send_parts(send: Send, parts: AsyncIterator[bytes]) -> None:
    async with aclosing(parts) as source:  # type: ignore[type-var]
        async for part in source:
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _read_over(receive: Receive) -> None:
    """The rest of a body, within bounds: a caller that is still sending when the connection ends sees a broken pipe or a reset, and never
    the answer. Who asked whether it may send (Expect) has not begun, and will not."""
    size = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READ_OVER_S):
            while size <= READ_OVER_BYTES_MAX:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


async def unless_gone(work: Awaitable[Answer], receive: Receive) -> Answer:
    """What `work` gives. When the caller goes first it is cancelled. Raises: Gone, and what `work` raises."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Gone
        return working.result()
    finally:
        leaving.cancel()
        working.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _nothing() -> AsyncIterator[bytes]:
    no_parts: tuple[bytes, ...] = ()
    for part in no_parts:
        yield part


def raw(headers: Mapping[str, str]) -> RawHeaders:
    """What could end a header line early is taken out: parts of a request may be quoted in one."""
    return [
        (name.encode("latin-1"), text.encode("latin-1", "replace").translate(None, b"\r\n\0"))
        for name, text in headers.items()
    ]


def etag(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def _tags(text: str) -> set[str]:
    """Of If-None-Match, which compares weakly."""
    return {tag.strip().removeprefix("W/") for tag in text.split(",")}


def _body(answer: Answer) -> bytes:
    if answer.body is None:
        return b""
    return answer.body if isinstance(answer.body, bytes) else encode(answer.body)


async def _pressed(body: bytes, own: dict[str, str], asked: Mapping[str, str]) -> bytes:
    if len(body) < GZIP_LEAST_BYTES or own.get("content-type") not in GZIP_TYPES or "content-encoding" in own:
        return body
    own["vary"] = "accept-encoding"
    if "gzip" not in asked.get("accept-encoding", ""):
        return body
    own["content-encoding"] = "gzip"
    if "etag" in own:
        own["etag"] = "W/" + own["etag"]
    if len(body) < GZIP_APART_BYTES:
        return gzip.compress(body, GZIP_LEVEL, mtime=0)
    return await asyncio.to_thread(gzip.compress, body, GZIP_LEVEL, mtime=0)
