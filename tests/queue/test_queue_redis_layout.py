"""Which layout the keys of a queue in Redis have: told by the first node, looked at by every other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from scripts.redis_server import RedisServer
from tests.queue.making import ALL, Producer, add, completed
from tests.queue.test_queue_redis_connections import opened
from tests.redis import start_redis
from zjp.errors import ConfigError, StoreFull
from zjp.queue.redis.server import check_layout
from zjp.redis.address import connections
from zjp.redis.lane import Lane

pytestmark = pytest.mark.covers("redis:connections")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    made = start_redis()
    yield made
    made.stop()


class Interrupted(Lane):
    """Another node starts in the middle: after the call of that number."""

    after, deed = 0, staticmethod(lambda: asyncio.sleep(0))

    async def call(self, *command: Any) -> Any:
        reply = await super().call(*command)
        self.after -= 1
        if not self.after:
            await self.deed()
        return reply


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_nodes_that_start_at_once_on_an_empty_server_find_one_layout(server: RedisServer, after: int) -> None:
    address = connections(server.url, password=None, db=0, name="test")
    lane, other = Interrupted(address), Lane(address)

    async def start_other() -> None:
        await check_layout(other, b"p:")
        server.send(b"HSET", b"p:homes", b"node-2", b"")

    lane.after, lane.deed = after, start_other
    await check_layout(lane, b"p:")
    assert server.send(b"GET", b"p:layout") == b"$1\r\n2\r\n"
    for one in (lane, other):
        await one.close()


async def test_keys_of_another_layout_are_refused(server: RedisServer) -> None:
    lane = Lane(connections(server.url, password=None, db=0, name="test"))
    for _ in range(2):
        await check_layout(lane, b"p:")
    assert server.send(b"GET", b"p:layout") == b"$1\r\n2\r\n"
    server.send(b"HSET", b"p:homes", b"node-1", b"")
    for deed in ((b"SET", b"p:layout", b"3"), (b"DEL", b"p:layout")):
        server.send(*deed)
        with pytest.raises(ConfigError, match=r"layout [13], this version has 2; let the version that wrote it finish its jobs"):
            await check_layout(lane, b"p:")
    await lane.close()


async def test_node_starts_on_a_full_server_after_all_have_stopped_and_runs_what_is_there(server: RedisServer) -> None:
    """Fails where the layout is written before it is looked for: no node could start, and nothing become free."""
    producer, store = Producer(), await opened(server.url)
    await add(store, *producer.specs(10))
    await store.close()
    server.send(b"CONFIG", b"SET", b"maxmemory", b"1")
    store = await opened(server.url)
    with pytest.raises(StoreFull):
        await store.submit([producer.spec()])
    claim = await store.claim(10, ALL)
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []
    assert len(claim.jobs) == 10
    await store.disconnect()
