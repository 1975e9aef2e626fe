"""The two routes that carry the load, POST /api/v1/jobs and /api/v1/jobs/batch, on a short way past the routing.

What they check is what their rows say (routes/jobs.py), in the same order; what differs is only how: one decoder made before, headers
looked at by name instead of turned into a map twice, the answer's headers encoded once. Submits of all callers go through one client,
which gathers those that come in one turn of the loop into one request to the node.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from ..client.deeds import read_receipt, read_receipts
from ..job import format_id
from ..wire.messages import Role, Submit, SubmitKind, SubmitReply
from .answering import Answering, encode
from .asking import ask, make_ids
from .desk import Desk
from .proxies import Proxies
from .reading import Gone, check_media_type, decode_json, decode_query, headers_of, is_left_unread, read_body
from .submitting import BatchAnswer, BatchItem, NewBatch, NewJob, check_key, found_json, made_json, spec_of, specs_of
from .table import Caller, NoQuery, Problem

BATCH_BODY_BYTES = 16 << 20
SUBMIT_S = 10.0
JOBS, BATCH = "/api/v1/jobs", "/api/v1/jobs/batch"
Work = Callable[[bytes, Mapping[str, str]], Awaitable[tuple[int, Any, str]]]


class HotPath:
    """`paths`: what takes a POST there."""

    def __init__(self, desk: Desk, answering: Answering, proxies: Proxies) -> None:
        self._desk, self._answering, self._proxies = desk, answering, proxies
        self._submits = Submits(desk)
        self.paths: dict[str, Callable[[Scope, Receive, Send], Awaitable[None]]] = {JOBS: self._one, BATCH: self._batch}
        self._head = [*answering.fixed, (b"content-type", b"application/json")]

    async def _one(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send, JOBS, self._submits.one, self._desk.settings.max_body_bytes)

    async def _batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        bytes_max = max(BATCH_BODY_BYTES, self._desk.settings.max_body_bytes)
        await self._serve(scope, receive, send, BATCH, self._submits.batch, bytes_max)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, path: str, work: Work, bytes_max: int) -> None:
        started_at = monotonic()
        headers = headers_of(scope)
        is_read = False
        try:
            caller = await self._desk.door.caller(headers, "POST", self._proxies.address(scope, headers))
            check_submitter(caller)
            if scope["query_string"]:
                decode_query(scope["query_string"], NoQuery)
            body = await read_body(receive, headers, bytes_max)
            is_read = True
            check_media_type(headers)
            status, told, location = await work(body, headers)
        except Gone:
            return
        except Exception as fault:
            is_unread = not is_read and is_left_unread(headers)
            await self._answering.refuse(
                scope, send, fault, headers, path=path, started_at=started_at, is_unread=is_unread
            )
            return
        answer = encode(told)
        head = [
            *self._head,
            (b"x-request-id", self._answering.request_id(headers.get("x-request-id")).encode()),
            (b"content-length", b"%d" % len(answer)),
        ]
        if location:
            head.append((b"location", location.encode()))
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": answer})
        self._answering.count("POST", path, status, started_at)


def check_submitter(caller: Caller) -> None:
    """Raises: Problem 403. Here and nowhere else: submits travel as the gateway itself."""
    if caller.role < Role.USER:
        raise Problem(
            403, "Forbidden", f"this needs the role user, {caller.name or 'you'} has {caller.role.name.lower()}"
        )


class Submits:
    """What is done with a body that was read. Answers (status, what to tell, where the job is)."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._one: msgspec.json.Decoder[NewJob] = msgspec.json.Decoder(NewJob)
        self._batch: msgspec.json.Decoder[NewBatch] = msgspec.json.Decoder(NewBatch)

    async def one(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, Any, str]:
        return await self.submit(decode_json(body, self._one), headers)

    async def submit(self, job: NewJob, headers: Mapping[str, str]) -> tuple[int, Any, str]:
        client = self._desk.client
        spec = spec_of(job, make_ids(client, 1)[0], check_key(headers))
        job_id, kind, level = read_receipt(spec, await client._door.gather(spec, SUBMIT_S))
        if kind is SubmitKind.CREATED:
            return 201, made_json(job, spec, level.value), f"{JOBS}/{format_id(job_id)}"
        return 200, found_json(await client.get(job_id), level.value), f"{JOBS}/{format_id(job_id)}"

    async def batch(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, Any, str]:
        return await self.submit_batch(decode_json(body, self._batch), headers)

    async def submit_batch(self, batch: NewBatch, headers: Mapping[str, str]) -> tuple[int, Any, str]:
        client = self._desk.client
        specs = specs_of(batch.jobs, make_ids(client, len(batch.jobs)), check_key(headers))
        reply = await ask(client, SubmitReply, Submit(specs), SUBMIT_S)
        items = [
            BatchItem(format_id(job_id), kind is not SubmitKind.CREATED) for job_id, kind in read_receipts(specs, reply)
        ]
        status = 200 if all(item.existed for item in items) else 201
        return status, BatchAnswer(items, reply.level.value), ""
