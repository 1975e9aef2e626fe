"""The Redis store and its server: addresses, what is refused at the start, broken connections, a server that is away or full."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from redis.exceptions import ConnectionError as Unreachable

from scripts.redis_sentinels import replication, wait_until
from scripts.redis_server import RedisServer
from sims.proxy import FaultProxy
from tests.queue.making import ALL, Producer, add, completed, failed, ids_of, released, retried, run_all
from tests.redis import allowances, start_redis, tls_lines
from zjp.errors import ConfigError, OutcomeUnknown, StoreFull, StoreUnavailable
from zjp.job import Record
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import Claim, Document, DocumentKind, Durability, Life, SubmitKind
from zjp.records.redis import RedisRecordStore
from zjp.redis.address import Address, PlainConnection, connections
from zjp.redis.lane import Lane
from zjp.redis.script import Script, names

pytestmark = pytest.mark.covers(
    "redis:connections", "redis:away", "redis:full", "settings:REDIS_ADDR", "settings:REDIS_PASSWORD", "settings:REDIS_DB"
)

AWAY_S = 2.0
ROUNDS = 100


async def _nothing(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    return {}


def make(url: str, **settings: Any) -> RedisQueueStore:
    chosen: dict[str, Any] = {
        "lease_s": 15.0, "starvation_s": 60.0, "dedup_s": 600.0, "outbox_count_max": 100_000, "outbox_bytes_max": 1 << 28,
        "finished": _nothing,
    } | settings  # fmt: skip
    return RedisQueueStore(url, **chosen)


async def opened(url: str, **settings: Any) -> RedisQueueStore:
    store = make(url, **settings)
    await store.open(Life("node-1", 1), {})
    return store


@pytest.fixture
def server() -> Iterator[RedisServer]:
    made = start_redis(options={"appendonly": "yes", "appendfsync": "everysec"})
    yield made
    made.stop()


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisQueueStore]:
    made = await opened(server.url)
    yield made
    await made.close()


# ── addresses ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def works(url: str, **settings: Any) -> bool:
    store = await opened(url, **settings)
    await add(store, *Producer().specs(3))
    ran = len(await run_all(store))
    await store.close()
    return ran == 3


async def test_host_and_port_alone_are_an_address(server: RedisServer) -> None:
    assert await works(f"127.0.0.1:{server.port}")


async def test_unix_socket_is_an_address(server: RedisServer) -> None:
    assert await works(server.unix_url)


async def test_password_and_db_come_from_settings_or_the_address() -> None:
    server = start_redis(options={"requirepass": "s3cret"})
    try:
        assert await works(f"127.0.0.1:{server.port}", password="s3cret", db=3)
        assert await works(f"redis://:s3cret@127.0.0.1:{server.port}/4")
    finally:
        server.stop()


async def test_log_in_or_database_that_the_server_refuses_is_a_wrong_setting_at_the_start_and_unavailable_later() -> None:
    server = start_redis(options={"requirepass": "s3cret"})
    host = f"127.0.0.1:{server.port}"
    try:
        for password in ("wrong", None):
            with pytest.raises(ConfigError, match="check REDIS_ADDR and REDIS_PASSWORD"):
                await opened(host, password=password)
            with pytest.raises(ConfigError, match="check REDIS_ADDR and REDIS_PASSWORD"):
                await opened(server.unix_url, password=password)
            with pytest.raises(ConfigError, match="check REDIS_ADDR and REDIS_PASSWORD"):
                await RedisRecordStore(host, password=password, ttl_s=0.0, count_max=10).open()
        for store in (make(f"redis://:s3cret@{host}/99"), make(host, password="s3cret", db=99)):
            with pytest.raises(ConfigError, match="check REDIS_DB and the database in REDIS_ADDR"):
                await store.open(Life("node-1", 1), {})
        with pytest.raises(ConfigError, match="check REDIS_DB"):
            await RedisRecordStore(host, password="s3cret", db=99, ttl_s=0.0, count_max=10).open()
        with pytest.raises(ConfigError, match="check REDIS_ADDR"):
            await opened(f"redis+sentinel://{host}/m?sentinel_password=wrong")
        store = await opened(host, password="s3cret")
        admin = Lane(connections(host, password="s3cret", db=0, name="admin"))
        await admin.call(lambda _: (b"CONFIG", b"SET", b"requirepass", b"other"))
        await admin.call(lambda _: (b"CLIENT", b"KILL", b"TYPE", b"normal"))
        with pytest.raises(StoreUnavailable, match="check REDIS_ADDR and REDIS_PASSWORD"):
            await store.renew({})
        await admin.close()
        await store.close()
    finally:
        server.stop()


async def test_tls_is_verified_by_the_given_authority(tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    stranger.cert_pem.write_to_path(tmp_path / "other.pem")
    probe = RedisServer()  # only for a free port
    port = probe.port
    probe.stop()
    server = start_redis(options={"tls-port": str(port), **tls_lines(authority, "localhost", tmp_path)})
    try:
        assert await works(f"rediss://localhost:{port}?ssl_ca_certs={tmp_path / 'ca.pem'}")
        with pytest.raises(StoreUnavailable, match=r"(?i)certificate"):
            await opened(f"rediss://localhost:{port}?ssl_ca_certs={tmp_path / 'other.pem'}")
    finally:
        server.stop()


async def test_sentinels_name_the_master(tmp_path: Path) -> None:
    server = start_redis()
    (tmp_path / "sentinel.conf").write_text(f"sentinel monitor mymaster 127.0.0.1 {server.port} 1\n")
    sentinel = RedisServer(folder=tmp_path, arguments=[str(tmp_path / "sentinel.conf"), "--sentinel"], options={})
    sentinel.start()
    try:
        assert await works(f"redis+sentinel://127.0.0.1:{sentinel.port}/mymaster")
        with pytest.raises(StoreUnavailable, match="nobody"):
            await opened(f"redis+sentinel://127.0.0.1:{sentinel.port}/nobody")
    finally:
        sentinel.stop()
        server.stop()


# ── what is refused at the start ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_evicting_server_is_refused() -> None:
    server = start_redis(options={"maxmemory-policy": "allkeys-lru"})
    try:
        with pytest.raises(ConfigError, match="allkeys-lru, under which it would throw jobs away; set it to noeviction"):
            await opened(server.url)
    finally:
        server.stop()


async def test_replica_is_refused(server: RedisServer) -> None:
    replica = start_redis(options={"replicaof": f"127.0.0.1 {server.port}"})
    try:
        with pytest.raises(ConfigError, match=f"replica of 127.0.0.1:{server.port}"):
            await opened(replica.url)
    finally:
        replica.stop()


@pytest.mark.parametrize(
    ("options", "level"),
    [
        ({"appendonly": "no"}, Durability.PROCESS),
        ({"appendonly": "yes", "appendfsync": "everysec"}, Durability.DISK_1S),
        ({"appendonly": "yes", "appendfsync": "always"}, Durability.DISK),
        ({"appendonly": "yes", "appendfsync": "no"}, Durability.PROCESS),
        ({"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "yes"}, Durability.PROCESS),
    ],
)
async def test_level_is_that_of_the_servers_settings(options: dict[str, str], level: Durability) -> None:
    server = start_redis(options=options)
    store = await opened(server.url)
    assert store.level is level
    await store.close()
    server.stop()


async def test_level_replica_is_promised_only_when_one_confirms(server: RedisServer) -> None:
    server.send(b"CONFIG", b"SET", b"repl-diskless-sync-delay", b"0")
    replica = start_redis(options={"replicaof": f"127.0.0.1 {server.port}"})
    wait_until(lambda: replication(replica).get("master_link_status") == "up")
    store = await opened(server.url, level_wanted=Durability.REPLICA)
    spec = Producer().spec()
    try:
        replica.pause()
        with pytest.raises(OutcomeUnknown, match="stored, but no replica has confirmed it"):
            await store.submit([spec])
        replica.go_on()
        async with asyncio.timeout(20):
            while True:
                try:
                    (answer,) = await store.submit([spec])
                    break
                except OutcomeUnknown:
                    continue
        assert answer.kind is SubmitKind.EXISTED
    finally:
        await store.close()
        replica.stop()


# ── a server that is away ────────────────────────────────────────────────────────────────────────────────────────────────────────────


OPERATIONS = {
    "submit": lambda store, claim: store.submit([Producer().spec()]),
    "claim": lambda store, claim: store.claim(1, ALL),
    "finish": lambda store, claim: store.finish([completed(claim.fence, claim.jobs[0])]),
    "renew": lambda store, claim: store.renew({}),
    "tend": lambda store, claim: store.tend(10),
    "cancel": lambda store, claim: store.cancel([b"?" * 16]),
    "get": lambda store, claim: store.get([b"?" * 16]),
    "counts": lambda store, claim: store.counts(),
    "outbox": lambda store, claim: store.outbox(10),
    "pause": lambda store, claim: store.pause("default"),
}
SENT = {"submit", "cancel"}
"""Deeds of callers that are the first on their connection, so they go out: whether they were carried out is not known."""


async def test_every_operation_says_within_two_seconds_that_the_server_is_stopped(server: RedisServer, store: RedisQueueStore) -> None:
    await add(store, *Producer().specs(2))
    claim = await store.claim(1, ALL)

    async def fails(name: str) -> float:
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown if name in SENT else StoreUnavailable):
            await OPERATIONS[name](store, claim)  # type: ignore[no-untyped-call]
        return time.monotonic() - began

    server.pause()
    took = await asyncio.gather(*(fails(name) for name in OPERATIONS))
    assert max(took) < AWAY_S
    server.go_on()
    assert (await store.renew({})).alive


async def test_submits_that_wait_behind_one_another_all_hear_in_time(server: RedisServer, store: RedisQueueStore) -> None:
    server.pause()
    began = time.monotonic()
    answers = await asyncio.gather(*(store.submit(Producer().specs(400)) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    assert time.monotonic() - began < AWAY_S
    server.go_on()


class Greedy(PlainConnection):
    """A driver that takes one cancel for its own time-out, as redis-py's may when both come together."""

    async def connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise Unreachable("timed out") from None


