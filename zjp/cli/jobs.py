"""`zjp jobs`: look at jobs, wait for them, cancel them, run them again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import BY_CODE, JobRejected
from ..job import QUEUE_CHARS_MAX, TAG_CHARS_MAX, TYPE_CHARS_MAX, JobState, JobView, format_id
from ..job_json import fault_json, job_json, time_json
from . import show
from .options import GOES_ON, JOB_ID, Caller, caller, connecting, duration, name_of, reading, talking, view_of

if TYPE_CHECKING:
    from ..client.blocking import Client

LIST_LIMIT = 50
FAILED_EXIT = 1
REFUSALS = frozenset(code for code, kind in BY_CODE.items() if issubclass(kind, JobRejected))


@click.group("jobs", short_help="List, show, cancel, retry, promote or wait for jobs.")
def command() -> None:
    """Look at jobs and act on them. Finished jobs stay visible for RECORDS_TTL."""


IDS = click.argument("ids", nargs=-1, required=True, type=JOB_ID, metavar="JOB_ID...")


@command.command("list")
@click.option("--status", type=click.Choice([state.value for state in JobState]), help="Only jobs in this state.")
@click.option("--type", type=name_of("type", TYPE_CHARS_MAX), metavar="TYPE", help="Only jobs of this type.")
@click.option("--queue", type=name_of("queue", QUEUE_CHARS_MAX), metavar="NAME", help="Only jobs of this queue.")
@click.option("--tag", type=name_of("tag", TAG_CHARS_MAX), metavar="TAG", help="Only jobs with this tag.")
@click.option("--limit", type=click.IntRange(min=1), default=LIST_LIMIT, metavar="N", help=f"So many at most. [{LIST_LIMIT}]")
@reading
@connecting
@caller
def list_jobs(asked: Caller, /, limit: int, **filters: Any) -> None:
    """List jobs: those that are not finished in the order they will run, then finished ones, newest first."""
    given = {name: value for name, value in filters.items() if value is not None}
    with asked.client() as client:
        views = [view_of(job) for job in client.jobs(**given, limit=limit)]
    if asked.as_json:
        show.as_json([job_json(view) for view in views])
        return
    head = ("ID", "TYPE", "QUEUE", "PRIO", "STATUS", "RETRIES", "CREATED", "STARTED")
    show.table(head, map(_row, views), colour=[show.colour_of(view) for view in views])
    if len(views) == limit:
        show.talk(f"the first {limit}; --limit N shows more")


def _row(job: JobView) -> Sequence[object]:
    return (
        format_id(job.id), job.type, job.queue, job.priority, job.status.value, job.retries, show.ago(job.created_ms),
        show.ago(job.started_ms),
    )  # fmt: skip


@command.command("show")
@click.argument("id", type=JOB_ID, metavar="JOB_ID")
@reading
@connecting
@caller
def show_job(asked: Caller, id: str) -> None:
    """Show one job with its result or error and every attempt (the last 100)."""
    with asked.client() as client:
        view = view_of(client.get(id))
    if asked.as_json:
        show.as_json(job_json(view))
        return
    show.pairs(_facts(view))
    if view.attempts:
        click.echo()
        show.table(("ATTEMPT", "NODE", "WORKER", "START", "TOOK", "OUTCOME", "ERROR"), _attempt_rows(view))
    if view.error is not None and view.error.traceback:
        click.echo("\n" + show.clean_lines(view.error.traceback))


def _facts(view: JobView) -> Iterator[tuple[str, object]]:
    told = job_json(view)
    for name in ("id", "type", "queue", "priority", "status"):
        yield name, told[name]
    yield "payload", json.dumps(told["payload"], ensure_ascii=False)
    for name in ("retry_count", "unique_key", "progress", "scheduled_at", "created_at", "started_at", "completed_at"):
        if told[name]:
            yield name, told[name]
    if view.tags:
        yield "tags", ", ".join(view.tags)
    if view.status is JobState.COMPLETED:
        yield "result", json.dumps(told["result"], ensure_ascii=False)
    if view.error is not None:
        yield "error", f"{view.error.type}: {view.error.message}"


def _attempt_rows(view: JobView) -> Iterator[Sequence[object]]:
    for number, attempt in enumerate(view.attempts, 1):
        took = show.age((attempt.ended_ms - attempt.started_ms) / 1000) if attempt.started_ms else "-"
        fault = fault_json(attempt.error) or {"type": "", "message": ""}
        error = ": ".join(part for part in (fault["type"], fault["message"]) if part)
        yield number, attempt.node, attempt.worker, time_json(attempt.started_ms) or "-", took, attempt.outcome, error


# ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@command.command("cancel")
@IDS
@reading
@connecting
@caller
@click.pass_context
def cancel(ctx: click.Context, asked: Caller, ids: tuple[str, ...]) -> None:
    """Cancel jobs. A waiting one never starts; a running one is told, and killed after CANCEL_GRACE."""

    def act(client: Client, job_id: str) -> str:
        kind = client.cancel(job_id).value
        return "had finished before" if kind == "finished" and not asked.as_json else kind

    _each(ctx, asked, ids, act)


@command.command("retry")
@IDS
@reading
@connecting
@caller
@click.pass_context
def retry(ctx: click.Context, asked: Caller, ids: tuple[str, ...]) -> None:
    """Run finished jobs again, under the same id."""

    def act(client: Client, job_id: str) -> str:
        client.retry(job_id)
        return "requeued"

    _each(ctx, asked, ids, act)


@command.command("promote")
@IDS
@reading
@connecting
@caller
@click.pass_context
def promote(ctx: click.Context, asked: Caller, ids: tuple[str, ...]) -> None:
    """Run delayed jobs now."""

    def act(client: Client, job_id: str) -> str:
        client.promote(job_id)
        return "promoted"

    _each(ctx, asked, ids, act)


def _each(ctx: click.Context, asked: Caller, ids: tuple[str, ...], act: Callable[[Client, str], str]) -> None:
    """One line per job; what could not be done is told on stderr and makes the exit code 1, the others are done all the same."""
    verdicts = {}
    with asked.client() as client:
        for text in ids:
            try:
                verdicts[text] = act(client, text)
            except JobRejected as fault:
                verdicts[text] = fault.code
                show.talk(f"zjp: {fault}")
            if not asked.as_json:
                click.echo(f"{text}  {verdicts[text]}")
    if asked.as_json:
        show.as_json([{"id": text, "verdict": verdict} for text, verdict in verdicts.items()])
    ctx.exit(FAILED_EXIT if any(verdict in REFUSALS for verdict in verdicts.values()) else 0)


@command.command("wait")
@IDS
@click.option("--timeout", type=duration, metavar="DURATION", help="So long at most (exit code 69). [no limit]")
@reading
@talking
@caller
@click.pass_context
def wait(ctx: click.Context, asked: Caller, ids: tuple[str, ...], timeout: float | None) -> None:
    """Wait until the jobs are finished. Exit code 1 when one of them failed or was cancelled."""
    asked.goes_on = GOES_ON
    with asked.client() as client:
        jobs = client.wait_all(ids, timeout=timeout)
    views = [view_of(job) for job in jobs]
    if asked.as_json:
        told = [job_json(view) for view in views]
        show.as_json(told[0] if len(told) == 1 else told)
    else:
        for view in views:
            click.echo(f"{format_id(view.id)}  {click.style(view.status.value, show.colour_of(view))}")
            if view.error is not None:
                show.talk(show.clean(f"{view.error.type}: {view.error.message}", 1000))
    ctx.exit(0 if all(view.status is JobState.COMPLETED for view in views) else FAILED_EXIT)
