"""What is done to jobs that are there: cancel, run again, run now, delete, one by one or many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from ...client.asyncio import AsyncClient
from ...client.deeds import filter_of, in_parts, not_found
from ...client.options import id_bytes
from ...errors import InvalidJob, WrongState
from ...job import JobFilter, JobState, JobView, format_id
from ...wire import messages as m
from ...wire.messages import CancelKind, Role
from ..asking import ask
from ..shapes import JobShape, Moment
from ..table import Answer, Call, NoQuery, Problem, Route
from .jobs import job_answer

BULK_MAX = 10_000
"""Jobs of one bulk request: more than that is a purge, or is done in parts."""
Action = Literal["cancel", "retry", "delete"]


LOOKED_MAX = 100_000
"""Jobs that are looked at for one filter by error, which the stores know nothing of."""


Filled = Annotated[str, msgspec.Meta(min_length=1)]
"""Empty it would be a filter that nobody filled, and match all."""


class BulkFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As for the list of jobs, but that no text is empty. `error`: of failed ones, the type of error as /api/v1/failures groups them;
    empty: those without a type."""

    status: JobState | None = None
    type: Filled | None = None
    queue: Filled | None = None
    tag: Filled | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    error: str | None = None


class Bulk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`ids` or `filter`. With a filter, `expected_count` says how many jobs you have seen match; another number is refused. `dry_run`: only
    count."""

    action: Action
    ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=BULK_MAX)] | None = None
    filter: BulkFilter | None = None
    expected_count: Annotated[int, msgspec.Meta(ge=0)] | None = None
    dry_run: bool = False


class BulkAnswer(msgspec.Struct):
    """`done`: so many were changed. `verdicts`: how many got which word."""

    matched: int
    done: int
    verdicts: dict[str, int]


class Removed(msgspec.Struct):
    """`outcome`: removed, or removing: it is being cancelled, and its record goes when it has ended."""

    id: str
    outcome: str


async def cancel(call: Call[None, NoQuery]) -> Answer:
    client, job_id = call.desk.voice(call.caller), call.path["id"]
    kind = await client.cancel(job_id)
    if kind is CancelKind.FINISHED:
        raise WrongState(f"job {job_id} is finished; there is nothing to cancel")
    return job_answer(await client.get(job_id), 202 if kind is CancelKind.CANCELLING else 200)


async def retry(call: Call[None, NoQuery]) -> Answer:
    client, job_id = call.desk.voice(call.caller), call.path["id"]
    await client.retry(job_id)
    return job_answer(await client.get(job_id))


async def promote(call: Call[None, NoQuery]) -> Answer:
    client, job_id = call.desk.voice(call.caller), call.path["id"]
    await client.get(job_id)  # one that is not there is told apart from one that is not delayed
    await client.promote(job_id)
    return job_answer(await client.get(job_id))


async def remove(call: Call[None, NoQuery]) -> Answer:
    job_id = id_bytes(call.path["id"])
    (verdict,) = await call.desk.voice(call.caller).remove_jobs([job_id])
    if verdict == "unknown":
        raise not_found(job_id)
    return Answer(Removed(format_id(job_id), verdict), 200 if verdict == "removed" else 202)


# ── many ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def bulk(call: Call[Bulk, NoQuery]) -> Answer:
    asked = call.body
    if (asked.ids is None) == (asked.filter is None):
        raise InvalidJob("give ids or filter, one of them")
    if asked.action == "delete" and call.caller.role < Role.ADMIN:
        raise Problem(
            403, "Forbidden", f"deleting needs the role admin, {call.caller.name} has {call.caller.role.name.lower()}"
        )
    client = call.desk.voice(call.caller)
    ids = [id_bytes(text) for text in asked.ids] if asked.ids is not None else await _matching(client, asked)
    if asked.dry_run:
        return Answer(BulkAnswer(len(ids), 0, {}))
    _check_count(asked, len(ids))
    verdicts = Counter(await _act(client, asked.action, list(dict.fromkeys(ids))))
    done = sum(count for word, count in verdicts.items() if word in DONE)
    return Answer(BulkAnswer(len(ids), done, dict(verdicts)))


DONE = frozenset({"cancelled", "cancelling", "requeued", "removed", "removing"})


def _check_count(asked: Bulk, matched: int) -> None:
    """Raises: Problem 409, InvalidJob."""
    if asked.filter is not None and asked.expected_count is None:
        raise InvalidJob(
            f"expected_count is missing: {matched} jobs match now; look at them first, then say how many you mean"
        )
    if asked.expected_count is not None and asked.expected_count != matched:
        raise Problem(
            409,
            "Conflict",
            f"{matched} jobs match, {asked.expected_count} were expected; nothing was done",
            matched=matched,
        )


async def _matching(client: AsyncClient, asked: Bulk) -> list[bytes]:
    """Raises: InvalidJob when there are too many."""
    asked_filter = asked.filter or BulkFilter()
    wanted, error = _filter(asked_filter), asked_filter.error
    found: dict[bytes, None] = {}
    cursor, looked = b"", 0
    while True:
        page = await ask(client, m.Page, m.List(wanted, cursor, m.LIST_LIMIT_MAX))
        found |= dict.fromkeys(view.id for view in page.jobs if error is None or _error_of(view) == error)
        if len(found) > BULK_MAX:
            raise InvalidJob(f"more than {BULK_MAX} jobs match; narrow the filter, or purge the queue")
        cursor, looked = page.cursor, looked + max(page.scanned, len(page.jobs))
        if not cursor:
            return list(found)
        if error is not None and looked >= LOOKED_MAX:
            raise InvalidJob(f"{looked} jobs were looked at and there are more; narrow the filter by error, with type or created_after")


def _error_of(view: JobView) -> str:
    return "" if view.error is None else view.error.type


def _filter(given: BulkFilter) -> JobFilter:
    """Raises: InvalidJob."""
    fields = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not None}
    if fields.pop("error", None) is not None:
        if given.status not in (None, JobState.FAILED):
            raise InvalidJob(f"filter has an error and the status {given.status.value}; only failed jobs have one")
        fields["status"] = JobState.FAILED
    return filter_of(**fields)


async def _act(client: AsyncClient, action: Action, ids: Sequence[bytes]) -> list[str]:
    """One word for each, as the node says it."""
    if action == "cancel":
        return [kind.value for kind in await client.cancel_many(ids)]
    if action == "retry":
        return await client.retry_many(ids)
    words: list[str] = []
    for part in in_parts(ids):
        words += await client.remove_jobs(part)
    return words


GROUP = "Jobs"
_NONE: Any = {404: "No such job.", 409: "It is not in a state that allows it."}
ROUTES = (
    Route(
        "POST", "/api/v1/jobs/bulk", Role.USER, "Cancel, retry or delete many jobs; deleting needs the role admin.", bulk, Bulk, NoQuery,
        BulkAnswer, statuses={409: "Another number of jobs matches than was expected; `matched` has it."}, group=GROUP,
    ),
    Route(
        "DELETE", "/api/v1/jobs/{id}", Role.ADMIN, "Cancel the job when it is not finished, and remove its record.", remove, None, NoQuery,
        Removed, statuses={202: "It is being cancelled; its record goes when it has ended.", 404: "No such job."}, group=GROUP,
    ),
    Route(
        "POST", "/api/v1/jobs/{id}/cancel", Role.USER, "Cancel a job that waits or runs.", cancel, None, NoQuery, JobShape,
        statuses={202: "It is running and is being stopped.", **_NONE}, group=GROUP,
    ),
    Route(
        "POST", "/api/v1/jobs/{id}/retry", Role.USER, "Run a finished job again: the same id, the next run.", retry, None, NoQuery,
        JobShape, statuses=_NONE, group=GROUP,
    ),
    Route(
        "POST", "/api/v1/jobs/{id}/promote", Role.USER, "Run a delayed job now.", promote, None, NoQuery, JobShape, statuses=_NONE,
        group=GROUP,
    ),
)  # fmt: skip
