"""Dramatiq: only the middleware that retries."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
import tally
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import Retries

broker = RedisBroker(url=f"redis://127.0.0.1:{os.environ['PEERS_REDIS_PORT']}/0", middleware=[Retries(max_retries=3)])
dramatiq.set_broker(broker)
ACTORS = {name: dramatiq.actor(getattr(tally, name)) for name in ("noop", "stamp", "hold")}


def send(task: str, *args: Any) -> None:
    ACTORS[task].send(*args)
