"""RQ: workers that do not fork for each job, results and failures not kept, retried."""

from __future__ import annotations

import os
from typing import Any

import tally
from redis import Redis
from rq import Queue, Retry

BATCH = 500
queue = Queue(connection=Redis(port=int(os.environ["PEERS_REDIS_PORT"])))
retry = Retry(max=3)


def send(task: str, *args: Any) -> None:
    queue.enqueue_call(getattr(tally, task), args=args, result_ttl=0, retry=retry)


def send_many(count: int) -> None:
    for start in range(0, count, BATCH):
        jobs = [Queue.prepare_data(tally.noop, result_ttl=0, retry=retry) for _ in range(min(BATCH, count - start))]
        queue.enqueue_many(jobs)
