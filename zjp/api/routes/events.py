"""Server-sent events: counts, transitions of jobs, changes of the leader."""

from __future__ import annotations

from ...wire.messages import Role
from ..table import Answer, Call, NoQuery, Route

MEDIA_TYPE = "text/event-stream"


async def events(call: Call[None, NoQuery]) -> Answer:
    stream = await call.desk.live.stream()
    return Answer(stream=stream, media_type=MEDIA_TYPE, headers={"x-accel-buffering": "no"})


ROUTES = (
    Route(
        "GET", "/api/v1/events", Role.WORKER,
        "Live, as text/event-stream: `stats` (as /api/v1/stats, on change), `jobs` (what came into which state), `leader` (on change).",
        events, group="Numbers", statuses={503: "Too many streams are open, or no node answers."},
    ),
)  # fmt: skip
