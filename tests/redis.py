"""The redis-server of a test process. Without one installed a test is skipped at home, and fails in CI."""

from __future__ import annotations

import atexit
import os
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest
import trustme

from scripts.redis_sentinels import WatchedRedis
from scripts.redis_server import NotInstalled, RedisServer, version

Servers = TypeVar("Servers", RedisServer, WatchedRedis)
NO_TLS = "Failed finding TLS support"
"""In the server's words, as some builds end that are asked for a port with it."""


def start_redis(*, has_clock: bool = False, options: Mapping[str, str] | None = None) -> RedisServer:
    """Without redis-server the test is skipped at home, and fails in CI."""
    return _started(RedisServer(options=options, has_clock=has_clock))


def start_watched_redis(*, options: Mapping[str, str] | None = None, tls: Mapping[str, str] | None = None) -> WatchedRedis:
    """A primary, a replica and three Sentinels; likewise."""
    return _started(WatchedRedis(options=options, tls=tls))


def tls_lines(authority: trustme.CA, host: str, folder: Path) -> dict[str, str]:
    """Of redis.conf, for a server with a certificate for `host`; the authority's own is `ca.pem` there. Clients need none."""
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    mine = authority.issue_cert(host)
    mine.private_key_pem.write_to_path(str(folder / "key.pem"))
    mine.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    names = {"tls-cert-file": "cert.pem", "tls-key-file": "key.pem", "tls-ca-cert-file": "ca.pem"}
    return {line: str(folder / name) for line, name in names.items()} | {"tls-auth-clients": "no"}


def _started(servers: Servers) -> Servers:
    try:
        servers.start()
    except NotInstalled as fault:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(fault))
    except TimeoutError as fault:
        servers.stop()
        if os.environ.get("CI") or NO_TLS not in str(fault):
            raise
        pytest.skip("this build of the server has no TLS")
    return servers


def allowances() -> list[object]:
    """For tests of scripts that may run out of memory: the ways to say so, as parameters `has_flags`."""
    knows_flags = int(version().split(".")[0]) >= 7 if shutil.which("redis-server") else True
    unknown = pytest.mark.skipif(not knows_flags, reason="a server before Redis 7 does not know the flags of scripts")
    return [pytest.param(True, id="flags of Redis 7", marks=unknown), pytest.param(False, id="as before Redis 7")]


@cache
def shared_redis() -> RedisServer:
    """One for all tests of the process; its wall clock can be set. Who needs it empty empties it."""
    server = start_redis(has_clock=True)
    atexit.register(server.stop)
    return server
