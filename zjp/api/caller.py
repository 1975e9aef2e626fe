"""Who asks, and what is answered when it is not the wanted thing: the words below the route table, which need nothing else of the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..wire.messages import Role


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