async def test_call_ends_in_time_though_the_driver_takes_its_cancel() -> None:
    """Fails on a lane that relies on one cancel: it tried again for ever."""
    lane = Lane(Address(Greedy))
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="timed out"):
        await lane.call(lambda _: (b"PING",))
    assert time.monotonic() - began < AWAY_S
    await lane.close()


async def test_server_that_was_killed_is_used_again_when_it_is_back(server: RedisServer, store: RedisQueueStore) -> None:
    ids = await add(store, *Producer().specs(5))
    claim = await store.claim(2, ALL)
    server.send(b"WAITAOF", b"1", b"0", b"1000")
    await _until_written(server)
    server.kill()
    with pytest.raises(StoreUnavailable):
        await store.claim(1, ALL)
    server.start()
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []
    assert ids_of(await store.claim(5, ALL)) == ids[2:]


async def test_listing_meanwhile_does_not_make_records_of_a_former_server_count(server: RedisServer, store: RedisQueueStore) -> None:
    """Fails on a store that takes any look at the outbox for the drain's own: records beside the queue may have gone with that server."""
    await add(store, *Producer().specs(3))
    await run_all(store)
    items = await store.outbox_share(10)
    await _until_written(server)
    server.kill()
    server.start()
    assert len(await store.outbox(10)) == 3
    with pytest.raises(StoreUnavailable, match="moved again"):
        await store.outbox_remove(items)
    await store.outbox_remove(await store.outbox_share(10))
    assert await store.outbox(10) == []


