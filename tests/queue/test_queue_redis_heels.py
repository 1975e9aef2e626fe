"""A claim on the heels of a submit: whatever overtakes what, no job is left that the node was not told of."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.queue.making import ALL, Producer, RedisBench, add, ids_of, run_all
from zjp.errors import StoreUnavailable
from zjp.queue.redis import RedisQueueStore
from zjp.queue.redis.heels import Early, Heels
from zjp.queue.redis.held import Held
from zjp.queue.store import Claim
from zjp.redis import lane as lanes

pytestmark = pytest.mark.covers("redis:nodes")

SUBMITS = (b"one", b"two")
FAILURES_MAX = 1


class World:
    """One node and a server; every step is one thing that may happen next. Like the node's loops: one submit and one claim under way, and
    a wake-up that comes while a claim is under way causes one more."""

    def __init__(self) -> None:
        self.heels, self.early = Heels(Held()), dict[bytes, Early | None]()
        self.left: list[bytes] = []
        self.answered = 0
        self.ready: list[bytes] = []
        self.stored: list[bytes] = []
        self.claim: Early | None = None
        self.got: list[bytes] | None = None
        self.is_claiming = self.is_woken = False
        self.failures = 0

    def steps(self) -> Iterator[str]:
        if len(self.left) == self.answered < len(SUBMITS):
            yield "leave"
            yield "leave_untold"
        if len(self.stored) < len(self.left):
            yield "store"
        if self.answered < len(self.stored):
            yield "answer"
        if self.is_woken and not self.is_claiming:
            yield "begin"
        if self.is_claiming and self.got is None:
            yield "serve"
        if self.got is not None:
            yield "end"
        if self.is_claiming and self.got is None and self.failures < FAILURES_MAX:
            yield "fail"

    def leave(self) -> None:
        job = SUBMITS[len(self.left)]
        self.early[job] = self.heels.sent(job)
        self.is_woken = self.is_woken or self.early[job] is not None
        self.left.append(job)

    def leave_untold(self) -> None:
        """It has suspects, say, or the node is at work."""
        self.early[SUBMITS[len(self.left)]] = None
        self.left.append(SUBMITS[len(self.left)])

    def store(self) -> None:
        self.ready.append(self.left[-1])
        self.stored.append(self.left[-1])

    def answer(self) -> None:
        self.is_woken = self.heels.answered(self.early[self.stored[self.answered]]) or self.is_woken
        self.answered += 1

    def begin(self) -> None:
        self.is_woken, self.is_claiming = False, True
        self.claim = self.heels.claims()

    def serve(self) -> None:
        self.got, self.ready = self.ready, []

    def end(self) -> None:
        self.is_woken = self.heels.ended(self.claim, self.got or []) or self.is_woken
        self.is_claiming, self.got = False, None

    def fail(self) -> None:
        """The node claims again after a pause, by itself."""
        self.heels.ended(self.claim, [])
        self.is_claiming, self.is_woken, self.failures = False, True, self.failures + 1


def test_in_every_order_of_events_all_jobs_are_claimed_in_the_end() -> None:
    ends, open_worlds = 0, [World()]
    while open_worlds:
        world = open_worlds.pop()
        steps = list(world.steps())
        if not steps:
            ends += 1
            assert not world.ready
            assert len(world.stored) == len(SUBMITS)
        for step in steps:
            after = copy.deepcopy(world)
            getattr(after, step)()
            open_worlds.append(after)
    assert ends > 100, "both may overtake each other at each step"


def test_a_claim_that_brings_the_job_leaves_nothing_to_tell() -> None:
    for is_answered_first in (True, False):
        heels = Heels(Held())
        early = heels.sent(b"one")
        claim = heels.claims()
        first = heels.answered(early) if is_answered_first else heels.ended(claim, [b"one"])
        second = heels.ended(claim, [b"one"]) if is_answered_first else heels.answered(early)
        assert (first, second) == (False, False)


def test_a_node_with_work_or_a_paused_queue_is_told_by_the_answer_only() -> None:
    held = Held()
    heels = Heels(held)
    held.add(1, [b"other"])
    assert heels.sent(b"one") is None
    held.clear()
    assert heels.sent(b"one") is not None
    assert not heels.ended(heels.claims(), [])
    assert heels.sent(b"two") is None, "the early claim brought nothing"
    assert not heels.ended(heels.claims(), [b"two"])
    assert heels.sent(b"three") is not None


@pytest.fixture
async def store(redis_bench: RedisBench) -> RedisQueueStore:
    return await redis_bench.open()


async def idle(store: RedisQueueStore) -> list[str]:
    """What the node is told from now on."""
    assert not (await store.claim(5, ALL)).jobs
    told: list[str] = []
    store.on_ready = lambda: told.append("ready")
    return told


def claim_when_told(store: RedisQueueStore) -> tuple[list[str], list[asyncio.Task[Claim]]]:
    """As a node does."""
    told, claims = list[str](), list[asyncio.Task[Claim]]()

    def on_ready() -> None:
        told.append("ready")
        claims.append(asyncio.create_task(store.claim(5, ALL)))

    store.on_ready = on_ready
    return told, claims


async def test_a_job_for_an_idle_node_is_claimed_in_one_packet_with_its_submit(
    store: RedisQueueStore, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_all(store)
    await add(store, *producer.specs(1))
    await run_all(store)  # from here on both scripts are known, and the lanes connected
    await idle(store)
    told, claims = claim_when_told(store)
    packets: list[int] = []
    send = lanes._send_packed

    async def counted(connection: Any, packet: bytes) -> None:
        packets.append(packet.count(b"EVALSHA"))
        await send(connection, packet)

    monkeypatch.setattr(lanes, "_send_packed", counted)
    ids = await add(store, *producer.specs(2))
    assert [ids_of(await claim) for claim in claims] == [ids]
    assert packets == [2]
    assert told == ["ready"], "when it left, and not again"


async def test_an_idle_node_that_did_not_claim_is_told_again(store: RedisQueueStore, producer: Producer) -> None:
    told = await idle(store)
    ids = await add(store, *producer.specs(2))
    assert told == ["ready", "ready"]
    assert ids_of(await store.claim(5, ALL)) == ids


async def test_a_node_that_is_not_idle_is_told_once(store: RedisQueueStore, producer: Producer) -> None:
    told: list[str] = []
    store.on_ready = lambda: told.append("ready")
    await add(store, *producer.specs(2))
    assert told == ["ready"]


async def test_an_early_claim_that_fails_leaves_the_job_to_the_answer(store: RedisQueueStore, producer: Producer) -> None:
    await idle(store)
    told, claims = claim_when_told(store)
    retold, store._scripts.retold = store._scripts.retold, refused  # type: ignore[method-assign]
    ids = await add(store, *producer.specs(1))
    outcomes = await asyncio.gather(*claims, return_exceptions=True)
    assert told == ["ready", "ready"]
    assert [type(outcome) for outcome in outcomes] == [StoreUnavailable] * 2
    store._scripts.retold = retold  # type: ignore[method-assign]
    assert ids_of(await store.claim(5, ALL)) == ids


async def refused(*_: Any, **__: Any) -> Any:
    raise StoreUnavailable("away")
