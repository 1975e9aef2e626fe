"""`produce.py SIDE`: the producer of one peer, a process of its own in that peer's environment.

It imports the module SIDE, reads commands from stdin (one JSON object a line) and answers each with a JSON line: the seconds it took.
A side has `send(task, *args)`, plain or a coroutine function, which enqueues one job and returns when the store has it; perhaps
`send_many(count)`, `open()`, `pause()` and `resume()`.

    {"do": "singly", "count": 1000, "callers": 1}   no-op jobs, one call each, from so many threads or coroutines
    {"do": "many", "count": 1000}                   no-op jobs by the peer's bulk call
    {"do": "stamp", "count": 200, "per_s": 20}      at random moments (Poisson), each with the time at which it was sent
    {"do": "hold", "count": 100, "ms": 100}         jobs that take so long
    {"do": "pause"}, {"do": "resume"}
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

side: Any = importlib.import_module(sys.argv[1])


class Threads:
    """Commands to a side whose `send` is a plain function."""

    def singly(self, count: int, callers: int) -> None:
        def call(share: int) -> None:
            for _ in range(share):
                side.send("noop")

        if callers == 1:
            call(count)
            return
        with ThreadPoolExecutor(callers) as pool:
            list(pool.map(call, shares(count, callers)))

    def many(self, count: int) -> None:
        side.send_many(count)

    def stamp(self, count: int, per_s: float) -> None:
        for due in moments(count, per_s):
            time.sleep(max(0.0, due - time.monotonic()))
            side.send("stamp", time.monotonic_ns())

    def hold(self, count: int, ms: int) -> None:
        for index in range(count):
            side.send("hold", index, ms)


class Coroutines:
    """The same for a side whose `send` is a coroutine function."""

    async def singly(self, count: int, callers: int) -> None:
        async def call(share: int) -> None:
            for _ in range(share):
                await side.send("noop")

        await asyncio.gather(*map(call, shares(count, callers)))

    async def many(self, count: int) -> None:
        await side.send_many(count)

    async def stamp(self, count: int, per_s: float) -> None:
        for due in moments(count, per_s):
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await side.send("stamp", time.monotonic_ns())

    async def hold(self, count: int, ms: int) -> None:
        for index in range(count):
            await side.send("hold", index, ms)

    async def pause(self) -> None:
        await side.pause()

    async def resume(self) -> None:
        await side.resume()


def shares(count: int, callers: int) -> list[int]:
    return [count // callers + (caller < count % callers) for caller in range(callers)]


def moments(count: int, per_s: float) -> list[float]:
    draw = random.Random(1)
    due, moments = time.monotonic(), []
    for _ in range(count):
        due += draw.expovariate(per_s)
        moments.append(due)
    return moments


async def serve_coroutines() -> None:
    if hasattr(side, "open"):
        await side.open()
    answer({"ready": True})
    commands = Coroutines()
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        began = time.monotonic()
        await getattr(commands, order.pop("do"))(**order)
        answer({"s": time.monotonic() - began})


def serve_threads() -> None:
    answer({"ready": True})
    commands = Threads()
    while line := sys.stdin.readline():
        order = json.loads(line)
        began = time.monotonic()
        getattr(commands, order.pop("do"))(**order)
        answer({"s": time.monotonic() - began})


def answer(words: dict[str, Any]) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    if inspect.iscoroutinefunction(side.send):
        import uvloop

        uvloop.run(serve_coroutines())
    else:
        serve_threads()
