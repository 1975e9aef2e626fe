"""A node inside the caller, for tests of applications: `app.testing()`.

Each submit runs its jobs to the end before it is answered: no socket, no worker, no waiting between retries. The client in front of it
is the real one, and so is what it packs; only what is behind it is replaced. A `def` task runs in the calling thread, an `async def` task
in the running loop (`submit_async`), or in a loop of its own (`submit`).
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from ..errors import InvalidJob
from ..job import Attempt, JobFault, JobSpec, JobState, Record, StoredJob, format_id, make_id, view_record
from ..task import Context, Definition, Discard, PayloadMismatch, Snooze
from ..wire import messages as m
from .calls import Outcome, Voice
from .packing import check_plain, pack_value, unpack

SNOOZES_MAX = 100
"""A task that snoozes more often inside one submit would never end."""
T = TypeVar("T")

Steps: TypeAlias = Generator[Awaitable[Any], Any, T]
"""Yields what has to be awaited, and is sent what came of it."""


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
        self._keys: dict[str, bytes] = {}
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
        others = []
        for index, spec in enumerate(request.jobs):
            holder = self._holder(spec)
            if holder is not None:
                others.append((index, m.Submitted(holder, m.SubmitKind.EXISTED)))
                continue
            payload = unpack(spec.payload, "the payload")
            self.submitted.append(SubmittedJob(format_id(spec.id), spec.type, payload, spec))
            self.records[spec.id] = yield from self._run(StoredJob(spec, _now_ms()))
        return m.SubmitReply(m.Durability.PROCESS, others)

    def _holder(self, spec: JobSpec) -> bytes | None:
        """The job that is there already. All jobs are finished at once, so a unique key is never held."""
        key = spec.options.idempotency_key if spec.options is not None else ""
        holder = self._keys.setdefault(key, spec.id) if key else spec.id
        return holder if holder in self.records else None

    def _requeue(self, request: m.Requeue) -> Steps[m.Reply]:
        verdicts = []
        for job_id in request.ids:
            record = self.records.get(job_id)
            if record is not None:
                again = StoredJob(record.job.spec, record.job.created_ms, run=record.job.run + 1)
                self.records[job_id] = yield from self._run(again)
            verdicts.append("unknown" if record is None else "requeued")
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
            try:
                result = yield from self._call(definition, job)
            except Exception as fault:
                told = JobFault(type(fault).__name__, str(fault), "".join(traceback.format_exception(fault)))
                outcome = self._outcome_of(fault, job, definition)
                self._note(job, began_ms, outcome, None if outcome == "snoozed" else told)
                if outcome == "failed":
                    return Record(job, JobState.FAILED, _now_ms(), error=told)
                job.retries += outcome == "retried"
            else:
                self._note(job, began_ms, "completed", None)
                return Record(job, JobState.COMPLETED, _now_ms(), result)
        return _failed(
            job, JobFault("Snooze", f"snoozed more than {SNOOZES_MAX} times, which never ends without waiting")
        )

    def _call(self, definition: Definition, job: StoredJob) -> Steps[bytes]:
        """One attempt: the packed result."""
        self._fence += 1
        value = definition.call(self._context(job), unpack(job.spec.payload, "the payload"))
        if inspect.isawaitable(value):
            value = yield value
        try:
            check_plain(value, "the result")
            return pack_value(value)
        except InvalidJob as fault:
            raise ResultNotSerialisable(str(fault)) from None

    def _outcome_of(self, fault: Exception, job: StoredJob, definition: Definition) -> str:
        if isinstance(fault, Snooze):
            return "snoozed"
        is_final = isinstance(fault, Discard | PayloadMismatch | ResultNotSerialisable)
        return "failed" if is_final or job.retries >= self._retries_of(job, definition) else "retried"

    def _retries_of(self, job: StoredJob, definition: Definition) -> int:
        options = job.spec.options
        if options is not None and options.max_retries is not None:
            return options.max_retries
        of_task = definition.options.max_retries
        return self._max_retries if of_task is None else of_task

    def _context(self, job: StoredJob) -> Context:
        def report(progress: Mapping[str, Any]) -> None:
            job.progress = pack_value(dict(progress))

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


class ResultNotSerialisable(Exception):
    """The task returned what is not plain data."""


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
        steps = self._node.answer(request)
        send: Callable[[Any], Awaitable[Any]] = steps.send
        value: Any = None
        while True:
            try:
                awaitable = send(value)
            except StopIteration as end:
                reply: m.Reply = end.value
                return reply
            try:
                value, send = await awaitable, steps.send
            except Exception as fault:
                value, send = fault, steps.throw

    def gather(self, spec: JobSpec, within_s: float) -> Awaitable[Outcome]:
        return self.ask(m.Submit([spec]), within_s)

    def speaking_for(self, voice: Voice) -> AsyncInlineDoor:
        """Everybody may do everything here."""
        return self

    def close(self) -> None:
        """Nothing is held open."""


def _drive(steps: Steps[T]) -> T:
    """Run what is yielded, each in a loop of its own."""
    send: Callable[[Any], Awaitable[Any]] = steps.send
    value: Any = None
    while True:
        try:
            awaitable = send(value)
        except StopIteration as end:
            done: T = end.value
            return done
        try:
            value, send = _run_apart(awaitable), steps.send
        except Exception as fault:
            value, send = fault, steps.throw


def _run_apart(awaitable: Awaitable[Any]) -> Any:
    """In a loop of its own; in a thread of its own where this one runs a loop already."""

    async def run() -> Any:
        return await awaitable

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run())
    box: list[Any] = []

    def in_thread() -> None:
        try:
            box.append(asyncio.run(run()))
        except BaseException as fault:
            box.append(_Raised(fault))

    thread = threading.Thread(target=in_thread, name="zjp-inline")
    thread.start()
    thread.join()
    if isinstance(box[0], _Raised):
        raise box[0].fault
    return box[0]


@dataclass(frozen=True, slots=True)
class _Raised:
    fault: BaseException
