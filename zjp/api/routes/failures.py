"""Failed jobs, grouped by what failed and how."""

from __future__ import annotations

import msgspec

from ...client.options import moment_ms
from ...job import format_id
from ...job_json import time_json
from ...wire.messages import Role
from ..shapes import Limit, Moment, PageOf, Time
from ..table import Answer, Call, Route


class FailuresQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    since: Moment | None = None
    type: str = ""
    queue: str = ""
    limit: Limit = 50


class FailureShape(msgspec.Struct):
    """`message`: the newest job's. `jobs`: ids of the newest few."""

    type: str
    error: str
    message: str
    count: int
    first_at: Time
    last_at: Time
    jobs: list[str]


class FailurePage(PageOf):
    """`is_whole`: false when there were more failed jobs than were looked at."""

    items: list[FailureShape]
    scanned: int
    is_whole: bool


async def failures(call: Call[None, FailuresQuery]) -> Answer:
    query = call.query
    since_ms = 0 if query.since is None else moment_ms("since", query.since)
    found = await call.desk.voice(call.caller).failures(
        since_ms=since_ms, type=query.type, queue=query.queue, limit=query.limit
    )
    items = [
        FailureShape(
            group.type, group.error, group.message, group.count, time_json(group.first_ms), time_json(group.last_ms),
            [format_id(job_id) for job_id in group.ids],
        )
        for group in found.groups
    ]  # fmt: skip
    return Answer(FailurePage(cursor=None, items=items, scanned=found.scanned, is_whole=found.is_whole))


ROUTES = (
    Route(
        "GET", "/api/v1/failures", Role.WORKER, "Failed jobs grouped by type and error, most first.", failures, None, FailuresQuery,
        FailurePage, group="Jobs",
    ),
)  # fmt: skip
