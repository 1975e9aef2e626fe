"""Who gets a node's name when another life of that name may be alive: by home, number and address, and by who listens."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from tests.queue.making import LEASE_S, Producer, RedisBench, add, marked
from zjp.errors import ConfigError
from zjp.queue.redis import RedisQueueStore, opening
from zjp.queue.store import Life, LostClaims

pytestmark = pytest.mark.covers("redis:node-id")

HERE, THERE = "tcp://127.0.0.1:1111", "tcp://127.0.0.1:2222"
WAIT_S = 20.0
ROUNDS = 40
"""Looks at the clock, far more than a start takes that does not wait."""


class Ears:
    """Who listens, and who was asked for."""

    def __init__(self, *addresses: str) -> None:
        self.addresses, self.asked = set(addresses), list[str]()

    async def __call__(self, address: str) -> bool:
        self.asked.append(address)
        return address in self.addresses


@pytest.fixture(autouse=True)
def look_without_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LOOK_S", 0.0)


@pytest.fixture
async def lives(redis_bench: RedisBench) -> RedisQueueStore:
    """The third life in its folder."""
    return await redis_bench.join("node-1", 3, home="folder", address=HERE)


def impatient() -> dict[str, Any]:
    """Of a store that sees a whole lease pass whenever it looks at the clock, while the server's stands still: the other one renews."""
    moments = itertools.count(0.0, 2 * LEASE_S)
    return {"now_s": lambda: next(moments)}


async def refused(bench: RedisBench, boot: int, home: str, address: str, *listening: str) -> str:
    with pytest.raises(ConfigError) as fault:
        await bench.join("node-1", boot, home=home, address=address, listens=Ears(*listening), **impatient())
    return str(fault.value)


@pytest.mark.parametrize("boot", [1, 2, 3])
@pytest.mark.parametrize("address", [HERE, THERE])
async def test_copy_whose_number_is_not_a_later_one_is_refused_however_often_it_starts(
    boot: int, address: str, redis_bench: RedisBench, lives: RedisQueueStore
) -> None:
    """Fails on a model that takes whoever has the mark of the folder for its next life: it throws out the one that lives."""
    for _ in range(2):
        text = await refused(redis_bench, boot, "folder", address)
        assert f"another node runs on a copy of this DATA_DIR and is alive at {HERE}" in text
    assert (await lives.renew({})).alive


async def test_copy_with_a_later_number_is_refused_while_somebody_listens_where_the_former_life_did(
    redis_bench: RedisBench, lives: RedisQueueStore
) -> None:
    """Fails on a model that looks at the number alone: a folder that was copied at rest begins with the next one."""
    text = await refused(redis_bench, 4, "folder", THERE, HERE)
    assert f"another node runs on a copy of this DATA_DIR and is alive at {HERE}" in text
    assert (await lives.renew({})).alive


@pytest.mark.parametrize(("address", "asked"), [(HERE, []), (THERE, [HERE])], ids=["same-address", "other-address"])
async def test_killed_node_that_starts_again_takes_over_at_once(
    address: str, asked: Sequence[str], redis_bench: RedisBench, lives: RedisQueueStore
) -> None:
    """On the same address nobody is asked: by now something may listen there, this node itself above all."""
    ids = await add(lives, *Producer().specs(2))
    await lives.claim(2, {"*": 1})
    ears = Ears(THERE, *([HERE] if address == HERE else []))
    again = redis_bench.make(listens=ears)
    redis_bench.stores.append(again)
    lost = await again.open(Life("node-1", 4, "folder", address), marked(ids))
    assert (lost.jobs, lost.suspects, lost.boot) == (2, 2, 0)
    assert ears.asked == asked
    assert (await lives.renew({})).taken_by == address


