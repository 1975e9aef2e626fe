"""`python -m tests.api.attack [--connections N]`: do slow connections and bodies without end cost others anything?

Baseline and attack alternate five times against one API process. In an attack, so many connections begin a request and send a byte of a
header now and then, and a few send chunks for ever. Meanwhile somebody asks /healthz and submits jobs, one request after another on new
connections; what counts is the p99 of those. The contract: the median ratio of attack to baseline is 2 at most, or p99 stays within 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.api.running import node_and_api
from tests.system.running import ROOT, clean_environment

ROUNDS = 5
RATIO_MAX, P99_MS_MAX = 2.0, 100.0
DRIP_S = 1.0
ENDLESS = 8
JOB = json.dumps({"type": "noop", "queue": "aside"}).encode()
CHUNK = b"1000\r\n" + b"x" * 4096 + b"\r\n"


class Round(NamedTuple):
    """p99 in ms, of requests that were answered with success; `failed`: those that were not."""

    p99_ms: float
    asked: int
    failed: int


async def ask(port: int, seconds: float) -> Round:
    head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(JOB)}\r\n\r\n"
    requests = (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", head.encode() + JOB)
    took_ms: list[float] = []
    failed = asked = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began, asked = time.monotonic(), asked + 1
        line = b""
        with contextlib.suppress(OSError):
            async with connected(port) as (reader, writer):
                writer.write(requests[asked % 2])
                line = await reader.readline()
        if line.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            took_ms.append((time.monotonic() - began) * 1000)
        else:
            failed += 1
    ordered = sorted(took_ms) or [float("inf")]
    return Round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], asked, failed)


@contextlib.contextmanager
def attacked(port: int, connections: int) -> Iterator[None]:
    """Slow ones and endless ones, until it is left; by a process of its own, so that they cost whoever measures nothing but the machine."""
    command = [sys.executable, "-m", "tests.api.attack", "--attack", str(port), "--connections", str(connections)]
    process = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        process.stdout.readline()  # it says when all are connected
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def attack(port: int, connections: int) -> None:
    attackers = [asyncio.ensure_future(_drip(port)) for _ in range(connections)]
    attackers += [asyncio.ensure_future(_pour(port)) for _ in range(ENDLESS)]
    await asyncio.sleep(1)
    print("attacking", flush=True)
    await asyncio.gather(*attackers)


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Its errors are of no interest: who attacks is cut off."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _drip(port: int) -> None:
    """A header without an end, byte by byte; again when it is cut off."""
    while True:
        with contextlib.suppress(OSError):
            async with connected(port) as (_, writer):
                writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
                while not writer.is_closing():
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(DRIP_S)
        await asyncio.sleep(DRIP_S)


async def _pour(port: int) -> None:
    """A body in chunks without an end; again when it is cut off."""
    while True:
        with contextlib.suppress(OSError):
            async with connected(port) as (_, writer):
                writer.write(b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
                writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
                while not writer.is_closing():
                    writer.write(CHUNK)
                    await writer.drain()
                    await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)


async def rounds(
    port: int, *, connections: int, seconds: float, count: int = ROUNDS
) -> tuple[list[Round], list[Round]]:
    """(without, with)"""
    calm: list[Round] = []
    under: list[Round] = []
    await ask(port, min(1.0, seconds))
    for _ in range(count):
        calm.append(await ask(port, seconds))
        with attacked(port, connections):
            under.append(await ask(port, seconds))
    return calm, under


def holds(calm: list[Round], under: list[Round]) -> bool:
    ratio = statistics.median(high.p99_ms / low.p99_ms for low, high in zip(calm, under, strict=True))
    worst = statistics.median(one.p99_ms for one in under)
    return not any(one.failed for one in under) and (ratio <= RATIO_MAX or worst <= P99_MS_MAX)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each half of a round [5]")
    parser.add_argument("--attack", type=int, default=0, metavar="PORT", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.attack:
        asyncio.run(attack(chosen.attack, chosen.connections))
    with tempfile.TemporaryDirectory() as name, node_and_api(Path(name) / "pair") as (_, api):
        calm, under = asyncio.run(rounds(api.port, connections=chosen.connections, seconds=chosen.seconds))
    for low, high in zip(calm, under, strict=True):
        print(
            f"without p99 {low.p99_ms:7.1f} ms ({low.asked} requests, {low.failed} failed)   "
            f"attacked p99 {high.p99_ms:7.1f} ms ({high.asked}, {high.failed} failed)   ratio {high.p99_ms / low.p99_ms:.2f}"
        )
    verdict = holds(calm, under)
    print("holds" if verdict else "does not hold")
    sys.exit(0 if verdict else 1)


if __name__ == "__main__":
    main()
