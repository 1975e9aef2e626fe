"""A thousand async tasks from asyncio code, their results gathered.

    python -m examples.fan_out

What to see here: `AsyncClient` from many coroutines at once (single submits travel together by themselves), `async
def` tasks that wait side by side in one worker process, and a result that is put together from all of them. It
estimates pi by throwing darts.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys

from examples.local_node import local_node
from zjp import App, AsyncClient

app = App()

TASK_COUNT = 1_000
DARTS = 2_000


@app.task("throw", timeout="30s")
async def throw(seed: int, darts: int) -> int:
    """How many of the darts hit the quarter circle."""
    await asyncio.sleep(0.01)  # a real one would wait for a database or another service
    generator = random.Random(seed)
    return sum(generator.random() ** 2 + generator.random() ** 2 < 1 for _ in range(darts))


async def estimate(address: str) -> tuple[float, int]:
    async with AsyncClient(address) as zjp:

        async def one(seed: int) -> int:
            job = await zjp.submit("throw", {"seed": seed, "darts": DARTS})
            hits: int = await zjp.result(job, timeout=60)
            return hits

        hits = await asyncio.gather(*(one(seed) for seed in range(TASK_COUNT)))
    return 4 * sum(hits) / (TASK_COUNT * DARTS), len(hits)


def main() -> int:
    with local_node("examples.fan_out:app", worker_count="100", worker_processes="2"):
        pi, count = asyncio.run(estimate(os.environ["CLIENT_ADDRESS"]))
    print(f"{count} tasks, {count * DARTS:,} darts: pi is about {pi:.4f}")
    return 0 if count == TASK_COUNT and abs(pi - 3.14159) < 0.01 else 1


if __name__ == "__main__":
    sys.exit(main())
