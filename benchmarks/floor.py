"""The same hops as an idle job's, with nothing of zjp in them: what this machine's wake-ups leave to be won.

    this process        node process                                worker process
    DEALER ──tcp───────► ROUTER, read from a uvloop loop
                         one SET over a unix socket (Redis, AOF everysec), or nothing
                         PUSH ──ipc────────────────────────────────► PULL, in a thread that waits for it

A message is eight bytes, the time it was sent. Five lines of Python a hop, so what zjp's latency has above this is its own.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import struct
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop
import zmq

SET = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n"
END = b"end"
WARM_UP = 20


def floor(*, jobs: int, per_s: float, redis_path: str = "", seed: int = 1) -> dict[str, float]:
    """Milliseconds from the send to the worker's thread, at random moments (Poisson). `redis_path`: the socket of a server; empty: none."""
    with tempfile.TemporaryDirectory(prefix="zjp-floor-") as folder:
        return _measure(Path(folder), redis_path, jobs, per_s, seed)


def _measure(folder: Path, redis_path: str, jobs: int, per_s: float, seed: int) -> dict[str, float]:
    draw, spawn = random.Random(seed), multiprocessing.get_context("spawn")
    to_worker, back, (ours, theirs) = f"ipc://{folder}/worker", f"ipc://{folder}/back", spawn.Pipe()
    node = spawn.Process(target=_node, args=(to_worker, redis_path, theirs), daemon=True)
    worker = spawn.Process(target=_worker, args=(to_worker, back), daemon=True)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    told, door = context.socket(zmq.PULL), context.socket(zmq.DEALER)
    told.bind(back)
    node.start()
    worker.start()
    door.connect(ours.recv())
    waits_ms = []
    for _ in range(WARM_UP + jobs):
        time.sleep(draw.expovariate(per_s))
        door.send(struct.pack("q", time.monotonic_ns()))
        door.recv()
        waits_ms.append(struct.unpack("q", told.recv())[0] / 1e6)
    door.send(END)
    for process in (node, worker):
        process.join(10)
    context.destroy(linger=0)
    waits_ms = sorted(waits_ms[WARM_UP:])
    return {"p50_ms": waits_ms[len(waits_ms) // 2], "p99_ms": waits_ms[int(len(waits_ms) * 0.99)]}


def _node(to_worker: str, redis_path: str, told: Connection) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    door, out = context.socket(zmq.ROUTER), context.socket(zmq.PUSH)
    told.send(f"tcp://127.0.0.1:{door.bind_to_random_port('tcp://127.0.0.1')}")
    out.bind(to_worker)
    uvloop.run(_serve(door, out, redis_path))
    context.destroy(linger=1000)


async def _serve(door: zmq.Socket[bytes], out: zmq.Socket[bytes], redis_path: str) -> None:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    waiting: list[list[bytes]] = []

    def stored() -> None:
        identity, message = waiting.pop(0)
        out.send(message)
        door.send_multipart([identity, b"ok"])

    class Store(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            stored()

    transport = (await loop.create_unix_connection(Store, redis_path))[0] if redis_path else None

    def read() -> None:
        while int(door.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            waiting.append(door.recv_multipart(zmq.NOBLOCK))
            if waiting[-1][1] == END:
                out.send(END)
                over.set()
            elif transport is not None:
                transport.write(SET)
            else:
                stored()

    loop.add_reader(int(door.getsockopt(zmq.FD)), read)
    read()
    await over.wait()


def _worker(inbox: str, back: str) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    jobs, results = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    jobs.connect(inbox)
    results.connect(back)
    while (message := jobs.recv()) != END:
        results.send(struct.pack("q", time.monotonic_ns() - struct.unpack("q", message)[0]))
    context.destroy(linger=1000)
