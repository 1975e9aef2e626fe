"""The producers of a steady run, a process of its own: so many jobs a second, whatever becomes of them, until stdin ends.

    python -m tests.chaos.steady.load --addresses A,B,C --key-file K --server-keys S --folder F --rate N

Open loop: what is due is submitted every STEP_S, also when earlier submits are not answered yet; what came too late is made up at once.
A client for each node, in turn; each goes on at the next node when its own is down, which the session does by itself.

Meanwhile it asks for results: of a job acknowledged ASK_AFTER_S ago, and of one acknowledged at any time in the last minute, in turn.
`F/asked.jsonl` says how long each answer took; `F/load.json`, at the end, what the load was.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec

from sims.history import Recorder
from tests.cluster.stage import CLUSTER
from zjp import AsyncClient
from zjp.errors import JobRejected, OutcomeUnknown, Unavailable, ZjpError

STEP_S = 0.01
BATCH_MAX = 1000
SUBMIT_LIMIT_S = 30.0
ASK_EVERY_S, ASK_AFTER_S, ASK_LIMIT_S = 0.1, 1.0, 10.0
ASKABLE = 6_000
"""Of each batch one: a minute's."""
ASKS_MAX = 100
MAX_RETRIES = 3


class Asked(msgspec.Struct):
    """One question for a result. In ns: `t` when it was asked, `acked` when the job was acknowledged, `took`. `said` ok, or what else."""

    t: int
    acked: int
    took: int
    job: str
    said: str


class Told(msgspec.Struct):
    """`late_s`: the longest that the load was behind its own clock."""

    jobs: int = 0
    refused: int = 0
    unknown: int = 0
    seconds: float = 0.0
    late_s: float = 0.0


class Load:
    def __init__(self, options: argparse.Namespace, clients: list[AsyncClient], ends: asyncio.Event) -> None:
        self.told = Told()
        self._rate, self._effects_each, self._clients, self._ends = options.rate, options.effects_each, clients, ends
        self._recorder = Recorder(options.folder / "h" / "c0.jsonl", "c0")
        self._seen = Recorder(options.folder / "h" / "c1.jsonl", "c1")
        self._asked = (options.folder / "asked.jsonl").open("wb", buffering=0)
        self._draw = random.Random(options.seed)
        self._acked: deque[tuple[int, str]] = deque(maxlen=ASKABLE)
        self._under_way: set[asyncio.Task[None]] = set()
        self._asks = 0

    async def run(self) -> None:
        asker = asyncio.create_task(self._ask_on())
        await self._submit_on()
        await asker
        if self._under_way:
            await asyncio.wait(self._under_way)
        for recorder in (self._recorder, self._seen):
            recorder.close()
        self._asked.close()

    # ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _submit_on(self) -> None:
        told, loop = self.told, asyncio.get_running_loop()
        began = loop.time()
        while not self._ends.is_set():
            told.seconds = loop.time() - began
            due = int(told.seconds * self._rate) - told.jobs
            told.late_s = max(told.late_s, due / self._rate - STEP_S)
            while due > 0:
                self._begin(self._submit(self._make(min(due, BATCH_MAX)), self._next_client()))
                due -= BATCH_MAX
            await asyncio.sleep(STEP_S - (loop.time() - began) % STEP_S)

    def _make(self, count: int) -> list[dict[str, Any]]:
        """Payloads."""
        first = self.told.jobs
        self.told.jobs += count
        made: list[dict[str, Any]] = [{"key": f"s{number}"} for number in range(first, first + count)]
        for payload in made[-first % self._effects_each :: self._effects_each] if self._effects_each else ():
            payload["ek"] = f"e-{payload['key']}"
        return made

    def _next_client(self) -> AsyncClient:
        self._clients.append(self._clients.pop(0))
        return self._clients[0]

    async def _submit(self, payloads: list[dict[str, Any]], client: AsyncClient) -> None:
        asked = [{"key": payload["key"], "max_retries": MAX_RETRIES} for payload in payloads]
        self._say("invoke", asked)
        try:
            jobs = await client.submit_many([("step", payload) for payload in payloads], max_retries=MAX_RETRIES)
        except (JobRejected, Unavailable) as fault:
            self.told.refused += len(asked)
            self._say("fail", [{**one, "why": repr(fault)[:300]} for one in asked])
        except OutcomeUnknown:
            self.told.unknown += len(asked)
            self._say("info", asked)
        else:
            level = jobs[0].level.value if jobs[0].level is not None else ""
            self._say("ok", [{**one, "job": job.id, "level": level} for one, job in zip(asked, jobs, strict=True)])
            self._acked.append((time.monotonic_ns(), jobs[0].id))

    def _say(self, type: Any, each: list[dict[str, Any]]) -> None:
        recorder, t = self._recorder, time.monotonic_ns()
        recorder.append([recorder.line("submit", type, t=t, **fields) for fields in each])

    def _begin(self, deed: Any) -> None:
        task = asyncio.create_task(deed)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    # ── asking for results ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ask_on(self) -> None:
        while not self._ends.is_set():
            before = time.monotonic_ns() - int(ASK_AFTER_S * 1e9)
            old = [one for one in self._acked if one[0] <= before]
            if old and len(self._under_way) < ASKS_MAX:
                self._asks += 1
                self._begin(self._ask(*(self._draw.choice(old) if self._asks % 2 else old[-1]), self._next_client()))
            await asyncio.sleep(ASK_EVERY_S)

    async def _ask(self, acked: int, job: str, client: AsyncClient) -> None:
        t = time.monotonic_ns()
        try:
            result = await client.result(job, timeout=ASK_LIMIT_S)
        except (ZjpError, TimeoutError) as fault:
            said = repr(fault)[:200]
        else:
            said = "ok" if result == job else f"another job's: {result!r}"
            self._seen.write("seen", "ok", job=job, val="done")
        line = Asked(t, acked, time.monotonic_ns() - t, job, said)
        self._asked.write(msgspec.json.encode(line) + b"\n")


async def serve(options: argparse.Namespace) -> Told:
    ends = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        loop.remove_reader(sys.stdin.fileno())
        ends.set()

    loop.add_reader(sys.stdin.fileno(), end)
    addresses = options.addresses.split(",")
    access = {"cluster": CLUSTER, "key_file": options.key_file, "server_key": options.server_keys, "timeout": SUBMIT_LIMIT_S}
    clients = [AsyncClient(*addresses[at:], *addresses[:at], **access) for at in range(len(addresses))]
    load = Load(options, clients, ends)
    try:
        await load.run()
    finally:
        for client in clients:
            client.close()
    return load.told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.steady.load")
    parser.add_argument("--addresses", required=True)
    parser.add_argument("--key-file", required=True)
    parser.add_argument("--server-keys", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True, help="jobs a second")
    parser.add_argument("--effects-each", type=int, default=1, help="one of so many jobs asks the sink; 0: none")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    told = asyncio.run(serve(options))
    (options.folder / "load.json").write_bytes(msgspec.json.encode(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
