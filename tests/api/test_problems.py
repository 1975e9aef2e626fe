"""What is refused, and how that is told: problem documents, limits, other sites."""

from __future__ import annotations

import gzip
import json
import socket
from typing import Any

import httpx
import pytest

from tests.api.running import RunningApi

pytestmark = [pytest.mark.system, pytest.mark.covers("http:problems")]

JOBS = "/api/v1/jobs"


def is_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert (told["status"], told["code"], told["type"]) == (status, code, f"/docs#{code}")
    assert told["title"]
    assert told["detail"]
    return told


def test_every_refusal_is_a_problem_document(http: httpx.Client) -> None:
    is_problem(http.get("/nothing"), 404, "not-found")
    is_problem(http.get(f"{JOBS}/00000000-0000-7000-8000-000000000000"), 404, "not-found")
    is_problem(http.get(f"{JOBS}/nonsense"), 422, "invalid")
    told = http.put(JOBS, json={})
    is_problem(told, 405, "method-not-allowed")
    assert told.headers["allow"] == "GET, HEAD, POST"
    is_problem(http.post(JOBS, content=b"{", headers={"Content-Type": "application/json"}), 400, "bad-request")
    is_problem(http.post(JOBS, content=b"type=noop", headers={"Content-Type": "text/plain"}), 415, "media-type")
    is_problem(http.post(JOBS, data={"type": "noop"}), 415, "media-type")
    is_problem(http.post(JOBS), 415, "media-type")
    is_problem(http.get(JOBS, params=[("limit", "1"), ("limit", "2")]), 400, "bad-request")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "type"),
        ({"type": "noop", "kind": "x"}, "kind"),
        ({"type": "no op"}, "no op"),
        ({"type": "noop", "priority": 11}, "priority"),
        ({"type": "noop", "priority": "5"}, "priority"),
        ({"type": "noop", "payload": [1]}, "payload"),
        ({"type": "noop", "payload": {"n": 1 << 70}}, "payload"),
        ({"type": "noop", "max_retries": -1}, "max_retries"),
        ({"type": "noop", "delay": "soon"}, "delay"),
        ({"type": "noop", "scheduled_at": "tomorrow"}, "run_at"),
        ({"type": "noop", "id": "mine"}, "mine"),
        ({"type": "noop", "tags": ["a"] * 17}, "tags"),
        ({"type": "noop", "status": "completed"}, "status"),
        ({"type": "noop", "owner": "root"}, "owner"),
    ],
)
def test_wrong_field_is_named(http: httpx.Client, body: dict[str, Any], named: str) -> None:
    assert named in is_problem(http.post(JOBS, json=body), 422, "invalid")["detail"]


def test_json_that_is_none_is_refused(http: httpx.Client) -> None:
    kind = {"Content-Type": "application/json"}
    deep = b'{"type":"noop","payload":{"a":' + b"[" * 5000 + b"]" * 5000 + b"}}"
    nested = b'{"type":"noop","payload":{"a":' + b"[" * 70 + b"]" * 70 + b"}}"
    for body in (deep, nested, b'{"type":"noop","payload":{"a":NaN}}', b'{"type":"noop"} x', b'\xff{"type":"noop"}', b""):
        assert http.post(JOBS, content=body, headers=kind).status_code in (400, 415), body[:40]
    brackets = json.dumps({"type": "echo", "payload": {"text": "[{" * 200}})
    assert http.post(JOBS, content=brackets, headers=kind).status_code == 201


def test_body_over_the_limit_is_refused_before_it_is_read(http: httpx.Client, api: RunningApi) -> None:
    big = json.dumps({"type": "echo", "payload": {"text": "x" * (1 << 20)}})
    is_problem(http.post(JOBS, content=big, headers={"Content-Type": "application/json"}), 413, "too-large")
    batch = json.dumps({"jobs": [{"type": "echo", "payload": {"text": "x" * 400_000}}] * 4})
    assert http.post(f"{JOBS}/batch", content=batch, headers={"Content-Type": "application/json"}).status_code == 201
    with socket.create_connection(("127.0.0.1", api.port), 10) as raw:
        head = b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        raw.sendall(head + b"Content-Length: 2000000000\r\n\r\n")
        assert b" 413 " in raw.recv(65536).split(b"\r\n")[0]


