"""A node inside the caller, for tests of applications: `app.testing()`.

Each submit runs its jobs to the end before it is answered: no socket, no worker, no waiting between retries. The client in front of it
is the real one, and so is what it packs; only what is behind it is replaced. A `def` task runs in the calling thread, an `async def` task
in the running loop (`submit_async`), or in a loop of its own (`submit`).

Limits and repeats are those of a node with its default settings. Whatever a task raises is its own failure, as in a worker, SystemExit and
KeyboardInterrupt as well; only a submit that is itself cancelled ends with its job unfinished.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections import ChainMap
from collections.abc import Awaitable, Generator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import msgpack

from ..errors import InvalidJob
from ..fault import MESSAGE_CHARS_MAX, bounded, describe, result_too_large
from ..job import (
    Attempt,
    JobFault,
    JobSpec,
    JobState,
    Limits,
    Record,
    StoredJob,
    check_repeat,
    check_spec,
    format_id,
    key_conflict,
    make_id,
    same_content,
    view_record,
)
from ..task import Context, Definition, Discard, PayloadMismatch, Snooze, check_progress
from ..wire import messages as m
from .calls import Outcome, Voice
from .packing import check_plain, pack_value, unpack

LIMITS = Limits()
RESULT_BYTES_MAX = 1 << 20
"""What MAX_RESULT is by default."""
SNOOZES_MAX = 100
"""A task that snoozes more often inside one submit would never end."""
T = TypeVar("T")

Steps: TypeAlias = Generator[Awaitable[Any], Any, T]
"""Yields what has to be awaited, and is sent what came of it: the value, or what was Raised."""


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """One submit, as the node saw it."""

    id: str
    type: str
    payload: dict[str, Any]
    spec: JobSpec


class InlineNode:
    """`submitted`: every job, in order. `records`: what became of them, by id."""

    def __init__(self, tasks: Mapping[str, Definition], max_retries: int) -> None:
        self.submitted: list[SubmittedJob] = []
        self.records: dict[bytes, Record] = {}
        self._tasks, self._max_retries = tasks, max_retries
        self._known: dict[bytes, JobSpec] = {}
        self._fence = 0
        self._made = 0

    def make_ids(self, count: int) -> list[bytes]:
        self._made += count
        now_ms = time.time_ns() // 1_000_000
        return [make_id(now_ms, 0, number) for number in range(self._made - count, self._made)]

    def answer(self, request: m.Request) -> Steps[m.Reply]:
        if isinstance(request, m.Submit):
            return (yield from self._submit(request))
        if isinstance(request, m.Requeue):
            return (yield from self._requeue(request))
        return self._look(request)

    def _look(self, request: m.Request) -> m.Reply:
        if isinstance(request, m.Get | m.Wait):
            found = [self.records.get(job_id) for job_id in request.ids]
            return m.Jobs([None if record is None else view_record(record) for record in found])
        if isinstance(request, m.AskRuns):
            found = [self.records.get(job_id) for job_id in request.ids]
            return m.Runs([-1 if record is None else record.job.run for record in found])
        if isinstance(request, m.Cancel):
            return m.Verdicts(["finished" if job_id in self.records else "unknown" for job_id in request.ids])
        if isinstance(request, m.Promote):
            return m.Verdicts(["not-delayed"] * len(request.ids))
        if isinstance(request, m.List):
            wanted = request.wanted
            fitting = [one for one in self.records.values() if wanted.accepts(one.job, one.state)]
            return m.Page([view_record(one) for one in reversed(fitting)], b"", len(self.records))
        if isinstance(request, m.Queues):
            return m.QueueCounts([])
        if isinstance(request, m.Ping):
            return m.Pong("inline", "inline", m.Durability.PROCESS, False, sorted(self._tasks))
        raise InvalidJob(f"{type(request).__name__} is not available inside app.testing(); test it with a real node")

    # ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _submit(self, request: m.Submit) -> Steps[m.Reply]:
        holders = self._holders(request.jobs)
        others = []
        for index, (spec, holder) in enumerate(zip(request.jobs, holders, strict=True)):
            if holder is not None:
                others.append((index, m.Submitted(holder, m.SubmitKind.EXISTED)))
                continue
            payload = unpack(spec.payload, "the payload")
            self.submitted.append(SubmittedJob(format_id(spec.id), spec.type, payload, spec))
            self.records[spec.id] = yield from self._run(StoredJob(spec, _now_ms()))
        return m.SubmitReply(m.Durability.PROCESS, others)

    def _holders(self, specs: Sequence[JobSpec]) -> list[bytes | None]:
        """Of each the job that is there already. All or nothing, as every submit. Raises: InvalidJob, PayloadTooLarge, JobConflict."""
        for spec in specs:
            check_spec(spec, LIMITS)
        mine: dict[bytes, JobSpec] = {}
        known = ChainMap(mine, self._known)
        holders = [_holder(spec, known) for spec in specs]
        self._known.update(mine)
        return holders

    def _requeue(self, request: m.Requeue) -> Steps[m.Reply]:
        verdicts = []
        for job_id, run in zip(request.ids, request.runs, strict=True):
            record = self.records.get(job_id)
            if record is not None and record.job.run <= run:
                again = StoredJob(record.job.spec, record.job.created_ms, run=record.job.run + 1)
                self.records[job_id] = yield from self._run(again)
            verdicts.append("unknown" if record is None or run < 0 else "requeued")
        return m.Verdicts(verdicts)

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, job: StoredJob) -> Steps[Record]:
        """All attempts of a job, one after the other."""
        definition = self._tasks.get(job.spec.type)
        if definition is None:
            known = ", ".join(sorted(self._tasks)[:20])
            return _failed(job, JobFault("UnknownTask", f"no task {job.spec.type!r}; known tasks: {known}"))
        for _ in range(SNOOZES_MAX + self._retries_of(job, definition) + 1):
            began_ms = _now_ms()
            came = yield from self._attempt(definition, job)
            outcome, told = self._judge(came, job, definition)
            self._note(job, began_ms, outcome, told)
            if isinstance(came, bytes):
                return Record(job, JobState.COMPLETED, _now_ms(), came)
            if outcome == "failed":
                return Record(job, JobState.FAILED, _now_ms(), error=told)
            job.retries += outcome == "retried"
        return _failed(
            job, JobFault("Snooze", f"snoozed more than {SNOOZES_MAX} times, which never ends without waiting")
        )

    def _attempt(self, definition: Definition, job: StoredJob) -> Steps[bytes | JobFault | BaseException]:
        """The packed result, why it cannot be one, or what the task raised."""
        self._fence += 1
        try:
            value = definition.call(self._context(job), unpack(job.spec.payload, "the payload"))
        except BaseException as fault:
            return fault
        # From any other task an awaitable is a result, and none that can travel.
        if definition.is_async and inspect.isawaitable(value):
            value = yield value
        return value.fault if isinstance(value, Raised) else _packed(value)

    def _judge(
        self, came: bytes | JobFault | BaseException, job: StoredJob, definition: Definition
    ) -> tuple[str, JobFault | None]:
        """The attempt's outcome, and what is told of it."""
        if isinstance(came, bytes):
            return "completed", None
        if isinstance(came, JobFault):
            return "failed", came
        if isinstance(came, Snooze):
            return "snoozed", None
        is_final = isinstance(came, Discard | PayloadMismatch) or job.retries >= self._retries_of(job, definition)
        return "failed" if is_final else "retried", describe(came)

    def _retries_of(self, job: StoredJob, definition: Definition) -> int:
        options = job.spec.options
        if options is not None and options.max_retries is not None:
            return options.max_retries
        of_task = definition.options.max_retries
        return self._max_retries if of_task is None else of_task

    def _context(self, job: StoredJob) -> Context:
        def report(progress: Mapping[str, Any]) -> None:
            try:
                check_plain(progress, "the progress")
            except InvalidJob as fault:
                raise TypeError(str(fault)) from None
            job.progress = check_progress(msgpack.packb(dict(progress)))

        options = job.spec.options
        return Context(
            job_id=format_id(job.spec.id),
            type=job.spec.type,
            queue=job.spec.queue,
            attempt=job.retries + 1,
            fence=self._fence,
            deadline=time.time() + 3600.0,
            log=logging.getLogger("zjp.task"),
            report=report,
            cancelled=lambda: False,
            tags=options.tags if options is not None else (),
            node_id="inline",
            worker_id="inline",
        )

    def _note(self, job: StoredJob, began_ms: int, outcome: str, fault: JobFault | None) -> None:
        job.attempts += (Attempt(self._fence, "inline", "inline", began_ms, _now_ms(), outcome, fault),)


