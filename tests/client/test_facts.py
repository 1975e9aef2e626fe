"""What a job is known as: its type when somebody else held its unique key, and all of it as the HTTP API shows it."""

from __future__ import annotations

import pytest

from zjp import AsyncClient, Client
from zjp.client.asyncio import AsyncJob
from zjp.client.blocking import Job
from zjp.client.inline import InlineNode
from zjp.client.inline_doors import AsyncInlineDoor, InlineDoor
from zjp.job import Attempt, JobFault, JobState, JobView
from zjp.job_json import job_json
from zjp.wire.messages import Durability, SubmitKind

pytestmark = pytest.mark.covers("main-path:9", "client:get")

VIEW = JobView(
    bytes(15) + b"\x07",
    "resize",
    "images",
    5,
    JobState.FAILED,
    b"\x81\xa4data\xc4\x01x",
    1_700_000_000_000,
    finished_ms=1_700_000_002_500,
    error=JobFault("ValueError", "no", "trace"),
    attempts=(
        Attempt(7, "n1", "w0.1", 1_700_000_001_000, 1_700_000_002_000, "failed", JobFault("ValueError", "no", "trace")),
    ),
)


def test_a_job_as_plain_data_is_what_the_http_api_shows() -> None:
    client = Client(_door=InlineDoor(InlineNode({}, 0)))
    shown = Job(client, VIEW.id, "resize", view=VIEW).as_dict()
    assert shown == job_json(VIEW)
    assert (shown["updated_at"], shown["created_at"]) == ("2023-11-14T22:13:22.500Z", "2023-11-14T22:13:20.000Z")
    assert shown["payload"] == {"data": "eA=="}
    assert shown["attempts"] == [
        {
            "node": "n1",
            "worker": "w0.1",
            "start": "2023-11-14T22:13:21.000Z",
            "end": "2023-11-14T22:13:22.000Z",
            "outcome": "failed",
            "fence": 7,
            "error": {"type": "ValueError", "message": "no", "traceback": "trace"},
        }
    ]


def test_the_type_is_the_real_one_once_the_job_was_looked_at() -> None:
    """The unique key was held by a job of another type."""
    client = Client(_door=InlineDoor(InlineNode({}, 0)))
    slow = AsyncClient(_door=AsyncInlineDoor(InlineNode({}, 0)))
    asked: list[Job | AsyncJob] = [
        Job(client, VIEW.id, "email", SubmitKind.UNIQUE, Durability.DISK),
        AsyncJob(slow, VIEW.id, "email", SubmitKind.UNIQUE, Durability.DISK),
    ]
    for job in asked:
        assert (job.type, "email" in repr(job)) == ("email", True)
        job._view = VIEW
        assert (job.type, job.as_dict()["type"]) == ("resize", "resize")
        assert " resize failed unique>" in repr(job)
