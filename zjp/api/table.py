"""The words of the HTTP door: what a route is, what its handler gets and gives. Knows no HTTP library.

    ROUTES (routes/*.py)  ──►  http.py      method, path, role, body, query  ──►  handler(Call)  ──►  Answer
                          └──►  openapi.py   the same rows as a document

A route is one row: everything that is checked before its handler runs, and all that the document says of it, stands there. So a route
without a rule cannot be written. Handlers raise ZjpError or Problem; both become problem documents (RFC 9457).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from ..wire.messages import Role
from .caller import Caller as Caller
from .caller import Problem as Problem
from .caller import Proof as Proof

if TYPE_CHECKING:
    from .desk import Desk

Body = TypeVar("Body")
Query = TypeVar("Query")


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A route without query parameters."""


@dataclass(slots=True)
class Call(Generic[Body, Query]):
    """One request that passed all checks of its row. `path`: the path's parameters. `headers`: names in lower case."""

    desk: Desk
    caller: Caller
    path: Mapping[str, str]
    headers: Mapping[str, str]
    body: Body
    query: Query


@dataclass(slots=True)
class Answer:
    """`body`: anything msgspec.json can encode; None: an empty one. `stream`: parts that are sent as they come, instead of `body`."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None
    media_type: str = "application/json"


Handler = Callable[[Call[Any, Any]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One row. `role` None: open to everybody, also without a token. `statuses`: status -> when, beyond what every route may answer.
    `body_max_bytes` 0: MAX_BODY. `waits`: it may take its time; when its caller goes, the handler is cancelled."""

    method: str
    path: str
    role: Role | None
    summary: str
    handler: Handler
    body: type | None = None
    query: type = NoQuery
    reply: Any = None
    status: int = 200
    statuses: Mapping[int, str] = field(default_factory=dict)
    group: str = ""
    body_max_bytes: int = 0
    waits: bool = False
