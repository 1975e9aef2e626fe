"""A job's JSON: the contract's names, times and forms."""

from __future__ import annotations

import json

import msgspec
import pytest

from zjp.job import Attempt, JobFault, JobState, JobView, make_id
from zjp.job_json import job_json, time_json, unpacked

pytestmark = pytest.mark.covers("cli:json")

CONTRACT = [
    "id", "type", "queue", "priority", "payload", "status", "max_retries", "retry_count", "scheduled_at", "created_at", "updated_at",
    "started_at", "completed_at", "timeout", "unique_key", "tags", "progress", "result", "error", "node_id", "worker_id", "attempts",
]  # fmt: skip


def view(**fields: object) -> JobView:
    needed = {
        "id": make_id(1_893_456_000_123, 7, 1), "type": "email", "queue": "default", "priority": 5, "status": JobState.PENDING,
        "payload": msgspec.msgpack.encode({"to": "a"}), "created_ms": 1_893_456_000_123,
    }  # fmt: skip
    return JobView(**{**needed, **fields})


def test_a_job_has_exactly_the_fields_of_the_contract_in_its_order() -> None:
    assert list(job_json(view())) == CONTRACT


def test_what_has_not_happened_is_null() -> None:
    told = job_json(view())
    absent = ("started_at", "completed_at", "scheduled_at", "timeout", "unique_key", "progress", "result", "error", "node_id")
    assert {name: told[name] for name in absent} == dict.fromkeys(absent)
    assert told["tags"] == told["attempts"] == []


def test_times_are_rfc_3339_in_utc_to_the_millisecond() -> None:
    assert time_json(1_893_456_000_123) == "2030-01-01T00:00:00.123Z"
    assert time_json(1_893_456_000_007) == "2030-01-01T00:00:00.007Z"
    assert time_json(0) is None


def test_a_failed_job_tells_its_error_and_every_attempt() -> None:
    fault = JobFault("ValueError", "no", "Traceback ...")
    attempts = (Attempt(3, "n1", "w0", 1000, 2000, "retried", fault), Attempt(4, "n1", "w1", 3000, 4000, "failed", fault))
    told = job_json(view(status=JobState.FAILED, retries=1, error=fault, attempts=attempts, finished_ms=4000, started_ms=3000))
    assert told["status"] == "failed"
    assert told["retry_count"] == 1
    assert told["error"] == {"type": "ValueError", "message": "no", "traceback": "Traceback ..."}
    assert [one["outcome"] for one in told["attempts"]] == ["retried", "failed"]
    assert told["attempts"][1]["start"] == "1970-01-01T00:00:03.000Z"
    assert told["attempts"][1]["node"] == "n1"


def test_updated_at_is_the_last_thing_that_happened() -> None:
    attempt = Attempt(3, "n1", "w0", 1_893_456_005_000, 1_893_456_006_000, "retried")
    assert job_json(view(attempts=(attempt,)))["updated_at"] == "2030-01-01T00:00:06.000Z"
    assert job_json(view())["updated_at"] == job_json(view())["created_at"]


def test_timeouts_are_text_that_a_submit_takes_back() -> None:
    assert job_json(view(timeout_ms=90_000))["timeout"] == "90s"
    assert job_json(view(timeout_ms=1_500))["timeout"] == "1500ms"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (b"\x00\xff", "AP8="),
        ([float("nan"), float("inf"), 1.5], [None, None, 1.5]),
        ({"deep": [{"raw": b"a"}]}, {"deep": [{"raw": "YQ=="}]}),
        ({1: "number as key"}, {"1": "number as key"}),
        (None, None),
        (2**64 - 1, 2**64 - 1),
    ],
)
def test_what_json_cannot_say_becomes_the_nearest_thing(value: object, told: object) -> None:
    plain = unpacked(msgspec.msgpack.encode(value))
    assert plain == told
    assert json.loads(json.dumps(plain, allow_nan=False)) == told
