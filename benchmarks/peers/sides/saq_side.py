"""SAQ: results not kept, retried when swept up."""

from __future__ import annotations

import os
from typing import Any

import tally
from saq import Queue

queue = Queue.from_url(f"redis://127.0.0.1:{os.environ['PEERS_REDIS_PORT']}/0")


async def noop(context: Any) -> None:
    tally.noop()


async def stamp(context: Any, *, sent_ns: int) -> None:
    tally.stamp(sent_ns)


async def hold(context: Any, *, index: int, ms: int) -> None:
    await tally.hold_async(index, ms)


NAMES = {"noop": (), "stamp": ("sent_ns",), "hold": ("index", "ms")}
settings = {"queue": queue, "functions": [noop, stamp, hold], "concurrency": 10}


async def open() -> None:
    await queue.connect()


async def send(task: str, *args: Any) -> None:
    await queue.enqueue(task, ttl=-1, retries=3, **dict(zip(NAMES[task], args, strict=True)))
