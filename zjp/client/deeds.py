"""What both clients ask for, and how they read the answers: the parts that do not depend on how one waits. Pure but for packing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from ..errors import InvalidJob, NotFound, WireError, WrongState
from ..job import BATCH_MAX, JobFilter, JobSpec, JobState, JobView, format_id
from ..wire.messages import (
    IDS_MAX,
    LIST_LIMIT_MAX,
    CancelKind,
    Jobs,
    Runs,
    SubmitKind,
    SubmitReply,
    Submitted,
    Verdicts,
    Wait,
)
from .calls import Outcome, Receipt
from .facts import JobFacts
from .options import (
    Duration,
    Id,
    Moment,
    SubmitOptions,
    Submittable,
    checked_types,
    duration_s,
    id_bytes,
    make_spec,
    moment_ms,
    request_of,
    tags_of,
    typed,
)
from .packing import pack_payload

REQUEST_BYTES_MAX = 8 << 20
"""Payload bytes of one request of `submit_many`."""
WAIT_ROUND_S = 15.0
"""A longer wait is asked in rounds."""
WAIT_GRACE_S = 2.0
"""What an answer may take on its way, beyond the time of a wait."""
PAGE_JOBS = 100
TIMEOUT_S = 10.0
PURGE_TIMEOUT_S = 600.0
"""A purge writes a record of every job it cancels: a million take about half a minute."""

Ref: TypeAlias = "Id | JobFacts"
"""A job, or its id."""
T = TypeVar("T")


def ref_bytes(ref: Ref) -> bytes:
    """Raises: InvalidJob."""
    return ref.id_bytes if isinstance(ref, JobFacts) else id_bytes(ref)


def is_one(refs: Ref | Iterable[Ref]) -> bool:
    return isinstance(refs, JobFacts | str | bytes) or not isinstance(refs, Iterable)


def expect(kind: type[T], outcome: Outcome) -> T:
    """The reply, when it is of the kind that the request asks for. Raises: WireError."""
    if not isinstance(outcome, kind):
        raise WireError(
            f"the node answered with {type(outcome).__name__} instead of {kind.__name__}; upgrade the older side"
        )
    return outcome


def in_parts(ids: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(ids), IDS_MAX):
        yield ids[start : start + IDS_MAX]


# ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def batches(
    jobs: Iterable[Submittable], options: SubmitOptions, make_ids: Callable[[int], list[bytes]]
) -> Iterator[list[JobSpec]]:
    """What `submit_many` sends, request by request: at most BATCH_MAX jobs and REQUEST_BYTES_MAX each.

    All jobs of a request are checked before it is sent.
    """
    refuse_for_many(options)
    shared: dict[str, Any] = {name: value for name, value in options.items() if name != "deadline"}
    if shared.get("tags") is not None:
        shared["tags"] = tags_of(shared["tags"])  # once: an iterator is empty after the first job
    if not isinstance(jobs, Iterable):
        raise InvalidJob(
            f"jobs is {jobs!r:.200} of type {type(jobs).__name__}; give a list of (type, payload) pairs, dicts or JobRequests"
        )
    source = iter(jobs)
    while given := list(islice(source, BATCH_MAX)):
        specs = _specs(given, make_ids(len(given)), shared)
        while specs:
            count = _fitting_count(specs)
            yield specs[:count]
            specs = specs[count:]


def refuse_for_many(options: Mapping[str, Any]) -> None:
    for name in ("id", "unique_key", "idempotency_key"):
        if options.get(name):
            raise InvalidJob(f"{name} for all jobs of a batch would make them one; give it per job")


def _specs(given: Sequence[Submittable], ids: Sequence[bytes], shared: Mapping[str, Any]) -> list[JobSpec]:
    """The usual one, a pair without options, takes the short way."""
    specs = []
    for one, made_id in zip(given, ids, strict=True):
        if type(one) is tuple and len(one) == 2 and not shared and type(one[0]) is str and one[0] in checked_types:  # type: ignore[redundant-expr]
            specs.append(JobSpec(made_id, one[0], pack_payload(one[1])))
        else:
            specs.append(_spec(one, made_id, shared))
    return specs


def _spec(given: Submittable, made_id: bytes, shared: Mapping[str, Any]) -> JobSpec:
    request = request_of(given)
    own: Mapping[str, Any] = {} if request.options is None else typed("options", request.options, Mapping)
    if "deadline" in own:
        raise InvalidJob("deadline is for the whole of submit_many; give it there")
    return make_spec(made_id, request.type, pack_payload(request.payload), {**shared, **own})


def _fitting_count(specs: Sequence[JobSpec]) -> int:
    size_bytes = 0
    for count, spec in enumerate(specs):
        size_bytes += len(spec.payload)
        if size_bytes > REQUEST_BYTES_MAX and count:
            return count
    return len(specs)


def read_receipts(specs: Sequence[JobSpec], outcome: Outcome) -> list[tuple[bytes, SubmitKind]]:
    """Id and kind of each job of a request."""
    reply = expect(SubmitReply, outcome)
    made = [(spec.id, SubmitKind.CREATED) for spec in specs]
    for index, one in reply.others:
        if 0 <= index < len(made):
            made[index] = (one.id, one.kind)
    return made


def read_receipt(spec: JobSpec, outcome: Outcome) -> tuple[bytes, SubmitKind, Any]:
    """Id, kind and level of a job that was submitted alone."""
    if isinstance(outcome, Receipt):
        other = outcome.other or Submitted(spec.id, SubmitKind.CREATED)
        return other.id, other.kind, outcome.level
    ((job_id, kind),) = read_receipts([spec], outcome)
    return job_id, kind, expect(SubmitReply, outcome).level


def made_by(reply: SubmitReply, asked_id: bytes) -> bytes:
    """The id of the one job of a reply: the one asked for, unless another is told."""
    return reply.others[0][1].id if reply.others else asked_id


def note_stored(fault: BaseException, stored: int) -> None:
    """An error of a later request of `submit_many` says what the earlier ones did."""
    if stored:
        fault.add_note(
            f"the {stored} jobs before were submitted; each request of up to {BATCH_MAX} jobs is all or nothing"
        )


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_view(job_id: bytes, outcome: Outcome) -> JobView:
    """Raises: NotFound."""
    views = expect(Jobs, outcome).jobs
    if not views or views[0] is None:
        raise not_found(job_id)
    return views[0]


def not_found(job_id: bytes) -> NotFound:
    return NotFound(f"no job {format_id(job_id)}; it was never submitted here, or its record is older than RECORDS_TTL")


def read_views(asked: Sequence[bytes], outcome: Outcome) -> list[JobView | None]:
    """Of the first of the ids `asked` for, at least one: what did not fit into the answer is to be asked for again."""
    views = expect(Jobs, outcome).jobs
    if not 1 <= len(views) <= len(asked):
        raise WireError(f"the node answered {len(views)} views for {len(asked)} jobs; upgrade the older side")
    return views


class Watch:
    """Jobs to be waited for, round by round: ask `next_round`, then `take` what came. `timeout` None: for as long as it takes."""

    def __init__(self, ids: Iterable[bytes], timeout: Duration | None, now: float) -> None:
        self.pending = dict.fromkeys(ids)
        self._limit_s = math.inf if timeout is None else duration_s("timeout", timeout)
        self._give_up_at = now + self._limit_s
        self._is_first = True

    def next_round(self, now: float, timeout_s: float) -> tuple[Wait, float]:
        """The request, and how long to wait for the node (s). Looks once even with no time. Raises: TimeoutError."""
        left_s = self._give_up_at - now
        if left_s <= 0 and not self._is_first:
            raise self._still_waiting()
        self._is_first = False
        watched = list(islice(self.pending, IDS_MAX))
        if left_s > WAIT_ROUND_S:
            return Wait(watched, round(WAIT_ROUND_S * 1000)), WAIT_ROUND_S + timeout_s
        return Wait(watched, max(0, round(left_s * 1000))), max(0.0, left_s) + WAIT_GRACE_S

    def take(self, views: Iterable[JobView | None]) -> Iterator[JobView]:
        """Those that are new."""
        for view in views:
            if view is not None and view.id in self.pending:
                del self.pending[view.id]
                yield view

    def name_missing(self, found: Sequence[JobFacts | None]) -> None:
        """`found`: a look-up of the ids last asked for. Raises: NotFound."""
        for job_id, job in zip(self.pending, found, strict=False):
            if job is None:
                raise not_found(job_id)

    def _still_waiting(self) -> TimeoutError:
        count = len(self.pending)
        named = ", ".join(format_id(job_id) for job_id in islice(self.pending, 3))
        jobs = f"job {named} is" if count == 1 else f"{count} jobs are ({named}{', ...' if count > 3 else ''})"
        return TimeoutError(f"{jobs} not finished after {self._limit_s:g} s; wait longer, or look at the status")


def filter_of(
    *,
    status: JobState | str | None = None,
    type: str = "",
    queue: str = "",
    tag: str = "",
    created_after: Moment | None = None,
    created_before: Moment | None = None,
) -> JobFilter:
    """Raises: InvalidJob."""
    try:
        state = None if status is None else JobState(status)
    except ValueError:
        known = ", ".join(one.value for one in JobState)
        raise InvalidJob(f"status is {status!r}, it must be one of {known}") from None
    return JobFilter(
        state=state,
        type=type,
        queue=queue,
        tag=tag,
        created_after_ms=0 if created_after is None else moment_ms("created_after", created_after),
        created_before_ms=0 if created_before is None else moment_ms("created_before", created_before),
    )


def page_jobs(left: int | None) -> int:
    return PAGE_JOBS if left is None else max(1, min(PAGE_JOBS, LIST_LIMIT_MAX, left))


# ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_verdicts(outcome: Outcome, count: int) -> list[str]:
    verdicts = expect(Verdicts, outcome).verdicts
    if len(verdicts) != count:
        raise WireError(f"the node answered {len(verdicts)} verdicts for {count} jobs; upgrade the older side")
    return verdicts


def read_runs(outcome: Outcome, count: int) -> list[int]:
    runs = expect(Runs, outcome).runs
    if len(runs) != count:
        raise WireError(f"the node answered {len(runs)} runs for {count} jobs; upgrade the older side")
    return runs


def read_cancel(job_id: bytes, verdict: str) -> CancelKind:
    """Raises: NotFound."""
    if verdict == CancelKind.UNKNOWN.value:
        raise not_found(job_id)
    return CancelKind(verdict)


def check_requeue(job_id: bytes, verdict: str) -> None:
    """Raises: NotFound, WrongState."""
    if verdict == "unknown":
        raise not_found(job_id)
    if verdict == "unique":
        raise WrongState(
            f"job {format_id(job_id)} cannot run again: another job that is not finished holds its unique key; wait for that one, or "
            "cancel it first"
        )
    if verdict != "requeued":
        raise WrongState(
            f"job {format_id(job_id)} is not finished; only a finished job can be run again, or cancel it first"
        )


def check_promote(job_id: bytes, verdict: str) -> None:
    """Raises: WrongState."""
    if verdict != "promoted":
        raise WrongState(f"job {format_id(job_id)} is not delayed (or there is no such job); nothing was changed")
