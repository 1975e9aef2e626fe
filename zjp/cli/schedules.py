"""`zjp schedules`: periodic jobs. Add, look, change, pause, resume, run now, remove."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import click

from ..job import Limits, format_id
from ..job_json import job_json, time_json
from ..schedule import (
    EVERY_MS_MAX,
    EVERY_MS_MIN,
    NAME_CHARS_MAX,
    PAYLOAD_BYTES_MAX,
    CatchUp,
    Schedule,
    changed,
    check_schedule,
)
from ..schedule_json import schedule_json
from ..units import show_duration
from . import show
from .options import GOES_ON, Caller, caller, connecting, duration, name_of, reading, usage, view_of
from .submit import read_payload

if TYPE_CHECKING:
    from ..client.schedules import ScheduleFacts

RUNS_SHOWN = 5
EVERY_MS_ANY = 3_600_000
"""Stands for the timing that a schedule has, where it is not to be changed."""


@click.group("schedules", short_help="Add, list, change, pause, run or remove periodic jobs.")
def command() -> None:
    """Look at periodic jobs and act on them.

    A schedule submits a job at each tick of a cron expression or an interval; the cluster's leader sees to it.
    """


def interval(text: str | float) -> float:
    """Seconds. Raises: click.BadParameter."""
    every_s = duration(text)
    if not EVERY_MS_MIN <= every_s * 1000 <= EVERY_MS_MAX:
        least, most = show_duration(EVERY_MS_MIN / 1000), show_duration(EVERY_MS_MAX / 1000)
        raise click.BadParameter(f"{show_duration(every_s)} is not between {least} and {most}")
    return every_s


NAME = click.argument("name", type=name_of("name", NAME_CHARS_MAX), metavar="NAME")


def timing(function: Any) -> Any:
    """What `add` and `change` have in common."""
    for option in reversed(
        (
            click.option(
                "--cron", metavar="EXPRESSION", help="minute hour day month weekday; a second in front; or @daily ..."
            ),
            click.option("--every", type=interval, metavar="DURATION", help="An interval instead, a second or more."),
            click.option("--zone", metavar="NAME", help="Time zone of the cron expression, as Europe/Berlin. [UTC]"),
            click.option(
                "--catch-up",
                type=click.Choice([one.value for one in CatchUp]),
                help="Of ticks at which no node was there. [once]",
            ),
            click.option("--payload", metavar="JSON", help="The arguments as one JSON object."),
            click.option(
                "--payload-file",
                type=click.File("rb"),
                metavar="FILE",
                help="The same from a file; - is standard input.",
            ),
            click.option("--queue", metavar="NAME", help="[default]"),
            click.option("--priority", type=click.IntRange(1, 10), metavar="1-10", help="10 runs first. [5]"),
            click.option(
                "--max-retries", type=click.IntRange(0, 1000), metavar="N", help="[the task's own, else MAX_RETRIES]"
            ),
            click.option(
                "--timeout-job",
                type=duration,
                metavar="DURATION",
                help="Limit of one attempt. [the task's, else JOB_TIMEOUT]",
            ),
            click.option(
                "--soft-timeout", type=duration, metavar="DURATION", help="An exception in the task after this."
            ),
            click.option(
                "--unique-key", metavar="KEY", help="While a job with it is not finished, a tick makes no further one."
            ),
            click.option("--tag", "tags", multiple=True, metavar="TAG", help="May be given several times."),
        )
    ):
        function = option(function)
    return function


def _given(options: dict[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in options.items() if value not in (None, ())}
    if "timeout_job" in told:
        told["timeout"] = told.pop("timeout_job")
    return told


@command.command("add")
@NAME
@click.argument("type", metavar="TYPE")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@timing
@click.option("--paused", is_flag=True, help="It waits for `zjp schedules resume`.")
@reading
@connecting
@caller
def add(
    asked: Caller, /, name: str, type: str, arguments: tuple[str, ...], payload: str | None, payload_file: IO[bytes] | None,
    **options: Any,
) -> None:  # fmt: skip
    """Submit a job of TYPE again and again.

        zjp schedules add nightly backup full=true --cron "30 2 * * *" --zone Europe/Berlin

        zjp schedules add beat ping --every 30s --catch-up skip

    Adding the very same once more changes nothing.
    """  # fmt: skip
    content, told = read_payload(arguments, payload, payload_file), _given(options)
    with usage():
        _check_add(name, type, content, told)
    with asked.client() as client:
        _tell(asked, client.schedules.add(name, type, content, **told))


@command.command("change")
@NAME
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--type", metavar="TYPE", help="Another job type.")
@timing
@click.option("--no-max-retries", is_flag=True, help="Back to the task's own, else MAX_RETRIES.")
@click.option("--no-timeout-job", is_flag=True, help="Back to the task's own, else JOB_TIMEOUT.")
@click.option("--no-soft-timeout", is_flag=True, help="Take it away.")
@click.option("--no-unique-key", is_flag=True, help="Take it away.")
@click.option("--no-tags", is_flag=True, help="Take all tags away.")
@reading
@connecting
@caller
def change(
    asked: Caller,
    /,
    name: str,
    arguments: tuple[str, ...],
    payload: str | None,
    payload_file: IO[bytes] | None,
    **options: Any,
) -> None:
    """Change what is given, from the next tick on. KEY=VALUE and --payload replace the whole payload; a new timing counts from now."""
    gone = [name.removeprefix("no_") for name in tuple(options) if name.startswith("no_") and options.pop(name)]
    told = _given(options) | _taken_away(gone, options)
    if arguments or payload is not None or payload_file is not None:
        told["payload"] = read_payload(arguments, payload, payload_file)
    if not told:
        raise click.UsageError("nothing to change; `zjp schedules change --help` shows what can be")
    with usage():
        _check_change(name, told)
    with asked.client() as client:
        _tell(asked, client.schedules.change(name, **told))


def _taken_away(names: list[str], options: dict[str, Any]) -> dict[str, Any]:
    """Raises: click.UsageError."""
    for name in names:
        if options[name] not in (None, ()):
            flag = name.replace("_", "-")
            given = "tag" if name == "tags" else flag
            raise click.UsageError(f"--{given} and --no-{flag} are both given; --{given} alone takes the place of what there was")
    without = [name.removesuffix("_job") for name in names if name != "tags"]
    return ({"tags": ()} if "tags" in names else {}) | ({"without": without} if without else {})


def _check_add(name: str, type: str, payload: dict[str, Any], options: dict[str, Any]) -> None:
    """All but the zone, which this machine need not know. Raises: InvalidJob, PayloadTooLarge."""
    from ..client.schedules import adding

    timing: dict[str, Any] = {"cron": None, "every": None, "zone": "UTC", "catch_up": CatchUp.ONCE.value, "paused": False}
    timing |= {key: options[key] for key in timing.keys() & options.keys()}
    rest: Any = {key: value for key, value in options.items() if key not in timing}
    _check_plan(adding(name, type, payload, **timing, options=rest).schedule)


def _check_change(name: str, options: dict[str, Any]) -> None:
    """As far as it is wrong whatever the schedule is now. Raises: InvalidJob, PayloadTooLarge."""
    from ..client.schedules import changing

    wanted: dict[str, Any] = dict.fromkeys(("type", "payload", "cron", "every", "zone", "catch_up", "paused")) | {"without": ()}
    wanted |= {key: options[key] for key in wanted.keys() & options.keys()}
    rest: Any = {key: value for key, value in options.items() if key not in wanted}
    _check_plan(changed(Schedule(name, "any", every_ms=EVERY_MS_ANY), changing(name, **wanted, options=rest).change))


def _check_plan(plan: Schedule) -> None:
    from ..ticks import check_cron

    check_schedule(plan, Limits(PAYLOAD_BYTES_MAX))
    if plan.cron:
        check_cron(plan.cron)


@command.command("list")
@reading
@connecting
@caller
def list_schedules(asked: Caller) -> None:
    """List all schedules."""
    with asked.client() as client:
        schedules = [facts.schedule for facts in client.schedules.list()]
    if asked.as_json:
        show.as_json([schedule_json(one) for one in schedules])
        return
    head = ("NAME", "TYPE", "WHEN", "ZONE", "CATCH UP", "NEXT", "LAST")
    show.table(head, map(_row, schedules), colour=["yellow" if one.is_paused else None for one in schedules])


def _row(schedule: Schedule) -> tuple[object, ...]:
    following = "paused" if schedule.is_paused else show.ago(schedule.next_ms)
    return (
        schedule.name, schedule.type, _when(schedule), schedule.zone, schedule.catch_up.value, following, show.ago(schedule.last_ms)
    )  # fmt: skip


def _when(schedule: Schedule) -> str:
    return schedule.cron or f"every {show_duration(schedule.every_ms / 1000)}"


@command.command("show")
@NAME
@reading
@connecting
@caller
def show_schedule(asked: Caller, name: str) -> None:
    """Show one schedule and its next runs."""
    with asked.client() as client:
        _tell(asked, client.schedules.get(name))


@command.command("pause")
@NAME
@reading
@connecting
@caller
def pause(asked: Caller, name: str) -> None:
    """Let ticks pass unfired; they are not caught up."""
    with asked.client() as client:
        facts = client.schedules.pause(name)
    _tell_short(asked, facts, f"{name} is paused; `zjp schedules resume {name}` goes on")


@command.command("resume")
@NAME
@reading
@connecting
@caller
def resume(asked: Caller, name: str) -> None:
    """Fire a paused schedule again, from its next tick on."""
    with asked.client() as client:
        facts = client.schedules.resume(name)
    _tell_short(asked, facts, f"{name} runs again, next {show.ago(facts.schedule.next_ms)}")


@command.command("remove")
@NAME
@reading
@connecting
@caller
@click.pass_context
def remove(ctx: click.Context, asked: Caller, name: str) -> None:
    """Remove a schedule; jobs that it made stay. Asks first; --yes does not."""
    if not asked.confirm(f"Remove the schedule {name}?"):
        show.talk("nothing was done")
        ctx.exit(1)
    with asked.client() as client:
        client.schedules.remove(name)
    if asked.as_json:
        show.as_json({"name": name, "removed": True})
    else:
        show.talk(f"{name} is removed")


@command.command("run")
@NAME
@click.option("--wait", is_flag=True, help="Wait until the job is finished.")
@reading
@connecting
@caller
def run(asked: Caller, name: str, wait: bool) -> None:
    """Submit a schedule's job now, beside its ticks, and print its id."""
    with asked.client() as client:
        asked.goes_on = "the job may have been submitted"
        job = client.schedules.run(name)
        asked.goes_on = GOES_ON
        if wait:
            job.wait()
            job.result  # noqa: B018 (raises when it did not end well)
    if asked.as_json:
        show.as_json(job_json(view_of(job)) if wait else {"id": job.id})
    else:
        click.echo(job.id)


