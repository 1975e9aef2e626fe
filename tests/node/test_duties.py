"""The leader's duties on both stores: each tick once whoever leads, whatever fails between which two steps."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from sims.proxy import FaultProxy
from tests.chaos.nth_call import CALL_FAULTS, WIRE_FAULTS, FaultyStore
from tests.chaos.test_nth_call import bench_of, folder_of
from tests.queue.making import ALL, BENCHES, START_MS, Bench, Producer, RedisBench, SQLiteBench, add, ids_of, run_all
from tests.queue.test_queue_redis_nodes import let_lapse
from zjp.errors import InvalidJob, JobConflict, NotFound, Unavailable
from zjp.job import Limits
from zjp.node.duties import FIGURES, Duties, Refused
from zjp.node.schedules import Schedules
from zjp.node.stats import NodeStats
from zjp.queue.store import DocumentKind, Lead, Life, QueueStore
from zjp.records.sqlite import SQLiteRecordStore
from zjp.schedule import CatchUp, Schedule, ScheduleChange, tick_of

pytestmark = pytest.mark.covers("cluster:duties", "cluster:schedules")

STEPS_MAX = 40


class Office:
    """A leadership that is told what it is."""

    def __init__(self, owner: str, epoch: int) -> None:
        self.owner, self.epoch = owner, epoch
        self.is_in_office = True
        self.refusals: list[Lead] = []

    def refused(self, lead: Lead) -> None:
        self.refusals.append(lead)
        self.is_in_office = False


class Records:
    """`SQLiteRecordStore`'s prune, counted."""

    def __init__(self) -> None:
        self.left, self.left_events = [5_000, 3], [5_000, 2]

    async def prune(self, limit: int) -> int:
        return self.left.pop(0)

    async def prune_events(self, limit: int) -> int:
        return self.left_events.pop(0)


def duties_of(office: Office, store: QueueStore, dead: Callable[[], Sequence[Life]] = tuple) -> Duties:
    return Duties(office, store, Records(), NodeStats("a", 1), dead=dead)  # type: ignore[arg-type]


async def leader(store: QueueStore, epoch: int, owner: str = "a:1") -> tuple[Office, Duties]:
    """Installed."""
    assert (await store.claim_lead(owner, epoch, 3600.0, is_elected=True)).epoch == epoch
    office = Office(owner, epoch)
    return office, duties_of(office, store)


def keeper(store: QueueStore) -> Schedules:
    return Schedules(store, Limits(), lambda: None)


def beat(name: str = "beat", catch_up: CatchUp = CatchUp.ALL, **fields: int) -> Schedule:
    return Schedule(name, "noop", every_ms=1000, catch_up=catch_up, **fields)  # type: ignore[arg-type]


