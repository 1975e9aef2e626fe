"""Server-sent events: what a browser sees live, and that a stream ends when it must."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.running import RunningApi, node_and_api

pytestmark = [pytest.mark.system, pytest.mark.covers("http:stats")]


def read(stream: httpx.Response) -> Iterator[tuple[str, Any]]:
    """(event, data) as they come."""
    name = ""
    for line in stream.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_stream_begins_with_the_present_and_goes_on_with_what_happens(http: httpx.Client, api: RunningApi) -> None:
    with api.client() as other, other.stream("GET", "/api/v1/events") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        told = read(stream)
        first = dict(next(told) for _ in range(2))
        assert set(first) == {"stats", "leader"}
        assert set(first["stats"]) == set(http.get("/api/v1/stats").json())
        job = http.post("/api/v1/jobs", json={"type": "noop", "queue": "default"}).json()
        happened = [one for name, data in told_until(told, job["id"]) if name == "jobs" for one in data["happened"]]
        assert [one["state"] for one in happened if one["id"] == job["id"]][-1] == "completed"


def told_until(told: Iterator[tuple[str, Any]], job_id: str) -> Iterator[tuple[str, Any]]:
    """Until the job has ended."""
    for name, data in told:
        yield name, data
        if name == "jobs" and any(one["id"] == job_id and one["state"] == "completed" for one in data["happened"]):
            return


def test_stream_ends_with_the_process_and_does_not_hold_it_up(tmp_path: Path) -> None:
    with node_and_api(tmp_path) as (_, api), api.client() as http, http.stream("GET", "/api/v1/events") as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry: ")
        assert api.stop() == 0
        assert all(line is not None for line in lines)
        (stopping,) = api.events("api.stopped")
        assert stopping
