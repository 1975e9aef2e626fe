"""Storing new jobs, and recognising repeats of old ones.

A request whose ids are all new (sessions.py) is stored without any look-up. Suspected ids are looked for where a job moves through,
in the order in which it moves: live, outbox, records; what is found nowhere is stored. While that goes on, or is being
written, the same id in another request waits: so between look-up and insert nothing slips through. A request waits only for those
that came before it, so no two wait for each other.

Idempotency keys, unique keys and ids made by callers are decided in the writer's thread, inside the transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence

import msgspec

from ..errors import JobConflict
from ..job import JobSpec, Options, StoredJob, check_repeat, key_conflict
from ..wire.messages import SubmitKind, Submitted
from .database import Constraint, Database, insert_jobs, insert_later, json_text
from .journal import Operation
from .state import State, encode_job
from .window import Level

CALLER_WINDOW_MS = 24 * 3600 * 1000
"""How long a key or an id that a caller made is remembered."""

JOB_BYTES = 4096
"""A payload counts as one job more for every so many bytes: what bounds commits and the journal bounds bytes, too."""


class IdTaken(JobConflict):
    """An id thought new is live. The store looks all of them up and tries again."""


class Request:
    """One submit under way: what later requests with the same ids wait for."""

    def __init__(self, specs: Sequence[JobSpec]) -> None:
        self.specs = specs
        self._ids: frozenset[bytes] | None = None
        self._over: asyncio.Future[None] | None = None
        self.is_over = False

    def holds(self, ids: set[bytes]) -> bool:
        if self._ids is None:
            self._ids = frozenset(spec.id for spec in self.specs)
        return not ids.isdisjoint(self._ids)

    async def wait(self) -> None:
        if not self.is_over:
            if self._over is None:
                self._over = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._over])

    def end(self) -> None:
        self.is_over = True
        if self._over is not None and not self._over.done():
            self._over.set_result(None)


class Requests:
    """The submits under way, in the order they came."""

    def __init__(self) -> None:
        self._open: dict[int, Request] = {}
        self._next = 0

    def begin(self, specs: Sequence[JobSpec]) -> tuple[int, Request]:
        number, self._next = self._next, self._next + 1
        request = self._open[number] = Request(specs)
        return number, request

    def end(self, number: int) -> None:
        request = self._open.pop(number, None)
        if request is not None:
            request.end()

    async def wait_for_earlier(self, number: int, ids: set[bytes]) -> None:
        for other in [other for at, other in self._open.items() if at < number and other.holds(ids)]:
            await other.wait()


class Group(msgspec.Struct):
    """Jobs of one level, into rows `first_row` and following; rows of those that turn out to be refused stay unused at the end."""

    level: Level
    first_row: int
    jobs: list[StoredJob]


class Delayed(msgspec.Struct):
    level: Level
    job: StoredJob


class SubmitOperation(Operation):
    def __init__(self, state: State, requests: Requests, number: int, now_ms: int, now: float) -> None:
        self.state, self.requests, self.number = state, requests, number
        self.now_ms, self.now = now_ms, now
        self.groups: list[Group] = []
        self.delayed: list[Delayed] = []
        self.keyed: list[JobSpec] = []
        self.sessions: Mapping[bytes, bytes] = {}
        self.others: dict[bytes, Submitted] = {}
        """Jobs that were not stored after all, by the id asked for."""
        self.sizes: list[int] = []

    def plan(self, specs: Sequence[JobSpec], level_of: Callable[[str, int], Level]) -> None:
        """Sort the jobs into levels and reserve their rows: call in the tick of `Journal.put`. Raises: what `level_of` raises."""
        ready: dict[Level, list[StoredJob]] = {}
        mine: list[StoredJob] = []
        level: Level | None = None
        now_ms, queue, priority = self.now_ms, "", 0
        for spec in specs:
            if level is None or spec.priority != priority or spec.queue != queue:  # nearly always the same as of the one before
                queue, priority = spec.queue, spec.priority
                level = level_of(queue, priority)
                mine = ready.setdefault(level, [])
            if spec.options is None:
                mine.append(StoredJob(spec, now_ms))
            else:
                self._plan_with_options(spec, spec.options, level, mine)
        self.groups = [Group(level, level.reserve(len(mine)), mine) for level, mine in ready.items() if mine]
        self.size = len(specs) + sum([len(spec.payload) for spec in specs]) // JOB_BYTES

    def _plan_with_options(self, spec: JobSpec, options: Options, level: Level, ready: list[StoredJob]) -> None:
        due_ms = self.now_ms + options.delay_ms if options.delay_ms else options.run_at_ms
        if due_ms > self.now_ms:
            self.delayed.append(Delayed(level, StoredJob(spec, self.now_ms, due_ms)))
        else:
            ready.append(StoredJob(spec, self.now_ms))
        if options.unique_key or options.idempotency_key or options.caller_id:
            self.keyed.append(spec)

    def write(self, db: Database) -> None:
        self.others = {}
        for spec in self.keyed:
            self._check_keys(db, spec)
        self._write_queues(db)
        try:
            self._write_jobs(db)
        except Constraint as error:
            raise IdTaken(f"an id of the request is live already: {error}") from error

    def _write_jobs(self, db: Database) -> None:
        self.sizes = []
        for group in self.groups:
            if self.others:
                group.jobs = [job for job in group.jobs if job.spec.id not in self.others]
            datas = [encode_job(job) for job in group.jobs]
            self.sizes.append(sum(map(len, datas)))
            insert_jobs(db, group.first_row, [job.spec.id for job in group.jobs], datas)
        self.delayed = [delayed for delayed in self.delayed if delayed.job.spec.id not in self.others]
        if self.delayed:
            insert_later(
                db,
                [(delayed.job.due_ms, delayed.level.number, False) for delayed in self.delayed],
                [delayed.job.spec.id for delayed in self.delayed],
                [encode_job(delayed.job) for delayed in self.delayed],
            )

    def _write_queues(self, db: Database) -> None:
        queues = {group.level.queue for group in self.groups} | {delayed.level.queue for delayed in self.delayed}
        for queue in queues:
            if not queue.is_stored:
                db.execute("INSERT OR IGNORE INTO queues(number, name) VALUES(?, ?)", (queue.number, queue.name))

    def _check_keys(self, db: Database, spec: JobSpec) -> None:
        options = spec.options
        assert options is not None
        keys = [b"key:" + options.idempotency_key.encode()] if options.idempotency_key else []
        if options.caller_id:
            keys.append(b"id:" + spec.id)
        for key in keys:
            if (known := self._known(db, key, spec)) is not None:
                self.others[spec.id] = Submitted(known, SubmitKind.EXISTED)
                return
        if options.unique_key:
            holder = db.execute("SELECT id FROM uniq WHERE key = ?", (options.unique_key,)).fetchone()
            if holder is not None:
                self.others[spec.id] = Submitted(holder[0], SubmitKind.UNIQUE)
                self._remember(db, keys, holder[0], spec)
                return
            db.execute("INSERT INTO uniq VALUES(?, ?)", (options.unique_key, spec.id))
        self._remember(db, keys, spec.id, spec)

    def _remember(self, db: Database, keys: Sequence[bytes], job_id: bytes, spec: JobSpec) -> None:
        """The keys stand for the request: it is answered with this job for their window, also after another one's unique key is free."""
        until_ms = self.now_ms + CALLER_WINDOW_MS
        for key in keys:
            db.execute("INSERT OR REPLACE INTO idem VALUES(?, ?, ?, ?)", (key, job_id, _content(spec), until_ms))

    def _known(self, db: Database, key: bytes, spec: JobSpec) -> bytes | None:
        found = db.execute("SELECT id, content FROM idem WHERE key = ? AND until_ms > ?", (key, self.now_ms)).fetchone()
        if found is None:
            return None
        known, content = found
        if content != _content(spec):
            raise key_conflict(key, known)
        return bytes(known)

    def apply(self) -> Mapping[bytes, Submitted]:
        for group, size in zip(self.groups, self.sizes, strict=True):
            level, jobs = group.level, group.jobs
            level.queue.is_stored = True
            level.add(list(zip(range(group.first_row, group.first_row + len(jobs)), jobs, strict=True)), size, self.now)
        for delayed in self.delayed:
            level = delayed.level
            level.queue.is_stored = True
            level.later += 1
            level.queue.scheduled += 1
            self.state.note_due(delayed.job.due_ms)
        self.state.became_ready = True
        self.requests.end(self.number)
        return self.others

    def refuse(self) -> None:
        self.requests.end(self.number)


