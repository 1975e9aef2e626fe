"""The redis-server of a test process. Without one installed a test is skipped at home, and fails in CI."""

from __future__ import annotations

import atexit
import os
from collections.abc import Mapping
from functools import cache

import pytest

from scripts.redis_server import NotInstalled, RedisServer


def start_redis(*, has_clock: bool = False, options: Mapping[str, str] | None = None) -> RedisServer:
    """Without redis-server the test is skipped at home, and fails in CI."""
    server = None
    try:
        server = RedisServer(options=options, has_clock=has_clock)
        server.start()
    except NotInstalled as fault:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(fault))
    return server


@cache
def shared_redis() -> RedisServer:
    """One for all tests of the process; its wall clock can be set. Who needs it empty empties it."""
    server = start_redis(has_clock=True)
    atexit.register(server.stop)
    return server
