"""Submits on their short way: what HTTP allows must hold there as anywhere. And the benchmark of it, run small."""

from __future__ import annotations

import json
import re
import socket

import httpx
import pytest

from benchmarks import http as bench
from tests.api.running import RunningApi
from zjp.api.submitting import NewJob, made_body, made_json, spec_of
from zjp.job import format_id

pytestmark = [pytest.mark.system, pytest.mark.covers("http:jobs", "http:server")]

KIND = "Host: localhost\r\nContent-Type: application/json\r\n"
BODY = json.dumps({"type": "noop"}).encode()


def post(body: bytes = BODY, *, version: str = "1.1", more: str = "", path: str = "/api/v1/jobs") -> bytes:
    return f"POST {path} HTTP/{version}\r\n{KIND}{more}Content-Length: {len(body)}\r\n\r\n".encode() + body


def said(api: RunningApi, *parts: bytes) -> list[int]:
    """The statuses of all answers until the server closes, which the last request asks for."""
    with socket.create_connection(("127.0.0.1", api.port), 20) as raw:
        for part in parts:
            raw.sendall(part)
        answer = b""
        while part := raw.recv(65536):
            answer += part
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


LAST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def test_requests_one_behind_the_other_are_answered_in_order(api: RunningApi) -> None:
    wrong = post(b'{"type":"no op"}')
    assert said(api, post() + wrong + post() + LAST) == [201, 422, 201, 200]
    assert said(api, LAST.replace(b"Connection: close\r\n", b"") + post() + LAST) == [200, 201, 200]


def test_connection_is_closed_where_the_request_says_so(api: RunningApi) -> None:
    assert said(api, post(more="Connection: close\r\n")) == [201]
    assert said(api, post(version="1.0")) == [201]


def test_body_in_parts_in_chunks_and_announced_is_the_same_submit(api: RunningApi) -> None:
    whole = post()
    assert said(api, whole[:30], whole[30:-5], whole[-5:], LAST) == [201, 200]
    chunked = f"POST /api/v1/jobs HTTP/1.1\r\n{KIND}Transfer-Encoding: chunked\r\n\r\n{len(BODY):x}\r\n".encode() + BODY + b"\r\n0\r\n\r\n"
    assert said(api, chunked + LAST) == [201, 200]
    assert said(api, post(more="Expect: 100-continue\r\n") + LAST) == [100, 201, 200]


def test_query_and_path_beside_it_are_not_taken_for_it(api: RunningApi) -> None:
    assert said(api, post(path="/api/v1/jobs?dry=1") + LAST) == [422, 200]
    assert said(api, post(path="/api/v1/jobs/") + LAST) == [404, 200]


def test_caller_that_goes_before_the_answer_harms_nobody(api: RunningApi, http: httpx.Client) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", api.port), 20) as raw:
            raw.sendall(post())
    assert http.post("/api/v1/jobs", json={"type": "noop"}).status_code == 201
    assert "Traceback" not in api.log_text()


def test_short_answer_says_what_the_long_one_says() -> None:
    job = NewJob(type="x'\"é", payload={"a": 'é"', "b": [1, None]})
    spec = spec_of(job, bytes(range(16)), "")
    short, long = json.loads(made_body(job, spec, format_id(spec.id), "disk")), made_json(job, spec, "disk")
    clock = {"created_at", "updated_at"}
    assert list(short) == list(long)
    assert {name: value for name, value in short.items() if name not in clock} == {
        name: value for name, value in long.items() if name not in clock
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", short["created_at"])


def test_benchmark_measures_something_with_and_without_wrk(api: RunningApi) -> None:
    lines: list[str] = []
    found = bench.run_all(1.0, lines.append)
    assert [line.split()[0] for line in lines] == ["single", "batch"]
    assert all(load.good > 0 and load.api_s > 0 for load in found.values())
    assert bench.by_sockets(api.port, "/api/v1/jobs", json.dumps(bench.JOB).encode(), 0.5) > 0
