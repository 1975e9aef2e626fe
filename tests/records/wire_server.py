"""The Mongo-wire server that tests talk to. Without Java or Maven they skip at home, with the reason, and fail in CI."""

from __future__ import annotations

import atexit
import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from scripts.mongo_server import Missing, MongoServer
from zjp.records.mongo import MongoRecordStore

TIMEOUT_S = 30.0


def start(file: Path | None = None) -> MongoServer:
    server = MongoServer(file=file)
    try:
        server.start()
    except Missing as missing:
        if os.environ.get("CI"):
            pytest.fail(f"no Mongo-wire server: {missing}")
        pytest.skip(f"no Mongo-wire server: {missing}")
    return server


@cache
def shared() -> MongoServer:
    """One for this process, in memory; each test has a database of its own."""
    server = start()
    atexit.register(server.stop)
    return server


def open_in(folder: Path, *, ttl_s: float = 0.0, events_ttl_s: float = 0.0, wall_ms: Callable[[], int]) -> MongoRecordStore:
    return MongoRecordStore(
        shared().uri, database=database_of(folder), ttl_s=ttl_s, timeout_s=TIMEOUT_S, events_ttl_s=events_ttl_s, wall_ms=wall_ms
    )


def database_of(folder: Path) -> str:
    return "test-" + hashlib.sha256(str(folder).encode()).hexdigest()[:24]
