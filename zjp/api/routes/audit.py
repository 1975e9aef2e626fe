"""Who did what, and when: what users and operators had the nodes do, log-ins and log-outs. Newest first; nothing here changes any of it."""

from __future__ import annotations

from typing import Any

import msgspec

from ...client.options import moment_ms
from ...job_json import time_json, unpacked
from ...wire.desk import SeenEvent
from ...wire.messages import Role
from ..shapes import Cursor, Limit, Moment, PageOf, Time, decode_cursor, encode_cursor
from ..table import Answer, Call, Route

KIND = "audit"


class AuditQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`since` is within, `until` is not."""

    since: Moment | None = None
    until: Moment | None = None
    limit: Limit = 50
    cursor: Cursor = ""


class AuditShape(msgspec.Struct):
    """`who`: the user or key that did it; `origin`: the address it came from, where that is known; `data`: further facts."""

    id: str
    at: Time
    who: str
    what: str
    subject: str
    node: str
    origin: str
    data: Any


class AuditPage(PageOf):
    items: list[AuditShape]


async def list_audit(call: Call[None, AuditQuery]) -> Answer:
    query = call.query
    page = await call.desk.voice(call.caller).events(
        KIND,
        since_ms=moment_ms("since", query.since) if query.since is not None else 0,
        until_ms=moment_ms("until", query.until) if query.until is not None else 0,
        cursor=decode_cursor(query.cursor),
        limit=query.limit,
    )
    return Answer(AuditPage(items=[audit_json(event) for event in page.events], cursor=encode_cursor(page.cursor)))


def audit_json(event: SeenEvent) -> AuditShape:
    data = unpacked(event.data)
    origin = data.pop("origin", "") if isinstance(data, dict) else ""
    return AuditShape(
        event.id.hex(),
        time_json(event.at_ms),
        event.who,
        event.what,
        event.subject,
        event.node,
        str(origin or ""),
        data or {},
    )


ROUTES = (
    Route(
        "GET", "/api/v1/audit", Role.ADMIN, "Who did what, newest first.", list_audit, query=AuditQuery, reply=AuditPage, group="Audit"
    ),
)  # fmt: skip