@pytest.mark.parametrize("path", [JOBS, f"{JOBS}/batch", "/api/v1/queues/default/pause"])
def test_caller_that_is_still_sending_a_body_over_the_limit_gets_to_read_the_answer(api: RunningApi, path: str) -> None:
    size = 40_000_000
    with socket.create_connection(("127.0.0.1", api.port), 10) as raw:
        raw.sendall(b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path.encode(), size))
        answer = raw.recv(65536)
        while not answer.endswith(b"}"):
            answer += raw.recv(65536)
        assert answer.startswith(b"HTTP/1.1 413 ")
        raw.sendall(bytes(size))
        assert raw.recv(1) == b"", "and then the connection ends"


def test_caller_that_asks_whether_it_may_send_is_told_at_once(api: RunningApi) -> None:
    with socket.create_connection(("127.0.0.1", api.port), 5) as raw:
        raw.sendall(
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 40000000\r\n\r\n" % JOBS.encode()
        )
        answer = b""
        while part := raw.recv(65536):
            answer += part
        assert answer.startswith(b"HTTP/1.1 413 ")


def test_payload_over_its_limit_is_refused_by_the_node(http: httpx.Client) -> None:
    text = "x" * 600_000
    batch = {"jobs": [{"type": "echo", "payload": {"a": text, "b": text}}]}
    is_problem(http.post(f"{JOBS}/batch", json=batch), 413, "too-large")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8080"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_pages_of_other_sites_get_nothing(http: httpx.Client, headers: dict[str, str]) -> None:
    is_problem(http.get("/api/v1/stats", headers=headers), 403, "not-allowed")
    is_problem(http.post(JOBS, json={"type": "noop"}, headers=headers), 403, "not-allowed")


@pytest.mark.parametrize("host", ["localhost", "localhost:1234", "127.0.0.1", "[::1]:80", "app.localhost"])
def test_loopback_names_are_served(http: httpx.Client, host: str) -> None:
    assert http.get("/api/v1/stats", headers={"Host": host, "Origin": f"http://{host}"}).status_code == 200


def test_every_answer_has_an_id_and_safe_headers(http: httpx.Client) -> None:
    ids = set()
    for answer in (http.get("/healthz"), http.get("/nothing"), http.post(JOBS, json={"type": "noop"}), http.post(JOBS), http.put(JOBS)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "no-store" in answer.headers["cache-control"]
        assert "server" not in answer.headers
        ids.add(answer.headers["x-request-id"])
    assert len(ids) == 5
    own = http.get("/healthz", headers={"X-Request-Id": "mine-1"})
    assert own.headers["x-request-id"] == "mine-1"
    assert http.get("/healthz", headers={"X-Request-Id": "not good"}).headers["x-request-id"] != "not good"


def test_large_answers_are_compressed_for_those_who_accept_it(http: httpx.Client) -> None:
    http.post(f"{JOBS}/batch", json={"jobs": [{"type": "noop", "tags": ["zip"]}] * 50}).raise_for_status()
    pressed = http.get(JOBS, params={"tag": "zip"}, headers={"Accept-Encoding": "gzip"})
    assert (pressed.headers["content-encoding"], pressed.headers["vary"]) == ("gzip", "accept-encoding")
    plain = http.get(JOBS, params={"tag": "zip"}, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert int(pressed.headers["content-length"]) < len(gzip.compress(plain.content)) * 2 < len(plain.content)


def test_head_answers_as_get_without_a_body(http: httpx.Client) -> None:
    for path in ("/healthz", "/api/v1/stats", "/docs", "/api/v1/jobs", "/api/v1/events"):
        head = http.head(path)
        assert (head.status_code, head.content) == (200, b""), path
