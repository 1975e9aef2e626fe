"""The words of the HTTP door: what a route is, what its handler gets and gives. Knows no HTTP library.

    ROUTES (routes/*.py)  ──►  http.py      method, path, role, body, query  ──►  handler(Call)  ──►  Answer
                          └──►  openapi.py   the same rows as a document

A route is one row: everything that is checked before its handler runs, and all that the document says of it, stands there. So a route
without a rule cannot be written. Handlers raise ZjpError or Problem; both become problem documents (RFC 9457).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from ..wire.messages import Role

if TYPE_CHECKING:
    from .desk import Desk

Body = TypeVar("Body")
Query = TypeVar("Query")


class Proof(Enum):
    """How a caller showed who it is."""

    NONE = "none"
    """Nothing was asked: auth is off, or the route is open."""
    TOKEN = "token"
    COOKIE = "cookie"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `name` empty: nobody was asked for; `address` is the peer's, or what a trusted proxy says it is."""

    name: str
    role: Role
    proof: Proof
    address: str


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A route without query parameters."""


class Problem(Exception):
    """An answer that is not the wanted one. `title`: the same for every problem of this kind; `detail`: what, the value, the limit, what to
    do. `headers`: such as Retry-After. `more`: further members of the document."""

    def __init__(
        self, status: int, title: str, detail: str = "", *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status, self.title, self.detail = status, title, detail
        self.headers: Mapping[str, str] = headers or {}
        self.more = more


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
    `body_max_bytes` 0: MAX_BODY."""

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
