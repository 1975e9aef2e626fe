"""taskiq on a Redis stream, which acknowledges: the list broker forgets what a killed worker held."""

from __future__ import annotations

import os
from typing import Any

import tally
from taskiq import SimpleRetryMiddleware
from taskiq_redis import RedisStreamBroker

# Without socket_timeout=None the Redis client gives up a read after 5 s, also one whose reply arrived while the process was stopped;
# the jobs in it then wait for the ten minutes after which they are claimed.
broker = RedisStreamBroker(
    f"redis://127.0.0.1:{os.environ['PEERS_REDIS_PORT']}/0", socket_timeout=None
).with_middlewares(SimpleRetryMiddleware(default_retry_count=3))


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
