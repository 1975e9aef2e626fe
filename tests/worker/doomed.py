"""A program that runs a pool and is then killed: `python -m tests.worker.doomed NOTE TASK COUNT`. Prints the pids of its workers."""

from __future__ import annotations

import asyncio
import sys

from zjp.worker.pool import PoolSettings

from .conftest import Desk


async def main(note: str, task: str, count: int) -> None:
    desk = await Desk(PoolSettings(app="tests.fakes:app", slots=count, processes=count)).start()
    for number in range(count):
        desk.submit(task, {"path": f"{note}{number}"})
    print(*(state.pid for state in desk.pool.states()), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
