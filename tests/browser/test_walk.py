"""The walk of somebody who was told that a job failed: from the first page to its traceback and to a run that succeeds.

Only what can be read on the screen is used, and every click is counted. With PICTURES set to a folder each step is pictured there.
"""

from __future__ import annotations

import json

import httpx
import pytest
from playwright.sync_api import Locator

from tests.browser.browsing import PATHS, PICTURES, Visitor
from tests.browser.jobs import LIMIT_S, listed
from tests.system.running import first

pytestmark = [pytest.mark.system, pytest.mark.covers("dashboard:walk")]

CLICKS_MAX = 5


class Clicks:
    """Counts them."""

    def __init__(self) -> None:
        self.count = 0

    def on(self, target: Locator) -> None:
        target.click()
        self.count += 1


def edited(visitor: Visitor, customer: int) -> None:
    payload = visitor.page.get_by_role("textbox", name="Payload")
    payload.fill(json.dumps({**json.loads(payload.input_value()), "customer": customer}, indent=2))


def test_five_clicks_lead_from_the_overview_through_the_group_to_a_successful_run(visitor: Visitor) -> None:
    if PICTURES:
        visitor.hide(PATHS)
    clicks, page = Clicks(), visitor.open()
    visitor.picture("walk-1-overview")
    clicks.on(page.get_by_role("link", name="All failures"))
    page.get_by_role("heading", name="charge_card").wait_for()
    visitor.picture("walk-2-failed")
    clicks.on(page.get_by_role("heading", name="charge_card").get_by_role("link"))
    visitor.settle()
    page.get_by_role("table", name="Jobs").get_by_role("link", name="charge_card").first.wait_for()
    visitor.picture("walk-3-jobs")
    clicks.on(page.get_by_role("table", name="Jobs").get_by_role("link", name="charge_card").first)
    traceback = page.get_by_role("region", name="Traceback", exact=True)
    assert "PaymentDeclined: the card of customer" in traceback.inner_text()
    visitor.picture("walk-4-traceback")
    clicks.on(page.get_by_role("button", name="Run again with edits"))
    edited(visitor, customer=7)
    visitor.picture("walk-5-edits")
    clicks.on(page.get_by_role("button", name="Submit", exact=True))
    page.get_by_role("heading", name="charge_card completed").wait_for()
    assert '"customer": 7' in page.get_by_role("region", name="Result").inner_text()
    visitor.picture("walk-6-completed")
    assert clicks.count <= CLICKS_MAX


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
