"""Moving waiting jobs: cancelled, promoted, purged, run again.

Ready jobs are withdrawn from the window in the loop before the operation is put, so that no claim can take them meanwhile; delayed ones
are found by the writer, which alone moves them. Rows for what becomes ready are reserved before it is known how many there are:
the writer fills a block per level from its start, and the rest stays unused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from ..job import Record, StoredJob
from .claiming import cancelled_record, note_loss, settle_keys
from .database import AMONG, ROWS, Database, among, delete_jobs, delete_later, fetch, insert_jobs, json_text
from .journal import Operation
from .outbox import encode_record, insert_outbox
from .state import Lapsed, State, decode_job, encode_job
from .window import Entry, Level

PURGE_CHUNK = 1_000
KEYS_FORGOTTEN_MAX = 5_000
"""In one step, some 10 ms."""


def fetch_later(db: Database, which: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """(row, level, is_retry, id, data) of the delayed jobs that `which` (WHERE ... ORDER BY ... LIMIT ...) says."""
    source = f"SELECT row, level, is_retry, id, data FROM later {which}"
    return fetch(db, source, parameters, numbers=["row", "level", "is_retry"], blobs=["id", "data"])


class Withdrawn(msgspec.Struct, frozen=True):
    """A ready job that was taken out of the window. `was_waiting` False: its lease was lost and it was on its way back.
    `loss`: of that lease, when what takes jobs back has not got to this one, and so has not noted it."""

    level: Level
    row: int
    id: bytes
    was_waiting: bool
    loss: Lapsed | None


class CancelOperation(Operation):
    """Ends the jobs `withdrawn` and those of `ids` that are delayed; `marks`: claimed jobs, to be ended by their holder.
    Value: the ids cancelled."""

    is_held: ClassVar[bool] = True

    def __init__(
        self, state: State, withdrawn: Sequence[Withdrawn], ids: Sequence[bytes], marks: Sequence[bytes], *, node: str, now_ms: int
    ) -> None:
        self.state, self.withdrawn, self.ids, self.marks = state, withdrawn, ids, marks
        self.node, self.now_ms = node, now_ms
        self.size = len(withdrawn) + len(ids) + len(marks)
        self.outbox_row = state.outbox.reserve_row()
        self.rows: set[int] = set()
        self.later: list[tuple[int, bool]] = []
        self.records: list[Record] = []
        self.datas: list[bytes] = []

    def write(self, db: Database) -> None:
        rows = json_text(one.row for one in self.withdrawn)
        found = fetch(db, f"SELECT row, data FROM jobs WHERE row {ROWS}", (rows,), numbers=["row"], blobs=["data"])
        later = fetch_later(db, f"WHERE id {AMONG}", among(self.ids))
        self.rows = {row for row, _ in found}
        self.later = [(level, bool(is_retry)) for _, level, is_retry, _, _ in later]
        losses = {one.row: one.loss for one in self.withdrawn if one.loss is not None}
        self.records = [cancelled_record(self._with_loss(decode_job(data), losses.get(row)), self.now_ms) for row, data in found]
        self.records += [cancelled_record(decode_job(data), self.now_ms) for *_, data in later]
        delete_jobs(db, list(self.rows))
        delete_later(db, [row for row, *_ in later])
        self.datas = write_ended(db, self.outbox_row, self.records)
        if self.marks:
            db.executemany("INSERT OR IGNORE INTO cancelling VALUES(?)", [(job_id,) for job_id in self.marks])

    def _with_loss(self, job: StoredJob, loss: Lapsed | None) -> StoredJob:
        if loss is not None:
            note_loss(job, loss, self.node, self.now_ms)
        return job

    def apply(self) -> set[bytes]:
        state = self.state
        for one in self.withdrawn:
            if one.was_waiting and one.row not in self.rows:
                one.level.waiting += 1  # it had gone before it was withdrawn
            one.level.forget(one.row)
        for level, is_retry in self.later:
            state.count_later(level, is_retry, -1)
        if self.records:
            state.finish(self.outbox_row, self.records, self.datas)
        return {record.job.spec.id for record in self.records}


class PurgeRoom(msgspec.Struct, frozen=True):
    """What the outbox takes of a purge now."""

    count: int
    data_bytes: int

    @property
    def has_some(self) -> bool:
        return self.count > 0 and self.data_bytes > 0

    def beside(self, data: bytes) -> PurgeRoom:
        return PurgeRoom(self.count - 1, self.data_bytes - len(data))


class PurgeOperation(Operation):
    """One chunk of a purge. Value: (jobs ended, the row to go on above, or None when this was all)."""

    is_held: ClassVar[bool] = True

    def __init__(
        self, state: State, level: Level, after: int, claimed: frozenset[int], *, until: int, room: PurgeRoom, now_ms: int
    ) -> None:
        self.state, self.level, self.after, self.claimed = state, level, after, claimed
        self.until, self.room, self.now_ms = until, room, now_ms
        self.size = PURGE_CHUNK
        self.outbox_row = state.outbox.reserve_row()
        self.records: list[Record] = []
        self.datas: list[bytes] = []
        self.last: int | None = None

    def write(self, db: Database) -> None:
        sql = "SELECT row, data FROM jobs WHERE row > ? AND row <= ? ORDER BY row LIMIT ?"
        found = fetch(db, sql, (self.after, self.until, PURGE_CHUNK), numbers=["row"], blobs=["data"])
        self.last = found[-1][0] if len(found) == PURGE_CHUNK else None
        waiting: list[tuple[int, bytes]] = []
        looked_at, room = self.after, self.room
        for row, data in found:
            if row not in self.claimed:
                if not room.has_some:
                    self.last = looked_at
                    break
                waiting.append((row, data))
                room = room.beside(data)
            looked_at = row
        self.records = [cancelled_record(decode_job(data), self.now_ms) for _, data in waiting]
        delete_jobs(db, [row for row, _ in waiting])
        self.datas = write_ended(db, self.outbox_row, self.records)

    def apply(self) -> tuple[int, int | None]:
        self.level.waiting -= len(self.records)
        if self.records:
            self.state.finish(self.outbox_row, self.records, self.datas)
        return len(self.records), self.last


class PurgeLaterOperation(Operation):
    """The same for delayed jobs: `levels` are the numbers of the queue's levels."""

    is_held: ClassVar[bool] = True

    def __init__(self, state: State, levels: Sequence[int], after: int, room: PurgeRoom, now_ms: int) -> None:
        self.state, self.levels, self.after, self.room, self.now_ms = state, levels, after, room, now_ms
        self.size = PURGE_CHUNK
        self.outbox_row = state.outbox.reserve_row()
        self.found: list[tuple[Any, ...]] = []
        self.is_all = False
        self.records: list[Record] = []
        self.datas: list[bytes] = []

    def write(self, db: Database) -> None:
        which = "WHERE row > ?2 AND level IN (SELECT value FROM json_each(?1)) ORDER BY row LIMIT ?3"
        self.found, room = [], self.room
        found = fetch_later(db, which, (json_text(self.levels), self.after, PURGE_CHUNK))
        for one in found:
            if room.has_some:
                self.found.append(one)
                room = room.beside(one[-1])
        self.is_all = len(self.found) == len(found) < PURGE_CHUNK
        self.records = [cancelled_record(decode_job(data), self.now_ms) for *_, data in self.found]
        delete_later(db, [row for row, *_ in self.found])
        self.datas = write_ended(db, self.outbox_row, self.records)

    def apply(self) -> tuple[int, int | None]:
        for _, level, is_retry, _, _ in self.found:
            self.state.count_later(level, bool(is_retry), -1)
        if self.records:
            self.state.finish(self.outbox_row, self.records, self.datas)
        last: int = self.found[-1][0] if self.found else self.after
        return len(self.records), None if self.is_all else last


