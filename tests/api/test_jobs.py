"""Jobs over HTTP, as a client sees them."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.system.running import await_that
from zjp import Client

pytestmark = [pytest.mark.system, pytest.mark.covers("http:jobs")]

JOBS = "/api/v1/jobs"


def submit(http: httpx.Client, type: str = "noop", **more: Any) -> dict[str, Any]:
    made = http.post(JOBS, json={"type": type, **more})
    assert made.status_code == 201, made.text
    job: dict[str, Any] = made.json()
    return job


def ended(http: httpx.Client, job_id: str) -> dict[str, Any]:
    result = http.get(f"{JOBS}/{job_id}/result", params={"wait": 20})
    assert result.status_code == 200, result.text
    told: dict[str, Any] = result.json()
    return told


def test_submitted_job_is_made_found_and_run(http: httpx.Client) -> None:
    made = http.post(JOBS, json={"type": "email", "payload": {"recipient": "a@example.com"}, "tags": ["x"]})
    assert made.status_code == 201, made.text
    job = made.json()
    assert (job["status"], job["existed"], job["durability"]) == ("pending", False, "disk")
    assert made.headers["location"] == f"{JOBS}/{job['id']}"
    assert ended(http, job["id"])["result"] == {"sent_to": "a@example.com"}
    found = http.get(made.headers["location"]).json()
    assert (found["status"], found["tags"], found["payload"]) == ("completed", ["x"], {"recipient": "a@example.com"})


def test_answer_to_a_submit_has_every_field_of_the_job_as_it_is_found(http: httpx.Client) -> None:
    options = {
        "delay": "1h",
        "queue": "later",
        "priority": 9,
        "max_retries": 2,
        "timeout": "30s",
        "unique_key": f"u-{uuid.uuid4()}",
    }
    made = submit(http, "email", payload={"recipient": "é", "n": [1, {"a": None}]}, **options)
    found = http.get(f"{JOBS}/{made['id']}").json()
    told = {"existed", "durability"}
    clock = {"created_at", "updated_at", "scheduled_at"}
    assert {name: value for name, value in made.items() if name not in told | clock} == {
        name: value for name, value in found.items() if name not in clock
    }
    assert made["status"] == "scheduled"
    assert (
        abs(float(made["scheduled_at"][17:23]) - float(found["scheduled_at"][17:23])) < 2
        or "59" in made["scheduled_at"]
    )


def test_submit_is_safe_to_repeat_by_key_and_by_id(http: httpx.Client) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = http.post(JOBS, json={"type": "noop"}, headers=key)
    again = http.post(JOBS, json={"type": "noop"}, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert (first.json()["existed"], again.json()["existed"]) == (False, True)
    own = str(uuid.uuid4())
    assert [http.post(JOBS, json={"type": "noop", "id": own}).status_code for _ in range(2)] == [201, 200]
    assert http.post(JOBS, json={"type": "email", "id": own}).json()["code"] == "conflict"


def test_a_repeat_of_a_job_whose_record_is_gone_is_told_that_it_was_made(http: httpx.Client) -> None:
    key, own = {"Idempotency-Key": str(uuid.uuid4())}, str(uuid.uuid4())
    for body, headers in (({"type": "noop"}, key), ({"type": "noop", "id": own}, {})):
        job_id = http.post(JOBS, json=body, headers=headers).json()["id"]
        ended(http, job_id)
        assert http.delete(f"{JOBS}/{job_id}").json()["outcome"] == "removed"
        again = http.post(JOBS, json=body, headers=headers)
        told = again.json()
        assert (again.status_code, told["code"], told["id"], told["existed"]) == (410, "gone", job_id, True)
        assert http.get(f"{JOBS}/{job_id}").json()["code"] == "not-found", "it does not run again"
    client = Client(str(http.base_url))
    with client:
        job = client.submit("noop", {}, id=own)
    assert (job.id, job.existed) == (own, True)


def test_unique_key_gives_the_job_that_holds_it(http: httpx.Client) -> None:
    one = submit(http, delay="1h", unique_key="only-one")
    other = http.post(JOBS, json={"type": "noop", "unique_key": "only-one"})
    assert (other.status_code, other.json()["id"], other.json()["existed"]) == (200, one["id"], True)
    http.post(f"{JOBS}/{one['id']}/cancel").raise_for_status()


def test_empty_key_is_refused_and_null_is_none(http: httpx.Client) -> None:
    """A variable that nobody filled: all these jobs would run."""
    wrong = {"type": "noop", "unique_key": ""}
    plan = {"name": "empty-key", "type": "noop", "every": "1h"}
    for method, path, body in (
        ("POST", JOBS, wrong), ("POST", f"{JOBS}/batch", {"jobs": [wrong]}), ("POST", "/api/v1/schedules", plan | {"unique_key": ""}),
        ("PATCH", "/api/v1/schedules/empty-key", {"unique_key": ""}),
    ):  # fmt: skip
        refused = http.request(method, path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid"), (method, path)
        assert "unique_key is empty, it must have 1 to 256 characters" in refused.json()["detail"]
    assert http.post(JOBS, json={"type": "noop"}, headers={"Idempotency-Key": ""}).status_code == 422
    assert http.post(JOBS, json={"type": "noop", "unique_key": None}).json()["unique_key"] is None


def test_bulk_filter_with_an_empty_text_does_not_match_all(http: httpx.Client) -> None:
    for name in ("type", "queue", "tag"):
        refused = http.post(f"{JOBS}/bulk", json={"action": "cancel", "filter": {name: ""}, "dry_run": True})
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid"), name
        assert f"filter.{name}" in refused.text


def test_batch_is_one_write_with_an_answer_per_item(http: httpx.Client) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    jobs = [{"type": "echo", "payload": {"n": number}} for number in range(1000)]
    made = http.post(f"{JOBS}/batch", json={"jobs": jobs}, headers=key)
    assert (made.status_code, made.json()["durability"], len(made.json()["items"])) == (201, "disk", 1000)
    again = http.post(f"{JOBS}/batch", json={"jobs": jobs}, headers=key)
    assert again.status_code == 200
    assert [item["id"] for item in again.json()["items"]] == [item["id"] for item in made.json()["items"]]
    last = made.json()["items"][-1]
    assert last["existed"] is False
    assert ended(http, last["id"])["result"] == {"n": 999}


def test_batch_with_a_wrong_item_stores_nothing(http: httpx.Client) -> None:
    refused = http.post(f"{JOBS}/batch", json={"jobs": [{"type": "noop", "tags": ["lone"]}, {"type": "no good"}]})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")
    assert refused.json()["detail"].startswith("jobs[1]: ")
    assert http.get(JOBS, params={"tag": "lone"}).json()["items"] == []
    assert http.post(f"{JOBS}/batch", json={"jobs": [{"type": "noop"}] * 1001}).status_code == 422


def test_list_is_filtered_and_paged_without_doubles(http: httpx.Client) -> None:
    items = http.post(f"{JOBS}/batch", json={"jobs": [{"type": "noop", "tags": ["paged"], "delay": 3600}] * 7}).json()[
        "items"
    ]
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = http.get(JOBS, params={"tag": "paged", "limit": 3, "cursor": cursor, "status": "scheduled"}).json()
        assert len(page["items"]) <= 3
        seen += [job["id"] for job in page["items"]]
        cursor = page["cursor"]
    assert sorted(seen) == sorted(item["id"] for item in items)
    assert http.get(JOBS, params={"tag": "paged", "created_after": "2999-01-01T00:00:00Z"}).json()["items"] == []
    for query in (
        {"limit": 0},
        {"limit": 501},
        {"status": "no"},
        {"what": 1},
        {"cursor": "???"},
        {"created_after": "x"},
    ):
        assert http.get(JOBS, params=query).status_code == 422, query


def test_job_is_cancelled_run_again_and_promoted(http: httpx.Client) -> None:
    job = submit(http, delay="1h")
    assert http.post(f"{JOBS}/{job['id']}/promote").json()["id"] == job["id"]
    ended(http, job["id"])
    assert http.post(f"{JOBS}/{job['id']}/promote").json()["code"] == "wrong-state"
    assert http.post(f"{JOBS}/{job['id']}/cancel").json()["code"] == "wrong-state"
    assert http.post(f"{JOBS}/{job['id']}/retry").status_code == 200
    ended(http, job["id"])
    assert len(http.get(f"{JOBS}/{job['id']}").json()["attempts"]) == 2
    waiting = submit(http, delay="1h")
    assert http.post(f"{JOBS}/{waiting['id']}/cancel").json()["status"] == "cancelled"
    for deed in ("cancel", "retry", "promote"):
        assert http.post(f"{JOBS}/{uuid.uuid4()}/{deed}").status_code == 404, deed


def test_result_says_not_yet_and_then_what_it_is(http: httpx.Client, tmp_path: Path) -> None:
    job = submit(http, "hold", payload={"path": str(tmp_path / "go")})
    assert http.get(f"{JOBS}/{job['id']}/result").status_code == 202
    assert http.get(f"{JOBS}/{job['id']}/result", params={"wait": 0.05}).status_code == 202
    (tmp_path / "go").touch()
    assert ended(http, job["id"])["result"] == "released"
    assert http.get(f"{JOBS}/{job['id']}/result", params={"wait": 61}).status_code == 422


def test_deleted_job_is_gone(http: httpx.Client) -> None:
    job = submit(http)
    ended(http, job["id"])
    await_that(lambda: http.delete(f"{JOBS}/{job['id']}").status_code in (200, 404))
    assert http.get(f"{JOBS}/{job['id']}").status_code == 404
    assert http.delete(f"{JOBS}/{job['id']}").status_code == 404
    waiting = submit(http, delay="1h")
    assert http.delete(f"{JOBS}/{waiting['id']}").status_code in (200, 202)


def test_many_are_counted_then_acted_on(http: httpx.Client) -> None:
    http.post(
        f"{JOBS}/batch", json={"jobs": [{"type": "noop", "tags": ["bulk"], "delay": 3600}] * 5}
    ).raise_for_status()
    by_tag = {"tag": "bulk", "status": "scheduled"}
    counted = http.post(f"{JOBS}/bulk", json={"action": "cancel", "filter": by_tag, "dry_run": True})
    assert counted.json() == {"matched": 5, "done": 0, "verdicts": {}}
    assert http.post(f"{JOBS}/bulk", json={"action": "cancel", "filter": by_tag}).status_code == 422
    other = http.post(f"{JOBS}/bulk", json={"action": "cancel", "filter": by_tag, "expected_count": 4})
    assert (other.status_code, other.json()["matched"]) == (409, 5)
    done = http.post(f"{JOBS}/bulk", json={"action": "cancel", "filter": by_tag, "expected_count": 5})
    assert done.json() == {"matched": 5, "done": 5, "verdicts": {"cancelled": 5}}
    by_ids = http.post(f"{JOBS}/bulk", json={"action": "retry", "ids": [str(uuid.uuid4())]})
    assert by_ids.json() == {"matched": 1, "done": 0, "verdicts": {"unknown": 1}}
    gone = http.post(f"{JOBS}/bulk", json={"action": "delete", "filter": {"tag": "bulk"}, "expected_count": 5})
    assert (gone.status_code, gone.json()["done"]) == (200, 5)


def test_group_of_failures_is_acted_on_as_a_whole(http: httpx.Client) -> None:
    """By the type of their error, which the list has no filter for."""
    texts = [{"text": "one"}, {"text": "two"}, {"nothing": "fits"}]
    jobs = [submit(http, "fail", payload=payload, tags=["by-error"]) for payload in texts]
    for job in jobs:
        ended(http, job["id"])
    group = {"tag": "by-error", "error": "ValueError"}
    assert http.post(f"{JOBS}/bulk", json={"action": "retry", "filter": group, "dry_run": True}).json()["matched"] == 2
    none = http.post(f"{JOBS}/bulk", json={"action": "retry", "filter": {**group, "error": ""}, "dry_run": True})
    assert none.json()["matched"] == 0
    done = http.post(f"{JOBS}/bulk", json={"action": "retry", "filter": group, "expected_count": 2})
    assert done.json() == {"matched": 2, "done": 2, "verdicts": {"requeued": 2}}
    running = http.post(f"{JOBS}/bulk", json={"action": "retry", "filter": {**group, "status": "running"}, "dry_run": True})
    assert (running.status_code, running.json()["code"]) == (422, "invalid")


@pytest.mark.covers("http:problems")
def test_body_with_a_name_that_stands_twice_is_refused(http: httpx.Client) -> None:
    twice = b'{"type": "noop", "type": "email"}'
    json_type = {"content-type": "application/json"}
    short = http.post(JOBS, content=twice, headers=json_type)
    by_asgi = http.post(JOBS, content=iter([twice]), headers=json_type)
    many = b'{"action": "cancel", "filter": {"tag": "a", "tag": "b"}, "dry_run": true}'
    bulk = http.post(f"{JOBS}/bulk", content=many, headers=json_type)
    for answer in (short, by_asgi, bulk):
        assert (answer.status_code, answer.json()["code"]) == (400, "bad-request"), answer.text
        assert "stands twice" in answer.json()["detail"]


def test_unchanged_job_is_not_sent_again(http: httpx.Client) -> None:
    job = submit(http, delay="1h")
    first = http.get(f"{JOBS}/{job['id']}")
    again = http.get(f"{JOBS}/{job['id']}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = http.head(f"{JOBS}/{job['id']}")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", first.headers["etag"])
