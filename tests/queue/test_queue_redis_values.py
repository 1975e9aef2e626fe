"""How large a value the server takes: one that is set to take less than a job may become is refused before it does harm."""

from __future__ import annotations

import pytest

from tests.queue.making import ALL, Producer, add, ids_of
from tests.queue.test_queue_redis_connections import opened
from tests.redis import start_redis
from zjp.errors import ConfigError, StoreUnavailable

pytestmark = pytest.mark.covers("redis:full")

TOO_SMALL = r"up to 1MiB \({}\), .* may have 4MiB: .* Set it to {}"


@pytest.mark.parametrize(("setting", "default"), [("proto-max-bulk-len", "512mb"), ("client-query-buffer-limit", "1gb")])
async def test_server_that_takes_smaller_values_than_a_job_may_become_is_refused_if_it_can_be_asked(setting: str, default: str) -> None:
    server = start_redis(options={setting: "1mb"})
    try:
        with pytest.raises(ConfigError, match=TOO_SMALL.format(setting, default)):
            await opened(server.url, value_max=4 << 20)
        await (await opened(server.url, value_max=1 << 20)).disconnect()
        server.send(b"ACL", b"SETUSER", b"default", b"-config")
        await (await opened(server.url, value_max=4 << 20)).disconnect()
    finally:
        server.stop()


async def test_answer_that_is_too_large_for_the_servers_buffer_is_told_as_that_and_comes_when_it_may() -> None:
    """Fails on a message that names only what limits a value."""
    server = start_redis(options={"client-output-buffer-limit": "normal 1mb 1mb 0"})
    try:
        store, producer = await opened(server.url), Producer()
        ids = await add(store, *(producer.spec(payload=bytes(900_000)) for _ in range(3)))
        with pytest.raises(StoreUnavailable, match="client-output-buffer-limit"):
            await store.claim(3, ALL)
        server.send(b"CONFIG", b"SET", b"client-output-buffer-limit", b"normal 0 0 0")
        assert sorted(ids_of(await store.claim(3, ALL))) == sorted(ids)
        await store.disconnect()
    finally:
        server.stop()
