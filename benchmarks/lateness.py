"""How late delayed jobs become ready, and start, when many are due in the same moment: `python -m benchmarks.lateness [--jobs 10000]`.

`ready` is measured with all workers paused out of it (the queue is paused, so no claim helps): the leader alone promotes, and the number
of jobs still scheduled is read as fast as the node tells it. `started` is from due to start of no-op jobs that may run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

from zjp import Client

from .running import Running, running_node, running_on_redis

BATCH = 500
AHEAD_S = 3.0
LIMIT_S = 60.0


def submit_due(client: Client, jobs: int) -> float:
    """All due in the same moment, which is returned (Unix seconds)."""
    due_at = round(time.time() + AHEAD_S + jobs / 1_000)
    for at in range(0, jobs, BATCH):
        client.submit_many([("noop", {})] * min(BATCH, jobs - at), run_at=due_at)
    assert time.time() < due_at, "submitting took longer than there was time"
    return due_at


def ready_lateness(node: Running, jobs: int) -> list[float]:
    """Seconds from due to ready for each job, as seen from outside: the time of an answer is on top."""
    with Client(node.address) as client:
        client.pause("default")
        due_at = submit_due(client, jobs)
        found = list(promoted(client, due_at, jobs))
        client.purge("default")
        client.resume("default")
    return found


def promoted(client: Client, due_at: float, jobs: int) -> Iterator[float]:
    left = jobs
    while left and time.time() < due_at + LIMIT_S:
        scheduled = sum(queue.scheduled for queue in client.queues() if queue.queue == "default")
        late_s = time.time() - due_at
        assert scheduled == left or late_s >= 0, f"{left - scheduled} jobs were ready {-late_s:.3f} s early"
        yield from [late_s] * (left - scheduled)
        left = scheduled
        time.sleep(0.002)
    assert not left, f"{left} jobs never became ready"


def start_lateness(node: Running, jobs: int) -> list[float]:
    """Seconds from due to start."""
    with Client(node.address) as client:
        due_at = submit_due(client, jobs)
        while sum(queue.scheduled + queue.pending + queue.running for queue in client.queues()):
            time.sleep(0.02)
        found: list[float] = []
        for job in client.jobs(status="completed", type="noop", limit=jobs):
            started_at = job.attempts[-1].started_at
            assert started_at is not None
            found.append(started_at - due_at)
    return found


def quantiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "min_ms": round(ordered[0] * 1000, 1),
        "p50_ms": round(ordered[len(ordered) // 2] * 1000, 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1000, 1),
        "max_ms": round(ordered[-1] * 1000, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=10_000)
    jobs = parser.parse_args().jobs
    for store, made in (("sqlite", running_node), ("redis", running_on_redis)):
        with made(worker_processes="2", worker_count="2") as node:
            for what, measure in (("ready", ready_lateness), ("started", start_lateness)):
                print(f"{store:7} {what:8} {jobs} due at once: {quantiles_ms(measure(node, jobs))}", flush=True)


if __name__ == "__main__":
    main()
