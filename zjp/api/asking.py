"""Requests to a node for which the client has no method of the form that is needed here: one page, one batch of a thousand, raw ids."""

from __future__ import annotations

from typing import TypeVar

from ..client.asyncio import AsyncClient
from ..client.deeds import TIMEOUT_S, expect
from ..wire.messages import Request

T = TypeVar("T")


async def ask(client: AsyncClient, kind: type[T], request: Request, within_s: float = TIMEOUT_S) -> T:
    """Raises: ZjpError."""
    return expect(kind, await client._door.ask(request, within_s))


def make_ids(client: AsyncClient, count: int) -> list[bytes]:
    return client._door.make_ids(count)
