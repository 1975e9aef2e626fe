"""What can be done from the page, each deed once, and what it asks before."""

from __future__ import annotations

import httpx
import pytest

from tests.browser.browsing import Visitor
from tests.browser.jobs import listed
from tests.system.running import await_that

pytestmark = [pytest.mark.system, pytest.mark.covers("dashboard:actions")]


def made(http: httpx.Client, count: int, **job: object) -> list[str]:
    jobs = [{"type": "email", "payload": {"recipient": "a@example.com"}, **job}] * count
    answer = http.post("/api/v1/jobs/batch", json={"jobs": jobs})
    answer.raise_for_status()
    return [item["id"] for item in answer.json()["items"]]


def status_of(http: httpx.Client, job: str) -> str:
    return str(http.get(f"/api/v1/jobs/{job}").json()["status"])


def test_selected_jobs_are_cancelled(visitor: Visitor, http: httpx.Client) -> None:
    ids = made(http, 3, delay="1h", tags=["selected"])
    page = visitor.open("jobs?tag=selected&status=scheduled")
    page.get_by_role("checkbox", name=f"Select {ids[0]}").check()
    page.get_by_role("checkbox", name=f"Select {ids[2]}").check()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel 2 jobs").click()
    page.get_by_text("Cancel: 2 cancelled").wait_for()
    assert [status_of(http, job) for job in ids] == ["cancelled", "scheduled", "cancelled"]


def test_all_that_match_are_deleted_after_their_number_was_confirmed(visitor: Visitor, http: httpx.Client) -> None:
    made(http, 60, delay="1h", tags=["many"])
    page = visitor.open("jobs?tag=many")
    page.get_by_role("button", name="all that match").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog", name="Delete: 60 jobs?").get_by_role("button", name="Delete 60 jobs").click()
    page.get_by_text("Delete: 60 removed").wait_for()
    assert listed(http, tag="many") == []


def test_other_number_than_was_confirmed_is_refused_and_told(visitor: Visitor, http: httpx.Client) -> None:
    made(http, 2, delay="1h", tags=["moving"])
    page = visitor.open("jobs?tag=moving")
    page.get_by_role("button", name="all that match").click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    dialog = page.get_by_role("dialog", name="Cancel: 2 jobs?")
    dialog.wait_for()
    made(http, 1, delay="1h", tags=["moving"])
    dialog.get_by_role("button", name="Cancel 2 jobs").click()
    dialog.get_by_role("alert").filter(has_text="3 jobs match, 2 were expected").wait_for()
    assert all(job["status"] == "scheduled" for job in listed(http, tag="moving"))
    visitor.faults.clear()  # a browser writes every 409 to its console


def test_group_of_failures_runs_again(visitor: Visitor, http: httpx.Client) -> None:
    ids = made(http, 2, type="charge_card", payload={"card": "unknown"}, tags=["group"])
    await_that(lambda: len(listed(http, tag="group", status="failed")) == 2)
    page = visitor.open("failed")
    group = page.get_by_role("listitem").filter(has_text="PayloadMismatch").filter(has_text="charge_card")
    group.get_by_role("button", name="Run these again").click()
    page.get_by_role("dialog").get_by_role("button", name="Run 2 jobs again").click()
    page.get_by_text("2 run again").wait_for()
    await_that(lambda: all(len(http.get(f"/api/v1/jobs/{job}").json()["attempts"]) == 2 for job in ids))
    http.post("/api/v1/jobs/bulk", json={"action": "delete", "ids": ids}).raise_for_status()


def test_delayed_job_runs_now_and_another_is_cancelled_and_deleted(visitor: Visitor, http: httpx.Client) -> None:
    first, second = made(http, 2, delay="1h")
    page = visitor.open(f"jobs/{first}")
    page.get_by_role("button", name="Run now").click()
    page.get_by_role("heading", name="email completed").wait_for()
    visitor.open(f"jobs/{second}")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the job").click()
    page.get_by_role("heading", name="email cancelled").wait_for()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Delete the job").click()
    page.get_by_role("heading", name="Jobs", exact=True).wait_for()
    assert http.get(f"/api/v1/jobs/{second}").status_code == 404


