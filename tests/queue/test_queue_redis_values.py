"""How large a value the server takes: one that is set to take less than a job may become is refused before it does harm."""

from __future__ import annotations

import pytest

from tests.queue.test_queue_redis_connections import opened
from tests.redis import start_redis
from zjp.errors import ConfigError

pytestmark = pytest.mark.covers("redis:full")

TOO_SMALL = r"up to 1MiB \(proto-max-bulk-len\), .* may have 4MiB: .* Set it to 512mb"


async def test_server_that_takes_smaller_values_than_a_job_may_become_is_refused_if_it_can_be_asked() -> None:
    server = start_redis(options={"proto-max-bulk-len": "1mb"})
    try:
        with pytest.raises(ConfigError, match=TOO_SMALL):
            await opened(server.url, value_max=4 << 20)
        await (await opened(server.url, value_max=1 << 20)).disconnect()
        server.send(b"ACL", b"SETUSER", b"default", b"-config")
        await (await opened(server.url, value_max=4 << 20)).disconnect()
    finally:
        server.stop()
