"""A server that is set otherwise, or replaced, while it is used: acknowledgements name what it is worth now, and too little is refused."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from scripts.redis_sentinels import replication, wait_until
from scripts.redis_server import RedisServer
from tests.queue.making import ALL, Producer, RedisBench, add, completed, ids_of
from tests.redis import start_redis
from zjp.errors import ConfigError, OutcomeUnknown, StoreUnavailable
from zjp.job import Record
from zjp.queue.redis import RedisQueueStore
from zjp.queue.redis.inspection import LOOK_S
from zjp.queue.store import Durability, Life

pytestmark = pytest.mark.covers("redis:connections", "settings:REQUIRE_DURABILITY")


async def _nothing(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    return {}


class Clock:
    now = 1000.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    made = start_redis(options={"appendonly": "yes", "appendfsync": "always"})
    yield made
    made.stop()


@pytest.fixture
async def opened(server: RedisServer, clock: Clock) -> AsyncIterator[Callable[..., Any]]:
    stores: list[RedisQueueStore] = []

    async def make(wanted: Durability | None = None, value_max: int = 0) -> RedisQueueStore:
        store = RedisQueueStore(
            server.url, lease_s=15.0, starvation_s=60.0, dedup_s=600.0, outbox_count_max=1000, outbox_bytes_max=1 << 20, finished=_nothing,
            level_wanted=wanted, value_max=value_max, now_s=lambda: clock.now,
        )  # fmt: skip
        await store.open(Life("node-1", 1), {})
        stores.append(store)
        return store

    yield make
    for store in stores:
        await store.disconnect()


async def look_again(store: RedisQueueStore, clock: Clock) -> None:
    clock.now += LOOK_S
    assert (await store.renew({})).alive


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.message.startswith("queue.")]


def setting(server: RedisServer, name: str, value: str) -> None:
    assert server.send(b"CONFIG", b"SET", name.encode(), value.encode()) == b"+OK\r\n"


def is_rewriting(server: RedisServer) -> bool:
    told = server.send(b"INFO", b"persistence")
    return b"aof_rewrite_in_progress:1" in told or b"aof_rewrite_scheduled:1" in told


def hold_rewrites(server: RedisServer) -> None:
    """Those that begin from now on do not end."""
    server.send(b"SET", b"other", b"1")
    setting(server, "rdb-key-save-delay", "60000000")


def let_rewrite_end(server: RedisServer) -> None:
    """The one that is held begins anew, which Redis does by itself where it has to have it."""
    setting(server, "rdb-key-save-delay", "0")
    for child in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGUSR1)
    wait_until(lambda: not is_rewriting(server))


async def test_level_follows_the_servers_settings(
    server: RedisServer, clock: Clock, opened: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = await opened()
    assert store.level is Durability.DISK
    setting(server, "appendfsync", "everysec")
    await look_again(store, clock)
    assert store.level is Durability.DISK_1S
    setting(server, "appendonly", "no")
    for _ in range(3):
        await look_again(store, clock)
    assert store.level is Durability.PROCESS
    await add(store, Producer().spec())
    assert said(caplog) == ["queue.level_changed"] * 2


async def test_between_two_looks_nothing_is_asked(server: RedisServer, clock: Clock, opened: Callable[..., Any]) -> None:
    store = await opened()
    setting(server, "appendonly", "no")
    clock.now += LOOK_S / 2
    await store.renew({})
    assert store.level is Durability.DISK


async def test_below_what_is_required_nothing_new_is_taken_and_what_runs_is_finished(
    server: RedisServer, clock: Clock, opened: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store, producer = await opened(Durability.DISK), Producer()
    ids = await add(store, *producer.specs(2))
    claim = await store.claim(1, ALL)
    setting(server, "appendonly", "no")
    await look_again(store, clock)
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=r"appendonly no.* worth process.*REQUIRE_DURABILITY=disk.*set appendonly yes and app"):
            await store.submit([producer.spec()])
        await look_again(store, clock)
    assert await store.finish([completed(claim.fence, claim.jobs[0])]) == []
    (record,) = await store.get(ids[:1])
    with pytest.raises(StoreUnavailable, match="REQUIRE_DURABILITY=disk"):
        await store.requeue([record])
    assert ids_of(await store.claim(1, ALL)) == ids[1:]
    setting(server, "appendonly", "yes")
    wait_until(lambda: not is_rewriting(server))
    clock.now += 1.0
    await store.renew({})  # while it refuses it looks each time
    await add(store, producer.spec())
    assert store.level is Durability.DISK
    assert said(caplog) == ["queue.level_changed", "queue.refuses_submits", "queue.level_changed", "queue.takes_submits_again"]


# ── an append-only file that has not everything ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_saving", [False, True], ids=["its rewrite is under way", "its rewrite waits for a snapshot"])
async def test_file_that_is_only_being_made_counts_for_nothing(
    server: RedisServer, clock: Clock, opened: Callable[..., Any], is_saving: bool
) -> None:
    """Fails on a store that goes by aof_enabled: a crash in this time takes all that was acknowledged."""
    hold_rewrites(server)
    setting(server, "appendonly", "no")
    if is_saving:
        server.send(b"BGSAVE")
    setting(server, "appendonly", "yes")
    store = await opened()
    assert store.level is Durability.PROCESS
    await look_again(store, clock)
    assert store.level is Durability.PROCESS
    with pytest.raises(StoreUnavailable, match=r"always, but its file is only being made.*worth process.*REQUIRE_DURABILITY=disk.*; wait"):
        await opened(Durability.DISK)
    let_rewrite_end(server)
    await look_again(store, clock)
    assert store.level is Durability.DISK


async def test_file_that_was_seen_off_is_only_being_made_until_its_rewrite_is_through(
    server: RedisServer, clock: Clock, opened: Callable[..., Any]
) -> None:
    """It had a base before, of which INFO still tells the size."""
    server.send(b"BGREWRITEAOF")
    wait_until(lambda: not is_rewriting(server))
    store, producer = await opened(Durability.DISK), Producer()
    setting(server, "appendonly", "no")
    await look_again(store, clock)
    hold_rewrites(server)
    setting(server, "appendonly", "yes")
    await look_again(store, clock)
    with pytest.raises(StoreUnavailable, match="only being made"):
        await store.submit([producer.spec()])
    let_rewrite_end(server)
    await look_again(store, clock)
    await add(store, producer.spec())
    assert store.level is Durability.DISK


async def test_rewrite_of_a_file_that_has_everything_changes_nothing(
    server: RedisServer, clock: Clock, opened: Callable[..., Any]
) -> None:
    """Also the first one of a server that began empty, as far as a store saw it before; INFO says of it what it says of one just made."""
    store, producer = await opened(Durability.DISK), Producer()
    hold_rewrites(server)
    server.send(b"BGREWRITEAOF")
    await look_again(store, clock)
    await add(store, producer.spec())
    server.send(b"CLIENT", b"KILL", b"TYPE", b"normal")
    await add(store, producer.spec())
    assert (store.level, is_rewriting(server)) == (Durability.DISK, True)
    let_rewrite_end(server)
    server.send(b"BGREWRITEAOF")
    wait_until(lambda: not is_rewriting(server))
    hold_rewrites(server)
    server.send(b"BGREWRITEAOF")
    assert ((await opened(Durability.DISK)).level, is_rewriting(server)) == (Durability.DISK, True)


async def test_server_that_does_not_sync_while_it_rewrites_promises_the_process_and_is_told_which_setting(
    server: RedisServer, clock: Clock, opened: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    store, producer = await opened(Durability.DISK), Producer()
    setting(server, "no-appendfsync-on-rewrite", "yes")
    await look_again(store, clock)
    named = r"no-appendfsync-on-rewrite yes.*worth process.*REQUIRE_DURABILITY=disk.*set .*no-appendfsync-on-rewrite no"
    with pytest.raises(StoreUnavailable, match=named):
        await store.submit([producer.spec()])
    with pytest.raises(ConfigError, match=named):
        await opened(Durability.DISK)
    setting(server, "no-appendfsync-on-rewrite", "no")
    await look_again(store, clock)
    await add(store, producer.spec())
    assert store.level is Durability.DISK
    setting(server, "no-appendfsync-on-rewrite", "yes")
    caplog.clear()
    assert (await opened()).level is Durability.PROCESS
    assert said(caplog) == ["queue.level_lowered"]


# ── what else may change ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_level_replica_wants_a_replica_at_the_start_and_while_it_runs(
    server: RedisServer, clock: Clock, opened: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def is_one_there() -> bool:
        return replication(server)["connected_slaves"] == "1"

    with pytest.raises(ConfigError, match=r"connected_slaves:0.*REQUIRE_DURABILITY=replica.*start one"):
        await opened(Durability.REPLICA)
    replica = start_redis(options={"replicaof": f"127.0.0.1 {server.port}"})
    try:
        wait_until(is_one_there)
        store, producer = await opened(Durability.REPLICA), Producer()
        replica.send(b"REPLICAOF", b"NO", b"ONE")
        wait_until(lambda: not is_one_there())
        await look_again(store, clock)
        with pytest.raises(StoreUnavailable, match=r"connected_slaves:0.*REQUIRE_DURABILITY=replica: nothing new is taken"):
            await store.submit([producer.spec()])
        assert await store.counts() == []
        replica.send(b"REPLICAOF", b"127.0.0.1", str(server.port).encode())
        wait_until(is_one_there)
        await store.renew({})
    finally:
        replica.stop()
    assert said(caplog) == ["queue.refuses_submits", "queue.takes_submits_again"]


async def test_evicting_policy_is_noticed_whatever_is_required(server: RedisServer, clock: Clock, opened: Callable[..., Any]) -> None:
    store, producer = await opened(), Producer()
    setting(server, "maxmemory-policy", "allkeys-lru")
    await look_again(store, clock)
    with pytest.raises(StoreUnavailable, match="allkeys-lru, under which it would throw jobs away; set it to noeviction"):
        await store.submit([producer.spec()])
    setting(server, "maxmemory-policy", "noeviction")
    await look_again(store, clock)
    await add(store, producer.spec())


@pytest.mark.parametrize(("name", "default"), [("proto-max-bulk-len", "512mb"), ("client-query-buffer-limit", "1gb")])
async def test_limit_below_what_a_job_may_become_is_noticed(
    server: RedisServer, clock: Clock, opened: Callable[..., Any], name: str, default: str
) -> None:
    store, producer = await opened(value_max=4 << 20), Producer()
    setting(server, name, "2mb")
    await look_again(store, clock)
    with pytest.raises(StoreUnavailable, match=rf"Redis takes values of up to 2MiB \({name}\)"):
        await store.submit([producer.spec()])
    setting(server, name, default)
    await look_again(store, clock)
    await add(store, producer.spec())


async def test_server_that_has_become_a_replica_is_named_as_that(server: RedisServer, clock: Clock, opened: Callable[..., Any]) -> None:
    store, producer = await opened(), Producer()
    server.send(b"REPLICAOF", b"127.0.0.1", b"1")
    server.send(b"CLIENT", b"KILL", b"TYPE", b"normal")
    with pytest.raises((StoreUnavailable, OutcomeUnknown), match=r"names a replica of 127\.0\.0\.1:1"):
        await store.submit([producer.spec()])
    server.send(b"REPLICAOF", b"NO", b"ONE")
    await look_again(store, clock)
    await add(store, producer.spec())


async def test_connection_that_is_made_again_is_looked_at_before_anything_goes_over_it(
    server: RedisServer, opened: Callable[..., Any]
) -> None:
    """The same process with other settings: no time has passed, and none is needed."""
    store, producer = await opened(), Producer()
    await add(store, producer.spec())
    setting(server, "appendfsync", "everysec")
    server.send(b"CLIENT", b"KILL", b"TYPE", b"normal")
    await add(store, producer.spec())
    assert store.level is Durability.DISK_1S


async def test_server_that_came_back_with_less_acknowledges_no_more_than_it_is_worth(
    server: RedisServer, opened: Callable[..., Any]
) -> None:
    store, producer = await opened(), Producer()
    await add(store, producer.spec())
    server.kill()
    server.options |= {"appendonly": "no"}
    server.start()
    await store.submit([producer.spec()])
    assert store.level is Durability.PROCESS


async def test_server_that_came_back_with_less_than_is_required_takes_nothing(server: RedisServer, opened: Callable[..., Any]) -> None:
    store, producer = await opened(Durability.DISK), Producer()
    await add(store, producer.spec())
    server.kill()
    server.options |= {"appendonly": "no"}
    server.start()
    with pytest.raises((StoreUnavailable, OutcomeUnknown), match="REQUIRE_DURABILITY=disk"):
        await store.submit([producer.spec()])
    assert await store.claim(1, ALL)
    assert server.send(b"EXISTS", b"{zjp:zjp}:j") == b":0\r\n"


async def test_refusal_ends_with_the_server_it_was_for(server: RedisServer, clock: Clock, opened: Callable[..., Any]) -> None:
    """Fails on a store that goes by the server its idle connection led to: that one is gone, and nothing was sent to find out."""
    store, producer = await opened(Durability.DISK), Producer()
    await add(store, producer.spec())
    setting(server, "appendonly", "no")
    await look_again(store, clock)
    with pytest.raises(StoreUnavailable, match="REQUIRE_DURABILITY=disk"):
        await store.submit([producer.spec()])
    server.kill()
    server.start()
    await look_again(store, clock)
    await add(store, producer.spec())
    assert store.level is Durability.DISK


async def test_name_outlives_a_flush_and_is_another_homes_only_when_that_came_first(tmp_path: Path) -> None:
    """Fails on a renewal that writes the life alone: a node of another home begins as that very life, and both claim under it."""
    bench = RedisBench(tmp_path)
    try:
        first = await bench.join("n", home="here", address="tcp://here:1")
        bench.server.send(b"FLUSHALL")
        assert not (await first.renew({})).alive
        assert (await first.renew({})).alive
        other = await bench.join("m")  # which finds the layout
        held = await other._ask("open", ["n", 1, 15_000, "there", "tcp://there:1"])
        assert (held[0], held[2]) == (b"held", b"tcp://here:1")
        bench.server.send(b"FLUSHALL")
        second = await bench.join("n", home="there", address="tcp://there:1")
        renewal = await first.renew({})
        assert (renewal.alive, renewal.taken_by) == (False, "tcp://there:1")
        await first.close()
        await add(second, Producer().spec())
        assert (await second.renew({})).alive
        assert len((await second.claim(1, ALL)).jobs) == 1
    finally:
        await bench.close()
