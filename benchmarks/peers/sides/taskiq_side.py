"""taskiq on a Redis stream, which acknowledges: the list broker forgets what a killed worker held."""

from __future__ import annotations

import os
from typing import Any

import tally
from taskiq import SimpleRetryMiddleware
from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(f"redis://127.0.0.1:{os.environ['PEERS_REDIS_PORT']}/0").with_middlewares(
    SimpleRetryMiddleware(default_retry_count=3)
)


@broker.task("noop")
async def noop() -> None:
    tally.noop()


@broker.task("stamp")
async def stamp(sent_ns: int) -> None:
    tally.stamp(sent_ns)


@broker.task("hold")
async def hold(index: int, ms: int) -> None:
    await tally.hold_async(index, ms)


TASKS: dict[str, Any] = {"noop": noop, "stamp": stamp, "hold": hold}


async def open() -> None:
    await broker.startup()


async def send(task: str, *args: Any) -> None:
    await TASKS[task].kiq(*args)
