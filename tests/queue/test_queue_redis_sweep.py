"""What cancelled jobs leave in the lists of levels in Redis is dropped by whoever tends the queue, also where nobody submits or claims any
more; and the jobs that wait there keep their order, their places and their number, wherever a sweep has come to."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from itertools import count

import pytest

from tests.queue.making import ALL, PAYLOAD, STARVATION_S, Producer, RedisBench, add, archive, ids_of, pending, released
from tests.queue.test_queue_redis_listing import run_again, shown
from zjp.job import JobFilter, JobSpec, JobState
from zjp.queue.redis import RedisQueueStore, sweeping
from zjp.queue.redis.sweeping import STEP, STEPS_MAX

pytestmark = pytest.mark.covers("redis:nodes")

PREFIX = b"{zjp:zjp}:"
NORMAL = PREFIX + b"q:\x05default"
TURNS_MAX = 500


@pytest.fixture
async def store(redis_bench: RedisBench) -> RedisQueueStore:
    return await redis_bench.open()


def number(bench: RedisBench, *command: bytes) -> int:
    return int(bench.server.send(*command).strip()[1:])


def left(bench: RedisBench) -> tuple[int, int]:
    """Entries in the list of the usual level, and ids with such as do not count."""
    return number(bench, b"LLEN", NORMAL), number(bench, b"HLEN", PREFIX + b"stale")


def is_swept(bench: RedisBench) -> bool:
    """No pass is under way, and nothing was left since the last one of each level began."""
    counts = bench.server.send(b"HVALS", PREFIX + b"sweeps").split(b"\r\n")[2::2]
    return number(bench, b"EXISTS", PREFIX + b"sweep") == 0 and set(counts) <= {b"0"}


async def add_many(store: RedisQueueStore, thousands: int) -> list[bytes]:
    return [job_id for _ in range(thousands) for job_id in await add(store, *Producer().specs(1000))]


async def cancel_all(store: RedisQueueStore, ids: Sequence[bytes]) -> None:
    for at in range(0, len(ids), 1000):
        await store.cancel(ids[at : at + 1000])


async def sweep_all(bench: RedisBench, store: RedisQueueStore) -> None:
    """As tending does, until there is nothing to do."""
    for turn in count(1):
        await store.tend(100)
        if is_swept(bench):
            return
        assert turn < TURNS_MAX


# ── memory ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("is_paused", [True, False])
async def test_nothing_is_left_of_jobs_that_were_all_cancelled(redis_bench: RedisBench, store: RedisQueueStore, is_paused: bool) -> None:
    if is_paused:
        await store.pause("default")
    ids = await add_many(store, 3)
    await cancel_all(store, ids)
    await archive(redis_bench, store)
    assert left(redis_bench) == (3000, 3000)
    await sweep_all(redis_bench, store)
    assert left(redis_bench) == (0, 0)
    assert number(redis_bench, b"EXISTS", PREFIX + b"seats", PREFIX + b"sweeps", PREFIX + b"sweep") == 0


async def test_one_turn_of_tending_is_bounded_and_the_next_goes_on(redis_bench: RedisBench, store: RedisQueueStore) -> None:
    each = STEP * STEPS_MAX
    ids = await add_many(store, each // 1000 + 1)
    await cancel_all(store, ids)
    await store.tend(100)
    entries, stale = left(redis_bench)
    assert len(ids) - each <= entries <= len(ids) - each + 2 * STEPS_MAX
    assert entries == stale
    await store.tend(100)
    assert left(redis_bench) == (0, 0)


@pytest.mark.parametrize("where", ["behind one that waits", "every other one", "in the middle"])
async def test_what_stands_behind_jobs_that_wait_becomes_empty_entries(
    redis_bench: RedisBench, store: RedisQueueStore, where: str
) -> None:
    await store.pause("default")
    ids = await add_many(store, 3)
    gone = {"behind one that waits": ids[1:], "every other one": ids[1::2], "in the middle": ids[1200:2500]}[where]
    await cancel_all(store, gone)
    await archive(redis_bench, store)
    before = number(redis_bench, b"MEMORY", b"USAGE", NORMAL, b"SAMPLES", b"0")
    await sweep_all(redis_bench, store)
    assert left(redis_bench) == (3000, 0)
    assert number(redis_bench, b"MEMORY", b"USAGE", NORMAL, b"SAMPLES", b"0") < before - 10 * len(gone)
    await store.resume("default")
    waiting = [one for one in ids if one not in set(gone)]
    assert await shown(store, 100) == waiting
    assert ids_of(await store.claim(3000, ALL)) == waiting
    await store.tend(100)
    assert left(redis_bench) == (0, 0)


async def test_few_among_many_that_wait_are_left_to_the_claims(redis_bench: RedisBench, store: RedisQueueStore) -> None:
    """Fails on a sweep that looks at a whole long list for each cancel."""
    ids = await add_many(store, 3)
    await store.cancel(ids[-10:])
    await store.tend(100)
    assert left(redis_bench) == (3000, 10)
    redis_bench.server.send(b"CONFIG", b"RESETSTAT")
    await store.tend(100)
    assert not re.search(rb"cmdstat_lrange", redis_bench.server.send(b"INFO", b"commandstats"))
    await store.cancel(ids[1000:2000])
    await sweep_all(redis_bench, store)
    assert left(redis_bench)[1] == 0


async def test_purge_of_a_queue_drops_what_cancelled_jobs_left_in_it(redis_bench: RedisBench, store: RedisQueueStore) -> None:
    await sweep_all(redis_bench, store)
    ids = await add(store, *Producer().specs(20))
    await store.cancel(ids[5:])
    redis_bench.server.send(b"DEL", PREFIX + b"sweeps")  # as an older version leaves it
    assert await store.purge("default") == 5
    await sweep_all(redis_bench, store)
    assert left(redis_bench) == (0, 0)


@pytest.mark.parametrize("queues", [1, 120])
async def test_what_a_version_left_that_did_not_sweep_is_found_at_the_next_start(
    redis_bench: RedisBench, store: RedisQueueStore, queues: int
) -> None:
    producer = Producer()
    for queue in range(queues):
        ids = await add(store, *producer.specs(3, f"queue-{queue}", 1 + queue % 10))
        await cancel_all(store, ids)
    await add(store, producer.spec())
    redis_bench.server.send(b"DEL", PREFIX + b"sweeps")
    await sweep_all(redis_bench, await redis_bench.crash())
    assert number(redis_bench, b"EXISTS", PREFIX + b"stale", *(PREFIX + b"q:\x01queue-%d" % one for one in range(0, queues, 10))) == 0
    assert left(redis_bench) == (1, 0)


# ── what waits ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Model:
    """Jobs of one level come, go and run again by the dice, while somebody sweeps in small steps."""

    def __init__(self, bench: RedisBench, store: RedisQueueStore, seed: int) -> None:
        self.bench, self.store, self.dice, self.producer = bench, store, random.Random(seed), Producer()
        self.waiting: list[bytes] = []
        self.gone: list[bytes] = []

    def some(self, among: Sequence[bytes]) -> list[bytes]:
        return self.dice.sample(among, k=min(self.dice.randint(1, 6), len(among)))

    async def add(self) -> None:
        self.waiting += await add(self.store, *self.producer.specs(self.dice.randint(1, 8)))

    async def cancel(self) -> None:
        some = self.some(self.waiting)
        await self.store.cancel(some)
        self.waiting, self.gone = [one for one in self.waiting if one not in some], self.gone + some

    async def again(self) -> None:
        some = self.some(self.gone)
        await run_again(self.store, some)
        self.waiting, self.gone = self.waiting + some, [one for one in self.gone if one not in some]

    async def claim(self) -> None:
        count = self.dice.randint(1, 4)
        assert ids_of(await self.store.claim(count, ALL)) == self.waiting[:count]
        self.waiting = self.waiting[count:]

    async def sweep(self) -> None:
        await self.store.tend(100)

    async def look(self) -> None:
        assert await shown(self.store, self.dice.choice((3, 100))) == self.waiting
        assert await pending(self.store) == len(self.waiting)

    async def live(self, deeds: int) -> None:
        kinds = [self.add, self.cancel, self.cancel, self.again, self.sweep, self.sweep, self.claim, self.look]
        await self.add()
        for _ in range(deeds):
            await self.dice.choice(kinds)()


@pytest.mark.parametrize("seed", range(6))
async def test_jobs_keep_their_order_wherever_a_sweep_has_come_to(
    redis_bench: RedisBench, store: RedisQueueStore, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Fails on a sweep that takes the last entry of a job that runs again for one that does not count."""
    monkeypatch.setattr(sweeping, "STEP", 5)
    monkeypatch.setattr(sweeping, "STEPS_MAX", 1)
    model = Model(redis_bench, store, seed)
    await model.live(150)
    await sweep_all(redis_bench, store)
    await model.look()
    assert ids_of(await store.claim(1000, ALL)) == model.waiting
    assert number(redis_bench, b"EXISTS", PREFIX + b"stale", PREFIX + b"seats", NORMAL) == 0


