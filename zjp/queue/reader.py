"""The second connection: what is read from the file beside the commits, and the rows that the window asks for.

A database in memory has one connection only: there the writer's thread reads, between two operations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ..errors import StoreUnavailable
from .browsing import Rows, read_rows
from .database import MEMORY, Database, DatabaseError, open_reader, unavailable
from .journal import Journal, Operation
from .state import State
from .window import Level

T = TypeVar("T")


class ReadOperation(Operation):
    size = 0

    def __init__(self, read: Callable[[Database], Any]) -> None:
        self.read = read
        self.value: Any = None

    def write(self, db: Database) -> None:
        self.value = self.read(db)

    def apply(self) -> Any:
        return self.value


class Reader:
    def __init__(self, path: str, journal: Journal, state: State) -> None:
        self._journal = journal
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._db = None if path == MEMORY else open_reader(path)
        self._thread = ThreadPoolExecutor(1, "zjp-queue-reader")
        self.under_way: set[asyncio.Future[Any]] = set()
        """Reads of rows for the window."""

    def run(self, read: Callable[[Database], T]) -> asyncio.Future[T]:
        """Raises (through the future): StoreUnavailable."""
        if self._db is None:
            return self._journal.put(ReadOperation(read))
        return self._loop.run_in_executor(self._thread, _guarded, read, self._db)

    def feed(self) -> None:
        """Read the next rows of the levels that run low."""
        for level in self._state.window.hungry():
            after, until = level.begin_read()
            future = self.run(lambda db, after=after, until=until: read_rows(db, after, until))  # type: ignore[misc]
            self.under_way.add(future)
            future.add_done_callback(lambda done, level=level: self._fed(done, level))  # type: ignore[misc]

    def _fed(self, future: asyncio.Future[Rows], level: Level) -> None:
        self.under_way.discard(future)
        if future.cancelled() or future.exception() is not None:
            level.abandon_read()
            return
        rows = future.result()
        level.end_read(rows.entries, rows.data_bytes, is_all=rows.is_all)

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        if self._db is not None:
            self._db.close()


def _guarded(read: Callable[[Database], T], db: Database) -> T:
    try:
        return read(db)
    except DatabaseError as error:
        refusal = unavailable(error)
        raise (refusal if isinstance(refusal, StoreUnavailable) else StoreUnavailable(str(error))) from error