def has_waiting(db: Database, after: int, until: int, claimed: frozenset[int]) -> bool:
    """Whether a `PurgeOperation` from there on would end a job."""
    rows = db.execute("SELECT row FROM jobs WHERE row > ? AND row <= ? ORDER BY row LIMIT ?", (after, until, len(claimed) + 1))
    return any(row not in claimed for (row,) in rows)


def has_later(db: Database, after: int, levels: Sequence[int]) -> bool:
    """Whether a `PurgeLaterOperation` would."""
    which = "SELECT 1 FROM later WHERE row > ? AND level IN (SELECT value FROM json_each(?)) LIMIT 1"
    return db.execute(which, (after, json_text(levels))).fetchone() is not None


class PromoteOperation(Operation):
    """Delayed jobs become ready: the first `limit` due at `now_ms`, or those of `ids`, due or not. Value: the ids promoted."""

    takes_ballast: ClassVar[bool] = True

    def __init__(self, state: State, limit: int, *, now_ms: int, now: float, ids: Sequence[bytes] | None = None) -> None:
        self.state, self.limit, self.now_ms, self.now, self.ids = state, limit, now_ms, now, ids
        self.size = limit
        self.blocks = {level.number: level.reserve(limit) for level in state.window.levels.values() if level.later}
        self.moved: list[tuple[int, bool]] = []
        self.entries: dict[int, list[Entry]] = {}
        self.data_bytes: dict[int, int] = {}
        self.next_due_ms: int | None = None

    def write(self, db: Database) -> None:
        found = self._find(db)
        by_level: dict[int, list[tuple[bytes, bytes, StoredJob]]] = {}
        live = {job_id for (job_id,) in db.execute(f"SELECT id FROM jobs WHERE id {AMONG}", among([row[3] for row in found]))}
        for _, level, _, job_id, data in found:
            if job_id not in live:  # an id that came again after its session was forgotten: one of the two is enough
                job = decode_job(data)
                if self.ids is not None:
                    job.due_ms = self.now_ms
                    data = encode_job(job)
                by_level.setdefault(level, []).append((job_id, data, job))
        for level, moving in by_level.items():
            first = self.blocks[level]
            insert_jobs(db, first, [job_id for job_id, _, _ in moving], [data for _, data, _ in moving])
            self.entries[level] = [(first + at, job) for at, (_, _, job) in enumerate(moving)]
            self.data_bytes[level] = sum(len(data) for _, data, _ in moving)
        delete_later(db, [row[0] for row in found])
        self.moved = [(row[1], bool(row[2])) for row in found]
        (self.next_due_ms,) = db.execute("SELECT min(due_ms) FROM later").fetchone()

    def _find(self, db: Database) -> list[tuple[Any, ...]]:
        """Of levels that had no delayed job when this was put, none can be moved: they have no block. The next round has one."""
        if self.ids is None:
            found = fetch_later(db, "WHERE due_ms <= ? ORDER BY due_ms, row LIMIT ?", (self.now_ms, self.limit))
        else:
            found = fetch_later(db, f"WHERE id {AMONG}", among(self.ids))
        return [row for row in found if row[1] in self.blocks]

    def refuse(self) -> None:
        """The disk is full, say: look again in a second, rather than at each claim."""
        self.state.next_due_ms = max(self.state.next_due_ms or 0, self.now_ms + 1000)

    def apply(self) -> set[bytes]:
        state = self.state
        for number, entries in self.entries.items():
            state.window.levels[number].add(entries, self.data_bytes[number], self.now)
            state.became_ready = True
        for number, is_retry in self.moved:
            state.count_later(number, is_retry, -1)
        state.next_due_ms = self.next_due_ms
        return {job.spec.id for entries in self.entries.values() for _, job in entries}


