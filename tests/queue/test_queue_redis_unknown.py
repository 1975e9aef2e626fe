"""The Redis store where an answer is missing: what the caller is told of a deed, by whether it went out and who has confirmed it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from scripts.redis_sentinels import replication, wait_until
from scripts.redis_server import RedisServer
from sims.proxy import FaultProxy
from tests.queue.making import ALL, Producer, add, completed, run_all
from tests.redis import start_redis
from zjp.errors import OutcomeUnknown, StoreFull, StoreUnavailable
from zjp.job import Record
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import CancelKind, Durability, Life, Live, RerunMark, SubmitKind
from zjp.redis import lane

pytestmark = pytest.mark.covers("redis:unknown")

TRY_S = 15.0


async def _nothing(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    return {}


async def opened(url: str, node: str = "node-1", **settings: Any) -> RedisQueueStore:
    store = RedisQueueStore(
        url, lease_s=15.0, starvation_s=60.0, dedup_s=600.0, outbox_count_max=100_000, outbox_bytes_max=1 << 28, finished=_nothing,
        **settings,
    )  # fmt: skip
    await store.open(Life(node, 1), frozenset())
    return store


@pytest.fixture
def server() -> Iterator[RedisServer]:
    made = start_redis()
    yield made
    made.stop()


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy("127.0.0.1", server.port) as made:
        yield made


@pytest.fixture
async def store(proxy: FaultProxy) -> AsyncIterator[RedisQueueStore]:
    made = await opened("redis://{}:{}".format(*proxy.address))
    yield made
    await made.disconnect()


def heal(proxy: FaultProxy) -> None:
    proxy.heal()
    proxy.cut()


# ── it went out, or not ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_submit_whose_answer_was_lost_is_unknown_and_its_repeat_one_job(proxy: FaultProxy, store: RedisQueueStore) -> None:
    """Fails on a store that calls it unavailable, which says that nothing was stored."""
    producer = Producer()
    await add(store, producer.spec())
    spec = producer.spec()
    proxy.down.is_blackhole = True
    with pytest.raises(OutcomeUnknown, match="may or may not have been carried out: ask again as it is"):
        await store.submit([spec])
    heal(proxy)
    assert isinstance((await store.get([spec.id]))[0], Live)
    assert [answer.kind for answer in await store.submit([spec])] == [SubmitKind.EXISTED]


async def test_submit_that_never_left_is_unavailable(proxy: FaultProxy, store: RedisQueueStore) -> None:
    spec = Producer().spec()
    proxy.is_refusing = True
    proxy.cut()
    with pytest.raises(StoreUnavailable):
        await store.submit([spec])
    heal(proxy)
    assert await store.get([spec.id]) == [None]


async def test_submits_that_waited_behind_it_were_not_sent_and_are_told_so(proxy: FaultProxy, store: RedisQueueStore) -> None:
    producer = Producer()
    await add(store, producer.spec())
    specs = producer.specs(3)
    proxy.down.is_blackhole = True
    sent = asyncio.create_task(store.submit([specs[0]]))
    await asyncio.sleep(0)
    while store._intake._waiting:  # noqa: ASYNC110 - it has no event for having been taken
        await asyncio.sleep(0)
    first, *behind = await asyncio.gather(sent, *(store.submit([spec]) for spec in specs[1:]), return_exceptions=True)
    assert isinstance(first, OutcomeUnknown)
    assert [type(one) for one in behind] == [StoreUnavailable] * 2
    heal(proxy)
    assert [one is not None for one in await store.get([spec.id for spec in specs])] == [True, False, False]


async def test_refusal_that_was_answered_is_no_unknown_outcome(server: RedisServer, store: RedisQueueStore) -> None:
    server.send(b"CONFIG", b"SET", b"maxmemory", b"1mb")
    with pytest.raises(StoreFull):
        await store.submit([Producer().spec()])


# ── it may have gone out, and what came then tells nothing ───────────────────────────────────────────────────────────────────────────


def away(proxy: FaultProxy) -> None:
    proxy.is_refusing = True
    proxy.cut()


def before_seek(store: RedisQueueStore, *deeds: Callable[[], Any]) -> None:
    """What happens before its first seek, its second one and so on."""
    submits = store._intake._submits
    seek, left = submits.seek, list(deeds)

    async def seek_then(*arguments: Any) -> Any:
        if left:
            left.pop(0)()
        return await seek(*arguments)

    submits.seek = seek_then  # type: ignore[method-assign]


def before_tries(store: RedisQueueStore, *deeds: Callable[[], Any]) -> None:
    """The same of tries to store."""
    submits = store._intake._submits
    require, left = submits._require, list(deeds)

    def require_then(run_id: bytes) -> None:
        if left:
            left.pop(0)()
        require(run_id)

    submits._require = require_then


def nothing() -> None: ...


@pytest.mark.parametrize("is_callers", [False, True], ids=["it is suspected", "it is to seek again"])
async def test_submit_whose_answer_was_lost_is_unknown_though_its_repeat_was_answered(
    proxy: FaultProxy, store: RedisQueueStore, is_callers: bool
) -> None:
    """The repeat finds ids that were stored before, perhaps by the first try; then nobody tells more. Fails on a store that goes by what
    failed last, which was only a look: it says that nothing was stored."""
    producer = Producer()
    await add(store, producer.spec())
    spec = producer.spec(caller_id=True) if is_callers else producer.spec()
    before_tries(store, lambda: proxy.limit_data("down", 0))
    before_seek(store, *[nothing] * is_callers, lambda: away(proxy))
    with pytest.raises(OutcomeUnknown, match="may or may not have been carried out: ask again as it is"):
        await store.submit([spec])
    heal(proxy)
    assert isinstance((await store.get([spec.id]))[0], Live)
    assert [answer.kind for answer in await store.submit([spec])] == [SubmitKind.EXISTED]


async def test_submit_whose_answer_was_lost_is_unknown_though_its_repeat_finds_the_outbox_full(
    server: RedisServer, proxy: FaultProxy, store: RedisQueueStore
) -> None:
    producer = Producer()
    await add(store, producer.spec())
    spec = producer.spec()
    before_tries(store, lambda: proxy.limit_data("down", 0), lambda: server.send(b"HSET", b"{zjp:zjp}:n", b"o", b"100000"))
    with pytest.raises(OutcomeUnknown, match="may or may not have been carried out: ask again as it is"):
        await store.submit([spec])
    assert isinstance((await store.get([spec.id]))[0], Live)


async def test_submit_that_was_answered_and_cannot_be_looked_for_is_unavailable(proxy: FaultProxy, store: RedisQueueStore) -> None:
    spec = Producer().spec()
    await add(store, spec)
    before_seek(store, lambda: away(proxy))
    with pytest.raises(StoreUnavailable):
        await store.submit([spec])


# ── of every deed ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("deed", ["cancel", "requeue", "pause", "purge"])
async def test_every_deed_of_a_caller_says_that_its_outcome_is_unknown(proxy: FaultProxy, store: RedisQueueStore, deed: str) -> None:
    producer = Producer()
    delayed, done = await add(store, producer.spec(delay_ms=60_000), producer.spec())
    claim = await store.claim(1, ALL)
    await store.finish([completed(claim.fence, claim.jobs[0])])
    (record,) = await store.get([done])
    assert isinstance(record, Record)
    deeds: dict[str, Callable[[], Awaitable[Any]]] = {
        "cancel": lambda: store.cancel([delayed]), "requeue": lambda: store.requeue([record]),
        "pause": lambda: store.pause("default"), "purge": lambda: store.purge("default"),
    }  # fmt: skip
    proxy.down.is_blackhole = True
    with pytest.raises(OutcomeUnknown):
        await deeds[deed]()
    heal(proxy)
    await deeds[deed]()


async def test_deed_whose_answer_was_lost_is_found_done_by_its_repeat(proxy: FaultProxy, store: RedisQueueStore) -> None:
    """Wherever in its answers the connection breaks; the lane asks again by itself."""
    producer = Producer()
    for more_bytes in range(0, 320, 20):
        delayed, done = await add(store, producer.spec(delay_ms=60_000), producer.spec())
        claim = await store.claim(1, ALL)
        await store.finish([completed(claim.fence, claim.jobs[0])])
        (record,) = await store.get([done])
        assert isinstance(record, Record)
        proxy.limit_data("down", more_bytes)
        assert await store.requeue([record]) == [True]
        assert await store.promote([delayed]) == [True]
        proxy.cut()
        await store.requeue([record])  # both over new connections
        await store.promote([delayed])
        assert await store.requeue([record]) == [False]
        assert await store.promote([delayed]) == [False]
        claim = await store.claim(2, ALL)
        assert len(claim.jobs) == 2
        await store.finish([completed(claim.fence, job) for job in claim.jobs])


async def test_requeue_whose_answer_was_lost_is_found_done_though_the_job_has_ended_again_and_left(
    server: RedisServer, proxy: FaultProxy, store: RedisQueueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails on a script that goes by what the queue still knows of the job: the lane's own repeat ran it once more."""
    monkeypatch.setattr(lane, "CALL_S", TRY_S)
    other = await opened(server.url, "node-2")
    (done,) = await add(store, Producer().spec())
    await run_all(store)
    (record,) = await other.get([done])
    assert isinstance(record, Record)
    await other.outbox_remove(await other.outbox(10))
    since = (await store.look([]))[0]
    await store.requeue([])  # so that the server knows the script
    proxy.down.is_blackhole = True
    asked = asyncio.create_task(store.requeue([record], since))
    async with asyncio.timeout(TRY_S):
        while await other.get([done]) == [None]:  # noqa: ASYNC110 - it is the server that knows
            await asyncio.sleep(0)
    assert await run_all(other) == [done]
    await other.outbox_remove(await other.outbox(10))
    heal(proxy)
    assert await asked == [True]
    assert await other.get([done]) == [None]
    await other.disconnect()


