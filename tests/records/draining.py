"""A process that moves an outbox into records on SQLite, one step at a time: before each it names the step and waits for a line.

    python -m tests.records.draining FOLDER COUNT

The outbox is a table of its own file here, so that it survives a kill as the queue's does.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.records.making import Item, make_item
from zjp.records.outbox import OutboxDrain
from zjp.records.sqlite import SQLiteRecordStore

BATCH = 50


class TableOutbox:
    """Numbers of the items that wait, durable."""

    def __init__(self, path: Path, count: int) -> None:
        self._sql = sqlite3.connect(path, isolation_level=None)
        self._sql.execute("PRAGMA journal_mode=WAL")
        if not self._sql.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            rows = ",".join(f"({number})" for number in range(count))
            self._sql.executescript(
                f"BEGIN; CREATE TABLE waiting(number INTEGER PRIMARY KEY); INSERT INTO waiting VALUES {rows}; COMMIT"
            )

    @property
    def count(self) -> int:
        count: int = self._sql.execute("SELECT count(*) FROM waiting").fetchone()[0]
        return count

    @property
    def data_bytes(self) -> int:
        return 0  # small ones

    async def take(self, limit: int) -> Sequence[Item]:
        rows = self._sql.execute("SELECT number FROM waiting ORDER BY number LIMIT ?", (limit,)).fetchall()
        return [make_item(number) for (number,) in rows]

    async def remove(self, items: Sequence[Item]) -> None:
        step("remove")
        numbers = [(item.record.job.attempts[0].fence - 1000,) for item in items]
        self._sql.execute("BEGIN")
        self._sql.executemany("DELETE FROM waiting WHERE number = ?", numbers)
        self._sql.execute("COMMIT")
        step("removed")

    def close(self) -> None:
        self._sql.close()


def step(name: str) -> None:
    print(name, flush=True)
    sys.stdin.readline()


async def main(folder: Path, count: int) -> None:
    store = SQLiteRecordStore(folder / "records.db", ttl_s=0)
    await store.open()
    outbox = TableOutbox(folder / "outbox.db", count)

    async def append(items: Sequence[Item]) -> None:
        step("append")
        await store.append(items)
        step("appended")

    drain = OutboxDrain(outbox.take, outbox.remove, append, backlog=lambda: outbox, batch_max=BATCH, pace_s=0)
    running = asyncio.create_task(drain.run())
    left = await drain.stop(within_s=60)
    await running
    outbox.close()
    await store.close()
    step(f"left {left}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