@dataclass(frozen=True, slots=True)
class Raised:
    """Instead of a value: what an `async def` task raised."""

    fault: BaseException


def _holder(spec: JobSpec, known: MutableMapping[bytes, JobSpec]) -> bytes | None:
    """The job that a submit repeats; one that is new becomes known, by its id and its idempotency key. All jobs are finished at once, so
    a unique key is never held. Raises: JobConflict."""
    named, key = b"id:" + spec.id, spec.options.idempotency_key.encode() if spec.options is not None else b""
    keyed = b"key:" + key
    if named in known:
        check_repeat(spec, known[named])
        return spec.id
    if key and keyed in known:
        if not same_content(spec, known[keyed]):
            raise key_conflict(keyed, known[keyed].id)
        return known[keyed].id
    known.update({named: spec, keyed: spec} if key else {named: spec})
    return None


def _packed(value: Any) -> bytes | JobFault:
    try:
        check_plain(value, "the result")
        result = pack_value(value)
    except Exception as fault:  # a class of the task's own may raise anything when it is looked into
        return JobFault("ResultNotSerialisable", bounded(str(fault), MESSAGE_CHARS_MAX))
    return result_too_large(len(result), RESULT_BYTES_MAX) if len(result) > RESULT_BYTES_MAX else result


def _failed(job: StoredJob, fault: JobFault) -> Record:
    return Record(job, JobState.FAILED, _now_ms(), error=fault)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


