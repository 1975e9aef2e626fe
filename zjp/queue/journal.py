"""The writer thread: every change of the file passes through it, in order, many in one commit.

    loop                                writer thread
    put(operation) ─── inbox ─────────► BEGIN
                                        operation.write(db)      for each; then `seal(db, operations)`
                                        COMMIT                   one fsync for all of them
    operation.apply()  ◄── one call ──
    its future is done                  meanwhile the next ones gather

One transaction is under way; what gathers in the meantime is the next. So a single job waits for nobody and under load commits grow by
themselves, up to JOBS_PER_COMMIT. Operations are written and applied in the order of `put`; memory follows the file, never the reverse.

One of them that is wrong (a conflict, a bug) must fail alone. That is rare, and a savepoint is two statements per operation, each of which
gives the interpreter lock away; so they are written without, and when one fails, all of them once more, each in a SAVEPOINT of its own.

When the file cannot be written, operations that add something (submits) are refused at once. Those that are `is_held` (outcomes,
removals) must not be lost: they stay at the head and are tried again until they are stored. Those with `takes_ballast` are tried once
more in the room that is set aside, and refused when that is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, ClassVar

from ..errors import StoreFull, StoreUnavailable, Unavailable, ZjpError
from .database import Database, breaks_transaction, empty_log, unavailable
from .disk import Disk

JOBS_PER_COMMIT = 4_000
"""Bounds how long a commit takes (about 15 ms) and so how long the next operation waits."""
JOBS_WAITING_MAX = 200_000
"""A disk that stalls: then submits are refused rather than kept in memory without bound."""
RETRY_S = 0.5
STALL_S = 2.0
"""A commit under way for longer: new submits are refused instead of joining the wait."""
CLOSE_TRIES = 4


class Operation:
    """One atomic step: `write` in the writer's thread, then, once committed, `apply` in the loop; its value answers the caller.

    `write` may be called again after a failure, so it changes nothing but the database and what it computes for `apply`.
    `refuse` instead of `apply` when nothing was stored.
    """

    size: int = 1
    """Jobs, for the bounds."""
    is_held: ClassVar[bool] = False
    takes_ballast: ClassVar[bool] = False
    """Not held, but worth the room that is set aside: nothing would leave a full disk if what is to run never came to it, and whoever wants
    to pause a queue because the disk is full must be able to."""
    done: asyncio.Future[Any]

    def write(self, db: Database) -> None:
        raise NotImplementedError

    def apply(self) -> Any:
        raise NotImplementedError

    def refuse(self) -> None:
        """Undo what the loop did when it put this operation."""


class Glance(Operation):
    """Nothing; but what was committed before it is applied when it is."""

    size = 0

    def write(self, db: Database) -> None:
        pass

    def apply(self) -> None:
        pass


class Journal:
    """Owns the write connection. `seal` is called in the writer's thread before a commit, with the operations written: for what they can
    write together. `after` is called in the loop once per commit, after all its operations were applied."""

    def __init__(
        self,
        db: Database,
        disk: Disk | None,
        loop: asyncio.AbstractEventLoop,
        *,
        seal: Callable[[Database, Sequence[Operation]], None],
        after: Callable[[], None],
    ) -> None:
        self._db = db
        self._disk = disk
        self._loop = loop
        self._seal = seal
        self._after = after
        self._inbox: SimpleQueue[Operation | None] = SimpleQueue()
        self._behind: list[Operation] = []
        self._jobs_waiting = 0
        self._began_at = 0.0
        self._is_closing = False
        self._open_count = 0
        self.trouble: Unavailable | None = None
        """Why the last commit failed; None while commits succeed."""
        self.commits = 0
        self.busy_s = 0.0
        self._thread = threading.Thread(target=self._run, name="zjp-queue-writer", daemon=True)
        self._thread.start()

    def put(self, operation: Operation) -> asyncio.Future[Any]:
        """Raises: StoreUnavailable once closed."""
        if self._behind:
            self._put_behind()
        self._admit(operation)
        self._inbox.put(operation)
        return operation.done

    def put_behind(self, operation: Operation) -> None:
        """Nobody waits for it. It joins when this turn of the loop is over, or before the next one that is put: a writer that was woken now
        would want the interpreter while the caller hands out jobs. Raises: StoreUnavailable once closed."""
        self._admit(operation)
        if not self._behind:
            self._loop.call_soon(self._put_behind)
        self._behind.append(operation)

    def _admit(self, operation: Operation) -> None:
        if self._is_closing:
            raise StoreUnavailable("the queue is closed: the node is stopping")
        operation.done = self._loop.create_future()
        self._open_count += 1
        self._jobs_waiting += operation.size

    def _put_behind(self) -> None:
        behind, self._behind = self._behind, []
        for operation in behind:
            self._inbox.put(operation)

    async def hear(self) -> None:
        """Wait until what is in the file by now is applied. What the file does not take now is not waited for: it changed nothing."""
        if self._open_count:
            told = self.put(Glance())
            with contextlib.suppress(Unavailable):
                await told

    def check(self) -> None:
        """Raises: StoreUnavailable, StoreFull, when a submit had better not join."""
        if self._jobs_waiting > JOBS_WAITING_MAX:
            raise StoreUnavailable(f"{self._jobs_waiting} jobs wait to be written, the limit is {JOBS_WAITING_MAX}; try again later")
        began_at = self._began_at
        if began_at and time.monotonic() - began_at > STALL_S:
            raise StoreUnavailable(f"the disk has not finished a write for {STALL_S:g} s; try again later")

    async def close(self) -> None:
        """Write what is pending, then end. What cannot be written is refused."""
        self._is_closing = True
        self._put_behind()
        self._inbox.put(None)
        await asyncio.to_thread(self._thread.join)
        await asyncio.sleep(0)  # lets the last delivery run

    # ── the writer's thread ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        held: list[Operation] = []
        tries = 0
        is_last = False
        while not is_last or (held and tries < CLOSE_TRIES):
            batch, ends = self._gather(held, is_last)
            is_last = is_last or ends
            self._began_at = began_at = time.monotonic()
            held = self._commit(batch)
            if held and self._disk is not None:
                held = self._commit_in_room(held, self._disk)
            held = self._refuse_but_held(held)
            self.busy_s += time.monotonic() - began_at
            self._began_at = 0.0
            tries = tries + 1 if held else 0
        if held:
            error = StoreUnavailable("the queue's file could not be written before the node stopped; these outcomes will be found lost")
            self._tell(held, dict.fromkeys(map(id, held), error))

    def _commit_in_room(self, waiting: list[Operation], disk: Disk) -> list[Operation]:
        """The log's room first: as long as the file need not grow, it serves again and again. What is set aside serves once, and not for
        the log alone: a file that must grow by a page keeps the log from being emptied. Returns those that still have no room."""
        is_full = isinstance(self.trouble, StoreFull)
        if is_full and empty_log(self._db):
            waiting = self._commit(waiting)
        if waiting and disk.drop_ballast():
            if is_full:
                empty_log(self._db)
            waiting = self._commit(waiting)
        return waiting

    def _refuse_but_held(self, waiting: list[Operation]) -> list[Operation]:
        held = [operation for operation in waiting if operation.is_held]
        if len(held) < len(waiting):
            assert self.trouble is not None
            refused = [operation for operation in waiting if not operation.is_held]
            self._tell(refused, dict.fromkeys(map(id, refused), self.trouble))
        return held

    def _gather(self, held: list[Operation], is_last: bool) -> tuple[list[Operation], bool]:
        """(what waits, whether the end was asked for)"""
        batch = list(held)
        size = sum(operation.size for operation in batch)
        try:
            if held:
                operation = self._inbox.get(timeout=RETRY_S)
            elif is_last:
                operation = self._inbox.get_nowait()
            else:
                operation = self._inbox.get()
            while operation is not None:
                batch.append(operation)
                size += operation.size
                if size >= JOBS_PER_COMMIT or self._inbox.empty():  # asked, not tried: see transport/pump.py
                    return batch, False
                operation = self._inbox.get_nowait()
        except Empty:
            return batch, False
        return batch, True

    def _commit(self, batch: list[Operation]) -> list[Operation]:
        """Those to be tried again. After a failure removals go first and alone: what adds something would take their room."""
        if self.trouble is None:
            return self._transact(batch)
        held = self._transact([operation for operation in batch if operation.is_held])
        others = [operation for operation in batch if not operation.is_held]
        return held + self._transact(others, trouble=self.trouble if held else None)

    def _transact(self, batch: list[Operation], *, trouble: Unavailable | None = None) -> list[Operation]:
        """`trouble`: of others, that stays when this succeeds."""
        if not batch:
            return []
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            failed = self._write(batch)
            self._seal(db, [operation for operation in batch if id(operation) not in failed])
            db.execute("COMMIT")
        except Exception as error:  # whatever it is, nothing of this batch is stored
            return self._give_up(batch, error)
        self.commits += 1
        self.trouble = trouble
        if self._disk is not None:
            self._disk.fill_ballast()
        self._tell(batch, failed)
        return []

    def _write(self, batch: list[Operation]) -> dict[int, Exception]:
        """Returns those that failed alone, by their object's id."""
        db = self._db
        try:
            for operation in batch:
                operation.write(db)
        except Exception as error:
            if breaks_transaction(error):
                raise
            db.execute("ROLLBACK")
            db.execute("BEGIN IMMEDIATE")
            written = ((operation, self._write_alone(operation)) for operation in batch)
            return {id(operation): failure for operation, failure in written if failure is not None}
        return {}

    def _write_alone(self, operation: Operation) -> Exception | None:
        db = self._db
        db.execute("SAVEPOINT operation")
        try:
            operation.write(db)
        except Exception as error:
            if breaks_transaction(error):
                raise
            db.execute("ROLLBACK TO operation")
            db.execute("RELEASE operation")
            return error
        db.execute("RELEASE operation")
        return None

    def _give_up(self, batch: list[Operation], error: Exception) -> list[Operation]:
        if self._db.in_transaction:
            self._db.rollback()
        self.trouble = unavailable(error)
        refused = [operation for operation in batch if not (operation.is_held or operation.takes_ballast)]
        self._tell(refused, dict.fromkeys(map(id, refused), self.trouble))
        return [operation for operation in batch if operation.is_held or operation.takes_ballast]

    def _tell(self, batch: list[Operation], failed: Mapping[int, Exception]) -> None:
        told = [(operation, failed.get(id(operation))) for operation in batch]
        if told and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, told)

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _deliver(self, told: list[tuple[Operation, Exception | None]]) -> None:
        for operation, error in told:
            self._jobs_waiting -= operation.size
            self._open_count -= 1
            if error is None:
                self._apply(operation)
            else:
                self._refuse(operation, error)
        self._after()

    def _apply(self, operation: Operation) -> None:
        try:
            value = operation.apply()
        except Exception as bug:  # shown to the caller, or logged by the loop; the others of this commit must hear of theirs
            if not operation.done.done():
                operation.done.set_exception(bug)
        else:
            if not operation.done.done():
                operation.done.set_result(value)

    def _refuse(self, operation: Operation, error: Exception) -> None:
        operation.refuse()
        if operation.done.done():
            return
        if isinstance(error, ZjpError):
            operation.done.set_exception(type(error)(*error.args))  # a copy each: a raised exception carries its traceback
        else:
            refusal = StoreUnavailable(f"the queue's file refused the request: {error!r}")
            refusal.__cause__ = error
            operation.done.set_exception(refusal)
        operation.done.exception()  # seen: nobody may be waiting for a claim's row
