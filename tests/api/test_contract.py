"""The requests of the older system, as the contract has them, run by curl as they stand."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.api.running import RunningApi
from tests.system.running import ROOT, RunningNode, await_that

pytestmark = [
    pytest.mark.system,
    pytest.mark.covers("http:older-requests"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here"),
]

LINES = r"""
curl -X POST http://localhost:8080/api/v1/jobs -H "Content-Type: application/json" \
  -d '{"type": "email", "priority": 5, "payload": {"recipient": "user@example.com", "subject": "Test Job"}, "max_retries": 3, "scheduled_at": "2024-01-01T12:00:00Z"}'
curl "http://localhost:8080/api/v1/jobs?status=pending&type=email&limit=50";  curl http://localhost:8080/api/v1/jobs/{job_id};  curl -X DELETE http://localhost:8080/api/v1/jobs/{job_id}
curl http://localhost:8080/api/v1/{stats,workers,nodes,leader,election,cluster};  curl http://localhost:8080/api/v1/election/algorithms/{bully,raft,gossip};  curl http://localhost:8080/health
"""  # noqa: E501


def commands() -> list[str]:
    joined = LINES.replace("\\\n", " ")
    return [part.strip() for line in joined.splitlines() for part in re.split(r";\s+(?=curl)", line) if part.strip()]


LOGIN = (
    'curl -X POST http://localhost:8080/auth/login -H "Content-Type: application/json" '
    """-d '{"username": "admin", "password": "admin123"}'"""
)


def run(command: str, port: int, job_id: str, *, token: str = "") -> list[Any]:
    """What it printed, one JSON document after another. `localhost:8080` is mapped to the port of the test's API."""
    command = command.replace("{job_id}", job_id)
    command = command.replace("curl ", f"curl -sS --noproxy '*' --connect-to localhost:8080:127.0.0.1:{port} ", 1)
    if token:
        command = command.replace("curl ", f"curl -H 'Authorization: Bearer {token}' ", 1)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, (command, done.stderr)
    decoder, rest, found = json.JSONDecoder(), done.stdout.strip(), []
    while rest:
        value, end = decoder.raw_decode(rest)
        found.append(value)
        rest = rest[end:].lstrip()
    return found


def test_lines_are_those_of_the_contract() -> None:
    contract = ROOT / "docs" / "contract.md"
    assert not Path(contract).exists() or LINES.strip() in contract.read_text()
    assert len(commands()) == 7


def test_every_line_works_as_it_stands_without_a_token_when_auth_is_off(api: RunningApi) -> None:
    works(api.port, "")


@pytest.mark.covers("http:auth", "settings:AUTH_DEV_USERS", "http:process")
def test_every_line_works_with_a_token_of_a_node_with_dev_users(tmp_path: Path) -> None:
    settings = {"api_enabled": True, "server_port": 0, "metrics_port": 0, "auth_enabled": True, "auth_dev_users": True}
    secret = hashlib.sha256(str(tmp_path).encode()).hexdigest()
    with RunningNode(tmp_path, app="tests.api.tasks:app", worker_count=1, jwt_secret=secret, **settings) as node:
        await_that(lambda: node.events("api.listening"))
        port = node.events("api.listening")[-1]["port"]
        assert run(commands()[4], port, "")[0]["code"] == "unauthenticated"
        (session,) = run(LOGIN, port, "")
        assert (session["role"], session["token_type"]) == ("admin", "Bearer")
        works(port, session["token"])


def works(port: int, token: str) -> None:
    made, listed, shown, deleted, views, algorithms, health = commands()
    ask = partial(run, port=port, token=token)
    (job,) = ask(made, job_id="")
    assert (job["type"], job["status"], job["scheduled_at"]) == ("email", "pending", None)
    assert job["payload"] == {"recipient": "user@example.com", "subject": "Test Job"}
    (page,) = ask(listed, job_id="")
    assert set(page) == {"items", "cursor", "scanned"}
    (found,) = ask(shown, job_id=job["id"])
    assert found["id"] == job["id"]
    told = ask(views, job_id="")
    assert [("code" in one) for one in told] == [False] * 6
    assert [one["name"] for one in ask(algorithms, job_id="")] == ["bully", "raft", "gossip"]
    assert ask(health, job_id="")[0]["status"] in ("ok", "degraded")
    (gone,) = ask(deleted, job_id=job["id"])
    assert gone["outcome"] in ("removed", "removing")
