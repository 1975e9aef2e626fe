"""The steps of the walk, for its test and for its pictures."""

from __future__ import annotations

import json

from playwright.sync_api import Locator

from tests.browser.browsing import Visitor


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


def walk(visitor: Visitor) -> int:
    """From the overview through the group of the error to the traceback, and to a run that succeeds. Returns the clicks it took."""
    clicks, page = Clicks(), visitor.open()
    visitor.picture("walk-1-overview")
    clicks.on(page.get_by_role("link", name="All failures"))
    group = page.get_by_role("heading", name="charge_card").get_by_role("link")
    group.wait_for()
    visitor.picture("walk-2-failed")
    clicks.on(group)
    job = page.get_by_role("table", name="Jobs").get_by_role("link", name="charge_card").first
    job.wait_for()
    visitor.picture("walk-3-jobs")
    clicks.on(job)
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
    return clicks.count
