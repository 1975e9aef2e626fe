"""Periodic jobs: list, make, change, remove, run now."""

from __future__ import annotations

from typing import Annotated, Any, cast
from urllib.parse import quote

import msgspec

from ...client.schedules import ScheduleOptions
from ...job import TAGS_MAX
from ...schedule import NAME_CHARS_MAX, CatchUp, Removable
from ...schedule_json import schedule_json
from ...wire.messages import Role
from ..shapes import JobShape, PageOf, Time
from ..submitting import Payload, QueueName, Seconds, Tag, TypeName, UniqueKey
from ..table import Answer, Call, NoQuery, Route
from .jobs import job_answer

ZONE = "UTC"
Cron = Annotated[str, msgspec.Meta(description="A cron expression, in `zone`.", examples=["30 2 * * *"])]


Tags = Annotated[list[Tag], msgspec.Meta(extra_json_schema={"maxItems": TAGS_MAX - 1})]
"""One fewer than a job may have: the schedule adds its name."""


class NewSchedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`cron` or `every`. `catch_up`: what becomes of ticks at which no node was there."""

    name: Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": NAME_CHARS_MAX})]
    type: TypeName
    payload: Payload = {}
    queue: QueueName = "default"
    priority: Annotated[int, msgspec.Meta(ge=1, le=10)] = 5
    cron: Cron | None = None
    every: Seconds = None
    zone: str = ZONE
    catch_up: CatchUp = CatchUp.ONCE
    paused: bool = False
    max_retries: Annotated[int, msgspec.Meta(ge=0, le=1000)] | None = None
    timeout: Seconds = None
    soft_timeout: Seconds = None
    unique_key: UniqueKey | None = None
    tags: Tags = []


class ScheduleChanges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out, or null, stays; an empty list of tags takes them away; `without` names other options to take away. A new timing
    counts from now."""

    type: TypeName | None = None
    payload: Payload | None = None
    queue: QueueName | None = None
    priority: Annotated[int, msgspec.Meta(ge=1, le=10)] | None = None
    cron: Cron | None = None
    every: Seconds = None
    zone: str | None = None
    catch_up: CatchUp | None = None
    paused: bool | None = None
    max_retries: Annotated[int, msgspec.Meta(ge=0, le=1000)] | None = None
    timeout: Seconds = None
    soft_timeout: Seconds = None
    unique_key: UniqueKey | None = None
    tags: Tags | None = None
    without: Annotated[list[Removable], msgspec.Meta(description="Options to take away.")] = []


class ScheduleShape(msgspec.Struct):
    """`next_at` null: it is paused, or there is no further tick."""

    name: str
    type: str
    queue: str
    priority: int
    payload: Any
    cron: str | None
    every: str | None
    zone: str
    catch_up: CatchUp
    paused: bool
    max_retries: int | None
    timeout: str | None
    soft_timeout: str | None
    unique_key: str | None
    tags: list[str]
    created_at: Time
    next_at: Time
    last_at: Time
    last_job: str | None


class SchedulePage(PageOf):
    items: list[ScheduleShape]


_OPTIONS = ("queue", "priority", "max_retries", "timeout", "soft_timeout", "unique_key", "tags")
PATH = "/api/v1/schedules"


def options_of(body: NewSchedule | ScheduleChanges) -> ScheduleOptions:
    given = {name: getattr(body, name) for name in _OPTIONS if getattr(body, name) is not None}
    return cast(ScheduleOptions, given)


async def list_schedules(call: Call[None, NoQuery]) -> Answer:
    found = await call.desk.voice(call.caller).schedules.list()
    return Answer({"items": [schedule_json(one.schedule) for one in found], "cursor": None})


async def get(call: Call[None, NoQuery]) -> Answer:
    found = await call.desk.voice(call.caller).schedules.get(call.path["name"])
    return Answer(schedule_json(found.schedule))


async def add(call: Call[NewSchedule, NoQuery]) -> Answer:
    body = call.body
    made = await call.desk.voice(call.caller).schedules.add(
        body.name, body.type, body.payload, cron=body.cron, every=body.every, zone=body.zone, catch_up=body.catch_up.value,
        paused=body.paused, **options_of(body),
    )  # fmt: skip
    return Answer(schedule_json(made.schedule), 201, {"location": f"{PATH}/{quote(body.name, safe='')}"})


async def change(call: Call[ScheduleChanges, NoQuery]) -> Answer:
    body = call.body
    changed = await call.desk.voice(call.caller).schedules.change(
        call.path["name"], type=body.type, payload=body.payload, cron=body.cron, every=body.every, zone=body.zone,
        catch_up=None if body.catch_up is None else body.catch_up.value, paused=body.paused, without=body.without,
        **options_of(body),
    )  # fmt: skip
    return Answer(schedule_json(changed.schedule))


async def remove(call: Call[None, NoQuery]) -> Answer:
    await call.desk.voice(call.caller).schedules.remove(call.path["name"])
    return Answer(status=204)


async def run(call: Call[None, NoQuery]) -> Answer:
    client = call.desk.voice(call.caller)
    job = await client.schedules.run(call.path["name"])
    answer = job_answer(await client.get(job), 201)
    answer.headers["location"] = f"/api/v1/jobs/{job.id}"
    return answer


GROUP = "Schedules"
_MISSING = {404: "No such schedule."}
ROUTES = (
    Route("GET", PATH, Role.WORKER, "All periodic jobs, by name.", list_schedules, None, NoQuery, SchedulePage, group=GROUP),
    Route(
        "POST", PATH, Role.ADMIN, "Make a periodic job. The very same once more changes nothing.", add, NewSchedule, NoQuery,
        ScheduleShape, 201, {409: "The name stands for another one."}, GROUP,
    ),
    Route("GET", PATH + "/{name}", Role.WORKER, "One periodic job.", get, None, NoQuery, ScheduleShape, statuses=_MISSING, group=GROUP),
    Route(
        "PATCH", PATH + "/{name}", Role.ADMIN, "Change a periodic job; paused true or false stops it and lets it go on.", change,
        ScheduleChanges, NoQuery, ScheduleShape, statuses=_MISSING, group=GROUP,
    ),
    Route(
        "DELETE", PATH + "/{name}", Role.ADMIN, "Remove a periodic job; jobs that it made stay.", remove, None, NoQuery, None, 204,
        _MISSING, GROUP,
    ),
    Route(
        "POST", PATH + "/{name}/run", Role.ADMIN, "Submit its job now, beside its ticks.", run, None, NoQuery, JobShape, 201, _MISSING,
        GROUP,
    ),
)  # fmt: skip