async def _until_written(server: RedisServer) -> None:
    """A rewrite of the append-only file ends with an fsync of all that came before."""
    server.send(b"CONFIG", b"SET", b"appendfsync", b"always")
    server.send(b"SET", b"last", b"1")


async def test_killed_connections_are_made_again_in_every_state(server: RedisServer, store: RedisQueueStore) -> None:
    """Each of its connections, at any moment of its work; no job is lost, none is finished twice."""
    producer = Producer()
    submitted: list[bytes] = []
    finished: list[bytes] = []
    is_over = False

    async def produce() -> None:
        for _ in range(150):
            specs = producer.specs(10)
            await store.submit(specs)
            submitted.extend(spec.id for spec in specs)

    async def work() -> None:
        for number in itertools.count():
            claim = await store.claim(25, ALL)
            if not claim.jobs:
                if is_over:
                    return
                await asyncio.sleep(0)
                continue
            outcome = retried if number % 5 == 4 else completed
            outcomes = [outcome(claim.fence, job, *((0,) if outcome is retried else ())) for job in claim.jobs]  # type: ignore[operator]
            refused = await store.finish(outcomes)
            assert refused == []
            if outcome is completed:
                finished.extend(ids_of(claim))
            await store.renew({})

    async def kill() -> None:
        for number in range(ROUNDS):
            listed = server.send(b"CLIENT", b"LIST").decode()
            ours = [line.split()[0].removeprefix("id=") for line in listed.splitlines() if "name=zjp" in line]
            for one in ours if number % 10 == 0 else ours[number % max(1, len(ours)) :][:1]:
                server.send(b"CLIENT", b"KILL", b"ID", one.encode())
            await asyncio.sleep(0.005)

    working = asyncio.create_task(work())
    await asyncio.gather(produce(), kill())
    is_over = True
    await working
    assert sorted(finished) == sorted(submitted)
    assert store.backlog().count == len(submitted)


