"""What jobs, errors and nodes say is shown as they say it: markup in it makes no element and runs nowhere."""

from __future__ import annotations

import json

import httpx
import pytest
from playwright.sync_api import Browser, Route

from tests.api.running import RunningApi
from tests.browser.browsing import Visitor
from tests.browser.jobs import listed
from tests.browser.tasks import MARKUP, MARKUPS

pytestmark = [pytest.mark.system, pytest.mark.covers("dashboard:text")]


def test_lists_and_groups_show_markup_as_text(visitor: Visitor) -> None:
    for place in ("", "jobs", "failed", "queues", "scheduled"):
        page = visitor.open(place)
        assert visitor.check("foreign") == []
        assert MARKUP in page.locator("main").inner_text()


def test_page_of_a_job_shows_payload_result_error_and_tag_as_text(visitor: Visitor, http: httpx.Client) -> None:
    jobs = [*listed(http, type=MARKUP, status="completed"), *listed(http, type=MARKUP, status="failed")]
    assert len(jobs) == 2 * len(MARKUPS)
    for job in jobs:
        page = visitor.open(f"jobs/{job['id']}")
        page.get_by_text(job["id"]).wait_for()
        shown = page.locator("main").inner_text()
        assert job["payload"]["text"] in (job["error"]["message"] if job["error"] else job["result"]["text"])
        assert (job["error"]["message"] if job["error"] else json.dumps(job["result"]["text"])) in shown
        assert visitor.check("foreign") == []


def test_name_of_a_node_is_text(browser: Browser, api: RunningApi, http: httpx.Client) -> None:
    """Settings allow no such name; a peer that lies may tell one all the same."""
    name, lies = http.get("/api/v1/stats").json()["node"], [""]

    def renamed(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace(json.dumps(name), json.dumps(lies[0])))

    with Visitor(browser, api.url) as visitor:
        for address in ("cluster", "election", "workers"):
            visitor.page.route(f"**/api/v1/{address}", renamed)
        for lies[0] in MARKUPS:
            for place in ("cluster", "workers"):
                page = visitor.open(place)
                page.get_by_text(lies[0]).first.wait_for()
                assert visitor.check("foreign") == []
        assert visitor.faults == []


def test_numbers_beyond_what_a_browser_counts_keep_their_digits(visitor: Visitor, http: httpx.Client) -> None:
    number = 2**63 - 1
    made = http.post(
        "/api/v1/jobs",
        json={"type": "email", "payload": {"recipient": "a", "subject": "b", "number": number}, "delay": "1h"},
    ).json()
    page = visitor.open(f"jobs/{made['id']}")
    assert str(number) in page.get_by_role("region", name="Payload").inner_text()
    page.get_by_role("button", name="Run again with edits").click()
    page.get_by_label("Delay").fill("1h")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url(lambda url: made["id"] not in url)
    again = [job for job in listed(http, status="scheduled", type="email") if job["payload"].get("number") == number]
    assert len(again) == 2
    for job in again:
        http.delete(f"/api/v1/jobs/{job['id']}").raise_for_status()
