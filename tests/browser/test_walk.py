"""The walk of somebody who was told that a job failed: from the first page to its traceback and to a run that succeeds.

Only what can be read on the screen is used, and every click is counted.
"""

from __future__ import annotations

import httpx
import pytest

from tests.browser.browsing import Visitor
from tests.browser.jobs import LIMIT_S, listed
from tests.browser.walk import Clicks, edited, walk
from tests.system.running import first

pytestmark = [pytest.mark.system, pytest.mark.covers("dashboard:walk")]

CLICKS_MAX = 5


def test_five_clicks_lead_from_the_overview_through_the_group_to_a_successful_run(visitor: Visitor) -> None:
    assert walk(visitor) <= CLICKS_MAX


def test_three_clicks_lead_from_a_recent_failure_to_a_successful_run(visitor: Visitor, http: httpx.Client) -> None:
    made = http.post("/api/v1/jobs", json={"type": "charge_card", "payload": {"customer": 4800}}).json()
    first(lambda: http.get(f"/api/v1/jobs/{made['id']}").json()["error"], LIMIT_S, "its failure")
    clicks, page = Clicks(), visitor.open()
    clicks.on(page.get_by_role("link", name="charge_card").first)
    clicks.on(page.get_by_role("button", name="Run again with edits"))
    edited(visitor, customer=8)
    clicks.on(page.get_by_role("button", name="Submit", exact=True))
    page.get_by_role("heading", name="charge_card completed").wait_for()
    assert clicks.count <= CLICKS_MAX
    assert any(job["payload"].get("customer") == 8 for job in listed(http, status="completed", type="charge_card"))


def test_run_again_keeps_the_id_and_adds_an_attempt(visitor: Visitor, http: httpx.Client) -> None:
    (job,) = listed(http, status="completed", type="charge_card", created_before="2999-01-01T00:00:00Z")[-1:]
    page = visitor.open(f"jobs/{job['id']}")
    attempts = len(job["attempts"])
    page.get_by_role("button", name="Run again", exact=True).click()
    page.get_by_role("heading", name=f"Attempts ({attempts + 1})").wait_for()
    page.get_by_role("heading", name="charge_card completed").wait_for()
