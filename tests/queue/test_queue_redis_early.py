"""A claim on the heels of a submit: an idle node is told when its submit leaves, and once more unless that claim has brought the jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.queue.making import ALL, Producer, RedisBench, add, ids_of
from zjp.queue.redis import RedisQueueStore
from zjp.queue.redis.early import Early
from zjp.queue.store import Claim

pytestmark = pytest.mark.covers("redis:nodes")

IDS = [b"one", b"two"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RedisQueueStore]:
    bench = RedisBench(tmp_path)
    yield await bench.open()
    await bench.close()


def test_a_claim_that_brings_the_jobs_leaves_nothing_to_tell() -> None:
    for is_answered_first in (True, False):
        early = Early()
        early.sent(IDS)
        early.claims()
        told = [early.answered()] if is_answered_first else [early.claimed(IDS)]
        told += [early.claimed(IDS)] if is_answered_first else [early.answered()]
        assert told == [False, False]


def test_a_claim_that_was_before_the_submit_is_made_up_for_whichever_answer_comes_first() -> None:
    early = Early()
    early.sent(IDS)
    early.claims()
    assert [early.answered(), early.claimed([b"other"])] == [False, True]
    early.sent(IDS)
    early.claims()
    assert [early.claimed(()), early.answered()] == [False, True]


def test_without_a_claim_the_answer_tells() -> None:
    early = Early()
    early.sent(IDS)
    assert early.answered()
    early.claims()
    assert not early.claimed(())


def test_a_submit_that_nobody_announced_is_told_whatever_was_before() -> None:
    early = Early()
    for has_failed in (True, False):
        early.sent(IDS)
        early.claims()
        assert not early.claimed(IDS)
        assert has_failed or not early.answered()
        early.sent(())
        assert early.answered()


def test_what_the_submit_before_is_owed_is_told_by_the_next() -> None:
    early = Early()
    early.sent(IDS)
    early.claims()
    assert not early.answered()
    assert early.sent([b"other"])
    assert not early.claimed(())
    assert early.answered()


def test_a_second_claim_may_bring_them() -> None:
    early = Early()
    early.sent(IDS)
    early.claims()
    assert not early.claimed(())
    early.claims()
    assert not early.claimed(IDS)
    assert not early.answered()


def test_it_is_given_up_where_it_brings_nothing_until_a_claim_does() -> None:
    early = Early()
    early.sent(IDS)
    early.claims()
    early.claimed(())
    assert not early.is_worth_it
    early.answered()
    early.claims()
    early.claimed([b"any"])
    assert early.is_worth_it
    early.claims()
    early.claimed(())
    assert early.is_worth_it, "a claim that followed no submit proves nothing"


async def test_a_job_for_an_idle_node_is_claimed_while_its_submit_is_under_way(store: RedisQueueStore, producer: Producer) -> None:
    assert not (await store.claim(5, ALL)).jobs
    claims: list[Claim] = []
    told: list[str] = []
    store.on_ready = lambda: told.append("ready")
    lane = store._lane("submit")
    once = lane._once

    async def then_claim(call: Any) -> Any:
        reply = await once(call)
        claims.append(await store.claim(5, ALL))
        return reply

    lane._once = then_claim  # type: ignore[method-assign]
    ids = await add(store, *producer.specs(2))
    assert [ids_of(claim) for claim in claims] == [ids]
    assert told == ["ready"], "when it left, and not again"
    assert not (await store.claim(5, ALL)).jobs


async def test_a_busy_node_is_told_once_by_the_answer(store: RedisQueueStore, producer: Producer) -> None:
    told: list[str] = []
    store.on_ready = lambda: told.append("ready")
    await add(store, *producer.specs(2))
    assert told == ["ready"]


async def test_a_node_that_was_idle_and_did_not_claim_is_told_again(store: RedisQueueStore, producer: Producer) -> None:
    assert not (await store.claim(5, ALL)).jobs
    told: list[str] = []
    store.on_ready = lambda: told.append("ready")
    ids = await add(store, *producer.specs(2))
    assert told == ["ready", "ready"]
    assert ids_of(await store.claim(5, ALL)) == ids
