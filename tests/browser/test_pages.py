"""Every page, wide and narrow, light and dark: no error, nothing from elsewhere, and usable by everybody."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser

from tests.api.running import RunningApi
from tests.browser.browsing import NARROW, WIDE, Visitor
from tests.browser.jobs import listed, running_job

pytestmark = [pytest.mark.system, pytest.mark.covers("dashboard:pages", "dashboard:everybody")]

GROUP = "jobs?status=failed&type=charge_card&error=PaymentDeclined"
PLACES = [
    "",
    "jobs",
    GROUP,
    "failed",
    "scheduled",
    "queues",
    "workers",
    "cluster",
    "audit",
    "users",
    "account",
    "nowhere",
]
JOBS = ["completed", "failed", "retrying", "scheduled"]
CHECKS = ("names", "structure", "outline", "targets", "overflow", "contrast")


def findings(visitor: Visitor) -> list[str]:
    """Light, then the colours once more in the dark."""
    visitor.page.emulate_media(color_scheme="light")
    found = [f"{check}: {finding}" for check in CHECKS for finding in visitor.check(check)]
    visitor.page.emulate_media(color_scheme="dark")
    return found + [f"dark: {finding}" for finding in visitor.check("contrast")]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_every_page_is_without_faults(browser: Browser, api: RunningApi, width: int) -> None:
    with Visitor(browser, api.url, width=width) as visitor:
        found = {}
        for place in PLACES:
            visitor.open(place)
            found[place] = findings(visitor)
        assert {place: those for place, those in found.items() if those} == {}
        assert visitor.faults == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_page_of_a_job_is_without_faults_in_every_state(
    browser: Browser, api: RunningApi, http: httpx.Client, tmp_path: Path, width: int
) -> None:
    with Visitor(browser, api.url, width=width) as visitor, running_job(http, tmp_path / "go-on") as running:
        found = {}
        for state, job in [("running", running), *[(state, listed(http, status=state)[0]["id"]) for state in JOBS]]:
            visitor.open(f"jobs/{job}")
            found[state] = findings(visitor)
        assert {state: those for state, those in found.items() if those} == {}
        assert visitor.faults == []


def test_dialogs_and_the_open_menu_are_without_faults(browser: Browser, api: RunningApi) -> None:
    with Visitor(browser, api.url, width=NARROW) as visitor:
        page = visitor.open("jobs")
        page.get_by_role("button", name="Menu").click()
        assert findings(visitor) == []
        page.get_by_role("button", name="Keyboard shortcuts").click()
        assert findings(visitor) == []
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Submit a job").click()
        assert findings(visitor) == []
        assert visitor.faults == []


def test_theme_is_chosen_and_kept(visitor: Visitor) -> None:
    page = visitor.open()
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Use the dark theme").click()
    page.reload()
    visitor.settle()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    page.get_by_role("button", name="Use the light theme").click()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"


def test_keyboard_alone_reaches_a_job_and_shows_where_it_is(visitor: Visitor) -> None:
    page = visitor.open()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("g")
    page.keyboard.press("f")
    page.get_by_role("heading", name="Failed", exact=True).wait_for()
    page.keyboard.press("g")
    page.keyboard.press("j")
    page.get_by_role("heading", name="Jobs", exact=True).wait_for()
    visitor.settle()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Payload").wait_for()
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0


def test_letters_do_nothing_while_somebody_types_or_has_turned_them_off(visitor: Visitor) -> None:
    page = visitor.open("jobs")
    page.keyboard.press("/")
    page.keyboard.type("g f?")
    assert page.get_by_label("Type").input_value() == "g f?"
    page.get_by_label("Type").fill("")
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.get_by_label("Use single letters as shortcuts").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").count() == 0


def test_times_are_relative_with_the_exact_one_in_the_title(visitor: Visitor) -> None:
    page = visitor.open("jobs?status=completed")
    time = page.locator("td time").first
    assert time.inner_text().endswith((" ago", "now"))
    assert str(time.get_attribute("datetime")) in str(time.get_attribute("title"))
