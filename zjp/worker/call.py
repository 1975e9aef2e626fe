"""One job, run: payload in, function called, outcome out. Knows tasks and settings; neither sockets nor threads.

    returned            COMPLETED, or FAILED when the value cannot be packed (ResultNotSerialisable) or is too large (ResultTooLarge)
    Snooze              SNOOZE: not a failure
    Discard, PayloadMismatch                FAILED for good
    Retry, SoftTimeout, any other exception RETRY while retries are left, else FAILED

Whatever a task raises is its own failure, SystemExit and KeyboardInterrupt as well: no task ends the process by an exception, nor by one
that is raised where its exception is looked at (`failed` always answers).
The way of a `def` task that returns nothing is the one that counts: nothing is made there that it does not need.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgpack

from ..fault import MESSAGE_CHARS_MAX, NAMELESS, bounded, describe, result_too_large
from ..job import DELAY_MS_MAX, DEPTH_MAX, JobFault, StoredJob, format_id
from ..task import Context, Definition, Discard, PayloadMismatch, Retry, Snooze, SoftTimeout
from ..tracing import Attempts
from ..units import show_duration
from ..wire.messages import Result, ResultKind, TaskInfo, TaskRetry
from .settings import ChildSettings

_COMPLETED = int(ResultKind.COMPLETED)
_SCALARS = frozenset({bool, int, float, str, bytes})
_LOOKED_INTO = frozenset({list, dict, msgpack.Timestamp})
_pack_scalar = msgpack.Packer(use_bin_type=True).pack
"""Shared by all threads, so for what runs no Python code while it is packed: a class derived from dict may give the interpreter away in the
middle, to a thread that packs as well."""
PLAIN = "None, bool, int (64 bits), float, str, bytes, list, tuple and dict with str keys"
ALLOWED = f"results may hold {PLAIN}"
OWN_FRAMES = 1
NO_DELAY = "it is a Snooze without a delay of at least 0 s; where __init__ is its own, that must call super().__init__(delay)"

log = logging.getLogger("zjp.task")


Start = tuple[int, int]
"""When a job began: (Unix us, for display; monotonic ns, which its duration is measured by: the wall clock may be set while it runs)."""


def end_us(start: Start) -> int:
    """Now, as Unix us: the start and what has passed since."""
    return start[0] + (time.monotonic_ns() - start[1]) // 1000


def unpack(payload: bytes) -> dict[str, Any]:
    """Raises: PayloadMismatch."""
    try:
        return msgpack.unpackb(payload, raw=False, strict_map_key=True, ext_hook=_no_extension)  # type: ignore[no-any-return]
    except (ValueError, UnicodeDecodeError, msgpack.UnpackException, msgpack.StackError) as fault:
        raise PayloadMismatch(f"the payload is not plain msgpack: {fault}") from None


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"it holds extension type {code}; only plain data is allowed")


class Caller:
    """Runs jobs of one process. `report(job_id, progress)` passes on what `ctx.progress` was told; `cancelled` holds ids to be stopped.
    `wall_ns`: the clock that people read."""

    spans: Attempts | None = None
    """Of a process that traces (traced.py)."""
    settle: Callable[[StoredJob, Awaitable[Any], Start], Result]
    """What a decorated `async def` gave comes to its end on the loop, while the thread that called it waits. Set by the runner that has a
    loop; the other one gets no such tasks."""

    def __init__(
        self,
        settings: ChildSettings,
        tasks: Mapping[str, Definition],
        report: Callable[[bytes, dict[str, Any]], None],
        *,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.tasks = tasks
        self.cancelled: set[bytes] = set()
        self._settings, self._report, self._wall_ns = settings, report, wall_ns
        self.reporting: dict[bytes, int] = {}
        """id -> fence of what runs here with a Context: what a task left behind reports for no later attempt."""
        self.forget: Callable[[bytes], None] = lambda job_id: None
        """What `report` was told of a job that has ended, and has not passed on yet."""
        self._soft_s = {
            name: _first(task.options.soft_timeout_s, settings.soft_timeout_s) for name, task in tasks.items()
        }

    def start(self) -> Start:
        """Now."""
        return self._wall_ns() // 1000, time.monotonic_ns()

    def call(self, fence: int, job: StoredJob, limited: Callable[[float, Callable[[], Any]], Any]) -> Result:
        """Run a `def` task. `limited(limit_s, function)` calls the function under a soft limit; it is used when the job has one."""
        spec = job.spec
        start = started_us, began_ns = self._wall_ns() // 1000, time.monotonic_ns()
        try:
            definition = self.tasks[spec.type]
        except KeyError:
            return self.unserved(job)
        try:
            payload = unpack(spec.payload)
            soft_s = self.soft_limit_s(job)
            if soft_s is None and not definition.takes_context and not definition.is_decorated:
                definition.check_payload(payload)
                value = definition.function(**payload)
            else:
                value = self._call_equipped(definition, fence, job, payload, soft_s, limited)
                if definition.is_decorated and inspect.isawaitable(value):
                    return self.settle(job, value, start)
            if value is None:
                return Result(spec.id, _COMPLETED, started_us, started_us + (time.monotonic_ns() - began_ns) // 1000)
            return self.completed(job, value, start)
        except BaseException as fault:
            return self.failed(job, fault, start)
        finally:
            if self.cancelled:
                self.cancelled.discard(spec.id)
            if self.reporting:
                self.let_go(spec.id)

    def _call_equipped(
        self,
        definition: Definition,
        fence: int,
        job: StoredJob,
        payload: dict[str, Any],
        soft_s: float | None,
        limited: Callable[[float, Callable[[], Any]], Any],
    ) -> Any:
        definition.check_payload(payload)
        function = definition.function
        arguments = (self.context(fence, job),) if definition.takes_context else ()
        if soft_s is None:
            return function(*arguments, **payload)
        return limited(soft_s, lambda: function(*arguments, **payload))

    def let_go(self, job_id: bytes) -> None:
        """The attempt has ended; before its result is on its way."""
        if self.reporting.pop(job_id, None) is not None:
            self.forget(job_id)

    def context(self, fence: int, job: StoredJob) -> Context:
        spec, settings = job.spec, self._settings
        shown_id = format_id(spec.id)
        self.reporting[spec.id] = fence

        def report(progress: Mapping[str, Any]) -> None:
            if self.reporting.get(spec.id) == fence:
                self._report(spec.id, dict(progress))

        return Context(
            job_id=shown_id,
            type=spec.type,
            queue=spec.queue,
            attempt=job.retries + 1,
            fence=fence,
            deadline=time.time() + self._hard_limit_s(job),
            log=logging.LoggerAdapter(log, {"job": shown_id, "type": spec.type}),
            report=report,
            cancelled=lambda: spec.id in self.cancelled,
            tags=spec.options.tags if spec.options is not None else (),
            node_id=settings.node,
            worker_id=settings.worker,
        )

    def soft_limit_s(self, job: StoredJob) -> float | None:
        options = job.spec.options
        if options is not None and options.soft_timeout_ms is not None:
            return options.soft_timeout_ms / 1000
        return self._soft_s[job.spec.type]

    def _hard_limit_s(self, job: StoredJob) -> float:
        options = job.spec.options
        if options is not None and options.timeout_ms is not None:
            return options.timeout_ms / 1000
        return _first(self.tasks[job.spec.type].options.timeout_s, self._settings.job_timeout_s) or 0.0

    # ── outcomes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def completed(self, job: StoredJob, value: Any, start: Start) -> Result:
        """The value packed, or why it could not be."""
        started_us, ended_us = start[0], end_us(start)
        job_id = job.spec.id
        try:
            data = _pack_scalar(value) if type(value) in _SCALARS else pack_plain(value)
        except Exception as fault:
            why = bounded(
                f"the result is {_kind_of(value)} and cannot be packed: {fault}; {ALLOWED}", MESSAGE_CHARS_MAX
            )
            return Result(job_id, ResultKind.FAILED, started_us, ended_us, error=JobFault("ResultNotSerialisable", why))
        limit = self._settings.max_result_bytes
        if len(data) > limit:
            return Result(
                job_id, ResultKind.FAILED, started_us, ended_us, error=result_too_large(len(data), limit)
            )
        return Result(job_id, _COMPLETED, started_us, ended_us, data)

    def failed(self, job: StoredJob, fault: BaseException, start: Start) -> Result:
        """What an exception means for the job."""
        try:
            return self._failed(job, fault, start)
        except BaseException:  # its class answers for it, and may raise
            told = JobFault(NAMELESS, "the task raised an exception that raises another when it is looked at")
            return self._failure(job, told, start, is_final=False, delay_s=None)

    def _failed(self, job: StoredJob, fault: BaseException, start: Start) -> Result:
        if isinstance(fault, Snooze):
            delay_s = _delay_s(fault)
            if delay_s is not None:
                return Result(job.spec.id, ResultKind.SNOOZE, start[0], end_us(start), delay_ms=_ms(delay_s))
            seen = describe(fault, own_frames=OWN_FRAMES)
            told = JobFault(seen.type, NO_DELAY, seen.traceback)
        else:
            told = self._describe(job, fault)
        is_final = isinstance(fault, Discard | PayloadMismatch)
        delay_s = _delay_s(fault) if isinstance(fault, Retry) else None
        return self._failure(job, told, start, is_final=is_final, delay_s=delay_s)

    def _failure(
        self, job: StoredJob, told: JobFault, start: Start, *, is_final: bool, delay_s: float | None
    ) -> Result:
        """`delay_s` None: as the policy says."""
        started_us, ended_us = start[0], end_us(start)
        if is_final or job.retries >= self._max_retries(job):
            return Result(job.spec.id, ResultKind.FAILED, started_us, ended_us, error=told)
        if delay_s is None:
            delay_s = self._policy_delay_s(job)
        return Result(job.spec.id, ResultKind.RETRY, started_us, ended_us, error=told, delay_ms=_ms(delay_s))

    def unserved(self, job: StoredJob) -> Result:
        known = ", ".join(sorted(self.tasks)[:20])
        fault = JobFault(
            "UnknownTask",
            bounded(f"this application has no task {job.spec.type!r}; known tasks: {known}", MESSAGE_CHARS_MAX),
        )
        now_us, _ = self.start()
        return Result(job.spec.id, ResultKind.UNSERVED, now_us, now_us, error=fault)

    def stopped(self, job: StoredJob, start: Start, why: str) -> Result:
        """An `async def` task that ended because its job was cancelled."""
        return Result(job.spec.id, ResultKind.FAILED, start[0], end_us(start), error=JobFault("Cancelled", why))

    def _describe(self, job: StoredJob, fault: BaseException) -> JobFault:
        told = describe(fault, own_frames=OWN_FRAMES)
        if isinstance(fault, SoftTimeout) and not told.message:
            limit_s = self.soft_limit_s(job)
            told = JobFault(
                told.type,
                f"the attempt ran longer than its soft limit of {show_duration(limit_s or 0.0)}",
                told.traceback,
            )
        return told

    def _max_retries(self, job: StoredJob) -> int:
        options = job.spec.options
        if options is not None and options.max_retries is not None:
            return options.max_retries
        of_task = self.tasks[job.spec.type].options.max_retries
        return self._settings.max_retries if of_task is None else of_task

    def _policy_delay_s(self, job: StoredJob) -> float:
        policy = self.tasks[job.spec.type].options.retry or self._settings.retry
        return policy.delay_s(job.retries, random.random())


def task_info(definition: Definition) -> TaskInfo:
    options = definition.options
    return TaskInfo(
        definition.name,
        None if options.timeout_s is None else _ms(options.timeout_s) or 1,
        None if options.soft_timeout_s is None else _ms(options.soft_timeout_s) or 1,
        options.max_retries,
        None if options.retry is None else TaskRetry(**dataclasses.asdict(options.retry)),
        options.queue or "",
    )


def _first(one: float | None, other: float | None) -> float | None:
    return other if one is None else one


def _ms(delay_s: float) -> int:
    return round(min(delay_s * 1000, DELAY_MS_MAX))


def _delay_s(fault: Snooze | Retry) -> float | None:
    """None: it has none. A class derived from one of these may have forgotten it, or set it to anything."""
    delay_s = getattr(fault, "delay_s", None)
    is_one = isinstance(delay_s, int | float) and delay_s >= 0
    return delay_s if is_one else None


def pack_plain(value: object) -> bytes:
    """Raises: ValueError and others, also for what can be packed and not read: found out here, not by whoever asks for the result."""
    data: bytes = msgpack.packb(value)
    _check_readable(msgpack.unpackb(data, strict_map_key=True, ext_hook=_no_extension), 0)
    return data


def _check_readable(value: object, depth: int) -> None:
    if depth >= DEPTH_MAX:
        raise ValueError(f"it is nested more than {DEPTH_MAX} deep; flatten it, or store it elsewhere")
    if isinstance(value, dict):
        if not all(type(key) is str for key in value):
            raise ValueError("a dict in it has keys that are no str")
        inner: Iterable[object] = value.values()
    else:
        inner = value if isinstance(value, list) else ()
        if type(value) is msgpack.Timestamp:  # the one extension that is read without asking anybody
            raise ValueError("it holds a msgpack Timestamp; pass a time as its isoformat()")
    for one in inner:
        if type(one) in _LOOKED_INTO:
            _check_readable(one, depth + 1)


def _kind_of(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
