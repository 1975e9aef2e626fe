"""The Redis store over a fail-over by three real Sentinels: what goes on by itself, and what is lost with the tail that no replica had."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme

from scripts.redis_sentinels import NAME, WatchedRedis, replication, wait_until
from scripts.redis_server import RedisServer
from tests.queue.making import ALL, Producer, add, completed, ids_of
from tests.redis import start_redis, start_watched_redis, tls_lines
from zjp.errors import OutcomeUnknown, StoreUnavailable
from zjp.job import JobSpec, Record
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import Durability, Life, Live, SubmitKind
from zjp.redis import sentinels
from zjp.redis.address import connections
from zjp.redis.lane import Lane

pytestmark = pytest.mark.covers("redis:sentinel")

RESUME_S = 15.0
"""Within which submits go on. The Sentinels need some 2 s of it."""
CALL_MAX_S = 2.5
"""2 s, and what a busy machine adds."""
BATCH = 20
BEGIN_EVERY_S = 0.2
SETTLED_S = 0.5
"""After a freeze: what was acknowledged has arrived, and nobody has taken over yet."""


async def _nothing(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    return {}


Open = Callable[..., Awaitable[RedisQueueStore]]


@pytest.fixture
async def open_on() -> AsyncIterator[Open]:
    stores: list[RedisQueueStore] = []

    async def make(url: str, node: str = "node-1", **settings: Any) -> RedisQueueStore:
        store = RedisQueueStore(
            url, lease_s=15.0, starvation_s=60.0, dedup_s=600.0, outbox_count_max=100_000, outbox_bytes_max=1 << 28, finished=_nothing,
            **settings,
        )  # fmt: skip
        await store.open(Life(node, 1), {})
        stores.append(store)
        return store

    yield make
    for store in stores:
        await store.disconnect()


@pytest.fixture
def redis() -> Iterator[WatchedRedis]:
    watched = start_watched_redis(options={"appendonly": "yes", "appendfsync": "everysec"})
    yield watched
    watched.stop()


class Load:
    """Submits without a pause; a request that failed is repeated as it is, as a client does, or given up when `repeats` is False."""

    def __init__(self, store: RedisQueueStore, *, repeats: bool = True) -> None:
        self._store, self._repeats, self._producer = store, repeats, Producer()
        self.acknowledged: list[JobSpec] = []
        self.refused_count = 0
        self.slowest_s = 0.0
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            specs = self._producer.specs(BATCH)
            while not await self._is_acknowledged(specs):
                self._changed.set()
                if not self._repeats:
                    break
            self._changed.set()

    async def _is_acknowledged(self, specs: Sequence[JobSpec]) -> bool:
        began = time.monotonic()
        try:
            await self._store.submit(specs)
        except (StoreUnavailable, OutcomeUnknown):
            self.refused_count += 1
            await asyncio.sleep(0.05)
            return False
        finally:
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.acknowledged += specs
        return True

    async def until_more(self, count: int) -> None:
        """Acknowledged than now. Raises: TimeoutError."""
        wanted = len(self.acknowledged) + count
        await self._until(lambda: len(self.acknowledged) >= wanted)

    async def until_more_refused(self, count: int) -> None:
        wanted = self.refused_count + count
        await self._until(lambda: self.refused_count >= wanted)

    async def _until(self, claim: Callable[[], bool]) -> None:
        async with asyncio.timeout(RESUME_S):
            while not claim():
                self._changed.clear()
                await self._changed.wait()

    async def stop(self) -> list[bytes]:
        """The ids acknowledged."""
        self._task.cancel()
        await asyncio.wait([self._task])
        return [spec.id for spec in self.acknowledged]


async def known(store: RedisQueueStore, ids: Sequence[bytes]) -> set[bytes]:
    found = [await store.get(ids[at : at + 500]) for at in range(0, len(ids), 500)]
    return {job_id for job_id, one in zip(ids, (one for page in found for one in page), strict=True) if one is not None}


async def keep_trying(deed: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(RESUME_S):
        while True:
            try:
                return await deed()
            except (StoreUnavailable, OutcomeUnknown):
                await asyncio.sleep(0.05)


async def until_told(words: str, deed: Callable[[], Awaitable[Any]]) -> None:
    """It is refused with these; a busy machine may first be told that nobody answers in time."""
    told = ""
    async with asyncio.timeout(RESUME_S):
        while words not in told:
            with pytest.raises(StoreUnavailable) as refusal:
                await deed()
            told = str(refusal.value)


async def failed_over(redis: WatchedRedis) -> None:
    await asyncio.to_thread(redis.await_fail_over)


# ── what goes on by itself ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_submits_and_claims_go_on_after_a_kill_and_level_replica_loses_nothing(redis: WatchedRedis, open_on: Open) -> None:
    """The link to the replica was cut for a while before."""
    store = await open_on(redis.url, level_wanted=Durability.REPLICA)
    assert store.level is Durability.REPLICA
    load = Load(store, repeats=False)
    await load.until_more(20 * BATCH)
    before = await store.claim(BATCH, ALL)
    redis.cut_link()
    cut_count = len(load.acknowledged)
    await load.until_more_refused(2)
    assert len(load.acknowledged) <= cut_count + BATCH, "acknowledged while no replica could confirm"
    redis.primary.kill()
    await failed_over(redis)
    replica = start_redis(options={"replicaof": f"127.0.0.1 {redis.replica.port}"})  # so that there is one to confirm
    try:
        await asyncio.to_thread(wait_until, lambda: replication(replica).get("master_link_status") == "up")
        await keep_trying(lambda: store.renew({}))  # which looks whether there is one
        await load.until_more(20 * BATCH)
        acknowledged = await load.stop()
        assert load.slowest_s < CALL_MAX_S
        assert set(acknowledged) - await known(store, acknowledged) == set()
        claim = await store.claim(BATCH, ALL)
        assert claim.fence > before.fence
        assert len(await store.finish([completed(claim.fence, job) for job in claim.jobs])) == 0
    finally:
        replica.stop()


async def test_sentinels_and_primary_are_spoken_to_by_tls_alone_and_followed_to_the_next_primary(tmp_path: Path, open_on: Open) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    stranger.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    secured = start_watched_redis(options={"appendonly": "yes"}, tls=tls_lines(authority, "127.0.0.1", tmp_path))
    try:
        assert secured.url.startswith("rediss+sentinel://")
        with pytest.raises(StoreUnavailable):
            await open_on(secured.url.replace("rediss", "redis"))
        await until_told("certificate verify failed", lambda: open_on(f"{secured.url}?ssl_ca_certs={tmp_path / 'other.pem'}"))
        store = await keep_trying(lambda: open_on(f"{secured.url}?ssl_ca_certs={tmp_path / 'ca.pem'}"))
        load = Load(store)
        await load.until_more(5 * BATCH)
        secured.primary.kill()
        await failed_over(secured)
        await load.until_more(5 * BATCH)
        await load.stop()
    finally:
        secured.stop()


async def test_frozen_primary_that_wakes_up_gets_nothing_more(redis: WatchedRedis, open_on: Open) -> None:
    """It takes writes until a Sentinel tells it that it was replaced; whatever goes there is lost. So may be, at this level, the one
    request that it acknowledged last before it froze."""
    store = await open_on(redis.url)
    ids = await add(store, *Producer().specs(BATCH))  # every lane has a connection to it
    claim = await store.claim(BATCH, ALL)
    assert await store.finish([completed(claim.fence, claim.jobs[0])]) == []
    await store.outbox(1)
    await store.counts()
    load = Load(await open_on(redis.url, "node-2"))
    await load.until_more(BATCH)
    redis.primary.pause()
    counts: list[int] = []
    asyncio.get_running_loop().call_later(SETTLED_S, lambda: counts.append(len(load.acknowledged)))
    begun = await begin_calls_until(redis.url, asyncio.create_task(failed_over(redis)))
    redis.primary.go_on()
    assert b"role:master" in redis.primary.send(b"INFO", b"replication"), "too late to be seen"
    later = await add(store, *Producer().specs(BATCH))
    assert await store.finish([completed(claim.fence, job) for job in claim.jobs[1:]]) == []
    assert len(await store.outbox(BATCH)) == BATCH
    await load.until_more(10 * BATCH)
    acknowledged = await load.stop()
    assert load.slowest_s < CALL_MAX_S
    for key, call in begun.items():
        with contextlib.suppress(StoreUnavailable):
            assert await call == b"OK"
            assert redis.replica.send(b"GET", key) == b"$2\r\nis\r\n", "acknowledged by who had been replaced"
    fresh = await open_on(f"127.0.0.1:{redis.replica.port}", "looks")
    last_before = acknowledged[counts[0] - BATCH : counts[0]]
    lost = set(ids + later + acknowledged) - await known(fresh, ids + later + acknowledged)
    assert lost in (set(), set(last_before))


async def begin_calls_until(url: str, over: asyncio.Task[None]) -> dict[bytes, asyncio.Task[Any]]:
    """Each on a connection of its own, which may end when the frozen server wakes up, and with what it was told itself. By their key."""
    calls: dict[bytes, asyncio.Task[Any]] = {}
    while not over.done():
        key = b"begun:%d" % len(calls)
        calls[key] = asyncio.create_task(_write(url, key))
        await asyncio.wait([over], timeout=BEGIN_EVERY_S)
    await over
    return calls


async def _write(url: str, key: bytes) -> Any:
    lane = Lane(connections(url, password=None, db=0, name="begun"))
    try:
        return await lane.call(lambda _: (b"SET", key, b"is"))
    finally:
        await lane.close()


# ── what is lost ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_sentinels_that_were_set_up_again_are_believed_after_a_while(
    redis: WatchedRedis, open_on: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They begin at epoch 0. Fails on a node that for ever waits for one that knows the epoch of the last fail-over."""
    monkeypatch.setattr(sentinels, "OUTDATED_S", 3.0)
    load = Load(await open_on(redis.url))
    await load.until_more(BATCH)
    redis.primary.kill()
    redis.await_fail_over()
    await load.until_more(BATCH)
    for deed in ((b"REMOVE", NAME.encode()), (b"MONITOR", NAME.encode(), b"127.0.0.1", b"%d" % redis.replica.port, b"2")):
        for sentinel in redis.sentinels:
            assert sentinel.send(b"SENTINEL", *deed) == b"+OK\r\n"
    redis.replica.send(b"CLIENT", b"KILL", b"TYPE", b"normal")
    await load.until_more_refused(1)  # they may be one alone who does not know yet
    await load.until_more(BATCH)
    await load.stop()


