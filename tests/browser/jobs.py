"""Jobs of every kind for the pages to show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.browser.tasks import MARKUP, MARKUPS
from tests.system.running import first

LIMIT_S = 30.0


def fill(http: httpx.Client) -> None:
    """Completed, failed, retrying, scheduled and waiting in a paused queue; two schedules. Returns when all are in their states."""
    http.post("/api/v1/queues/reports/pause").raise_for_status()
    made = http.post("/api/v1/jobs/batch", json={"jobs": [*plain(), *hostile()]})
    made.raise_for_status()
    for schedule in (
        {
            "name": "nightly-report",
            "type": "email",
            "payload": {"recipient": "a@example.com"},
            "cron": "0 3 * * *",
            "zone": "Europe/Berlin",
        },
        {"name": "sync", "type": "sync_stock", "every": "6h"},
    ):
        http.post("/api/v1/schedules", json=schedule).raise_for_status()
    first(lambda: counts_of(http) if has_settled(http) else None, LIMIT_S, "all jobs in their states")


def plain() -> list[dict[str, Any]]:
    mails = [
        {"type": "email", "payload": {"recipient": f"user{number}@example.com", "subject": "hello"}}
        for number in range(12)
    ]
    cards = [
        {"type": "charge_card", "payload": {"customer": 4711 + number}, "tags": ["tenant:7"]} for number in range(3)
    ]
    return [
        *mails,
        *cards,
        {"type": "charge_card", "payload": {"customer": 12}, "priority": 8},
        {"type": "sync_stock", "payload": {"shop": "north"}},
        *[{"type": "email", "payload": {"recipient": "later@example.com"}, "queue": "reports"}] * 4,
        {"type": "email", "payload": {"recipient": "later@example.com"}, "delay": "2h"},
    ]


def hostile() -> list[dict[str, Any]]:
    """Markup as type and tag, in payload, result, error message and queue."""
    texts = [
        {"type": MARKUP, "payload": {"text": text, "mode": mode}, "tags": [MARKUP]}
        for text in MARKUPS
        for mode in ("return", "raise")
    ]
    return [*texts, {"type": MARKUP, "payload": {"text": MARKUP}, "queue": MARKUP, "delay": "3h"}]


@contextmanager
def running_job(http: httpx.Client, hold: Path) -> Iterator[str]:
    """The id of a job that runs until the end of the block, at most as long as a fake may."""
    made = http.post("/api/v1/jobs", json={"type": "report", "payload": {"path": str(hold)}})
    job = str(made.raise_for_status().json()["id"])
    first(lambda: http.get(f"/api/v1/jobs/{job}").json()["progress"], LIMIT_S, "its progress")
    yield job
    hold.touch()


def has_settled(http: httpx.Client) -> bool:
    counts = counts_of(http)
    return counts["failed"] == 3 + len(MARKUPS) and counts["completed"] == 13 + len(MARKUPS) and counts["retrying"] == 1


def counts_of(http: httpx.Client) -> dict[str, int]:
    states = ("completed", "failed", "retrying")
    return {state: len(listed(http, status=state)) for state in states}


def listed(http: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    answer = http.get("/api/v1/jobs", params={"limit": 500, **query})
    answer.raise_for_status()
    return list(answer.json()["items"])