async def half_swept(bench: RedisBench, store: RedisQueueStore, monkeypatch: pytest.MonkeyPatch, ids: Sequence[bytes]) -> None:
    """A pass through the list has come beyond the first ten."""
    await store.cancel([ids[-1]])
    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "STEP", 10)
        patch.setattr(sweeping, "STEPS_MAX", 1)
        await store.tend(100)
    place = int(bench.server.send(b"GET", PREFIX + b"sweep").split(b"\r\n")[1].partition(b":")[0])
    assert 9 <= place <= 11


async def test_one_that_was_cancelled_behind_the_sweep_and_runs_again_is_not_dropped(
    redis_bench: RedisBench, store: RedisQueueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await add(store, *Producer().specs(20))
    await half_swept(redis_bench, store, monkeypatch, ids)
    await store.cancel(ids[2:3])
    await run_again(store, ids[2:3])
    await sweep_all(redis_bench, store)
    assert ids_of(await store.claim(100, ALL)) == [*ids[:2], *ids[3:-1], ids[2]]


async def test_one_that_was_forgotten_and_submitted_anew_is_not_dropped(
    redis_bench: RedisBench, store: RedisQueueStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no noted place: a submit does not look for old entries."""
    ids = await add(store, *Producer().specs(20))
    await half_swept(redis_bench, store, monkeypatch, ids)
    await store.cancel(ids[2:3])
    await store.outbox_remove(await store.outbox(100))
    await add(store, JobSpec(ids[2], "noop", PAYLOAD))
    await sweep_all(redis_bench, store)
    assert ids_of(await store.claim(100, ALL)) == [*ids[:2], *ids[3:-1], ids[2]]


@pytest.mark.parametrize("claims", [4, 24])
@pytest.mark.parametrize("shows", [1, 5, 9])
async def test_listing_goes_on_where_it_was_when_a_sweep_comes_between(
    redis_bench: RedisBench, store: RedisQueueStore, shows: int, claims: int
) -> None:
    """Fails on a sweep that lets entries move up."""
    ids = await add(store, *Producer().specs(30))
    gone = [*ids[:3], *ids[5:7], *ids[9:11], ids[25]]
    waiting = [one for one in ids if one not in gone]
    await store.cancel(gone)
    first = await store.list(JobFilter(state=JobState.PENDING), b"", shows)
    await sweep_all(redis_bench, store)
    claimed = ids_of(await store.claim(claims, ALL))
    rest = await store.list(JobFilter(), first.cursor, 100)
    assert claimed == waiting[:claims]
    assert [live.job.spec.id for live in (*first.jobs, *rest.jobs)] == waiting


async def test_claim_over_empty_entries_is_bounded_and_comes_again_at_once(redis_bench: RedisBench, store: RedisQueueStore) -> None:
    """Fails on a claim that walks over all of them, or over one at a time."""
    ids = await add_many(store, 12)
    await cancel_all(store, ids[1:-1])
    await archive(redis_bench, store)
    await sweep_all(redis_bench, store)
    assert left(redis_bench) == (12_000, 0)
    assert ids_of(await store.claim(1, ALL)) == ids[:1]
    redis_bench.server.send(b"CONFIG", b"RESETSTAT")
    claim = await store.claim(1, ALL)
    stats = redis_bench.server.send(b"INFO", b"commandstats").decode()
    assert sum(map(int, re.findall(r"cmdstat_\w+:calls=(\d+)", stats))) < 200
    assert (ids_of(claim), claim.next_due_s) == ([], 0.0)
    assert ids_of(await store.claim(1, ALL)) == ids[-1:]


async def test_oldest_job_is_told_behind_empty_entries(redis_bench: RedisBench, store: RedisQueueStore) -> None:
    first, *gone, last = await add(store, *Producer().specs(50))
    await store.cancel(gone)
    await sweep_all(redis_bench, store)
    redis_bench.pass_time(1.0)
    assert ids_of(await store.claim(1, ALL)) == [first]
    assert [one.oldest_s for one in await store.counts()] == [1.0]
    assert ids_of(await store.claim(1, ALL)) == [last]


async def test_level_that_starves_is_served_as_ever_when_it_was_swept(redis_bench: RedisBench, store: RedisQueueStore) -> None:
    producer = Producer()
    low = await add(store, *producer.specs(30, priority=1))
    high = await add(store, *producer.specs(40, priority=9))
    await store.cancel([*low[:20], *high[5:10]])
    await sweep_all(redis_bench, store)
    redis_bench.pass_time(1.0)
    for _ in range(int(STARVATION_S)):
        redis_bench.pass_time(1.0)
        await store.renew({})
    claimed = ids_of(await store.claim(16, ALL))
    kept = [*high[:5], *high[10:]]
    assert claimed == [low[20], *kept[:15]]


async def test_jobs_that_were_handed_back_are_not_swept(redis_bench: RedisBench, store: RedisQueueStore) -> None:
    ids = await add(store, *Producer().specs(20))
    claim = await store.claim(5, ALL)
    await store.finish([released(claim.fence, job) for job in claim.jobs])
    await store.cancel([*ids[:2], *ids[5:]])
    await sweep_all(redis_bench, store)
    assert left(redis_bench) == (0, 0)
    assert ids_of(await store.claim(100, ALL)) == ids[2:5]
