"""The same server process with older data: it was another's replica for a while, and no connection broke."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import pytest

from scripts.redis_sentinels import replication, wait_until
from scripts.redis_server import RedisServer
from tests.queue.making import ALL, Producer, add, completed, ids_of, run_all
from tests.redis import start_redis
from zjp.errors import StoreUnavailable
from zjp.job import JobState, Record
from zjp.queue.redis import RedisQueueStore
from zjp.queue.redis.store import KEEPS
from zjp.queue.store import Life, Live
from zjp.redis import lane
from zjp.redis.address import connections
from zjp.redis.lane import Lane

pytestmark = pytest.mark.covers("redis:connections")

PATIENT_S = 15.0


async def _nothing(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    return {}


class Pair:
    """`one` is used; `other` has what it had when `copy` was called."""

    def __init__(self) -> None:
        at_once = {"repl-diskless-sync-delay": "0"}
        self.one, self.other = start_redis(options=at_once), start_redis(options=at_once)

    def copy(self) -> None:
        _become_a_copy(self.other, self.one)

    def go_back(self) -> None:
        """The one becomes a copy of the other, and then its own again."""
        _become_a_copy(self.one, self.other)


def _become_a_copy(server: RedisServer, source: RedisServer) -> None:
    server.send(b"REPLICAOF", b"127.0.0.1", str(source.port).encode())
    wait_until(lambda: replication(server).get("master_link_status") == "up")
    server.send(b"REPLICAOF", b"NO", b"ONE")


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.one.stop()
    made.other.stop()


@pytest.fixture
def pair(servers: Pair) -> Pair:
    servers.one.send(b"FLUSHALL")
    return servers


@pytest.fixture
async def store(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisQueueStore]:
    monkeypatch.setattr(lane, "CALL_S", PATIENT_S)
    made = RedisQueueStore(
        pair.one.url, lease_s=15.0, starvation_s=60.0, dedup_s=600.0, outbox_count_max=1000, outbox_bytes_max=1 << 20, finished=_nothing
    )
    await made.open(Life("node-1", 1), {})
    yield made
    await made.disconnect()


async def renew(store: RedisQueueStore) -> bool:
    return (await store.renew({})).alive


async def test_job_whose_outcome_went_with_the_newer_data_runs_again_and_its_records_are_moved_again(
    pair: Pair, store: RedisQueueStore
) -> None:
    """Fails on a node that tells servers by their process: the job stayed `running` for ever, and the outbox was emptied of what the
    records beside it had lost."""
    ids = await add(store, *Producer().specs(2))
    await run_all(store, 1)
    claim = await store.claim(1, ALL)
    items = await store.outbox_share(10)
    pair.copy()
    await renew(store)
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []
    pair.go_back()
    with pytest.raises(StoreUnavailable, match="moved again"):
        await store.outbox_remove(items)
    (live,) = await store.get(ids[1:])
    assert isinstance(live, Live)
    assert live.state is JobState.RUNNING
    assert await renew(store)
    again = await store.claim(1, ALL)
    assert ids_of(again) == ids[1:]
    assert await store.finish([completed(again.fence, job) for job in again.jobs]) == []
    await store.outbox_remove(await store.outbox_share(10))
    assert await store.outbox(10) == []


async def test_held_jobs_are_kept_and_the_server_is_told_of_them_a_few_times_only(pair: Pair, store: RedisQueueStore) -> None:
    await add(store, *Producer().specs(3))
    claim = await store.claim(2, ALL)
    pair.copy()
    assert await renew(store)
    pair.go_back()
    asked = count_calls(store)
    for _ in range(2 * KEEPS):
        assert await renew(store)
    assert asked.count("keep") == KEEPS
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []


async def test_connection_that_is_made_again_to_the_same_data_counts_as_no_other_server(pair: Pair, store: RedisQueueStore) -> None:
    await add(store, *Producer().specs(2))
    await run_all(store)
    items = await store.outbox_share(10)
    assert await renew(store)
    asked = count_calls(store)
    for _ in range(3):
        pair.one.send(b"CLIENT", b"KILL", b"TYPE", b"normal")
        assert await renew(store)
    assert "keep" not in asked
    await store.outbox_remove(items)
    assert await store.outbox(10) == []


async def test_lane_knows_its_data_as_it_is_when_that_is_asked_for(pair: Pair) -> None:
    made = Lane(connections(pair.one.url, password=None, db=0, name="test"))
    try:
        await made.call(lambda _: (b"PING",))
        server, data = made.server, made.data
        assert data.startswith(server + b" ")
        assert len(data) == len(server) + 41
        await made.call(lambda _: (b"PING",), asks_data=True)
        assert made.data == data
        pair.copy()
        pair.go_back()
        await made.call(lambda _: (b"PING",))
        assert made.data == data, "the connection is the same"
        told = await made.call(lambda _: (b"ECHO", made.data), asks_data=True)
        assert told == made.data != data
        assert made.server == server
    finally:
        await made.close()


def count_calls(store: RedisQueueStore) -> list[str]:
    """The names of the scripts that it asks from now on."""
    asked: list[str] = []
    ask = store._ask

    async def noted(name: str, arguments: list[Any], lane: str = "other") -> Any:
        asked.append(name)
        return await ask(name, arguments, lane)

    store._ask = noted  # type: ignore[method-assign]
    return asked
