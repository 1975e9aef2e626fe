"""The cases of scripts for what stands beside the jobs, for what only the leader does, and for listings. See script_cases.py."""

from __future__ import annotations

from typing import Any

import pytest

from tests.queue.making import ALL, run_all
from tests.queue.script_cases import CASES, Deed, World, case, finished
from zjp.job import JobFilter
from zjp.queue.redis import store as redis_store
from zjp.queue.store import Document, DocumentKind, Life

__all__ = ["CASES"]
"""All of them, these included."""


@case("lead")
async def a_new_leader(world: World) -> Deed:
    return lambda: world.store.claim_lead("node-1", 1, 5.0)


@case("lead")
async def another_term(world: World) -> Deed:
    await world.store.claim_lead("node-1", 1, 5.0)
    return lambda: world.store.renew_lead("node-1", 1, 9.0)


@case("lead")
async def resigned(world: World) -> Deed:
    await world.store.claim_lead("node-1", 1, 5.0)
    return lambda: world.store.release_lead("node-1", 1)


@case("document")
async def a_first_version(world: World) -> Deed:
    return lambda: world.store.put_document(DocumentKind.USER, "ada", b"data", 0)


@case("document")
async def a_next_version(world: World) -> Deed:
    await world.store.put_document(DocumentKind.USER, "ada", b"data", 0)
    return lambda: world.store.put_document(DocumentKind.USER, "ada", b"other", 1)


@case("document")
async def no_version_any_more(world: World) -> Deed:
    await world.store.put_document(DocumentKind.USER, "ada", b"data", 0)
    return lambda: world.store.remove_document(DocumentKind.USER, "ada", 1)


@case("fire")
async def a_tick_with_its_job(world: World) -> Deed:
    await world.store.claim_lead("node-1", 1, 5.0)
    await world.claim(1)  # idle, so that somebody is woken
    specs = [*world.producer.specs(2, "new"), world.producer.spec(unique_key="u")]
    return lambda: world.store.fire("node-1", 1, DocumentKind.SCHEDULE, Document("beat", b"data", 0), specs)


@case("reap_dead")
async def a_dead_nodes_jobs(world: World) -> Deed:
    await world.store.claim_lead("node-1", 1, 60.0)
    other = await world.bench.join("other")
    await world.add(3)
    await other.claim(2, ALL)
    await world.pass_time(5, world.store)
    return lambda: world.store.reap_dead("node-1", 1, Life("other", 1), 3.0, 10)


@case("renew")
async def on_a_server_that_lost_everything(world: World) -> Deed:
    world.bench.server.send(b"FLUSHALL")
    return lambda: world.store.renew({})


@case("later")
async def two_of_one_due_time(world: World) -> Deed:
    await world.add(3, delay_ms=1000)
    return lambda: world.store.list(JobFilter(), b"", 2)


async def cancelled_and_run_again(world: World) -> list[bytes]:
    ids = await world.add(4)
    await world.store.cancel(ids[1:3])
    await world.store.requeue(await world.records_of(ids[1:2]))
    return ids


@case("requeue")
async def where_the_cancelled_run_still_stands(world: World) -> Deed:
    ids = await world.add(3)
    await world.store.cancel(ids[:2])
    records = await world.records_of(ids[:2])
    return lambda: world.store.requeue(records)


@case("requeue")
async def more_than_are_remembered(world: World) -> Deed:
    await world.add(3)
    records = await world.records_of(await run_all(world.store))
    await world.store.requeue(records[:1])

    async def deed() -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(redis_store, "RERUNS_KEPT", 1)
            return await world.store.requeue(records[1:], (await world.store.look([]))[0])

    return deed


@case("purge")
async def what_was_cancelled_and_runs_again(world: World) -> Deed:
    await cancelled_and_run_again(world)
    return lambda: world.store.purge("default")


@case("listed")
async def a_list_with_stale_entries(world: World) -> Deed:
    await cancelled_and_run_again(world)
    return lambda: world.store.list(JobFilter(), b"", 2)


@case("newest")
async def the_outbox_with_one_that_runs_again(world: World) -> Deed:
    done = await finished(world, 4)
    await world.store.requeue(await world.records_of(done[1:2]))
    return lambda: world.store.newest(4, 3)


# ── what cancelled jobs left ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@case("sweep")
async def at_the_head_and_behind_jobs_that_wait(world: World) -> Deed:
    ids = await world.add(9)
    await world.store.cancel([*ids[:2], *ids[4:6], ids[8]])
    await world.store.requeue(await world.records_of(ids[:1]))
    await world.store.cancel(ids[:1])
    return lambda: world.store._ask("sweep", [100, 0], "renew")


@case("sweep")
async def a_pass_that_is_under_way(world: World) -> Deed:
    ids = await world.add(9)
    await world.store.cancel([*ids[1:3], *ids[5:7]])
    await world.store._ask("sweep", [5, 0], "renew")
    await world.store.cancel(await world.add(2, "other"))
    return lambda: world.store._ask("sweep", [3, 0], "renew")


@case("sweep")
async def the_end_of_a_pass_and_a_list_that_is_gone(world: World) -> Deed:
    ids = await world.add(9)
    await world.store.cancel(ids[1:3])
    await world.store._ask("sweep", [5, 0], "renew")
    await world.store.cancel((await world.add(2, "other"))[:1])
    await world.claim(1)
    await run_all(world.store)
    await world.store.cancel(await world.add(2))
    return lambda: world.store._ask("sweep", [100, 0], "renew")


@case("remains")
async def what_a_former_version_left(world: World) -> Deed:
    await world.store.cancel(await world.add(3))
    world.bench.server.send(b"DEL", b"{zjp:zjp}:sweeps")
    return lambda: world.store._ask("remains", ["default", "other"], "renew")


@case("tend")
async def with_something_to_sweep(world: World) -> Deed:
    await world.store.cancel(await world.add(3))
    return lambda: world.store.tend(100)


@case("claim")
async def over_holes_that_a_sweep_left(world: World) -> Deed:
    ids = await world.add(9)
    await world.store.cancel([*ids[1:3], *ids[5:7]])
    await world.store.tend(100)
    return lambda: world.claim(20)


@case("claim")
async def over_holes_and_stale_entries(world: World) -> Deed:
    ids = await world.add(9)
    await world.store.cancel([*ids[1:3], *ids[5:7]])
    await world.store.tend(100)
    await world.store.cancel(ids[4:5])
    return lambda: world.claim(20)
