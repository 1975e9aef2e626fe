"""For each script of the queue and of the records in Redis: a small past, and the one call that comes to it. Times and ids are fixed.

`@case("finish", "...")` takes a coroutine that makes the past and returns the deed. Together the cases of a script go through all its
writes; one script without a case is refused by test_scripts_at_maxmemory.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.queue.making import (
    ALL,
    DEDUP_S,
    LEASE_S,
    START_MS,
    Producer,
    RedisBench,
    add,
    completed,
    failed,
    ids_of,
    released,
    retried,
    run_all,
    snoozed,
)
from tests.records.making import make_item
from zjp.job import JobFilter, Record
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import Claim
from zjp.records.events import Event
from zjp.records.redis import RedisRecordStore

Deed = Callable[[], Awaitable[Any]]
RECORDS_MAX = 20


class World:
    def __init__(self, folder: Path) -> None:
        self.bench = RedisBench(folder)
        self.producer = Producer()
        self.producer._session = 1  # the same ids each time
        self.now_ms = START_MS
        self.store: RedisQueueStore
        self.records: RedisRecordStore

    async def open(self) -> None:
        self.store = await self.bench.open()
        self.records = RedisRecordStore(
            self.bench.server.unix_url, ttl_s=60, count_max=RECORDS_MAX, events_ttl_s=60, events_max=3, wall_ms=lambda: self.now_ms
        )
        await self.records.open()

    async def close(self) -> None:
        await self.records.close()
        while self.bench.stores:
            await self.bench.stores.pop().disconnect()

    async def add(self, count: int, queue: str = "default", **options: Any) -> list[bytes]:
        return await add(self.store, *(self.producer.spec(queue, **options) for _ in range(count)))

    async def claim(self, count: int) -> Claim:
        return await self.store.claim(count, ALL)

    async def records_of(self, ids: list[bytes]) -> list[Record]:
        return [one for one in await self.store.get(ids) if isinstance(one, Record)]

    async def pass_time(self, seconds: float, *alive: RedisQueueStore) -> None:
        """Only these renew."""
        for _ in range(int(seconds)):
            self.bench.pass_time(1.0)
            for store in alive:
                await store.renew({})


Case = Callable[[World], Awaitable[Deed]]
CASES: list[tuple[str, str, str, Case]] = []
"""(package, script, what, case)"""


def case(script: str, what: str = "", package: str = "zjp.queue") -> Callable[[Case], Case]:
    def note(made: Case) -> Case:
        CASES.append((package, script, what or made.__name__, made))
        return made

    return note


def record_case(script: str, what: str = "") -> Callable[[Case], Case]:
    return case(script, what, "zjp.records")


# ── submit ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@case("submit")
async def plain_jobs_of_a_new_queue(world: World) -> Deed:
    await world.claim(1)  # idle, so that somebody is woken
    specs = [*world.producer.specs(3), *world.producer.specs(2, "new", 9)]
    return lambda: world.store.submit(specs)


@case("submit")
async def jobs_with_every_option(world: World) -> Deed:
    await world.add(1)
    spec = world.producer.spec
    specs = [spec(delay_ms=5000), spec(unique_key="u"), spec(idempotency_key="k"), spec(caller_id=True), spec(run_at_ms=START_MS - 1)]
    return lambda: world.store.submit(specs)


@case("submit")
async def a_repeat(world: World) -> Deed:
    specs = world.producer.specs(2)
    await add(world.store, *specs)
    return lambda: world.store.submit(specs)


@case("seek")
async def suspected_ids(world: World) -> Deed:
    specs = world.producer.specs(2)
    await add(world.store, *specs)
    return lambda: world.store.submit(specs)


@case("confirm")
async def a_mark(world: World) -> Deed:
    return lambda: world.store._ask("confirm", [])


# ── claim ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@case("claim")
async def jobs_of_two_queues(world: World) -> Deed:
    await world.add(4)
    await world.add(2, "other")
    return lambda: world.claim(5)


@case("claim")
async def nothing_there(world: World) -> Deed:
    return lambda: world.store.claim(5, {"default": 1, "*": 1})


@case("claim")
async def returned_jobs_and_a_stale_entry(world: World) -> Deed:
    ids = await world.add(6)
    claim = await world.claim(2)
    await world.store.finish([released(claim.fence, job) for job in claim.jobs])
    await world.store.cancel([ids[3]])
    await world.store.requeue(await world.records_of([ids[3]]))
    return lambda: world.claim(20)


@case("claim")
async def a_level_that_starves(world: World) -> Deed:
    await add(world.store, *world.producer.specs(20, "default", 9), *world.producer.specs(3, "default", 1))
    await world.pass_time(61, world.store)
    await world.claim(1)
    return lambda: world.claim(16)


@case("claim")
async def due_jobs_and_those_of_a_silent_node(world: World) -> Deed:
    await world.add(2)
    two = await world.bench.join("node-2")
    await two.claim(2, ALL)
    await world.store.cancel([(await world.add(1, delay_ms=3000))[0]])
    await world.add(2, delay_ms=3000)
    await world.pass_time(LEASE_S + 2, world.store)
    return lambda: world.claim(10)


# ── finish ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@case("finish")
async def all_of_a_claim_that_somebody_waits_for(world: World) -> Deed:
    ids = await world.add(3)
    await world.store.watch(ids)
    claim = await world.claim(3)
    return lambda: world.store.finish([completed(claim.fence, job) for job in claim.jobs])


@case("finish")
async def some_refused_and_some_being_cancelled(world: World) -> Deed:
    ids = await world.add(5)
    claim = await world.claim(5)
    await world.store.renew({ids[3]: b"\x01"})
    await world.store.finish([completed(claim.fence, claim.jobs[0])])
    await world.store.cancel(ids[1:3])
    return lambda: world.store.finish([completed(claim.fence, job) for job in claim.jobs])


@case("finish")
async def every_other_kind(world: World) -> Deed:
    ids = await world.add(4)
    await world.add(1, unique_key="u")
    claim = await world.claim(5)
    await world.store.cancel(ids[3:])
    made = [released, lambda fence, job: retried(fence, job, 1000), lambda fence, job: snoozed(fence, job, 1000), released, failed]
    outcomes = [make(claim.fence, job) for make, job in zip(made, claim.jobs, strict=True)]
    return lambda: world.store.finish(outcomes)


async def keeping(world: World, records_max: int = RECORDS_MAX) -> RedisQueueStore:
    """Another node, which keeps the records beside the queue; its scripts are the world's."""
    two = await world.bench.join("node-2", records_max=records_max)
    two._scripts = world.store._scripts
    return two