async def test_tail_that_no_replica_had_is_lost_and_can_be_stored_again(redis: WatchedRedis, open_on: Open) -> None:
    store = await open_on(redis.url)
    assert store.level is Durability.DISK_1S
    producer = Producer()
    early = await add(store, *producer.specs(3 * BATCH))
    first = await store.claim(BATCH, ALL)
    await confirmed(redis.primary)
    redis.cut_link()
    late_specs = producer.specs(2 * BATCH, "seen only there")
    late = await add(store, *late_specs)
    last = await store.claim(BATCH, {"default": 1})
    assert last.fence > first.fence
    redis.primary.kill()
    await failed_over(redis)
    (answer,) = await keep_trying(lambda: store.submit([late_specs[0]]))
    assert (answer.kind, answer.id) == (SubmitKind.CREATED, late[0]), "neither its counter nor its queue are taken for known"
    assert await known(store, early) == set(early), "lost is only what came after the cut"
    assert await known(store, late) == {late[0]}
    assert {answer.kind for answer in await store.submit(late_specs[1:])} == {SubmitKind.CREATED}
    assert {answer.kind for answer in await store.submit(late_specs)} == {SubmitKind.EXISTED}
    assert {count.queue for count in await store.counts()} == {"default", "seen only there"}
    claim = await store.claim(1000, ALL)
    assert claim.fence > last.fence
    assert len(claim.jobs) == 4 * BATCH, "what the lost claim had is handed out again, what the first has is not"
    refused = await store.finish([completed(last.fence, job) for job in last.jobs])
    assert sorted(refused) == sorted(ids_of(last))
    assert await store.finish([completed(first.fence, job) for job in first.jobs]) == []


