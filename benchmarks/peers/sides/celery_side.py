"""Celery: acknowledged late and given back when a worker process is lost, prefetching, without results, events and gossip."""

from __future__ import annotations

import os
from typing import Any

import tally
from celery import Celery

app = Celery("peers", broker=f"redis://127.0.0.1:{os.environ['PEERS_REDIS_PORT']}/0")
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=64,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
TASKS = {name: app.task(name=name)(getattr(tally, name)) for name in ("noop", "stamp", "hold")}


def send(task: str, *args: Any) -> None:
    TASKS[task].apply_async(args)


def send_many(count: int) -> None:
    """There is no bulk call; one producer and its connection for all, as a group does."""
    noop = TASKS["noop"]
    with app.producer_or_acquire() as producer:
        for _ in range(count):
            noop.apply_async((), producer=producer)