def test_connection_that_was_closed_while_idle_is_made_again_on_the_nodes_own_loop(server: RedisServer) -> None:
    """uvloop raises RuntimeError where asyncio's own transport says nothing."""

    async def lose_idle_connections() -> None:
        async with FaultProxy("127.0.0.1", server.port) as proxy:
            store = await opened("redis://{}:{}".format(*proxy.address))
            ids = await add(store, *Producer().specs(5))
            lost = [lane._connection._writer.transport for lane in store._lanes.values() if lane._connection is not None]  # type: ignore[attr-defined]
            proxy.cut()
            async with asyncio.timeout(10.0):
                while not all(transport.is_closing() for transport in lost):  # noqa: ASYNC110 - a transport has no event for it
                    await asyncio.sleep(0)
            await add(store, *Producer().specs(1))
            assert len(await run_all(store)) == len(ids) + 1
            await store.close()

    uvloop.run(lose_idle_connections())


async def test_claim_whose_answer_was_lost_is_handed_out_again(server: RedisServer, store: RedisQueueStore) -> None:
    """Fails on a model that claims anew: the jobs of the first claim would be held until the node itself dies."""
    ids = await add(store, *Producer().specs(5))
    server.send(b"CLIENT", b"PAUSE", b"2500", b"ALL")
    with pytest.raises(StoreUnavailable):
        await store.claim(5, ALL)
    claim = await _once_back(store)
    assert sorted(ids_of(claim)) == sorted(ids)
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []


async def test_claim_whose_caller_gave_up_is_handed_out_again(store: RedisQueueStore) -> None:
    ids = await add(store, *Producer().specs(5))
    asked = asyncio.create_task(store.claim(5, ALL))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.wait([asked])
    assert sorted(ids_of(await store.claim(5, ALL))) == sorted(ids)


async def test_claims_at_once_give_each_job_once(store: RedisQueueStore) -> None:
    ids = await add(store, *Producer().specs(60))
    claims = await asyncio.gather(*(store.claim(10, ALL) for _ in range(6)))
    assert [job_id for claim in claims for job_id in ids_of(claim)] == ids


async def _once_back(store: RedisQueueStore) -> Claim:
    while True:
        try:
            return await store.claim(5, ALL)
        except StoreUnavailable:
            continue


