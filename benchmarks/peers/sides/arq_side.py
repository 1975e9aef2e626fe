"""arq: results not kept, many jobs at once, a short poll."""

from __future__ import annotations

import os
from typing import Any

import tally
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

ADDRESS = RedisSettings(host="127.0.0.1", port=int(os.environ["PEERS_REDIS_PORT"]))
pool: ArqRedis


async def noop(context: dict[str, Any]) -> None:
    tally.noop()


async def stamp(context: dict[str, Any], sent_ns: int) -> None:
    tally.stamp(sent_ns)


async def hold(context: dict[str, Any], index: int, ms: int) -> None:
    await tally.hold_async(index, ms)


class WorkerSettings:
    functions = [noop, stamp, hold]  # noqa: RUF012 - arq reads it so
    redis_settings = ADDRESS
    max_jobs = 100
    poll_delay = 0.01
    keep_result = 0


async def open() -> None:
    global pool
    pool = await create_pool(ADDRESS)


async def send(task: str, *args: Any) -> None:
    await pool.enqueue_job(task, *args)