async def test_address_is_asked_for_again_while_the_start_waits(redis_bench: RedisBench, lives: RedisQueueStore) -> None:
    """The one that listened is killed meanwhile: there is no lease to wait for."""
    ears = Ears(HERE)
    starting = asyncio.create_task(redis_bench.join("node-1", 4, home="folder", address=THERE, listens=ears))
    async with asyncio.timeout(WAIT_S):
        while len(ears.asked) < 3:  # noqa: ASYNC110 (what it waits for is the store's own round)
            await asyncio.sleep(0)
        ears.addresses.clear()
        await starting
    assert not (await lives.renew({})).alive


@pytest.mark.parametrize("boot", [1, 4], ids=["copied", "elsewhere"])
async def test_who_waited_for_a_lease_that_nobody_renews_takes_over(
    boot: int, redis_bench: RedisBench, lives: RedisQueueStore
) -> None:
    looks: list[float] = []

    def now_s() -> float:
        looks.append(0.0)
        return looks[-1]

    store = redis_bench.make(listens=Ears(HERE), now_s=now_s)
    redis_bench.stores.append(store)
    starting = asyncio.create_task(store.open(Life("node-1", boot, "folder", THERE), {}))
    async with asyncio.timeout(WAIT_S):
        while len(looks) < ROUNDS:  # noqa: ASYNC110 (what it waits for is the store's own round)
            await asyncio.sleep(0.001)
        assert not starting.done()
        redis_bench.pass_time(LEASE_S + 1)
        lost = await starting
    assert lost.boot == (0 if boot == 4 else 4)


async def test_who_has_the_shorter_lease_waits_for_the_end_of_the_others_and_does_not_call_the_dead_alive(
    redis_bench: RedisBench, lives: RedisQueueStore
) -> None:
    """Fails on a model that gives up after the lease of the one who waits: a supervisor would not start it again."""
    starting, looks = waiting_with_a_short_lease(redis_bench)
    async with asyncio.timeout(WAIT_S):
        while len(looks) < 4 * ROUNDS:
            await asyncio.sleep(0.001)
            assert not starting.done(), "it gave up before the other's lease had ended"
        redis_bench.pass_time(LEASE_S + 1)
        assert not (await starting).jobs


async def test_who_has_the_shorter_lease_waits_no_longer_than_that_for_one_that_renews(
    redis_bench: RedisBench, lives: RedisQueueStore
) -> None:
    """Fails on a model that waits for the end of the other's lease, which may be an hour."""
    starting, looks = waiting_with_a_short_lease(redis_bench)
    async with asyncio.timeout(WAIT_S):
        while len(looks) < ROUNDS:  # noqa: ASYNC110 (what it waits for is the store's own round)
            await asyncio.sleep(0.001)
        redis_bench.pass_time(1.0)
        await lives.renew({})
        with pytest.raises(ConfigError, match="is alive at"):
            await starting


def waiting_with_a_short_lease(bench: RedisBench) -> tuple[asyncio.Task[LostClaims], list[float]]:
    """A start from another folder, for which a quarter of the other's lease is over after its first few looks, and no more of it."""
    looks: list[float] = []

    def now_s() -> float:
        looks.append(0.0)
        return min(len(looks) * 0.1, LEASE_S / 4)

    store = bench.make(lease_s=0.2, now_s=now_s)
    bench.stores.append(store)
    return asyncio.create_task(store.open(Life("node-1", 9, "another folder", THERE), {})), looks


async def test_start_whose_first_call_was_carried_out_unheard_is_no_copy_of_itself(
    redis_bench: RedisBench, lives: RedisQueueStore
) -> None:
    """Fails on a model that does not tell a repeat: it would wait for its own lease."""
    arguments = ["node-1", 4, int(LEASE_S * 1000), "folder", HERE, b"0", ""]
    assert (await lives._ask("open", arguments))[0] == 4
    assert (await lives._ask("open", arguments))[0] == b"copied"
    arguments[opening.REPEAT_AT] = b"1"
    assert (await lives._ask("open", arguments))[0] == 5


async def test_stranger_of_the_same_name_is_refused_as_before(redis_bench: RedisBench, lives: RedisQueueStore) -> None:
    text = await refused(redis_bench, 9, "another folder", THERE)
    assert f"a node of this name with another DATA_DIR is alive at {HERE}" in text
