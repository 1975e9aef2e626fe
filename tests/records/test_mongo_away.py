"""MongoDB that is away, hangs, is cut off or killed: the outbox keeps what finished and catches up, nothing lost or doubled."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from scripts.mongo_server import MongoServer
from sims.proxy import FaultProxy
from tests.records import wire_server
from tests.records.making import Item, id_of, make_item
from tests.records.outboxes import Outbox, drain_of, ids_in, within
from zjp.errors import StoreUnavailable
from zjp.job import JobFilter
from zjp.records.mongo import MongoRecordStore
from zjp.records.mongo.documents import BY_FINISHED, INDEXES
from zjp.retry import RetryPolicy

pytestmark = [pytest.mark.system, pytest.mark.covers("mongo:away")]

TIMEOUT_S = 1.5
"""After a reset the driver looks for the server again half a second later."""
DEADLINE_S = 60.0
SHORTLY = RetryPolicy(kind="fixed", base_s=0.02, max_s=0.02)
Checked = Callable[[], bool]


def items_to(count: int) -> list[Item]:
    return [make_item(number, payload=b"\x81\xa1x\xc4\xff" + bytes(255)) for number in range(count)]


def store_at(host: str, port: int, folder: Path, *, timeout_s: float = TIMEOUT_S) -> MongoRecordStore:
    return MongoRecordStore(
        f"mongodb://{host}:{port}", database=wire_server.database_of(folder), ttl_s=0, timeout_s=timeout_s
    )


@pytest.fixture
async def proxy() -> AsyncIterator[FaultProxy]:
    async with FaultProxy("127.0.0.1", wire_server.shared().port) as hop:
        yield hop


@pytest.fixture
async def store(proxy: FaultProxy, tmp_path: Path) -> AsyncIterator[MongoRecordStore]:
    opened = store_at(*proxy.address, tmp_path)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def journaled(tmp_path: Path) -> Iterator[MongoServer]:
    server = wire_server.start(tmp_path / "records.h2")
    yield server
    server.stop()


class Draining:
    """A drain that runs, and what it is asked about."""

    def __init__(self, store: MongoRecordStore, items: list[Item], *, batch_max: int = 100) -> None:
        self.store = store
        self.items = items
        self.outbox = Outbox(store, items)
        self.drain = drain_of(self.outbox, batch_max=batch_max, backoff=SHORTLY)
        self._running = asyncio.create_task(self.drain.run())

    async def until(self, name: str, check: Checked) -> None:
        """Looked at after each call that the drain makes."""
        reached = asyncio.Event()

        def look(called: str, number: int) -> None:
            if check():
                reached.set()

        self.outbox.before = self.outbox.after = look
        self.drain.wake()
        try:
            await within(DEADLINE_S, reached.wait())
        except TimeoutError:
            pytest.fail(f"{name} did not come; fault {self.drain.fault}, {self.drain.backlog} left")

    async def until_emptied(self) -> None:
        self.drain.wake()
        await within(DEADLINE_S, self.outbox.emptied.wait())

    async def ends_with_all(self) -> None:
        await self.until_emptied()
        assert await self.drain.stop(DEADLINE_S) == 0
        await self._running
        assert self.drain.fault is None
        assert sorted(await ids_in(self.store)) == [id_of(item) for item in self.items]


async def test_refused_connections_are_told_kept_and_caught_up_with(store: MongoRecordStore, proxy: FaultProxy) -> None:
    draining = Draining(store, items_to(1000))
    await draining.until("a first bulk", lambda: draining.drain.moved >= 100)
    proxy.is_refusing = True
    proxy.cut()
    await draining.until("a fault", lambda: draining.drain.fault is not None)
    assert isinstance(draining.drain.fault, StoreUnavailable)
    assert "does not answer" in str(draining.drain.fault) or "did not answer" in str(draining.drain.fault)
    left = draining.drain.backlog
    assert 0 < left <= 900
    more = [make_item(number) for number in range(1000, 1500)]
    draining.items = [*draining.items, *more]
    draining.outbox.items += more
    assert draining.drain.backlog == left + 500
    proxy.heal()
    await draining.ends_with_all()


@pytest.mark.parametrize("is_stopped", [False, True], ids=["blackhole", "server stopped"])
async def test_a_server_that_hangs_ends_calls_in_time_and_hangs_nothing_else(
    store: MongoRecordStore, proxy: FaultProxy, tmp_path: Path, is_stopped: bool
) -> None:
    draining = Draining(store, items_to(300))
    await draining.until("a first bulk", lambda: draining.drain.moved >= 100)
    if is_stopped:
        wire_server.shared().signal(signal.SIGSTOP)
    else:
        proxy.down.is_blackhole = True
    try:
        began = time.monotonic()
        for call in (store.get([bytes(16)]), store.append([make_item(5000)]), store.remove([bytes(16)])):
            with pytest.raises(StoreUnavailable, match=r"did not answer in time|does not answer"):
                await call
        count_began = time.monotonic()
        assert 0 <= await store.count() <= 300  # as last known
        assert time.monotonic() - count_began < 1.5
        assert time.monotonic() - began < 3 * TIMEOUT_S + 4.0
        await draining.until("a fault", lambda: draining.drain.fault is not None)
    finally:
        wire_server.shared().signal(signal.SIGCONT)
        proxy.cut()
        proxy.heal()
    await draining.until_emptied()
    await store.remove([id_of(make_item(5000))])  # that append may have got through
    await draining.ends_with_all()


GIVEN_UP_S = 5.0
"""2 s to look for a server, and what a busy machine adds."""


async def test_a_server_that_was_killed_is_given_up_soon_whatever_the_limit_of_a_call(
    journaled: MongoServer, tmp_path: Path
) -> None:
    """Fails on a store whose driver has a time limit of its own: it looked for the server until that was over."""
    store = store_at("127.0.0.1", journaled.port, tmp_path, timeout_s=60.0)
    await store.open()
    await until_answered(store, lambda: True)
    journaled.kill()

    async def fails(call: Awaitable[object]) -> float:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await call
        return time.monotonic() - began

    assert await fails(store.get([bytes(16)])) < GIVEN_UP_S  # on a connection that it takes for a good one
    gets = [store.get([bytes(16)]) for _ in range(5)]
    others = [store.list(JobFilter(), b"", 10), store.append([make_item(1)]), store.remove([bytes(16)]), store.prune_events(10)]
    assert max(await asyncio.gather(*map(fails, [*gets, *others]))) < GIVEN_UP_S
    assert await store.count() == 0
    await store.close()


async def test_a_server_that_comes_back_empty_gets_its_indexes(tmp_path: Path) -> None:
    """Fails on a store that makes sure of them once: what it lost here was noticed by the driver alone, which repeated the look-up."""
    server = wire_server.start()
    store = store_at("127.0.0.1", server.port, tmp_path, timeout_s=30.0)
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(server.uri)
    try:
        await store.open()
        await until_answered(store, lambda: True)
        assert store._server is not None
        losses = store._server.losses
        server.kill()
        await asyncio.to_thread(server.start)
        await until_answered(store, lambda: store._server is not None and store._server.losses > losses)
        await store.append([make_item(1)])
        database = client[wire_server.database_of(tmp_path)]
        assert {*INDEXES, BY_FINISHED} <= set(await database["records"].index_information())
        assert {"by_kind", "by_time"} <= set(await database["events"].index_information())
    finally:
        await store.close()
        await client.close()
        server.stop()


async def until_answered(store: MongoRecordStore, check: Checked) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            with contextlib.suppress(StoreUnavailable):
                await store.get([bytes(16)])
                if check():
                    return


@pytest.mark.parametrize("more_bytes", [0, 1, 16, 500, 10_000, 60_000])
async def test_a_bulk_cut_off_on_its_way_there_is_repeated_whole(
    store: MongoRecordStore, proxy: FaultProxy, more_bytes: int
) -> None:
    draining = Draining(store, items_to(1000), batch_max=200)
    await draining.until("a first bulk", lambda: draining.drain.moved >= 200)
    proxy.limit_data("up", more_bytes)
    await draining.ends_with_all()
    assert sum(draining.outbox.appended) >= 1200


@pytest.mark.parametrize("more_bytes", [0, 1, 16, 30])
async def test_a_bulk_that_arrived_but_whose_answer_was_cut_off_is_not_written_twice(
    store: MongoRecordStore, proxy: FaultProxy, more_bytes: int
) -> None:
    draining = Draining(store, items_to(1000), batch_max=200)
    await draining.until("a first bulk", lambda: draining.drain.moved >= 200)
    proxy.limit_data("down", more_bytes)
    await draining.ends_with_all()
    assert sum(draining.outbox.appended) >= 1200


async def test_resets_again_and_again_lose_and_double_nothing(store: MongoRecordStore, proxy: FaultProxy) -> None:
    draining = Draining(store, items_to(1000), batch_max=20)

    def cut_every_third(name: str, number: int) -> None:
        rounds = len(draining.outbox.appended)
        if name == "append" and rounds % 3 == 0:
            proxy.limit_data("up" if rounds % 2 else "down", rounds * 37 % 9000)

    draining.outbox.before = cut_every_third
    await draining.until_emptied()
    draining.outbox.before = lambda name, number: None
    proxy.cut()  # limits that were not reached yet
    await draining.ends_with_all()
    assert len(draining.outbox.appended) > 55  # 50 rounds would do without faults


async def test_slow_and_choppy_connections_only_take_longer(proxy: FaultProxy, tmp_path: Path) -> None:
    store = store_at(*proxy.address, tmp_path, timeout_s=20.0)
    await store.open()
    proxy.up.slice_bytes, proxy.down.slice_bytes = 700, 1
    proxy.down.latency_s = 0.02
    await Draining(store, items_to(300)).ends_with_all()
    await store.close()


async def test_a_server_killed_again_and_again_is_caught_up_with_on_its_file(
    journaled: MongoServer, tmp_path: Path
) -> None:
    store = store_at("127.0.0.1", journaled.port, tmp_path)
    await store.open()
    draining = Draining(store, items_to(2000), batch_max=50)
    for level in (100, 500, 900, 1500):
        await draining.until(f"{level} moved", lambda level=level: draining.drain.moved >= level)  # type: ignore[misc]
        journaled.kill()
        await draining.until("a fault", lambda: draining.drain.fault is not None)
        assert draining.drain.backlog > 0
        await asyncio.to_thread(journaled.start)
    await draining.ends_with_all()
    await store.close()
    journaled.stop()
    journaled.start()
    await store.open()
    assert sorted(await ids_in(store)) == [id_of(item) for item in draining.items]
    await store.close()


async def test_a_node_starts_while_the_server_is_away_and_its_records_arrive_later(
    proxy: FaultProxy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.is_refusing = True
    store = store_at(*proxy.address, tmp_path)
    await store.open()
    assert [line.message for line in caplog.records if line.name == "zjp.records.mongo"] == ["records.away"]
    assert await store.count() == 0
    draining = Draining(store, items_to(200))
    await draining.until("a fault", lambda: draining.drain.fault is not None)
    assert draining.drain.backlog == 200
    proxy.heal()
    await draining.ends_with_all()
    await store.close()


async def test_a_close_cuts_off_what_hangs(store: MongoRecordStore, proxy: FaultProxy, tmp_path: Path) -> None:
    slow = store_at(*proxy.address, tmp_path, timeout_s=30.0)
    await slow.open()
    proxy.up.is_blackhole = True
    call = asyncio.create_task(slow.get([bytes(16)]))
    await asyncio.sleep(0)
    await within(5.0, slow.close())
    proxy.cut()
    with pytest.raises(StoreUnavailable):
        await call