@case("finish")
async def all_of_a_claim_whose_records_are_kept_here(world: World) -> Deed:
    two = await keeping(world)
    ids = await world.add(3)
    await world.store.watch(ids)
    await world.store.cancel(ids[:1])
    await world.store.requeue(await world.records_of(ids[:1]))
    claim = await two.claim(3, ALL)
    return lambda: two.finish([completed(claim.fence, job) for job in claim.jobs])


@case("finish")
async def a_record_kept_here_that_was_cancelled_refused_or_had_a_unique_key(world: World) -> Deed:
    two = await keeping(world)
    ids = await world.add(4)
    await world.add(1, unique_key="u")
    claim = await two.claim(5, ALL)
    await two.finish([completed(claim.fence, claim.jobs[0])])
    await world.store.cancel(ids[1:2])
    return lambda: two.finish([completed(claim.fence, job) for job in claim.jobs])


@case("finish")
async def more_records_than_are_kept_here(world: World) -> Deed:
    two = await keeping(world, 4)
    await world.add(7)
    claim = await two.claim(3, ALL)
    await two.finish([completed(claim.fence, job) for job in claim.jobs])
    claim = await two.claim(4, ALL)
    world.bench.pass_time(DEDUP_S)
    await world.records.remove([one.spec.id for one in claim.jobs])
    return lambda: two.finish([completed(claim.fence, job) for job in claim.jobs[:2]])


