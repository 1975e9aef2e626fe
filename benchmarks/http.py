"""`python -m benchmarks.http [--seconds N]`: what a submit over HTTP costs, durable on SQLite.

A node with an embedded queue and one API process in front of it; 64 connections submit single jobs, then batches of 100, by wrk where it is
there, else by a client of raw sockets in a process of its own. The CPU of the API process is the scheduler's count over the run, divided
by the requests that were answered with success. Meanwhile somebody pings the node every few milliseconds: how long those take bounds how
long its loop was busy at a stretch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from zjp import Client
from zjp.api.start import frame

from .running import Running, cpu_s, running_node

CONNECTIONS = 64
PING_EVERY_S = 0.005
JOB = {"type": "noop", "payload": {"recipient": "user@example.com", "subject": "Test Job", "n": 1}}
LUA = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = [==[%s]==]
local counts = {}
function setup(thread) table.insert(counts, thread) end
function init() good = 0 end
function response(status) if status == 201 then good = good + 1 end end
function done(summary) local sum = 0; for _, one in ipairs(counts) do sum = sum + one:get("good") end; print("good " .. sum) end
"""


class Load(NamedTuple):
    """What came of one run."""

    good: int
    took_s: float
    api_s: float
    node_s: float
    ping_p50_ms: float
    ping_p99_ms: float
    ping_max_ms: float


class Api(NamedTuple):
    port: int
    pid: int


@contextmanager
def running_api(address: str, **settings: str) -> Iterator[Api]:
    """The API process as a node starts it, on free ports."""
    folder = Path(tempfile.mkdtemp(prefix="zjp-bench-api-"))
    given = {"server_port": "0", "metrics_port": "0", "log_format": "json", **settings}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "zjp.api", "--from-node"], stdin=subprocess.PIPE, stdout=log, stderr=log
        )
    try:
        assert process.stdin is not None
        process.stdin.write(frame({"address": address, "gate": b"", "node": "", "settings": given}))
        process.stdin.flush()
        yield Api(_port(process, folder / "log"), process.pid)
    finally:
        process.terminate()
        process.wait(20)
        if process.stdin is not None:
            process.stdin.close()
        shutil.rmtree(folder, ignore_errors=True)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("{") and (told := json.loads(line))["event"] == "api.listening":
                return int(told["port"])
        time.sleep(0.02)
    raise RuntimeError(f"the API did not start:\n{log.read_text()[-2000:]}")


def measure(node: Running, api: Api, path: str, body: bytes, seconds: float) -> Load:
    attack = by_wrk if shutil.which("wrk") else by_sockets
    with _pinging(node.address) as waits:
        before, began = (cpu_s(api.pid), cpu_s(node.pid)), time.monotonic()
        good = attack(api.port, path, body, seconds)
        took_s = time.monotonic() - began
        api_s, node_s = cpu_s(api.pid) - before[0], cpu_s(node.pid) - before[1]
    ordered = sorted(wait_s * 1000 for wait_s in waits) or [0.0]
    p99 = ordered[int(len(ordered) * 0.99)] if len(ordered) > 1 else ordered[0]
    return Load(good, took_s, api_s, node_s, statistics.median(ordered), p99, ordered[-1])


@contextmanager
def _pinging(address: str) -> Iterator[list[float]]:
    waits: list[float] = []
    is_over = threading.Event()

    def ping() -> None:
        with Client(address, timeout="20s") as client:
            while not is_over.wait(PING_EVERY_S):
                began = time.monotonic()
                client.ping()
                waits.append(time.monotonic() - began)

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield waits
    finally:
        is_over.set()
        thread.join()


def by_wrk(port: int, path: str, body: bytes, seconds: float) -> int:
    """How many requests were answered with 201."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA % body.decode())
        script.flush()
        done = subprocess.run(
            ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "-s", script.name, f"http://127.0.0.1:{port}{path}"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    found = re.search(r"^good (\d+)$", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk said:\n{done.stdout}{done.stderr}")
    return int(found[1])


def by_sockets(port: int, path: str, body: bytes, seconds: float) -> int:
    """The same without wrk."""
    run = "import sys; from benchmarks import http; http.client_main(sys.argv[1:], sys.stdin.buffer.read())"
    done = subprocess.run(
        [sys.executable, "-c", run, str(port), path, str(seconds)], input=body, capture_output=True, check=True
    )
    return int(done.stdout)


def client_main(arguments: list[str], body: bytes) -> None:
    port, path, seconds = arguments
    print(asyncio.run(_attack(int(port), path, body, float(seconds))))


async def _attack(port: int, path: str, body: bytes, seconds: float) -> int:
    end = time.monotonic() + seconds
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body

    async def one() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        good = 0
        while time.monotonic() < end:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            size = re.search(rb"content-length: (\d+)", answer)
            await reader.readexactly(int(size[1]) if size else 0)
            good += answer.startswith(b"HTTP/1.1 201")
        writer.close()
        return good

    return sum(await asyncio.gather(*(one() for _ in range(CONNECTIONS))))


def run_all(seconds: float, say: Callable[[str], None]) -> dict[str, Load]:
    """`single` and `batch`. The queue is paused meanwhile: what is measured is the door."""
    found: dict[str, Load] = {}
    with running_node(worker_processes="1", worker_count="1") as node, running_api(node.address) as api:
        with Client(node.address) as client:
            client.pause("default")
        measure(node, api, "/api/v1/jobs", json.dumps(JOB).encode(), min(1.0, seconds))
        batch = json.dumps({"jobs": [JOB] * 100}).encode()
        for name, path, body, jobs in (
            ("single", "/api/v1/jobs", json.dumps(JOB).encode(), 1), ("batch", "/api/v1/jobs/batch", batch, 100),
        ):  # fmt: skip
            load = found[name] = measure(node, api, path, body, seconds)
            good = max(1, load.good)
            say(
                f"{name:6} {load.good / load.took_s:8.0f} requests/s {load.good * jobs / load.took_s:8.0f} jobs/s   "
                f"API {load.api_s / good * 1e6:7.1f} us CPU per request, {load.api_s / good / jobs * 1e6:6.1f} per job   "
                f"node {load.node_s / good / jobs * 1e6:6.1f} us per job   "
                f"ping p50 {load.ping_p50_ms:.1f}, p99 {load.ping_p99_ms:.1f}, max {load.ping_max_ms:.1f} ms"
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run [10]")
    chosen = parser.parse_args()
    socket.setdefaulttimeout(60)
    print(f"{CONNECTIONS} connections, by {'wrk' if shutil.which('wrk') else 'raw sockets'}, {chosen.seconds:g} s each")
    run_all(chosen.seconds, print)


if __name__ == "__main__":
    main()
