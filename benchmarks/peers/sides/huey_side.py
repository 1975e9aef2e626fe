"""Huey: a blocking pop, results not kept."""

from __future__ import annotations

import os
from typing import Any

import tally
from huey import RedisHuey

huey = RedisHuey("peers", results=False, port=int(os.environ["PEERS_REDIS_PORT"]))
TASKS = {name: huey.task(name=name, retries=3)(getattr(tally, name)) for name in ("noop", "stamp", "hold")}


def send(task: str, *args: Any) -> None:
    TASKS[task](*args)
