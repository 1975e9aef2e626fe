"""Jobs: submit one or many, look at one, list them, wait for a result."""

from __future__ import annotations

from time import monotonic
from typing import Annotated, Any

import msgspec

from ...client.asyncio import AsyncJob
from ...client.deeds import filter_of, not_found
from ...client.options import id_bytes
from ...job import JobState, JobView
from ...job_json import job_json
from ...wire import messages as m
from ...wire.messages import Role
from ..answering import encode, etag
from ..asking import ask
from ..desk import Desk
from ..hot import BATCH_BODY_BYTES, Submits
from ..shapes import ERRORS_OF_SUBMIT, Cursor, JobShape, Limit, MadeJob, Moment, PageOf, decode_cursor, encode_cursor
from ..submitting import BatchAnswer, NewBatch, NewJob
from ..table import Answer, Call, NoQuery, Route

WAIT_S_MAX = 60.0
WAIT_PART_S = 5.0
"""A node is not told that a caller has gone: it is asked again and again for so long, and holds a place for nobody no longer than that."""


class JobsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    status: JobState | None = None
    type: str = ""
    queue: str = ""
    tag: str = ""
    created_after: Moment | None = None
    created_before: Moment | None = None
    limit: Limit = 50
    cursor: Cursor = ""


class WaitQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    wait: Annotated[float, msgspec.Meta(ge=0, le=WAIT_S_MAX, description="Seconds to wait for the end of the job.")] = (
        0.0
    )


class JobPage(PageOf):
    """`scanned`: so many live jobs were looked at; a page may be short while `cursor` is not null."""

    items: list[JobShape]
    scanned: int


class ResultShape(msgspec.Struct):
    """`error` where it failed, `result` where it completed; both null while it is not finished."""

    id: str
    status: JobState
    result: Any
    error: Any
    completed_at: str | None


async def submit(call: Call[NewJob, NoQuery]) -> Answer:
    status, body, location = await Submits(call.desk).submit(call.body, call.headers)
    return Answer(body, status, {"location": location})


async def submit_batch(call: Call[NewBatch, NoQuery]) -> Answer:
    status, body, _ = await Submits(call.desk).submit_batch(call.body, call.headers)
    return Answer(body, status)


async def get(call: Call[None, NoQuery]) -> Answer:
    job = await call.desk.voice(call.caller).get(call.path["id"])
    return job_answer(job)


def job_answer(job: AsyncJob, status: int = 200) -> Answer:
    """Encoded here, because the tag is of the bytes."""
    body = encode(job_json(view_of(job)))
    return Answer(body, status, {"etag": etag(body)})


def view_of(job: AsyncJob) -> JobView:
    assert job._view is not None
    return job._view


async def list_jobs(call: Call[None, JobsQuery]) -> Answer:
    query = call.query
    wanted = filter_of(
        status=query.status, type=query.type, queue=query.queue, tag=query.tag, created_after=query.created_after,
        created_before=query.created_before,
    )  # fmt: skip
    page = await ask(call.desk.voice(call.caller), m.Page, m.List(wanted, decode_cursor(query.cursor), query.limit))
    items = [job_json(view) for view in page.jobs]
    return Answer({"items": items, "cursor": encode_cursor(page.cursor), "scanned": page.scanned})


async def result(call: Call[None, WaitQuery]) -> Answer:
    """A long poll: it ends with the job, the time, the process, or when its caller goes."""
    job_id = id_bytes(call.path["id"])
    view = await look(call.desk, call, job_id)
    if not view.status.is_final and call.query.wait:
        latest: JobView | None = await call.desk.unless_stopped(_end_of(call, job_id))
        view = latest or view
    told = job_json(view)
    return Answer(
        {name: told[name] for name in ("id", "status", "result", "error", "completed_at")},
        200 if view.status.is_final else 202,
    )


async def look(desk: Desk, call: Call[Any, Any], job_id: bytes) -> JobView:
    """Raises: NotFound."""
    return view_of(await desk.voice(call.caller).get(job_id))


async def _end_of(call: Call[None, WaitQuery], job_id: bytes) -> JobView | None:
    """None: not within the time."""
    client = call.desk.voice(call.caller)
    deadline = monotonic() + call.query.wait
    while (left_s := deadline - monotonic()) > 0:
        part_s = min(left_s, WAIT_PART_S)
        views = (await ask(client, m.Jobs, m.Wait([job_id], round(part_s * 1000)), part_s + 10.0)).jobs
        if views:
            if views[0] is None:
                raise not_found(job_id)
            return views[0]
    return None


GROUP = "Jobs"
ROUTES = (
    Route(
        "POST", "/api/v1/jobs", Role.USER,
        "Submit one job. An Idempotency-Key header or an id of your own makes it safe to repeat: the answer is then 200 and the same job.",
        submit, NewJob, NoQuery, MadeJob, 201,
        {200: "It was there already.", 410: "It was there, and its record is gone.", **ERRORS_OF_SUBMIT}, GROUP,
    ),
    Route(
        "POST", "/api/v1/jobs/batch", Role.USER,
        "Submit up to 1,000 jobs in one durable write, all or none. With an Idempotency-Key, the whole batch is safe to repeat.",
        submit_batch, NewBatch, NoQuery, BatchAnswer, 201, {200: "All were there already.", **ERRORS_OF_SUBMIT}, GROUP, BATCH_BODY_BYTES,
    ),
    Route(
        "GET", "/api/v1/jobs", Role.WORKER, "Live jobs in the order in which they will run, then finished ones, newest first.",
        list_jobs, None, JobsQuery, JobPage, group=GROUP,
    ),
    Route(
        "GET", "/api/v1/jobs/{id}", Role.WORKER, "One job, live or from the records.", get, None, NoQuery, JobShape,
        statuses={304: "It is as If-None-Match has it.", 404: "No such job."}, group=GROUP,
    ),
    Route(
        "GET", "/api/v1/jobs/{id}/result", Role.WORKER, "The result, waiting for it up to `wait` seconds.", result, None, WaitQuery,
        ResultShape, statuses={202: "Not finished yet.", 404: "No such job."}, group=GROUP, waits=True,
    ),
)  # fmt: skip
