"""From the submit call to the start of the task, one job per call, at a given rate; and what an idle node costs."""

from __future__ import annotations

import random
import time

from zjp import Client

from .running import Running, cpu_s


def start_latency(node: Running, *, jobs: int, per_s: float, seed: int = 1) -> dict[str, float]:
    """Submits at random moments (Poisson), so that no beat of the node is hit in step. Milliseconds."""
    draw = random.Random(seed)
    ids = []
    with Client(node.address) as client:
        for _ in range(20):
            client.submit("stamp", {"sent_ns": time.monotonic_ns()}).wait(timeout=10)
        due = time.monotonic()
        for _ in range(jobs):
            due += draw.expovariate(per_s)
            while (left_s := due - time.monotonic()) > 0:
                time.sleep(left_s)
            ids.append(client.submit("stamp", {"sent_ns": time.monotonic_ns()}).id)
        waits_ms = sorted(job.result / 1e6 for job in client.wait_all(ids, timeout=60))
    return {
        "p50_ms": waits_ms[len(waits_ms) // 2],
        "p99_ms": waits_ms[int(len(waits_ms) * 0.99)],
        "max_ms": waits_ms[-1],
    }


def idle_cpu(node: Running, *, seconds: float) -> dict[str, float]:
    """Percent of one core that the node and its workers use while nothing happens."""
    pids = [node.pid, *node.worker_pids()]
    time.sleep(2)  # what the last run left to do is not idling
    before, began = [cpu_s(pid) for pid in pids], time.monotonic()
    time.sleep(seconds)
    passed_s = time.monotonic() - began
    used = [(cpu_s(pid) - start) / passed_s * 100 for pid, start in zip(pids, before, strict=True)]
    return {"node_percent": used[0], "workers_percent": sum(used[1:]), "total_percent": sum(used)}
