"""Errors as RFC 9457 problem documents: one place that turns whatever was raised into status, headers and a body.

Every document has type, title, status, detail and `code`, a word that programs can go by: the code of a ZjpError, or one of WORDS. The
type leads to the list of codes on the documentation page. What zjp did not expect is logged with its traceback and told without it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from ..errors import BY_CODE, ZjpError
from .caller import Problem

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S: Mapping[int, int] = {429: 1, 503: 1, 507: 10}
"""Where the one who refuses does not say it, and nobody knows better (patience.py)."""
WORDS: Mapping[int, str] = {
    400: "bad-request",
    401: "unauthenticated",
    403: "not-allowed",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    408: "too-slow",
    409: "wrong-state",
    410: "gone",
    413: "too-large",
    415: "media-type",
    422: "invalid",
    429: "too-many",
    431: "headers-too-large",
    500: "internal",
    503: "unavailable",
}
"""Status -> code, where the error has none of its own."""
MEANINGS: Mapping[str, str] = {
    "bad-request": "The request cannot be read: its JSON, its query or its HTTP is broken.",
    "unauthenticated": "There is no token, or it is not valid any more: log in.",
    "not-allowed": "The role is too low, or the request comes from another site.",
    "not-found": "No such path, job, queue, schedule, node or user.",
    "method-not-allowed": "The path is there, the method is not; Allow names those that are.",
    "not-acceptable": "The answer cannot be given in that form.",
    "too-slow": "The request did not come within its time.",
    "wrong-state": "What was asked about is not in a state that allows it.",
    "gone": "An earlier request with this id or key made the job, and its record is gone. Nothing was stored now.",
    "too-large": "A body, payload, message or batch is over its limit.",
    "media-type": "Bodies are application/json.",
    "invalid": "A field is missing, unknown or out of range.",
    "too-many": "Too many attempts; Retry-After says when the next one counts.",
    "headers-too-large": "More than 16 KB or 100 headers.",
    "internal": "An error of zjp itself; its log has the traceback.",
    "conflict": "The id exists with other content.",
    "unavailable": "The world is in the way; the same request may succeed later.",
    "store-unavailable": "The store of the queue or of the records does not answer.",
    "store-full": "Disk, memory or outbox is at its limit.",
    "unreachable": "No node answered.",
    "draining": "The node is going away and takes no more jobs.",
    "outcome-unknown": "It was asked and not answered; asking again with the same id does no harm.",
}
"""Code -> what it says to the caller, for the documentation page."""

log = logging.getLogger(__name__)


class Told(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    code: str


def tell(fault: BaseException) -> Told:
    """What the caller is told."""
    if isinstance(fault, Problem):
        return _tell(fault.status, fault.title, fault.detail, fault.more, fault.headers)
    if isinstance(fault, ZjpError):
        status = fault.http_status
        if status == 500:
            log.error("api.failed", exc_info=fault)
        code = fault.code if status != 500 else WORDS[500]
        return _tell(status, _title(status), str(fault), {"code": code}, {})
    log.error("api.failed", exc_info=fault)
    return _tell(500, _title(500), "an error of zjp itself; its log has the traceback", {}, {})


def _tell(status: int, title: str, detail: str, more: Mapping[str, Any], headers: Mapping[str, str]) -> Told:
    code = str(more.get("code") or WORDS.get(status, "error"))
    document = {
        "type": f"/docs#{code}" if code in MEANINGS else "about:blank",
        "title": title or _title(status),
        "status": status,
        "detail": detail,
        "code": code,
        **{name: value for name, value in more.items() if name != "code"},
    }
    told = {"content-type": MEDIA_TYPE, **{name.lower(): text for name, text in headers.items()}}
    if status in RETRY_AFTER_S:
        told.setdefault("retry-after", str(RETRY_AFTER_S[status]))
    return Told(status, told, msgspec.json.encode(document), code)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def codes() -> list[tuple[str, int, str]]:
    """(code, status, meaning) of everything that may be answered, for the documentation."""
    statuses = {code: kind.http_status for code, kind in BY_CODE.items()} | {
        word: status for status, word in WORDS.items()
    }
    return [(code, statuses[code], meaning) for code, meaning in MEANINGS.items()]
