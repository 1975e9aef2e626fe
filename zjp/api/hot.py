"""The two routes that carry the load, POST /api/v1/jobs and /api/v1/jobs/batch, on a short way past the routing.

What they check is what their rows say (routes/jobs.py), in the same order; what differs is only how: one decoder made before, the answer's
headers encoded once, the usual job's answer written without a map in between. Submits of all callers go through one client, which gathers
those that come in one turn of the loop into one request to the node.

There are two ways in. A request whose body is small and of known length is served by the connection itself (http.py), without ASGI: half
of what a request costs is the making of scopes, events and tasks that a body of 200 bytes has no use for. Everything else (large bodies,
chunks, Expect) comes as an ASGI request, where the caller is looked at before the body is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from ..client.deeds import read_receipt, read_receipts, read_view
from ..errors import NotFound, OutcomeUnknown, Unavailable
from ..job import format_id
from ..wire.messages import Get, Role, Submit, SubmitKind, SubmitReply
from .answering import Answering, RawHeaders, encode
from .asking import ask, make_ids
from .desk import Desk
from .doubles import check_doubles
from .headers import STRICT, STRICT_VALUE
from .proxies import Proxies, is_tls_ended_before
from .reading import Gone, check_media_type, decode_json, decode_query, headers_of, read_body
from .submitting import (
    BatchAnswer,
    BatchItem,
    NewBatch,
    NewJob,
    check_key,
    found_json,
    made_body,
    record_gone,
    record_unread,
    spec_of,
    specs_of,
    traced,
)
from .table import Caller, NoQuery, Problem

BATCH_BODY_BYTES = 16 << 20
SUBMIT_S = 5.0
"""Then a caller is told to come again; the client repeats for so long by itself."""
LOOK_S = 2.7
"""For a job that was there already: a little longer than a node looks for MongoDB, and less than a client of ours gives one of several
addresses (http_trip.py)."""
JOBS, BATCH = "/api/v1/jobs", "/api/v1/jobs/batch"
Work = Callable[[bytes, Mapping[str, str]], Awaitable[tuple[int, bytes, str]]]


class HotPath:
    """`paths`: what takes a POST there, as ASGI; `urls`: what the connection itself may hand over."""

    def __init__(self, desk: Desk, answering: Answering, proxies: Proxies) -> None:
        self._desk, self._answering, self._proxies = desk, answering, proxies
        submits = Submits(desk)
        body_bytes = desk.settings.max_body_bytes
        self._work: dict[str, tuple[Work, int]] = {
            JOBS: (submits.one, body_bytes),
            BATCH: (submits.batch, max(BATCH_BODY_BYTES, body_bytes)),
        }
        self.paths = frozenset(self._work)
        self.urls = {path.encode(): path for path in self._work}
        self._head = [*answering.fixed, (b"content-type", b"application/json")]

    # ── from the connection ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def takes(self, url: bytes, size: int) -> bool:
        """Whether `serve` is for this; `size`: of the body."""
        path = self.urls.get(url)
        return path is not None and size <= self._work[path][1]

    async def serve(self, url: bytes, raw: RawHeaders, peer: str, body: bytes, send: Send) -> None:
        path = self.urls[url]
        scope = {"method": "POST", "client": (peer, 0), "headers": raw}
        started_at = monotonic()
        headers = headers_of(scope)
        self._proxies.settle(scope, headers)
        try:
            await self._admit(scope, headers)
            status, head, answer = await self._answer(path, headers, body)
        except Exception as fault:
            await self._answering.refuse(scope, send, fault, headers, path=path, started_at=started_at)
            return
        await send({"type": "whole", "status": status, "headers": head, "body": answer})
        self._answering.count("POST", path, status, started_at)

    # ── by ASGI ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        started_at = monotonic()
        headers = headers_of(scope)
        self._proxies.settle(scope, headers)
        is_read = False
        try:
            await self._admit(scope, headers)
            decode_query(scope["query_string"], NoQuery)
            body = await read_body(receive, headers, self._work[path][1])
            is_read = True
            status, head, answer = await self._answer(path, headers, body)
        except Gone:
            return
        except Exception as fault:
            unread = None if is_read else receive
            await self._answering.refuse(scope, send, fault, headers, path=path, started_at=started_at, unread=unread)
            return
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": answer})
        self._answering.count("POST", path, status, started_at)

    # ── both ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _admit(self, scope: Scope, headers: Mapping[str, str]) -> None:
        check_submitter(await self._desk.door.caller(headers, "POST", self._proxies.address(scope, headers)))

    async def _answer(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, RawHeaders, bytes]:
        check_media_type(headers)
        status, answer, location = await self._work[path][0](body, headers)
        head = [
            *self._head,
            (b"x-request-id", self._answering.request_id(headers.get("x-request-id")).encode()),
            (b"content-length", b"%d" % len(answer)),
        ]
        if location:
            head.append((b"location", location.encode()))
        if not self._desk.settings.tls_enabled and is_tls_ended_before(headers):
            head.append((STRICT.encode(), STRICT_VALUE.encode()))
        return status, head, answer


def check_submitter(caller: Caller) -> None:
    """Raises: Problem 403. Here and nowhere else: submits travel as the gateway itself."""
    if caller.role < Role.USER:
        raise Problem(
            403, "Forbidden", f"this needs the role user, {caller.name or 'you'} has {caller.role.name.lower()}"
        )


class Submits:
    """What is done with a body that was read. Answers (status, the body of the answer, where the job is)."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._one: msgspec.json.Decoder[NewJob] = msgspec.json.Decoder(NewJob)
        self._batch: msgspec.json.Decoder[NewBatch] = msgspec.json.Decoder(NewBatch)

    async def one(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes, str]:
        job = decode_json(body, self._one)
        check_doubles(body)
        return await self.submit(job, headers)

    async def submit(self, job: NewJob, headers: Mapping[str, str]) -> tuple[int, bytes, str]:
        client = self._desk.client
        key = check_key(headers) if "idempotency-key" in headers else ""
        spec = spec_of(job, make_ids(client, 1)[0], key)
        if "traceparent" in headers:
            spec = traced(spec, headers)
        job_id, kind, level = read_receipt(spec, await client._door.gather(spec, SUBMIT_S))
        shown = format_id(job_id)
        if kind is SubmitKind.CREATED:
            return 201, made_body(job, spec, shown, level.value), f"{JOBS}/{shown}"
        try:
            found = read_view(job_id, await client._door.ask(Get([job_id]), LOOK_S))
        except (Unavailable, OutcomeUnknown) as fault:
            raise record_unread(shown, level.value, fault) from None
        except NotFound:  # for whoever repeats in doubt "not found" would be: not stored, send it under another key
            raise record_gone(shown, level.value) from None
        return 200, encode(found_json(found, level.value)), f"{JOBS}/{shown}"

    async def batch(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes, str]:
        """Names that stand twice are not looked for: it would cost each job of a batch a good part of what it costs altogether."""
        return await self.submit_batch(decode_json(body, self._batch), headers)

    async def submit_batch(self, batch: NewBatch, headers: Mapping[str, str]) -> tuple[int, bytes, str]:
        client = self._desk.client
        specs = specs_of(batch.jobs, make_ids(client, len(batch.jobs)), check_key(headers))
        if "traceparent" in headers:
            specs = [traced(spec, headers) for spec in specs]
        reply: Any = await ask(client, SubmitReply, Submit(specs), SUBMIT_S)
        items = [
            BatchItem(format_id(job_id), kind is not SubmitKind.CREATED) for job_id, kind in read_receipts(specs, reply)
        ]
        status = 200 if len(reply.others) == len(items) and all(item.existed for item in items) else 201
        return status, encode(BatchAnswer(items, reply.level.value)), ""