def write_sessions(db: Database, operations: Sequence[Operation]) -> None:
    """The highest counters of the sessions in one commit's submits."""
    tops: dict[bytes, bytes] = {}
    now_ms = 0
    for operation in operations:
        if isinstance(operation, SubmitOperation):
            tops.update(operation.sessions)
            now_ms = operation.now_ms
    if tops:
        db.execute(
            "INSERT OR REPLACE INTO sessions SELECT substr(?1, key * 6 + 1, 6), substr(?2, key * 16 + 1, 16), ?3 FROM json_each(?4)",
            (b"".join(tops), b"".join(tops.values()), now_ms, json_text([0] * len(tops))),
        )


def _content(spec: JobSpec) -> bytes:
    content = hashlib.blake2b(digest_size=16)
    for part in (spec.type.encode(), spec.queue.encode(), spec.payload):
        content.update(len(part).to_bytes(4, "big") + part)
    return content.digest()


def check_same(spec: JobSpec, known: JobSpec) -> Submitted:
    """Raises: JobConflict."""
    check_repeat(spec, known)
    return Submitted(spec.id, SubmitKind.EXISTED)


def split_repeats(specs: Sequence[JobSpec], suspects: Sequence[int]) -> tuple[list[int], dict[int, int]]:
    """(suspects to be looked up, repeat -> the earlier index with the same id in this very request). Raises: JobConflict."""
    ids = {specs[index].id for index in suspects}
    first: dict[bytes, int] = {}
    repeats: dict[int, int] = {}
    for index, spec in enumerate(specs):
        if spec.id in ids and first.setdefault(spec.id, index) != index:
            check_same(spec, specs[first[spec.id]])
            repeats[index] = first[spec.id]
    return [index for index in suspects if index not in repeats], repeats
