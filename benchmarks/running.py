"""A node under measurement, and what its processes cost.

CPU time is the scheduler's own (`/proc/PID/task/*/schedstat`, nanoseconds on a core), summed over all threads: wall time on a shared
machine says little, CPU time says what a job costs.
"""

from __future__ import annotations

import dataclasses
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import redis_server
from zjp import Client
from zjp.errors import ZjpError

START_LIMIT_S = 30.0
POLL_S = 0.05


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, by all threads that it has now: what one that has ended had used is lost."""
    total_ns = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        total_ns += int((thread / "schedstat").read_text().split()[0])
    return total_ns / 1e9


def rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


@dataclass(frozen=True)
class Running:
    address: str
    pid: int
    data_dir: Path
    start_s: float
    redis_pid: int = 0
    """Of the server its queue is in; 0: embedded."""

    def stats(self) -> dict[str, Any]:
        with Client(self.address) as client:
            return client.stats()

    def worker_pids(self) -> list[int]:
        return [worker["pid"] for worker in self.stats()["workers"]]

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far: node, workers (all together)."""
        used = {"node": cpu_s(self.pid), "workers": sum(cpu_s(pid) for pid in self.worker_pids())}
        return used | ({"redis": cpu_s(self.redis_pid)} if self.redis_pid else {})


def finished_count(stats: dict[str, Any]) -> int:
    return int(sum(series["value"] for series in stats["metrics"]["zjp_jobs_finished_total"]["series"]))


@contextmanager
def running_on_redis(**settings: str) -> Iterator[Running]:
    """The same with its queue and records in a private Redis (AOF everysec)."""
    with redis_server.running(options=redis_server.DURABLE) as server, running_node(redis_addr=server.unix_url, **settings) as node:
        yield dataclasses.replace(node, redis_pid=server.pid)


@contextmanager
def running_node(**settings: str) -> Iterator[Running]:
    """A node with the benchmark's tasks, its data and its socket in a fresh folder; ended and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="zjp-bench-"))
    flags = {
        "app": "benchmarks.tasks:app", "zmq_bind": "ipc://" + str(folder / "door"), "data_dir": str(folder / "data"),
        "api_enabled": "false", **settings,
    }  # fmt: skip
    command = [sys.executable, "-m", "zjp.node"]
    for name, value in flags.items():
        if value:
            command += ["--" + name.replace("_", "-"), value]
    began = time.monotonic()
    with (folder / "node.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log)
    try:
        address = flags["zmq_bind"]
        wait_until_up(process, address, folder)
        yield Running(address, process.pid, folder / "data", time.monotonic() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def wait_until_up(process: subprocess.Popen[bytes], address: str, folder: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    with Client(address, timeout="1s") as client:
        while True:
            try:
                if client.ping().tasks or not (folder / "data").exists():
                    return
            except (ZjpError, TimeoutError):
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the node did not start:\n{(folder / 'node.log').read_text()[-2000:]}")
            time.sleep(0.005)