# ── leases ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@case("renew")
async def with_progress_and_a_cancel(world: World) -> Deed:
    ids = await world.add(3)
    await world.claim(3)
    await world.store.cancel(ids[:1])
    return lambda: world.store.renew({ids[1]: b"\x01"})


@case("renew")
async def of_a_lost_lease(world: World) -> Deed:
    two = await world.bench.join("node-2")
    await world.add(2)
    await two.claim(1, ALL)
    await world.pass_time(LEASE_S + 1, world.store)
    return lambda: two.renew({})


@case("tend")
async def promote_and_take_back(world: World) -> Deed:
    ids = await world.add(3)
    two = await world.bench.join("node-2")
    await two.claim(3, ALL)
    await world.store.cancel(ids[:1])
    await world.store.watch(ids)
    await world.add(2, delay_ms=1000)
    await world.pass_time(LEASE_S + 1, world.store)
    return lambda: world.store.tend(100)


@case("tend")
async def after_an_outage(world: World) -> Deed:
    await world.bench.join("node-2")
    await world.store.tend(1)
    world.bench.pass_time(60)
    return lambda: world.store.tend(100)


@case("keep")
async def what_is_no_longer_held(world: World) -> Deed:
    ids = await world.add(3)
    claim = await world.claim(3)
    await world.store.cancel(ids[:1])
    return lambda: world.store._ask("keep", [world.store._life, claim.fence, claim.fence, 1, ids[2]])


@case("open")
async def the_next_life_of_a_node_that_held_jobs(world: World) -> Deed:
    ids = await world.add(4)
    await world.claim(3)
    await world.store.cancel(ids[:1])
    arguments = ["node-1", 2, 15_000, "", "", b"0", "", ids[1]]
    return lambda: world.store._ask("open", arguments, "renew")


@case("close")
async def a_node_that_leaves(world: World) -> Deed:
    await world.add(1)
    await world.claim(1)
    return lambda: world.store._ask("close", [world.store._life, world.store._home])


# ── what callers do to jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@case("cancel")
async def jobs_wherever_they_are(world: World) -> Deed:
    ids = await world.add(6)
    later = await world.add(1, delay_ms=5000) + await world.add(1, unique_key="u")
    claim = await world.claim(3)
    await world.store.finish([released(claim.fence, claim.jobs[0]), completed(claim.fence, claim.jobs[1])])
    await world.store.watch([*ids, *later])
    return lambda: world.store.cancel([*ids[:5], *later, b"?" * 16])


@case("cancel")
async def one_of_a_lapsed_claim(world: World) -> Deed:
    ids = await world.add(3)
    two = await world.bench.join("node-2")
    await two.claim(3, ALL)
    await world.pass_time(LEASE_S + 1, world.store)
    return lambda: world.store.cancel(ids)


@case("requeue")
async def of_the_outbox_and_of_the_records(world: World) -> Deed:
    await world.add(1)
    await world.add(1, unique_key="u")
    done = await run_all(world.store)
    records = await world.records_of(done)
    await world.store.outbox_remove((await world.store.outbox(10))[:1])
    return lambda: world.store.requeue(records)


@case("promote")
async def delayed_jobs(world: World) -> Deed:
    ids = await world.add(2, delay_ms=5000)
    return lambda: world.store.promote(ids)


@case("pause")
async def a_queue_that_nobody_knows(world: World) -> Deed:
    return lambda: world.store.pause("new")


@case("pause")
async def resume(world: World) -> Deed:
    await world.store.pause("default")
    await world.claim(1)
    return lambda: world.store.resume("default")


