"""Jobs over HTTP, as a client sees them."""

from __future__ import annotations

import httpx
import pytest

pytestmark = [pytest.mark.system, pytest.mark.covers("http:jobs")]

JOBS = "/api/v1/jobs"


def test_submitted_job_is_made_found_and_run(http: httpx.Client) -> None:
    made = http.post(JOBS, json={"type": "email", "payload": {"recipient": "a@example.com"}, "tags": ["x"]})
    assert made.status_code == 201, made.text
    job = made.json()
    assert (job["status"], job["existed"], job["durability"]) == ("pending", False, "disk")
    assert made.headers["location"] == f"{JOBS}/{job['id']}"
    result = http.get(f"{made.headers['location']}/result", params={"wait": 20})
    assert (result.status_code, result.json()["result"]) == (200, {"sent_to": "a@example.com"})
    found = http.get(made.headers["location"]).json()
    assert (found["status"], found["tags"], found["payload"]) == ("completed", ["x"], {"recipient": "a@example.com"})