class RequeueOperation(Operation):
    """Finished jobs become ready again, as their next run. Value: the ids requeued."""

    def __init__(self, state: State, jobs: Mapping[Level, Sequence[StoredJob]], now: float) -> None:
        self.state, self.now = state, now
        self.blocks = [(level, level.reserve(len(mine)), mine) for level, mine in jobs.items()]
        self.size = sum(map(len, jobs.values()))
        self.entries: list[tuple[Level, list[Entry], int]] = []

    def write(self, db: Database) -> None:
        self.entries = []
        for level, first, jobs in self.blocks:
            if not level.queue.is_stored:
                db.execute("INSERT OR IGNORE INTO queues(number, name) VALUES(?, ?)", (level.queue.number, level.queue.name))
            ready = [job for job in self._not_live(db, jobs) if self._take_key(db, job)]
            datas = [encode_job(job) for job in ready]
            insert_jobs(db, first, [job.spec.id for job in ready], datas)
            entries = [(first + at, job) for at, job in enumerate(ready)]
            self.entries.append((level, entries, sum(map(len, datas))))

    def _not_live(self, db: Database, jobs: Sequence[StoredJob]) -> Iterable[StoredJob]:
        parameters = among([job.spec.id for job in jobs])
        live = {found for table in ("jobs", "later") for (found,) in db.execute(f"SELECT id FROM {table} WHERE id {AMONG}", parameters)}
        return (job for job in jobs if job.spec.id not in live)

    def _take_key(self, db: Database, job: StoredJob) -> bool:
        options = job.spec.options
        if options is None or not options.unique_key:
            return True
        return db.execute("INSERT OR IGNORE INTO uniq VALUES(?, ?)", (options.unique_key, job.spec.id)).rowcount == 1

    def apply(self) -> set[bytes]:
        state = self.state
        requeued: set[bytes] = set()
        for level, entries, data_bytes in self.entries:
            level.queue.is_stored = True
            level.add(entries, data_bytes, self.now)
            requeued.update(job.spec.id for _, job in entries)
            state.reruns.add((job.spec.id, job.run) for _, job in entries)
        state.requeued.update(job_id for job_id in requeued if state.outbox.get(job_id) is not None)
        state.became_ready = True
        return requeued


class ForgetKeysOperation(Operation):
    """Idempotency keys and callers' ids whose window is over, a bounded number. Value: whether those were all."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.count = 0

    def write(self, db: Database) -> None:
        sql = "DELETE FROM idem WHERE key IN (SELECT key FROM idem WHERE until_ms <= ? LIMIT ?)"
        self.count = db.execute(sql, (self.now_ms, KEYS_FORGOTTEN_MAX)).rowcount

    def apply(self) -> bool:
        return self.count < KEYS_FORGOTTEN_MAX


class Statements(Operation):
    """Small changes without jobs: progress, pruning, a purge's version."""

    def __init__(self, *statements: tuple[str, Sequence[Sequence[object]]]) -> None:
        self.statements = statements

    def write(self, db: Database) -> None:
        for sql, rows in self.statements:
            db.executemany(sql, rows)

    def apply(self) -> None:
        pass


class PauseStatements(Statements):
    """A queue's pause, or the end of it."""

    takes_ballast: ClassVar[bool] = True


def write_ended(db: Database, outbox_row: int, records: Sequence[Record]) -> list[bytes]:
    """Records of jobs that were just deleted: into the outbox, their unique keys free. Returns their encodings."""
    datas = [encode_record(record) for record in records]
    if datas:
        insert_outbox(db, outbox_row, datas)
        settle_keys(db, records)
    return datas