def test_queue_is_paused_purged_and_resumed(visitor: Visitor, http: httpx.Client) -> None:
    made(http, 3, queue="bin", delay="1h")
    page = visitor.open("queues")
    page.get_by_role("button", name="Pause: bin").click()
    page.get_by_role("button", name="Resume: bin").wait_for()
    page.get_by_role("button", name="Purge: bin").click()
    page.get_by_role("dialog", name="Purge bin?").get_by_role("button", name="Remove 3 jobs").click()
    page.get_by_text("bin was purged").wait_for()
    await_that(lambda: listed(http, queue="bin", status="scheduled") == [])
    page.get_by_role("button", name="Resume: bin").click()
    page.get_by_role("button", name="Pause: bin").wait_for()


def test_schedule_is_added_paused_run_changed_and_removed(visitor: Visitor, http: httpx.Client) -> None:
    page = visitor.open("scheduled")
    page.get_by_role("button", name="Add a periodic job").click()
    dialog = page.get_by_role("dialog", name="Add a periodic job")
    dialog.get_by_label("Name").fill("mine")
    dialog.get_by_label("Type").fill("email")
    dialog.get_by_label("Payload").fill('{"recipient": "a"}')
    dialog.get_by_role("button", name="Add", exact=True).click()
    dialog.get_by_role("alert").filter(has_text="cron expression or an interval").wait_for()
    dialog.get_by_label("Interval").fill("1h")
    dialog.get_by_role("button", name="Add", exact=True).click()
    row = page.get_by_role("row", name="mine")
    row.get_by_role("button", name="Run now: mine").click()
    page.get_by_text("One run more was submitted").wait_for()
    row.get_by_role("button", name="Pause: mine").click()
    row.get_by_text("paused").wait_for()
    row.get_by_role("button", name="Edit: mine").click()
    page.get_by_role("dialog", name="Change mine").get_by_label("Interval").fill("2h")
    page.get_by_role("button", name="Change", exact=True).click()
    row.get_by_text("every 2h").wait_for()
    row.get_by_role("button", name="Remove: mine").click()
    page.get_by_role("button", name="Remove it").click()
    row.wait_for(state="detached")


def test_node_is_drained_and_resumed(visitor: Visitor, http: httpx.Client) -> None:
    name = http.get("/api/v1/stats").json()["node"]
    page = visitor.open("cluster")
    page.get_by_role("button", name=f"Drain: {name}").click()
    page.get_by_role("button", name="Drain the node").click()
    page.get_by_role("row", name=name).get_by_text("draining").wait_for()
    page.get_by_role("button", name=f"Resume: {name}").click()
    page.get_by_role("button", name=f"Drain: {name}").wait_for()


def test_filters_stand_in_the_address_and_come_from_it(visitor: Visitor) -> None:
    page = visitor.open("jobs?status=failed&type=charge_card")
    assert page.get_by_label("Status").input_value() == "failed"
    page.get_by_label("Type").fill("email")
    page.get_by_label("Type").press("Enter")
    page.get_by_text("No job matches.").wait_for()
    assert page.url.endswith("#/jobs?status=failed&type=email")
    page.get_by_role("link", name="Clear").click()
    page.get_by_role("row", name="charge_card").first.wait_for()


def test_pages_lead_on_by_cursor_and_back(visitor: Visitor, http: httpx.Client) -> None:
    made(http, 70, delay="1h", tags=["pages"])
    page = visitor.open("jobs?tag=pages")
    page.get_by_role("link", name="Next page").click()
    page.get_by_text("20 shown").wait_for()
    page.get_by_role("link", name="First page").click()
    page.get_by_text("50 shown").wait_for()
    http.request(
        "POST", "/api/v1/jobs/bulk", json={"action": "delete", "filter": {"tag": "pages"}, "expected_count": 70}
    ).raise_for_status()


def test_job_is_copied_as_a_command_and_a_program_that_submit_the_same(visitor: Visitor, http: httpx.Client) -> None:
    (job,) = made(
        http,
        1,
        delay="1h",
        payload={"recipient": "o'neil", "subject": "x", "flags": [True, None, 1.5]},
        tags=["copied"],
    )
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visitor.open(f"jobs/{job}")
    page.get_by_role("button", name="Copy as curl").click()
    page.get_by_text("The curl command copied").wait_for()
    curl = page.evaluate("navigator.clipboard.readText()")
    assert f"curl -X POST {visitor.url}/api/v1/jobs" in curl
    assert "o'\\''neil" in curl
    page.get_by_role("button", name="Copy as Python").click()
    page.get_by_text("The program copied").wait_for()
    program = page.evaluate("navigator.clipboard.readText()")
    assert '"flags": [True, None, 1.5]' in program
    compile(program, "copied", "exec")
    http.delete(f"/api/v1/jobs/{job}").raise_for_status()