# ── a replica has it, or not ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def until_confirmed(deed: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(TRY_S):
        while True:
            try:
                return await deed()
            except OutcomeUnknown:
                await asyncio.sleep(0)


async def test_cancel_and_requeue_are_not_acknowledged_before_a_replica_has_them() -> None:
    """Fails on a store that waits for submits only, and on one that takes a repeat, which writes nothing, for confirmed."""
    primary = start_redis(options={"repl-diskless-sync-delay": "0"})
    replica = start_redis(options={"replicaof": f"127.0.0.1 {primary.port}"})
    wait_until(lambda: replication(replica).get("master_link_status") == "up")
    store = await opened(primary.url, level_wanted=Durability.REPLICA)
    try:
        specs = Producer().specs(3)
        await until_confirmed(lambda: store.submit(specs))
        claim = await store.claim(1, ALL)
        running, waiting, done = (spec.id for spec in specs)
        assert (await store.cancel([done])) == [CancelKind.CANCELLED]
        (record,) = await store.get([done])
        assert isinstance(record, Record)
        replica.pause()
        deeds: list[Callable[[], Awaitable[Any]]] = [
            lambda: store.cancel([running]), lambda: store.cancel([waiting]), lambda: store.requeue([record]),
        ]  # fmt: skip
        for deed in (*deeds, *deeds):
            with pytest.raises(OutcomeUnknown, match="no replica has confirmed it"):
                await deed()
        replica.go_on()
        answers = [await until_confirmed(deed) for deed in deeds]
        assert answers == [[CancelKind.CANCELLING], [CancelKind.FINISHED], [False]]
        replica.pause()
        mark, _ = await store.look([])
        with pytest.raises(OutcomeUnknown, match="no replica has confirmed it"):
            await store.confirm(mark)  # what another request did, and a look has found
        replica.go_on()
        await until_confirmed(lambda: store.confirm(mark))
        with pytest.raises(OutcomeUnknown, match="has been replaced"):
            await store.confirm(RerunMark(mark.place, b"another server"))
        assert await store.cancel([b"?" * 16]) == [CancelKind.UNKNOWN]
        assert await store.finish([completed(claim.fence, claim.jobs[0])]) == []
    finally:
        await store.disconnect()
        replica.stop()
        primary.stop()
