"""With auth on: logging in and out, pages and buttons by role, one's own password. The node starts the API itself, as it does for users."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser

from tests.browser.browsing import NARROW, Visitor, chromium, chromium_path
from tests.system.running import RunningNode, first

pytestmark = [pytest.mark.system, pytest.mark.covers("dashboard:roles")]

LIMIT_S = 30.0
ACTING = "main button:not(.quiet):not([class='quiet'])"
COPIES = {"Copy as curl", "Copy as Python"}
"""Buttons that only read."""


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an API that asks who is there; the users are those of AUTH_DEV_USERS, and jobs are there."""
    chromium_path()
    node = RunningNode(
        tmp_path_factory.mktemp("guarded"), app="tests.browser.tasks:app", worker_count=2, worker_processes=1, api_enabled=True,
        server_port=0, metrics_port=0, auth_enabled=True, auth_dev_users=True, jwt_secret="0123456789abcdef" * 4,
    )  # fmt: skip
    with node, httpx.Client(timeout=20.0, trust_env=False) as http:
        url = str(first(lambda: node.events("api.listening") or None, LIMIT_S, "the API")[-1]["url"])
        http.base_url = httpx.URL(url)
        token = first(lambda: token_of(http), LIMIT_S, "a login")
        http.headers["authorization"] = f"Bearer {token}"
        for customer in (12, 4711):
            http.post(
                "/api/v1/jobs", json={"type": "charge_card", "payload": {"customer": customer}}
            ).raise_for_status()
        http.post("/api/v1/schedules", json={"name": "sync", "type": "sync_stock", "every": "6h"}).raise_for_status()
        first(lambda: http.get("/api/v1/jobs?status=failed").json()["items"] or None, LIMIT_S)
        yield url


def token_of(http: httpx.Client) -> str | None:
    try:
        answer = http.post("/auth/login", json={"username": "admin", "password": "admin123"})
    except httpx.TransportError:
        return None
    return str(answer.json()["token"]) if answer.status_code == 200 else None


@pytest.fixture(scope="module")
def browser(guarded: str) -> Iterator[Browser]:
    with chromium() as one:
        yield one


def log_in(visitor: Visitor, name: str, password: str) -> None:
    page = visitor.open()
    page.get_by_role("heading", name="Log in to zjp").wait_for()
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def forget_refusals(visitor: Visitor) -> None:
    """A browser writes every 401 to its console: it is how the page learns that nobody is logged in."""
    visitor.faults[:] = [fault for fault in visitor.faults if "401" not in fault]


@pytest.fixture
def guest(browser: Browser, guarded: str) -> Iterator[Visitor]:
    with Visitor(browser, guarded) as one:
        yield one
        forget_refusals(one)
        assert one.faults == []


def acting_buttons(visitor: Visitor) -> set[str]:
    return {button.inner_text() for button in visitor.page.locator(ACTING).all()} - COPIES


def links(visitor: Visitor) -> set[str]:
    return {link.inner_text().split("\n")[0] for link in visitor.page.locator("nav a").all()}


def test_nothing_is_shown_before_the_login_and_wrong_words_are_told(guest: Visitor) -> None:
    page = guest.open("jobs")
    page.get_by_role("heading", name="Log in to zjp").wait_for()
    assert page.locator("nav a").count() == 0
    for check in ("names", "structure", "outline", "targets", "overflow", "contrast"):
        assert guest.check(check) == []
    page.set_viewport_size({"width": NARROW, "height": 700})
    assert guest.check("overflow") == []
    log_in(guest, "admin", "wrong")
    page.get_by_role("alert").filter(has_text="name or password is wrong").wait_for()


def test_worker_reads_and_has_no_button_that_acts(guest: Visitor) -> None:
    log_in(guest, "worker", "worker123")
    page = guest.page
    page.get_by_role("heading", name="Overview").wait_for()
    assert links(guest) == {"Overview", "Jobs", "Failed", "Scheduled", "Queues", "Cluster"}
    for place in ("", "jobs", "failed", "scheduled", "queues", "cluster"):
        guest.open(place)
        assert acting_buttons(guest) == set(), place
        assert page.get_by_role("checkbox").count() == 0
    guest.open("failed")
    page.get_by_role("main").get_by_role("link", name="charge_card").click()
    page.get_by_role("table", name="Jobs").get_by_role("link", name="charge_card").click()
    page.get_by_role("region", name="Traceback", exact=True).wait_for()
    assert acting_buttons(guest) == set()
    for place in ("audit", "users", "workers"):
        guest.open(place)
        page.get_by_text("This page is for the role admin.").wait_for()


def test_user_submits_cancels_and_runs_again_but_runs_no_cluster(guest: Visitor) -> None:
    log_in(guest, "user", "user123")
    guest.page.get_by_role("heading", name="Overview").wait_for()
    guest.open("jobs")
    assert "Submit a job" in acting_buttons(guest)
    for place in ("queues", "scheduled", "cluster"):
        guest.open(place)
        assert acting_buttons(guest) == set(), place
    guest.open("jobs?status=completed")
    guest.page.get_by_role("table", name="Jobs").get_by_role("link", name="charge_card").first.click()
    guest.page.get_by_role("heading", name="Payload").wait_for()
    assert acting_buttons(guest) == {"Run again", "Run again with edits"}
    guest.page.get_by_role("button", name="Run again", exact=True).click()
    guest.page.get_by_text("It runs again").wait_for()


def test_admin_makes_a_user_who_changes_the_own_password(guest: Visitor, browser: Browser, guarded: str) -> None:
    log_in(guest, "admin", "admin123")
    page = guest.page
    page.get_by_role("heading", name="Overview").wait_for()
    guest.open("users")
    page.get_by_role("button", name="Add a user").click()
    dialog = page.get_by_role("dialog", name="Add a user")
    dialog.get_by_label("Name").fill("mary")
    dialog.get_by_label("Password").fill("correct horse battery")
    dialog.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("row", name="mary").wait_for()
    with Visitor(browser, guarded) as other:
        log_in(other, "mary", "correct horse battery")
        other.page.get_by_role("heading", name="Overview").wait_for()
        other.open("account")
        other.page.get_by_label("Present password").fill("correct horse battery")
        other.page.get_by_label("New password").fill("another horse battery")
        other.page.get_by_role("button", name="Change the password").click()
        other.page.get_by_text("The password was changed").wait_for()
        other.open("jobs")
        other.page.get_by_role("button", name="Log out").click()
        log_in(other, "mary", "another horse battery")
        other.page.get_by_role("heading", name="Overview").wait_for()
        forget_refusals(other)
        assert other.faults == []
    guest.open("audit")
    page.get_by_role("row", name="mary").first.wait_for()
    guest.open("users")
    page.get_by_role("button", name="Remove: mary").click()
    page.get_by_role("button", name="Remove the user").click()
    page.get_by_role("row", name="mary").wait_for(state="detached")


def test_session_that_has_ended_leads_to_the_login(guest: Visitor) -> None:
    log_in(guest, "user", "user123")
    guest.page.get_by_role("heading", name="Overview").wait_for()
    guest.context.clear_cookies()
    guest.page.get_by_role("link", name="Queues", exact=True).click()
    guest.page.get_by_role("heading", name="Log in to zjp").wait_for()
