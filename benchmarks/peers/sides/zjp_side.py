"""zjp as one of the peers: the application its node serves, and its producer."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import tally

from zjp import App, AsyncClient

BATCH, WINDOW = 100, 16
"""Jobs of one submit, and submits under way."""
NAMES = {"noop": (), "stamp": ("sent_ns",), "hold": ("index", "ms")}

app = App()
app.task("noop")(tally.noop)
app.task("stamp")(tally.stamp)
app.task("hold", max_retries=3)(tally.hold)

client: AsyncClient


async def open() -> None:
    global client
    client = AsyncClient(os.environ["PEERS_ADDRESS"], timeout="30s")


async def send(task: str, *args: Any) -> None:
    await client.submit(task, dict(zip(NAMES[task], args, strict=True)))


async def send_many(count: int) -> None:
    room = asyncio.Semaphore(WINDOW)

    async def one(size: int) -> None:
        try:
            await client.submit_many([("noop", {})] * size)
        finally:
            room.release()

    async with asyncio.TaskGroup() as group:
        for start in range(0, count, BATCH):
            await room.acquire()
            group.create_task(one(min(BATCH, count - start)))


async def pause() -> None:
    await client.pause("default")


async def resume() -> None:
    await client.resume("default")