@case("purge")
async def ready_delayed_and_returned(world: World) -> Deed:
    ids = await world.add(5)
    await world.add(2, delay_ms=5000)
    claim = await world.claim(2)
    await world.store.finish([released(claim.fence, job) for job in claim.jobs])
    await world.store.cancel(ids[3:4])
    return lambda: world.store.purge("default")


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@case("get")
async def a_look_up(world: World) -> Deed:
    ids = await world.add(2)
    await world.claim(1)
    return lambda: world.store.get(ids)


@case("counts")
async def depths(world: World) -> Deed:
    await world.add(2)
    return world.store.counts


@case("watch")
async def two_nodes_wait(world: World) -> Deed:
    ids = await world.add(2)
    two = await world.bench.join("node-2")
    await two.watch(ids[:1])
    return lambda: world.store.watch(ids)


# ── the outbox ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def finished(world: World, count: int) -> list[bytes]:
    await world.add(count)
    return ids_of(await _finish_all(world))


async def _finish_all(world: World) -> Claim:
    claim = await world.claim(100)
    await world.store.finish([completed(claim.fence, job) for job in claim.jobs])
    return claim


@case("outbox")
async def whose_head_runs_again(world: World) -> Deed:
    done = await finished(world, 4)
    await world.store.requeue(await world.records_of(done[:2]))
    return lambda: world.store.outbox(10)


@case("outbox_remove")
async def the_oldest(world: World) -> Deed:
    await finished(world, 4)
    items = await world.store.outbox(3)
    return lambda: world.store.outbox_remove(items)


@case("outbox_remove")
async def some_in_the_middle_and_one_that_runs_again(world: World) -> Deed:
    done = await finished(world, 5)
    items = await world.store.outbox(4)
    await world.store.requeue(await world.records_of(done[:1]))
    return lambda: world.store.outbox_remove(items)


@case("turn")
async def a_turn(world: World) -> Deed:
    return lambda: world.store._ask("turn", [world.store._life, 2000])


@case("publish")
async def what_is_served(world: World) -> Deed:
    await world.store._ask("publish", ["gone:1", "old"])
    return lambda: world.store.publish(["email", "resize"])


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@record_case("append")
async def new_ones_and_a_higher_run(world: World) -> Deed:
    await world.records.append([make_item(number) for number in range(5)])
    items = [make_item(3, run=2), *(make_item(number) for number in range(4, 8))]
    return lambda: world.records.append(items)


@record_case("append")
async def more_than_are_kept(world: World) -> Deed:
    await world.records.append([make_item(number) for number in range(RECORDS_MAX)])
    items = [make_item(number) for number in range(RECORDS_MAX, RECORDS_MAX + 5)]
    return lambda: world.records.append(items)


@record_case("remove")
async def by_id(world: World) -> Deed:
    items = [make_item(number) for number in range(5)]
    await world.records.append(items)
    return lambda: world.records.remove([item.record.job.spec.id for item in items[:3]])


@record_case("prune")
async def by_age(world: World) -> Deed:
    await world.records.append([make_item(number) for number in range(5)])
    world.now_ms = 1 << 42
    return lambda: world.records.prune(3)


@record_case("list")
async def a_page(world: World) -> Deed:
    await world.records.append([make_item(number) for number in range(5)])
    return lambda: world.records.list(JobFilter(), b"", 3)


def events(count: int) -> list[Event]:
    return [Event(number.to_bytes(16, "big"), START_MS + number, "joined", "node-1") for number in range(count)]


@record_case("append_events")
async def more_events_than_are_kept(world: World) -> Deed:
    await world.records.append_events(events(2))
    return lambda: world.records.append_events(events(5))


@record_case("prune_events")
async def events_by_age(world: World) -> Deed:
    await world.records.append_events(events(3))
    world.now_ms = 1 << 42
    return lambda: world.records.prune_events(2)
