"""A node inside the caller, for tests of applications: `app.testing()`.

Each submit runs its jobs to the end before it is answered: no socket, no worker, no waiting between retries. The client in front of it
is the real one, and so is what it packs; only what is behind it is replaced. A `def` task runs in the calling thread, an `async def` task
in the running loop (`submit_async`), or in a loop of its own (`submit`).

Limits and repeats are those of a node with its default settings. Whatever a task raises is its own failure, as in a worker, SystemExit and
KeyboardInterrupt as well; only a submit that is itself cancelled ends before its jobs, and leaves them cancelled.

A job is live while the submit that brought it runs: others see it so, from other threads, other coroutines, or from inside its task.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections import ChainMap
from collections.abc import Awaitable, Container, Generator, Iterable, Mapping, MutableMapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import msgpack

from ..errors import InvalidJob
from ..fault import MESSAGE_CHARS_MAX, bounded, describe, result_too_large
from ..job import (
    Attempt,
    JobFault,
    JobSpec,
    JobState,
    JobView,
    Limits,
    Record,
    StoredJob,
    check_repeat,
    check_spec,
    format_id,
    key_conflict,
    make_id,
    same_content,
    view_live,
    view_record,
)
from ..task import Context, Definition, Discard, PayloadMismatch, Snooze, check_progress
from ..wire import messages as m
from .packing import check_plain, pack_value, unpack

LIMITS = Limits()
RESULT_BYTES_MAX = 1 << 20
"""What MAX_RESULT is by default."""
JOB_TIMEOUT_S = 1800.0
"""What JOB_TIMEOUT is by default."""
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


@dataclass(eq=False, slots=True)
class LiveJob:
    """`thread`: the one that runs it, by its ident. `done`: completed when there is a record."""

    job: StoredJob
    started_ms: int = 0
    is_cancelled: bool = False
    thread: int = field(default_factory=threading.get_ident)
    done: Future[None] = field(default_factory=Future)

    def __post_init__(self) -> None:
        self.done.set_running_or_notify_cancel()  # who waits for it and gives up does not take it from the others

    @property
    def state(self) -> JobState:
        if not self.started_ms:
            return JobState.PENDING
        return JobState.CANCELLING if self.is_cancelled else JobState.RUNNING


class InlineNode:
    """`submitted`: every job, in order. `records`: what became of them, by id."""

    def __init__(self, tasks: Mapping[str, Definition], max_retries: int) -> None:
        self.submitted: list[SubmittedJob] = []
        self.records: dict[bytes, Record] = {}
        self._tasks, self._max_retries = tasks, max_retries
        self._live: dict[bytes, LiveJob] = {}
        self._known: Known = {}
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
        if isinstance(request, m.Wait):
            return (yield from self._wait(request))
        return self._look(request)

    def _look(self, request: m.Request) -> m.Reply:
        if isinstance(request, m.Get):
            return m.Jobs([self._view(job_id) for job_id in request.ids])
        if isinstance(request, m.AskRuns):
            found = [self._live.get(job_id) or self.records.get(job_id) for job_id in request.ids]
            return m.Runs([-1 if one is None else one.job.run for one in found])
        if isinstance(request, m.Cancel):
            return m.Verdicts([self._cancel(job_id) for job_id in request.ids])
        if isinstance(request, m.Promote):
            return m.Verdicts(["not-delayed"] * len(request.ids))
        if isinstance(request, m.List):
            wanted = request.wanted
            everyone: list[LiveJob | Record] = [*self._live.values(), *reversed(self.records.values())]
            fitting = [self._view(one.job.spec.id) for one in everyone if wanted.accepts(one.job, one.state)]
            return m.Page([view for view in fitting if view is not None], b"", len(everyone))
        if isinstance(request, m.Queues):
            return m.QueueCounts([])
        if isinstance(request, m.Ping):
            return m.Pong("inline", "inline", m.Durability.PROCESS, False, sorted(self._tasks))
        raise InvalidJob(f"{type(request).__name__} is not available inside app.testing(); test it with a real node")

    def _view(self, job_id: bytes) -> JobView | None:
        if (live := self._live.get(job_id)) is not None:
            return view_live(live.job, live.state, node="inline", worker="inline", started_ms=live.started_ms)
        record = self.records.get(job_id)
        return None if record is None else view_record(record)

    def _cancel(self, job_id: bytes) -> str:
        """A task that runs is told by its context and not interrupted."""
        live = self._live.get(job_id)
        if live is None:
            return "finished" if job_id in self.records else "unknown"
        live.is_cancelled = True
        return "cancelling" if live.started_ms else "cancelled"

    def _wait(self, request: m.Wait) -> Steps[m.Reply]:
        lives = [self._live.get(job_id) for job_id in request.ids]
        running = [live.done for live in lives if live is not None]
        if len(running) == len(lives):
            yield _first_of(running, request.timeout_ms / 1000)
        return m.Jobs([self._view(job_id) for job_id in request.ids if job_id not in self._live])

    def refuse_deadlock(self, ids: Iterable[bytes], blocked: Container[int]) -> None:
        """Before a wait that blocks these threads. Raises: TimeoutError, as after any wait in vain, when they are what runs the jobs."""
        lives = [self._live.get(job_id) for job_id in ids]
        if all(live is not None and live.thread in blocked for live in lives):
            named = ", ".join(format_id(live.job.spec.id) for live in lives[:3] if live is not None)
            raise TimeoutError(
                f"job {named} runs in the thread that waits for it, which inside app.testing() never ends; look at its status, or wait "
                "where it is not running: after its submit, or with await in another coroutine"
            )

    # ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _submit(self, request: m.Submit) -> Steps[m.Reply]:
        holders = self._holders(request.jobs)
        others = [(index, holder) for index, holder in enumerate(holders) if holder is not None]
        new = [spec for spec, holder in zip(request.jobs, holders, strict=True) if holder is None]
        yield from self._run_all([StoredJob(spec, _now_ms()) for spec in new])
        return m.SubmitReply(m.Durability.PROCESS, others)

    def _holders(self, specs: Sequence[JobSpec]) -> list[m.Submitted | None]:
        """Of each the job that is there already. All or nothing, as every submit. Raises: InvalidJob, PayloadTooLarge, JobConflict."""
        for spec in specs:
            check_spec(spec, LIMITS)
        mine: Known = {}
        known = ChainMap(mine, self._known)
        holders = [_holder(spec, known) for spec in specs]
        self._known.update(mine)
        return holders

    def _requeue(self, request: m.Requeue) -> Steps[m.Reply]:
        verdicts = []
        for job_id, run in zip(request.ids, request.runs, strict=True):
            verdicts.append((yield from self._run_again(job_id, run)))
        return m.Verdicts(verdicts)

    def _run_again(self, job_id: bytes, run: int) -> Steps[str]:
        there = self._live.get(job_id) or self.records.get(job_id)
        if there is None or run < 0:
            return "unknown"
        if there.job.run > run:
            return "requeued"
        if isinstance(there, LiveJob):
            return "live"
        spec = there.job.spec
        if (unique := _unique(spec)) and self._known.setdefault(unique, (job_id, spec))[0] != job_id:
            return "unique"
        del self.records[job_id]
        yield from self._run_all([StoredJob(spec, there.job.created_ms, run=there.job.run + 1)])
        return "requeued"

    # ── running ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _run_all(self, jobs: Sequence[StoredJob]) -> Steps[None]:
        """One after the other. Those that a cancelled submit leaves behind nobody will finish: they are cancelled as well."""
        lives = [LiveJob(job) for job in jobs]
        self._live.update({live.job.spec.id: live for live in lives})
        try:
            for live in lives:
                spec = live.job.spec
                if live.job.run == 1:
                    payload = unpack(spec.payload, "the payload")
                    self.submitted.append(SubmittedJob(format_id(spec.id), spec.type, payload, spec))
                if not live.is_cancelled:
                    live.started_ms = _now_ms()
                    self._end(live, (yield from self._run(live)))
        finally:
            for live in lives:
                if not live.done.done():
                    self._end(live, Record(live.job, JobState.CANCELLED, _now_ms()))

    def _end(self, live: LiveJob, record: Record) -> None:
        spec = record.job.spec
        self.records[spec.id] = record
        del self._live[spec.id]
        if unique := _unique(spec):
            del self._known[unique]
        live.done.set_result(None)

    def _run(self, live: LiveJob) -> Steps[Record]:
        """All attempts of a job, one after the other."""
        job = live.job
        definition = self._tasks.get(job.spec.type)
        if definition is None:
            known = ", ".join(sorted(self._tasks)[:20])
            return _failed(job, JobFault("UnknownTask", f"no task {job.spec.type!r}; known tasks: {known}"))
        for _ in range(SNOOZES_MAX + self._retries_of(job, definition) + 1):
            began_ms = _now_ms()
            came = yield from self._attempt(definition, live)
            outcome, told = ("cancelled", None) if live.is_cancelled else self._judge(came, job, definition)
            self._note(job, began_ms, outcome, told)
            if live.is_cancelled:
                return Record(job, JobState.CANCELLED, _now_ms())
            if isinstance(came, bytes):
                return Record(job, JobState.COMPLETED, _now_ms(), came)
            if outcome == "failed":
                return Record(job, JobState.FAILED, _now_ms(), error=told)
            job.retries += outcome == "retried"
        return _failed(
            job, JobFault("Snooze", f"snoozed more than {SNOOZES_MAX} times, which never ends without waiting")
        )

    def _attempt(self, definition: Definition, live: LiveJob) -> Steps[bytes | JobFault | BaseException]:
        """The packed result, why it cannot be one, or what the task raised."""
        self._fence += 1
        try:
            value = definition.call(self._context(live, definition), unpack(live.job.spec.payload, "the payload"))
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

    def _context(self, live: LiveJob, definition: Definition) -> Context:
        job = live.job

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
            deadline=time.time() + _hard_limit_s(job.spec, definition),
            log=logging.getLogger("zjp.task"),
            report=report,
            cancelled=lambda: live.is_cancelled,
            tags=options.tags if options is not None else (),
            node_id="inline",
            worker_id="inline",
        )

    def _note(self, job: StoredJob, began_ms: int, outcome: str, fault: JobFault | None) -> None:
        job.attempts += (Attempt(self._fence, "inline", "inline", began_ms, _now_ms(), outcome, fault),)


async def _first_of(running: Iterable[Future[None]], timeout_s: float) -> None:
    """Until one of them is done. They belong to any thread."""
    waits = [asyncio.wrap_future(one) for one in running]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()  # what is done must not tell a loop that has ended meanwhile


@dataclass(frozen=True, slots=True)
class Raised:
    """Instead of a value: what an `async def` task raised."""

    fault: BaseException


Known: TypeAlias = MutableMapping[bytes, tuple[bytes, JobSpec]]
"""Of ids, idempotency keys and unique keys that are held: the job they stand for, and the request that brought them."""


def _holder(spec: JobSpec, known: Known) -> m.Submitted | None:
    """The job that a submit repeats, or that holds its unique key; what is new becomes known. Raises: JobConflict."""
    named, key = b"id:" + spec.id, spec.options.idempotency_key.encode() if spec.options is not None else b""
    keyed, unique = b"key:" + key, _unique(spec)
    if named in known:
        holder, before = known[named]
        check_repeat(spec, before)
        return m.Submitted(holder, m.SubmitKind.EXISTED)
    if key and keyed in known:
        holder, before = known[keyed]
        if not same_content(spec, before):
            raise key_conflict(keyed, holder)
        return m.Submitted(holder, m.SubmitKind.EXISTED)
    holder = known.setdefault(unique, (spec.id, spec))[0] if unique else spec.id
    known.update(dict.fromkeys([named, keyed] if key else [named], (holder, spec)))
    return None if holder == spec.id else m.Submitted(holder, m.SubmitKind.UNIQUE)


def _unique(spec: JobSpec) -> bytes:
    """Its unique key as it is known; empty: it has none."""
    return b"unique:" + spec.options.unique_key.encode() if spec.options is not None and spec.options.unique_key else b""


def _hard_limit_s(spec: JobSpec, definition: Definition) -> float:
    if spec.options is not None and spec.options.timeout_ms is not None:
        return spec.options.timeout_ms / 1000
    of_task = definition.options.timeout_s
    return JOB_TIMEOUT_S if of_task is None else of_task


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