async def test_job_whose_outcome_was_lost_runs_again_and_its_end_is_told_once(redis: WatchedRedis, open_on: Open) -> None:
    """Fails on a node that waits for its own lost outcome: the claim is still its own, its lease is kept, and nobody runs the job. And on a
    writer of records that removes by id what the former primary had finished."""
    store, other = await open_on(redis.url), await open_on(redis.url, "node-2")
    ids = await add(store, *Producer().specs(BATCH), Producer().spec(unique_key="one"))
    claim = await store.claim(100, ALL)
    await confirmed(redis.primary)
    redis.cut_link()
    through, kept = claim.jobs[:-5], claim.jobs[-5:]
    assert await store.finish([completed(claim.fence, job) for job in through]) == []
    items = await store.outbox_share(1000)
    assert len(items) == len(through)
    redis.primary.kill()
    await failed_over(redis)
    with pytest.raises(StoreUnavailable, match="moved again"):
        await keep_going(lambda: store.outbox_remove(items))
    await store.outbox_remove(await store.outbox_share(1000))
    assert await known(other, ids) == set(ids)
    assert store.backlog().count == 0
    await keep_trying(lambda: store.renew({}))
    again = await keep_trying(lambda: other.claim(100, ALL))
    assert sorted(ids_of(again)) == sorted(job.spec.id for job in through)
    assert {attempt.outcome for job in again.jobs for attempt in job.attempts} == {"lost"}
    assert await other.finish([completed(again.fence, job) for job in again.jobs]) == []
    assert await store.finish([completed(claim.fence, job) for job in kept]) == []
    assert all(isinstance(one, Record) for one in await store.get(ids))


