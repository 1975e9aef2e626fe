"""A schedule as JSON: what the command line prints and the HTTP API answers with. Forms as in job_json.py. Pure."""

from __future__ import annotations

from typing import Any

from .job import Options, format_id
from .job_json import time_json, unpacked
from .schedule import Schedule
from .units import show_duration


def schedule_json(schedule: Schedule) -> dict[str, Any]:
    """Every field is always there; what the schedule leaves to the task is null."""
    options = schedule.options or Options()
    return {
        "name": schedule.name,
        "type": schedule.type,
        "queue": schedule.queue,
        "priority": schedule.priority,
        "payload": unpacked(schedule.payload),
        "cron": schedule.cron or None,
        "every": _duration(schedule.every_ms or None),
        "zone": schedule.zone,
        "catch_up": schedule.catch_up.value,
        "paused": schedule.is_paused,
        "max_retries": options.max_retries,
        "timeout": _duration(options.timeout_ms),
        "soft_timeout": _duration(options.soft_timeout_ms),
        "unique_key": options.unique_key or None,
        "tags": list(options.tags),
        "created_at": time_json(schedule.created_ms),
        "next_at": time_json(0 if schedule.is_paused else schedule.next_ms),
        "last_at": time_json(schedule.last_ms),
        "last_job": format_id(schedule.last_id) if schedule.last_id else None,
    }


def _duration(ms: int | None) -> str | None:
    return None if ms is None else show_duration(ms / 1000)
