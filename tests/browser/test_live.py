"""The page follows what happens by itself, and says when it cannot."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser

from tests.api.running import RunningApi
from tests.browser.browsing import Visitor
from tests.system.running import RunningNode

pytestmark = [pytest.mark.system, pytest.mark.covers("dashboard:live")]


def test_new_job_appears_in_the_open_list(visitor: Visitor, http: httpx.Client) -> None:
    page = visitor.open("jobs?tag=appears")
    page.get_by_text("No job matches.").wait_for()
    http.post(
        "/api/v1/jobs", json={"type": "email", "payload": {"recipient": "new"}, "tags": ["appears"]}
    ).raise_for_status()
    row = page.get_by_role("row", name="completed")
    row.wait_for()
    row.get_by_role("checkbox").check()
    http.post(
        "/api/v1/jobs", json={"type": "email", "payload": {"recipient": "new"}, "tags": ["appears"]}
    ).raise_for_status()
    page.get_by_role("row", name="completed").nth(1).wait_for()
    assert page.get_by_role("row").get_by_role("checkbox", checked=True).count() == 1, (
        "the selection stays where it was"
    )


def test_figures_follow_the_stream(visitor: Visitor, http: httpx.Client) -> None:
    page = visitor.open()
    card = page.get_by_role("link", name="Scheduled ").filter(has=page.locator(".figure"))
    before = int(card.locator(".figure").inner_text())
    made = http.post("/api/v1/jobs", json={"type": "email", "payload": {"recipient": "later"}, "delay": "1h"}).json()
    figure = "Number(document.querySelector('.card.is-scheduled .figure').textContent)"
    page.wait_for_function(f"([before]) => {figure} === before + 1", arg=[before])
    http.delete(f"/api/v1/jobs/{made['id']}").raise_for_status()


def test_banner_comes_when_the_node_is_silent_and_goes_when_it_is_back(
    browser: Browser, node: RunningNode, tmp_path: Path
) -> None:
    with RunningApi(tmp_path, node.address) as before, Visitor(browser, before.url) as visitor:
        page = visitor.open()
        banner = page.get_by_role("status").filter(has_text="Disconnected")
        assert not banner.is_visible()
        before.hang_up()
        banner.wait_for()
        assert page.get_by_role("heading", name="Overview").is_visible(), "what was there stays readable"
        (tmp_path / "after").mkdir()
        with RunningApi(tmp_path / "after", node.address, server_port=str(before.port)):
            banner.wait_for(state="hidden")


def test_hidden_page_lets_its_stream_go(visitor: Visitor) -> None:
    """Browsers allow six connections to one place, and a forgotten tab should cost a node nothing."""
    page = visitor.open()
    page.evaluate(
        """() => { Object.defineProperty(document, "hidden", { get: () => true, configurable: true });
        document.dispatchEvent(new Event("visibilitychange")); }"""
    )
    with page.expect_request("**/api/v1/events"):
        page.evaluate(
            """() => { Object.defineProperty(document, "hidden", { get: () => false, configurable: true });
            document.dispatchEvent(new Event("visibilitychange")); }"""
        )