async def keep_going(deed: Callable[[], Awaitable[Any]]) -> Any:
    """While the server is away."""
    async with asyncio.timeout(RESUME_S):
        while True:
            try:
                return await deed()
            except StoreUnavailable as fault:
                if "does not answer" not in str(fault):
                    raise


async def confirmed(primary: RedisServer) -> None:
    """Until the replica has all that was written."""
    async with asyncio.timeout(RESUME_S):
        while True:
            told = primary.send(b"INFO", b"replication").decode()
            facts = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
            if f"offset={facts['master_repl_offset']}," in facts.get("slave0", ""):
                return
            await asyncio.sleep(0.01)


# ── a repeat at level replica ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_repeat_is_not_acknowledged_before_a_replica_has_it(open_on: Open) -> None:
    """Fails on a model that only looks a repeat up, and on one that asks WAIT on another connection than that which wrote."""
    primary = start_redis(options={"repl-diskless-sync-delay": "0"})
    replica = start_redis(options={"replicaof": f"127.0.0.1 {primary.port}"})
    try:
        wait_until(lambda: replication(replica).get("master_link_status") == "up")
        store = await open_on(primary.url, level_wanted=Durability.REPLICA)
        spec, keyed = Producer().spec(), Producer().spec(idempotency_key="once")
        await keep_trying(lambda: store.submit(Producer().specs(1)))
        replica.pause()
        for one in (spec, keyed, spec):
            with pytest.raises(OutcomeUnknown, match="stored, but no replica has confirmed it"):
                await store.submit([one])
            primary.send(b"CLIENT", b"KILL", b"TYPE", b"normal")
        assert await known(store, [spec.id, keyed.id]) == {spec.id, keyed.id}
        replica.go_on()
        for one in (spec, keyed):
            (answer,) = await keep_trying(lambda one=one: store.submit([one]))  # type: ignore[misc]
            assert answer.kind is SubmitKind.EXISTED
        assert isinstance((await store.get([spec.id]))[0], Live)
    finally:
        replica.stop()
        primary.stop()