def _tell(asked: Caller, facts: ScheduleFacts) -> None:
    schedule = facts.schedule
    if asked.as_json:
        show.as_json({**schedule_json(schedule), "next_runs": [time_json(tick) for tick in _runs(schedule)]})
        return
    show.pairs(_facts(schedule))


def _tell_short(asked: Caller, facts: ScheduleFacts, text: str) -> None:
    if asked.as_json:
        show.as_json(schedule_json(facts.schedule))
    else:
        show.talk(text)


def _runs(schedule: Schedule) -> list[int]:
    """Loaded here: only this verb needs calendars."""
    from ..ticks import upcoming

    return [] if schedule.is_paused else upcoming(schedule, RUNS_SHOWN)


def _facts(schedule: Schedule) -> Iterator[tuple[str, object]]:
    told = schedule_json(schedule)
    yield "name", schedule.name
    yield "job", f"{schedule.type}, queue {schedule.queue}, priority {schedule.priority}"
    yield "payload", json.dumps(told["payload"], ensure_ascii=False)
    yield "when", f"{_when(schedule)}, {schedule.zone}" if schedule.cron else _when(schedule)
    yield "catch up", schedule.catch_up.value
    for name in ("max_retries", "timeout", "soft_timeout", "unique_key", "last_at"):
        if told[name] is not None:
            yield name, told[name]
    if schedule.last_id:
        yield "last_job", format_id(schedule.last_id)
    if schedule.is_paused:
        yield "paused", "yes"
    for number, tick in enumerate(_runs(schedule)):
        yield "" if number else "next", f"{_local(tick, schedule.zone)} ({show.ago(tick)})"


def _local(at_ms: int, zone: str) -> str:
    """In the schedule's own zone, where this machine knows it."""
    from zoneinfo import ZoneInfo

    try:
        moment = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone))
    except (KeyError, OSError, ValueError):
        moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S %Z")
