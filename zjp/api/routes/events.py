"""Server-sent events: counts, transitions of jobs, changes of the leader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from ...wire.messages import Role
from ..table import Answer, Call, NoQuery, Problem, Route

MEDIA_TYPE = "text/event-stream"
LOOK_S = 5.0
"""How often it is asked again whether this caller may watch."""


async def events(call: Call[None, NoQuery]) -> Answer:
    stream = await call.desk.live.stream()
    return Answer(stream=_as_allowed(call, stream), media_type=MEDIA_TYPE, headers={"x-accel-buffering": "no"})


async def _as_allowed(call: Call[None, NoQuery], stream: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """Ends at the first part that comes after the token ended: an open stream must not outlive it."""
    loop = asyncio.get_running_loop()
    look_at = loop.time() + LOOK_S
    async with aclosing(stream):
        async for part in stream:
            if loop.time() >= look_at:
                try:
                    await call.desk.door.caller(call.headers, "GET", call.caller.address)
                except Problem:
                    return
                look_at = loop.time() + LOOK_S
            yield part


ROUTES = (
    Route(
        "GET", "/api/v1/events", Role.WORKER,
        "Live, as text/event-stream: `stats` (as /api/v1/stats, on change), `jobs` (what came into which state), `leader` (on change).",
        events, group="Numbers", statuses={503: "Too many streams are open, or no node answers."},
    ),
)  # fmt: skip