async def test_scripts_are_loaded_again_after_they_were_flushed(server: RedisServer, store: RedisQueueStore) -> None:
    for _ in range(3):
        await add(store, *Producer().specs(2))
        server.send(b"SCRIPT", b"FLUSH")
        claim = await store.claim(2, ALL)
        server.send(b"SCRIPT", b"FLUSH")
        assert await store.finish([completed(claim.fence, job) for job in claim.jobs]) == []
        server.send(b"SCRIPT", b"FLUSH")
        assert len(await store.outbox(10)) == 2
        await store.outbox_remove(await store.outbox(10))


# ── a server that is full ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("has_flags", allowances())
async def test_full_server_refuses_submits_and_takes_all_else(server: RedisServer, has_flags: bool) -> None:
    """Each script at maxmemory. Fails on scripts that add before they remove, where the server does not know the flags."""
    store = await opened(server.url)
    store._scripts = type(store._scripts)("zjp.queue", store._prefix, has_flags=has_flags)
    store._looker._ask = store._ask  # type: ignore[method-assign]
    producer = Producer()
    ids = await add(store, *producer.specs(40), *(producer.spec(unique_key=f"u{at}") for at in range(5)))
    await add(store, *(producer.spec(delay_ms=1 + 60_000 * (at > 1)) for at in range(5)))
    first = await store.claim(10, ALL)
    await store.finish([failed(first.fence, first.jobs[0])])
    server.send(b"CONFIG", b"SET", b"maxmemory", b"1mb")
    with pytest.raises(StoreFull, match="maxmemory"):
        await store.submit([producer.spec(), producer.spec(unique_key="new")])
    (record,) = await store.get([first.jobs[0].spec.id])
    assert isinstance(record, Record)
    with pytest.raises(StoreFull):
        await store.requeue([record])
    await store.claim_lead("node-1:1", 1, 5.0)
    with pytest.raises(StoreFull):
        await store.fire("node-1:1", 1, DocumentKind.SCHEDULE, Document("s", b"", 0), [producer.spec()])
    assert list(await store.documents(DocumentKind.SCHEDULE)) == []
    assert not (await store.reap_dead("node-1:1", 1, Life("node-2", 1), 3.0, 10)).was_reaped
    claim = await store.claim(20, ALL)
    assert len(claim.jobs) == 20
    jobs = claim.jobs
    outcomes = [completed(claim.fence, job) for job in jobs[:10]]
    outcomes += [released(claim.fence, jobs[10]), retried(claim.fence, jobs[11], 1000)]
    assert await store.finish(outcomes) == []
    kinds = await store.cancel([jobs[12].spec.id, ids[-1], jobs[0].spec.id])
    assert [kind.value for kind in kinds] == ["cancelling", "cancelled", "finished"]
    assert await store.finish([completed(claim.fence, jobs[12])]) == []
    await store.watch([jobs[13].spec.id])
    assert (await store.renew({jobs[13].spec.id: b"\x01"})).alive
    await store.pause("default")
    await store.resume("default")
    assert await store.promote(list(ids[-3:])) == [False] * 3
    await store.tend(100)
    await store.counts()
    assert await store.purge("default") > 10
    while items := await store.outbox(1000):
        await store.outbox_remove(items)
    assert store.backlog().count == 0
    again = await opened(server.url)
    await again.close()
    server.send(b"CONFIG", b"SET", b"maxmemory", b"0")
    await add(store, producer.spec(unique_key="new"))
    await store.close()


def test_every_script_names_what_it_uses() -> None:
    assert {"submit", "claim", "finish", "renew", "tend", "open"} <= set(names("zjp.queue"))
    for name in names("zjp.queue"):
        text = Script("zjp.queue", name, b"", has_flags=True).text
        assert text.startswith("#!lua") == (name not in ("submit", "requeue", "fire"))
        for word in ("wake(", "tell(", "level_of(", "end_cancelled(", "give_back(", "clock("):
            if word in text:
                assert f"function {word}" in text, (name, word)
