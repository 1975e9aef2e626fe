"""Queues: sizes and latency, pause, resume, purge."""

from __future__ import annotations

from typing import Any

import msgspec

from ...job import QUEUE_CHARS_MAX, check_name
from ...wire.messages import QueueCount, Role
from ..shapes import DoneShape, QueuePage
from ..table import Answer, Call, NoQuery, Route


class QueueDone(msgspec.Struct):
    queue: str
    paused: bool


def queue_json(count: QueueCount) -> dict[str, Any]:
    return {
        "queue": count.queue,
        "pending": count.pending,
        "scheduled": count.scheduled,
        "retrying": count.retrying,
        "running": count.running,
        "paused": count.paused,
        "oldest_seconds": round(count.oldest_s, 3),
    }


def named(call: Call[Any, Any]) -> str:
    """Raises: InvalidJob."""
    name = call.path["queue"]
    check_name("queue", name, QUEUE_CHARS_MAX)
    return name


async def list_queues(call: Call[None, NoQuery]) -> Answer:
    counts = await call.desk.voice(call.caller).queues()
    return Answer({"items": [queue_json(count) for count in counts], "cursor": None})


async def pause(call: Call[None, NoQuery]) -> Answer:
    queue = named(call)
    await call.desk.voice(call.caller).pause(queue)
    return Answer(QueueDone(queue, True))


async def resume(call: Call[None, NoQuery]) -> Answer:
    queue = named(call)
    await call.desk.voice(call.caller).resume(queue)
    return Answer(QueueDone(queue, False))


async def purge(call: Call[None, NoQuery]) -> Answer:
    return Answer(DoneShape(await call.desk.voice(call.caller).purge(named(call))))


GROUP = "Queues"
ROUTES = (
    Route(
        "GET", "/api/v1/queues", Role.WORKER, "Every queue with its sizes and the age of its oldest ready job.", list_queues, None,
        NoQuery, QueuePage, group=GROUP,
    ),
    Route(
        "POST", "/api/v1/queues/{queue}/pause", Role.ADMIN, "No job of the queue starts from a second after this on.", pause, None,
        NoQuery, QueueDone, group=GROUP,
    ),
    Route("POST", "/api/v1/queues/{queue}/resume", Role.ADMIN, "Undo a pause.", resume, None, NoQuery, QueueDone, group=GROUP),
    Route(
        "DELETE", "/api/v1/queues/{queue}/jobs", Role.ADMIN, "Cancel all jobs that wait in the queue.", purge, None, NoQuery, DoneShape,
        group=GROUP,
    ),
)  # fmt: skip
