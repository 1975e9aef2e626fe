"""Servers that are none for a queue, and servers that let nobody in or take nothing: what is told, and that it is no error of the node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripts.redis_server import RedisServer
from tests.queue.making import Producer, add
from tests.queue.test_queue_redis_connections import opened
from tests.redis import start_redis
from zjp.errors import ConfigError, StoreUnavailable
from zjp.records.redis import RedisRecordStore

pytestmark = pytest.mark.covers("redis:connections")

SLOTS_S = 10.0
"""A cluster that has all its slots takes writes some seconds later."""
PORT_MAX = 55_535
"""A server of a cluster has a second port, which is 10,000 higher."""
PROTECTED = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user.\r\n"


def low_port() -> int:
    while True:
        probe = RedisServer()
        probe.stop()
        if probe.port <= PORT_MAX:
            return probe.port


@pytest.fixture
async def guarded() -> AsyncIterator[str]:
    """The address of a server that says to everybody what Redis says to strangers in protected mode, and hangs up."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(PROTECTED)
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"redis://{host}:{port}"


@pytest.mark.parametrize("has_slots", [False, True])
async def test_server_of_a_cluster_is_refused(has_slots: bool) -> None:
    """Fails where only the scheme of the address is looked at: with all slots such a server works, until one of them moves away."""
    server = start_redis(options={"cluster-enabled": "yes", "port": str(low_port())})
    try:
        if has_slots:
            server.send(b"CLUSTER", b"ADDSLOTS", *(b"%d" % slot for slot in range(16_384)))
            end = time.monotonic() + SLOTS_S
            while b"cluster_state:ok" not in server.send(b"CLUSTER", b"INFO"):
                assert time.monotonic() < end
                await asyncio.sleep(0)
        with pytest.raises(ConfigError, match=r"a server of a Redis Cluster \(cluster-enabled yes\), which is not available"):
            await opened(server.unix_url)
    finally:
        server.stop()


async def test_sentinel_in_place_of_a_server_is_named_as_that(tmp_path: Path) -> None:
    server = start_redis()
    (tmp_path / "sentinel.conf").write_text(f"sentinel monitor mymaster 127.0.0.1 {server.port} 1\n")
    sentinel = RedisServer(folder=tmp_path, arguments=[str(tmp_path / "sentinel.conf"), "--sentinel"], options={})
    sentinel.start()
    try:
        with pytest.raises(ConfigError, match=r"names a Sentinel, which holds no data; write redis\+sentinel://"):
            await opened(sentinel.url)
    finally:
        sentinel.stop()
        server.stop()


async def test_server_in_protected_mode_is_a_wrong_setting(guarded: str) -> None:
    with pytest.raises(ConfigError, match=r"in protected mode .*requirepass .*REDIS_PASSWORD"):
        await opened(guarded)
    with pytest.raises(ConfigError, match="in protected mode"):
        await RedisRecordStore(guarded, ttl_s=60.0, count_max=10).open()


async def test_server_that_wants_replicas_says_which_setting_and_takes_jobs_when_it_is_lowered() -> None:
    server = start_redis()
    try:
        store, producer = await opened(server.url), Producer()
        server.send(b"CONFIG", b"SET", b"min-replicas-to-write", b"1")
        with pytest.raises(StoreUnavailable, match=r"takes no writes .* min-replicas-to-write .*start replicas, or lower it"):
            await store.submit([producer.spec()])
        server.send(b"CONFIG", b"SET", b"min-replicas-to-write", b"0")
        await add(store, producer.spec())
        await store.disconnect()
    finally:
        server.stop()