async def ticks_of(store: QueueStore) -> list[int]:
    """Seconds since the start of the ticks whose jobs are ready, in the order of the queue; they are run."""
    return [(tick_of(job_id) - START_MS) // 1000 for job_id in await run_all(store)]


# ── firing ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=sorted(BENCHES))
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    made = BENCHES[request.param](tmp_path)
    yield made
    await made.close()


@pytest.fixture
async def store(bench: Bench) -> QueueStore:
    return await bench.open()


async def test_every_tick_fires_once_and_the_duty_sleeps_until_the_next(bench: Bench, store: QueueStore) -> None:
    _, duties = await leader(store, 1)
    await keeper(store).add(beat())
    assert await duties.fire_due() == pytest.approx(1.0)
    for second in range(1, 5):
        bench.pass_time(1.0)
        assert await duties.fire_due() == 0.0
        assert await ticks_of(store) == [second]
    bench.pass_time(0.25)
    assert await duties.fire_due() == pytest.approx(0.75)


async def test_tick_is_never_early(bench: Bench, store: QueueStore) -> None:
    _, duties = await leader(store, 1)
    await keeper(store).add(beat())
    bench.pass_time(0.999)
    await duties.fire_due()
    assert await ticks_of(store) == []


async def test_two_leaders_at_once_fire_each_tick_once(bench: Bench, store: QueueStore) -> None:
    """The former one does not know yet that it has been followed."""
    former, old = await leader(store, 1)
    await keeper(store).add(beat())
    _, new = await leader(store, 2, "b:1")
    fired: list[int] = []
    for _ in range(10):
        bench.pass_time(1.0)
        former.is_in_office = True
        await asyncio.gather(old.fire_due(), new.fire_due(), return_exceptions=True)
        fired += await ticks_of(store)
    assert fired == list(range(1, 11))
    assert set(former.refusals) == {Lead(2, "b:1", left.left_s) for left in former.refusals}
    assert len(former.refusals) == 10


async def test_refused_write_is_told_and_the_turn_ends(bench: Bench, store: QueueStore) -> None:
    office, duties = await leader(store, 1)
    await keeper(store).add(beat())
    await leader(store, 2, "b:1")
    bench.pass_time(1.0)
    with pytest.raises(Refused):
        await duties.fire_due()
    assert (len(office.refusals), office.is_in_office) == (1, False)
    assert await ticks_of(store) == []


async def test_next_leader_catches_up_what_nobody_fired_as_each_schedule_says(bench: Bench, store: QueueStore) -> None:
    _, duties = await leader(store, 1)
    for catch_up in CatchUp:
        await keeper(store).add(
            beat(catch_up.value, catch_up, priority={"all": 9, "once": 5, "skip": 1}[catch_up.value])
        )
    bench.pass_time(30.0)
    await duties.fire_due()
    assert len(await run_all(store)) == 30 + 10 + 10
    bench.pass_time(1.0)
    _, following = await leader(store, 2, "b:1")
    await following.fire_due()
    assert await ticks_of(store) == [31, 31, 31]


async def test_catch_up_of_a_thousand_is_written_in_bounded_steps(bench: Bench, store: QueueStore) -> None:
    _, duties = await leader(store, 1)
    await keeper(store).add(beat())
    bench.pass_time(7200.0)
    await store.claim_lead("a:1", 1, 3600.0)
    await store.renew_lead("a:1", 1, 3600.0)
    await duties.fire_due()
    assert await ticks_of(store) == list(range(6201, 7201))


async def test_unique_key_lets_no_run_begin_beside_another(bench: Bench, store: QueueStore) -> None:
    _, duties = await leader(store, 1)
    asked = Schedule("report", "noop", every_ms=1000, options=Producer().spec(unique_key="report").options)
    await keeper(store).add(asked)
    for _ in range(3):
        bench.pass_time(1.0)
        await duties.fire_due()
    assert await ticks_of(store) == [1]
    bench.pass_time(1.0)
    await duties.fire_due()
    assert await ticks_of(store) == [4]


async def test_schedule_that_cannot_be_fired_stops_no_other(bench: Bench, store: QueueStore) -> None:
    _, duties = await leader(store, 1)
    await keeper(store).add(beat())
    broken = msgspec.structs.replace(
        beat("broken"), every_ms=0, cron="0 0 * * *", zone="No/Where", next_ms=START_MS, created_ms=START_MS
    )
    await store.put_document(DocumentKind.SCHEDULE, "broken", msgspec.msgpack.encode(broken), 0)
    for _ in range(3):
        bench.pass_time(1.0)
        await duties.fire_due()
    assert await ticks_of(store) == [1, 2, 3]


async def test_full_outbox_puts_a_tick_off(bench: Bench) -> None:
    store = await bench.open(outbox_count_max=1)
    _, duties = await leader(store, 1)
    await keeper(store).add(beat())
    await add(store, *Producer().specs(1))
    await run_all(store)
    bench.pass_time(1.0)
    with pytest.raises(Unavailable):
        await duties.fire_due()
    await store.outbox_remove(await store.outbox(10))
    await duties.fire_due()
    assert await ticks_of(store) == [1]


async def see_clock(store: QueueStore) -> None:
    """A node asks its store every second; with Redis that is how it learns the time."""
    await store.renew({})


async def beats(bench: Bench, store: QueueStore, duties: Duties, seconds: int) -> list[int]:
    fired: list[int] = []
    for _ in range(seconds):
        bench.pass_time(1.0)
        await see_clock(store)
        await duties.fire_due()
        await duties.fire_due()
        fired += await ticks_of(store)
    return fired


@pytest.mark.parametrize("is_new_leader", [False, True])
async def test_schedules_go_on_when_a_clock_that_was_ahead_is_right_again(
    bench: Bench, store: QueueStore, is_new_leader: bool, caplog: pytest.LogCaptureFixture
) -> None:
    _, duties = await leader(store, 1)
    await keeper(store).add(beat(catch_up=CatchUp.SKIP))
    await keeper(store).add(msgspec.structs.replace(beat("daily", CatchUp.SKIP), every_ms=0, cron="0 0 * * *"))
    assert await beats(bench, store, duties, 2) == [1, 2]
    bench.pass_time(86_400.0)
    await see_clock(store)
    assert (await store.claim_lead("a:1", 2, 3600.0, is_elected=True)).epoch == 2
    duties = duties_of(Office("a:1", 2), store)
    ahead = await beats(bench, store, duties, 3)
    assert {86_403, 86_404, 86_405} <= set(ahead)
    bench.pass_time(-86_400.0)
    await see_clock(store)
    if is_new_leader:
        _, duties = await leader(store, 3, "b:1")
    assert await beats(bench, store, duties, 4) == [7, 8, 9]
    told = [record.fields["schedule"] for record in caplog.records if record.message == "schedule.pulled_back"]  # type: ignore[attr-defined]
    assert sorted(told) == ["beat", "daily"]
    bench.pass_time(86_390.0)
    await see_clock(store)
    _, duties = await leader(store, 4, "b:1")
    later = await beats(bench, store, duties, 8)
    assert not set(later) & set(ahead)
    assert later[-1] == 86_407


async def test_pulling_back_is_for_the_installed_leader(bench: Bench, store: QueueStore) -> None:
    office, duties = await leader(store, 1)
    await keeper(store).add(beat())
    assert await beats(bench, store, duties, 1) == [1]
    bench.pass_time(-3600.0)
    await see_clock(store)
    await leader(store, 2, "b:1")
    with pytest.raises(Refused):
        await duties.fire_due()
    assert (await keeper(store).list("beat", "")).schedules[0].next_ms == START_MS + 2000
    assert office.refusals[0].owner == "b:1"


# ── changing, while it fires ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_same_schedule_added_twice_is_one_and_another_of_its_name_is_refused(store: QueueStore) -> None:
    keep = keeper(store)
    (made,) = (await keep.add(beat())).schedules
    assert (await keep.add(beat())).schedules == [made]
    with pytest.raises(JobConflict, match="'beat' is there already and differs"):
        await keep.add(beat(priority=9))


async def test_changes_win_over_the_leader_that_fires_meanwhile(bench: Bench, store: QueueStore) -> None:
    _, duties = await leader(store, 1)
    keep = keeper(store)
    await keep.add(beat())
    for priority in range(1, 8):
        bench.pass_time(1.0)
        await asyncio.gather(duties.fire_due(), keep.change("beat", ScheduleChange(priority=priority)))
    await duties.fire_due()
    (found,) = (await keep.list("", "")).schedules
    assert (found.priority, found.next_ms) == (7, START_MS + 8000)
    assert sorted(await ticks_of(store)) == list(range(1, 8))


async def test_paused_schedule_fires_nothing_until_it_is_resumed(bench: Bench, store: QueueStore) -> None:
    _, duties = await leader(store, 1)
    keep = keeper(store)
    await keep.add(beat())
    await keep.change("beat", ScheduleChange(is_paused=True))
    bench.pass_time(5.5)
    await duties.fire_due()
    assert await ticks_of(store) == []
    await keep.change("beat", ScheduleChange(is_paused=False))
    bench.pass_time(0.5)
    await duties.fire_due()
    assert await ticks_of(store) == [6]


async def test_removed_schedule_fires_no_more_and_may_be_made_anew(bench: Bench, store: QueueStore) -> None:
    _, duties = await leader(store, 1)
    keep = keeper(store)
    await keep.add(beat())
    assert await keep.remove("beat")
    assert not await keep.remove("beat")
    with pytest.raises(NotFound, match="no schedule 'beat'"):
        await keep.change("beat", ScheduleChange(priority=1))
    bench.pass_time(1.0)
    await duties.fire_due()
    assert await ticks_of(store) == []
    await keep.add(beat())
    bench.pass_time(1.0)
    await duties.fire_due()
    assert await ticks_of(store) == [2]


async def test_job_of_a_schedule_run_now_is_beside_its_ticks(bench: Bench, store: QueueStore) -> None:
    keep = keeper(store)
    await keep.add(beat())
    spec = await keep.job("beat", Producer().id())
    await add(store, spec)
    assert ids_of(await store.claim(10, ALL)) == [spec.id]
    assert (await keep.list("beat", "")).schedules[0].next_ms == START_MS + 1000
    with pytest.raises(InvalidJob, match="id is 3 bytes"):
        await keep.job("beat", b"abc")


# ── the other duties ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_old_records_are_removed_by_the_installed_leader_only(store: QueueStore) -> None:
    office, duties = await leader(store, 1)
    records: Records = duties._records  # type: ignore[assignment]
    await duties.prune()
    assert records.left == records.left_events == []
    records.left = [1]
    await leader(store, 2, "b:1")
    with pytest.raises(Refused):
        await duties.prune()
    assert records.left == [1]
    assert office.refusals[0].owner == "b:1"


async def test_figures_are_made_known_to_all(store: QueueStore) -> None:
    _, duties = await leader(store, 3)
    await add(store, *Producer().specs(2))
    for _ in range(2):
        await duties.publish()
    (document,) = await store.documents(DocumentKind.CLUSTER)
    figures = msgspec.msgpack.decode(document.data)
    assert (document.name, document.version) == (FIGURES, 2)
    assert (figures["leader"], figures["epoch"], figures["queues"][0]["pending"]) == ("a:1", 3, 2)


async def test_dead_node_is_reaped_once_the_store_has_not_heard_of_it_either(tmp_path: Path) -> None:
    bench = RedisBench(tmp_path)
    mine = await bench.open()
    other = await bench.join("node-2", 7)
    await add(mine, *Producer().specs(3))
    await other.claim(3, ALL)
    office, _ = await leader(mine, 1)
    duties = duties_of(office, mine, lambda: [Life("node-2", 7)])
    for _ in range(5):
        bench.pass_time(1.0)
        assert (await other.renew({})).alive
        await mine.renew({})
        await duties.reap_dead()
    await let_lapse(bench, mine, 3)
    await duties.reap_dead()
    assert len((await mine.claim(3, ALL)).jobs) == 3
    await bench.close()


async def test_nobody_is_reaped_on_a_queue_of_one_node(tmp_path: Path) -> None:
    bench = SQLiteBench(tmp_path)
    store = await bench.open()
    office, _ = await leader(store, 1)
    assert await duties_of(office, store, lambda: [Life("node-1", 1)]).reap_dead() is None
    await bench.close()


async def test_loops_work_only_in_office_and_wake_when_it_opens(tmp_path: Path) -> None:
    records = SQLiteRecordStore(tmp_path / "records.db", ttl_s=0)
    await records.open()
    bench = SQLiteBench(tmp_path)
    store = await bench.open()
    office, _ = await leader(store, 1)
    office.is_in_office = False
    duties = Duties(office, store, records, NodeStats("a", 1))
    woken = asyncio.Event()
    store.on_ready = woken.set
    duties.start()
    await keeper(store).add(beat())
    bench.pass_time(1.0)
    duties.schedules_changed()
    await store.counts()
    assert not woken.is_set()
    office.is_in_office = True
    duties.wake()
    async with asyncio.timeout(10):
        await woken.wait()
    assert await ticks_of(store) == [1]
    await duties.stop()
    await bench.close()
    await records.close()


# ── a leader that dies between any two steps ─────────────────────────────────────────────────────────────────────────────────────────

DEADLY = ("documents", "fire")
CASES = [("sqlite", fault) for fault in CALL_FAULTS] + [("redis", fault) for fault in (*CALL_FAULTS, *WIRE_FAULTS)]


@pytest.mark.parametrize("operation", DEADLY)
@pytest.mark.parametrize(("kind", "fault"), CASES)
async def test_next_leader_finishes_what_one_that_died_at_any_step_began_and_does_it_once(
    tmp_path: Path, kind: str, fault: str, operation: str
) -> None:
    for nth in itertools.count(1):
        assert nth <= STEPS_MAX, "a short life does not end"
        async with bench_of(kind, folder_of(tmp_path, nth)) as (bench, proxy):
            if not await life_and_death(bench, proxy, operation, nth, fault):
                break
    assert nth > 4, f"{operation} is hardly called"


async def life_and_death(bench: Bench, proxy: FaultProxy | None, operation: str, nth: int, fault: str) -> bool:
    """Three rounds of a leader that dies at its nth step, then two of the next. False: there was no such step."""
    faulty = FaultyStore(bench, operation, nth, fault, proxy)
    await faulty.open(Life("node-1", 1), frozenset())
    store: QueueStore = faulty._store  # type: ignore[assignment]
    for name in ("one", "two"):
        await keeper(store).add(beat(name))
    former, _ = await leader(store, 1)
    dying = duties_of(former, faulty)  # type: ignore[arg-type]
    fired: list[int] = []
    is_dead = False
    for _ in range(3):
        bench.pass_time(1.0)
        if not is_dead:
            try:
                await dying.fire_due()
            except Unavailable:
                is_dead = True
    _, following = await leader(store, 2, "b:1")
    for _ in range(2):
        bench.pass_time(1.0)
        await following.fire_due()
        await asyncio.gather(dying.fire_due(), return_exceptions=True)  # it was not quite dead
        former.is_in_office = True
    while ticks := await ticks_of(store):
        fired += ticks
    assert sorted(fired) == sorted([*range(1, 6), *range(1, 6)]), f"step {nth}"
    return faulty.count >= nth
