"""What a submit costs the producer: CPU microseconds per job, and jobs per second, against an echoing ROUTER in another process.

    python -m benchmarks.client [--seconds 2] [--repeats 5]

The peer acknowledges without looking at the jobs, so the figures are the client's own. Each line is the median of the repeats with the best
beside it; CPU is that of the whole producer process, ZeroMQ's thread included.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import zmq

from zjp.client.asyncio import AsyncClient
from zjp.client.blocking import Client
from zjp.wire.codec import decode_envelope, encode
from zjp.wire.messages import Durability, Envelope, SubmitReply

PAYLOAD = {"recipient": "user@example.com", "subject": "hello", "count": 17}
BATCH = 100
Run = Callable[[str, float], int]


def echo(pipe: Connection) -> None:
    """Acknowledge whatever comes as a submit, for ever."""
    socket = zmq.Context().socket(zmq.ROUTER)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    pipe.send(f"tcp://127.0.0.1:{port}")
    reply = SubmitReply(Durability.DISK)
    while True:
        identity, *frames = socket.recv_multipart()
        seq = decode_envelope(frames, "zjp").seq
        socket.send_multipart([identity, *encode(Envelope(1, "zjp", "echo", 1, seq), reply)])


def batches(address: str, seconds: float) -> int:
    count = 0
    with Client(address, cluster="zjp") as client:
        jobs = [("email", PAYLOAD)] * BATCH
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            count += len(client.submit_many(jobs))
    return count


def singles(address: str, seconds: float) -> int:
    count = 0
    with Client(address, cluster="zjp") as client:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            client.submit("email", PAYLOAD)
            count += 1
    return count


def coroutines(number: int) -> Run:
    async def produce(client: AsyncClient, until: float) -> int:
        count = 0
        while time.monotonic() < until:
            await client.submit("email", PAYLOAD)
            count += 1
        return count

    async def produce_all(address: str, seconds: float) -> int:
        async with AsyncClient(address, cluster="zjp") as client:
            until = time.monotonic() + seconds
            return sum(await asyncio.gather(*(produce(client, until) for _ in range(number))))

    def run(address: str, seconds: float) -> int:
        import uvloop

        return uvloop.run(produce_all(address, seconds))

    return run


RUNS: dict[str, Run] = {
    f"submit_many, batches of {BATCH}": batches,
    "submit, one caller waiting each time": singles,
    "submit from 16 coroutines": coroutines(16),
    "submit from 256 coroutines": coroutines(256),
}


def measure(run: Run, address: str, seconds: float) -> tuple[float, float]:
    """(jobs/s, CPU us per job)"""
    began, cpu_began = time.perf_counter(), time.process_time()
    count = run(address, seconds)
    return count / (time.perf_counter() - began), (time.process_time() - cpu_began) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    peer = multiprocessing.get_context("spawn").Process(target=echo, args=(there,), daemon=True)
    peer.start()
    address = here.recv()
    print(f"{'':40}{'jobs/s':>10}{'best':>10}{'CPU us/job':>12}{'best':>8}")
    for name, run in RUNS.items():
        rates, costs = zip(*(measure(run, address, options.seconds) for _ in range(options.repeats)), strict=True)
        median = statistics.median
        print(f"{name:40}{median(rates):>10,.0f}{max(rates):>10,.0f}{median(costs):>12.2f}{min(costs):>8.2f}")
    peer.terminate()
    peer.join()


if __name__ == "__main__":
    main()