# ── doors ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class InlineDoor:
    """What a Client speaks through inside `app.testing()`."""

    def __init__(self, node: InlineNode) -> None:
        self._node = node
        self.make_ids = node.make_ids

    def ask(self, request: m.Request, within_s: float) -> Outcome:
        return _drive(self._node.answer(request))

    def gather(self, spec: JobSpec, within_s: float) -> Outcome:
        return self.ask(m.Submit([spec]), within_s)

    def close(self) -> None:
        """Nothing is held open."""


class AsyncInlineDoor:
    """What an AsyncClient speaks through inside `app.testing()`."""

    def __init__(self, node: InlineNode) -> None:
        self._node = node
        self.make_ids = node.make_ids

    async def ask(self, request: m.Request, within_s: float) -> Outcome:
        steps, value = self._node.answer(request), None
        while True:
            try:
                awaitable = steps.send(value)
            except StopIteration as end:
                reply: m.Reply = end.value
                return reply
            value = await _ended(awaitable)

    def gather(self, spec: JobSpec, within_s: float) -> Awaitable[Outcome]:
        return self.ask(m.Submit([spec]), within_s)

    def speaking_for(self, voice: Voice) -> AsyncInlineDoor:
        """Everybody may do everything here."""
        return self

    def close(self) -> None:
        """Nothing is held open."""


def _drive(steps: Steps[T]) -> T:
    """Run what is yielded, each in a loop of its own."""
    value: Any = None
    while True:
        try:
            awaitable = steps.send(value)
        except StopIteration as end:
            done: T = end.value
            return done
        value = _run_apart(awaitable)


async def _ended(awaitable: Awaitable[Any]) -> Any:
    """What came of it: the value, or what was Raised. Raises only what was meant for the submit itself: its own cancellation."""
    try:
        return await awaitable
    except GeneratorExit:
        raise
    except BaseException as fault:
        caller = asyncio.current_task()
        if isinstance(fault, asyncio.CancelledError) and caller is not None and caller.cancelling():
            raise
        return Raised(fault)


def _run_apart(awaitable: Awaitable[Any]) -> Any:
    """In a loop of its own; in a thread of its own where this one runs a loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_ended(awaitable))
    box: list[Any] = []
    thread = threading.Thread(target=lambda: box.append(asyncio.run(_ended(awaitable))), name="zjp-inline")
    thread.start()
    thread.join()
    return box[0]
