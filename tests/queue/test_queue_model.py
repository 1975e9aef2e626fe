"""Every queue store against a model in a dict: random lives of random jobs, with crashes in between.

After every step each unfinished id is in exactly one of ready, later, claim, as the store's own listing shows it, and each finished one
in the outbox or the records. Claims give the front of each level, and who was told that he has all is hinted of what comes. Run longer:
pytest -m slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from unittest import TestCase

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.queue.kept import KeptBench
from tests.queue.making import BENCHES, START_MS, Bench, Producer, completed, failed, released, retried, snoozed
from zjp.job import JobFilter, JobSpec, JobState, Record
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import CancelKind, Claim, Live, QueueStore, SubmitKind

pytestmark = pytest.mark.covers("main-path:5")

T = TypeVar("T")
NEVER_S = 1e6
"""Jobs do not age here: the model has no notion of it."""
QUEUES = ("a", "b")
READY, LATER, CLAIMED, FINAL = "ready", "later", "claimed", "final"
UNIQUE, IDEMPOTENT = {"unique_key": "u"}, {"idempotency_key": "i"}
KINDS = {"complete": completed, "fail": failed, "release": released, "retry": retried, "snooze": snoozed}
Key = tuple[int, int, int]
"""Place in a level: (0 handed back or 1, when it became ready, due)."""
HINT_S = 5.0


@dataclass
class Known:
    """What the model knows of one job that was stored."""

    spec: JobSpec
    place: str
    state: JobState
    key: Key = (1, 0, 0)
    due_ms: int = 0
    fence: int = 0
    run: int = 1
    suspicion: int = 0
    attempts: int = 0
    retries: int = 0


@dataclass
class Model:
    jobs: dict[bytes, Known] = field(default_factory=dict)
    unique: dict[str, bytes] = field(default_factory=dict)
    idempotent: dict[str, bytes] = field(default_factory=dict)
    paused: set[str] = field(default_factory=set)
    now_ms: int = START_MS
    ticks: int = 0

    def tick(self) -> int:
        self.ticks += 1
        return self.ticks

    def submit(self, spec: JobSpec, tick: int) -> tuple[SubmitKind, bytes]:
        options = spec.options
        if spec.id in self.jobs:
            return SubmitKind.EXISTED, spec.id
        if options is not None and options.idempotency_key in self.idempotent:
            return SubmitKind.EXISTED, self.idempotent[options.idempotency_key]
        holder = self.unique.get(options.unique_key) if options is not None else None
        if options is not None and options.idempotency_key:
            self.idempotent[options.idempotency_key] = holder or spec.id
        if holder is not None:
            return SubmitKind.UNIQUE, holder
        if options is not None and options.unique_key:
            self.unique[options.unique_key] = spec.id
        if options is not None and options.delay_ms:
            self.jobs[spec.id] = Known(spec, LATER, JobState.SCHEDULED, due_ms=self.now_ms + options.delay_ms)
        else:
            self.jobs[spec.id] = Known(spec, READY, JobState.PENDING, (1, tick, 0))
        return SubmitKind.CREATED, spec.id

    def end(self, job_id: bytes, state: JobState) -> None:
        job = self.jobs[job_id]
        job.place, job.state = FINAL, state
        options = job.spec.options
        if options is not None and self.unique.get(options.unique_key) == job_id:
            del self.unique[options.unique_key]

    def hand_back(self, job_id: bytes) -> None:
        job = self.jobs[job_id]
        if job.state is JobState.CANCELLING:
            self.end(job_id, JobState.CANCELLED)
        else:
            job.place, job.state, job.key = READY, JobState.PENDING, (0, 0, 0)

    def delay(self, job_id: bytes, state: JobState, delay_ms: int) -> None:
        job = self.jobs[job_id]
        job.place, job.state, job.due_ms = LATER, state, self.now_ms + delay_ms

    def promote_due(self) -> int:
        due = [job for job in self.jobs.values() if job.place == LATER and job.due_ms <= self.now_ms]
        tick = self.tick()
        for job in due:
            job.place, job.state, job.key = READY, JobState.PENDING, (1, tick, job.due_ms)
        return len(due)

    def among(self, place: str) -> list[bytes]:
        return [job_id for job_id, job in self.jobs.items() if job.place == place]

    def level(self, queue: str, priority: int) -> list[Key]:
        return sorted(
            job.key for job in self.jobs.values() if job.place == READY and (job.spec.queue, job.spec.priority) == (queue, priority)
        )


class QueueMachine(RuleBasedStateMachine):
    make_bench: ClassVar[Callable[[Path], Bench]]

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        self.bench: Bench = type(self).make_bench(Path(self.folder.name))
        self.begin_store(self.bench.open(starvation_s=NEVER_S))
        self.model = Model()
        self.producer = Producer()
        self.unstored: list[JobSpec] = []
        self.claims: list[Claim] = []

    def begin_store(self, opening: Coroutine[Any, Any, QueueStore]) -> None:
        self.store: QueueStore = self.do(opening)
        self.has_all_of: set[str] = set()
        """The queues of the last claim, when that left nothing behind and no hint came since."""
        self.store.on_ready = self.has_all_of.clear
        if isinstance(self.store, RedisQueueStore):
            assert self.store._hints is not None
            self.do(self.store._hints.is_listening.wait())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            with contextlib.closing(self.loop):
                self.do(self.bench.close())
                self.do(self.loop.shutdown_default_executor())
            self.folder.cleanup()

    # ── what may happen ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    @rule(
        data=st.data(), count=st.integers(1, 8), queue=st.sampled_from(QUEUES), priority=st.sampled_from((1, 5)),
        options=st.sampled_from(({}, {}, {}, {"delay_ms": 1500}, {"delay_ms": 200}, UNIQUE, IDEMPOTENT, UNIQUE | IDEMPOTENT)),
        repeats=st.integers(0, 3), room=st.sampled_from((0, 3, 20)),
    )  # fmt: skip
    def submit(
        self, data: st.DataObject, count: int, queue: str, priority: int, options: dict[str, Any], repeats: int, room: int
    ) -> None:
        if "idempotency_key" in options:
            options = options | {"idempotency_key": f"i-{queue}"}  # the same key means the same content
        specs = [self.producer.spec(queue, priority, **options) for _ in range(count)]
        if len(specs) > 3:
            self.unstored.append(specs.pop(1))  # its number is passed over: it comes later, if ever
        old = [job.spec for job in self.model.jobs.values()] + self.unstored
        if old and repeats:
            specs += data.draw(st.lists(st.sampled_from(old), max_size=repeats))
        tick = self.model.tick()
        handed: list[Claim] = []
        self.store.room, self.store.on_claimed = lambda: room, handed.append
        answers = self.do(self.store.submit(specs))
        self.store.room = None  # claims say how much they want
        expected = [self.model.submit(spec, tick) for spec in specs]
        first: dict[bytes, tuple[SubmitKind, bytes]] = {}
        for at, spec in enumerate(specs):  # a repeat within the request gets the answer of its first, which may be another job's
            if spec.id in first and first[spec.id][0] is not SubmitKind.CREATED:
                expected[at] = first[spec.id]
            first.setdefault(spec.id, expected[at])
        assert [(answer.kind, answer.id) for answer in answers] == expected
        for claim in handed:
            assert [job.spec for job in claim.jobs] == specs, "the whole request, in order"
            assert sorted(spec.id for spec in specs) == sorted(self.model.among(READY)), "nothing else is ready"
            assert len(specs) <= room
            assert queue not in self.model.paused
            self.note_claim(claim)
            if not claim.is_all:
                self.has_all_of.clear()

    def note_claim(self, claim: Claim) -> None:
        for job in claim.jobs:
            known = self.model.jobs[job.spec.id]
            known.place, known.state, known.fence = CLAIMED, JobState.RUNNING, claim.fence
        assert all(claim.fence > former.fence for former in self.claims)
        self.claims.append(claim)

    @rule(count=st.integers(1, 12), queue=st.sampled_from((*QUEUES, "*")))
    def claim(self, count: int, queue: str) -> None:
        assert self.do(self.store.tend(1000)).promoted == self.model.promote_due()
        self.has_all_of.clear()
        claim = self.do(self.store.claim(count, {queue: 1}))
        if claim.is_all:
            self.has_all_of.update(QUEUES if queue == "*" else {queue})
        served = {name for name in QUEUES if name not in self.model.paused and queue in (name, "*")}
        before = {(name, priority): self.model.level(name, priority) for name in served for priority in (5, 1)}
        assert len(claim.jobs) == min(count, sum(map(len, before.values())))
        taken: dict[tuple[str, int], list[Key]] = {place: [] for place in before}
        for job in claim.jobs:
            known = self.model.jobs[job.spec.id]
            taken[job.spec.queue, job.spec.priority].append(known.key)
            assert known.place == READY
            assert job.spec == known.spec
            assert (job.run, job.retries, job.suspicion) == (known.run, known.retries, known.suspicion)
            assert len(job.attempts) == known.attempts
        for (name, priority), keys in taken.items():
            assert keys == before[name, priority][: len(keys)], "front of the level, in order"
            if priority == 1 and keys:
                assert len(taken[name, 5]) == len(before[name, 5]), "higher priority first"
        if claim.jobs:
            self.note_claim(claim)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), kind=st.sampled_from(sorted(KINDS)), delay_ms=st.sampled_from((0, 100, 2000)))
    def finish(self, data: st.DataObject, kind: str, delay_ms: int) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        jobs = data.draw(st.lists(st.sampled_from(list(claim.jobs)), unique_by=lambda job: job.spec.id, min_size=1))
        delay = (delay_ms,) if kind in ("retry", "snooze") else ()
        held = [job for job in jobs if self.holds(claim.fence, job.spec.id)]
        outcomes = [KINDS[kind](claim.fence, job, *delay) for job in jobs]  # type: ignore[operator]
        refused = self.do(self.store.finish(outcomes))
        assert refused == [job.spec.id for job in jobs if job not in held]
        for job in held:
            self.conclude(job.spec.id, kind, delay_ms)

    def holds(self, fence: int, job_id: bytes) -> bool:
        job = self.model.jobs[job_id]
        return job.place == CLAIMED and job.fence == fence

    def conclude(self, job_id: bytes, kind: str, delay_ms: int) -> None:
        job = self.model.jobs[job_id]
        if job.state is JobState.CANCELLING:
            self.model.end(job_id, JobState.CANCELLED)
        elif kind == "release":
            self.model.hand_back(job_id)
        elif kind in ("complete", "fail"):
            self.model.end(job_id, JobState.COMPLETED if kind == "complete" else JobState.FAILED)
        else:
            job.retries += kind == "retry"
            self.model.delay(job_id, JobState.RETRYING if kind == "retry" else JobState.SCHEDULED, delay_ms)

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from(list(self.model.jobs)), unique=True, min_size=1, max_size=6))
        expected: list[CancelKind] = []
        for job_id in ids:
            job = self.model.jobs[job_id]
            if job.place == CLAIMED:
                job.state = JobState.CANCELLING
                expected.append(CancelKind.CANCELLING)
            elif job.place == FINAL:
                expected.append(CancelKind.FINISHED)
            else:
                self.model.end(job_id, JobState.CANCELLED)
                expected.append(CancelKind.CANCELLED)
        assert self.do(self.store.cancel(ids)) == expected

    @precondition(lambda self: self.model.jobs)
    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from(list(self.model.jobs)), unique=True, min_size=1, max_size=6))
        delayed = [self.model.jobs[job_id].place == LATER for job_id in ids]
        tick = self.model.tick()
        assert self.do(self.store.promote(ids)) == delayed
        for job_id, was_delayed in zip(ids, delayed, strict=True):
            job = self.model.jobs[job_id]
            if was_delayed:
                job.place, job.state, job.key = READY, JobState.PENDING, (1, tick, 0)

    @rule(seconds=st.sampled_from((0.05, 0.5, 2.5)))
    def time_passes(self, seconds: float) -> None:
        self.bench.pass_time(seconds)
        self.model.now_ms += round(seconds * 1000)
        renewal = self.do(self.store.renew({}))
        assert renewal.alive
        assert set(renewal.cancelling) == {job_id for job_id, job in self.model.jobs.items() if job.state is JobState.CANCELLING}
        assert self.do(self.store.tend(1000)).promoted == self.model.promote_due()

    @rule()
    def lease_is_lost(self) -> None:
        before_s = self.bench.passed_s
        self.do(self.bench.lose_lease(self.store))
        self.model.now_ms += round((self.bench.passed_s - before_s) * 1000)
        assert not self.do(self.store.renew({})).alive
        self.model.promote_due()
        for job_id in self.model.among(CLAIMED):
            self.model.jobs[job_id].attempts += 1
            self.model.hand_back(job_id)

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        claimed = self.model.among(CLAIMED)
        started = data.draw(st.lists(st.sampled_from(claimed), unique=True)) if claimed else []
        self.begin_store(self.bench.crash(*started, starvation_s=NEVER_S))
        self.begin_life(set(started))

    @rule()
    def stop_and_start(self) -> None:
        self.begin_store(self.bench.open(starvation_s=NEVER_S))
        self.begin_life(set())

    def begin_life(self, started: set[bytes]) -> None:
        for job_id in self.model.among(CLAIMED):
            self.model.jobs[job_id].suspicion += job_id in started
            self.model.jobs[job_id].attempts += job_id in started
            self.model.hand_back(job_id)

    @rule(queue=st.sampled_from(QUEUES))
    def pause_or_resume(self, queue: str) -> None:
        if queue in self.model.paused:
            self.do(self.store.resume(queue))
        else:
            self.do(self.store.pause(queue))
        self.model.paused ^= {queue}

    @rule(queue=st.sampled_from(QUEUES))
    def purge(self, queue: str) -> None:
        waiting = [job_id for job_id, job in self.model.jobs.items() if job.place in (READY, LATER) and job.spec.queue == queue]
        assert self.do(self.store.purge(queue)) == len(waiting)
        for job_id in waiting:
            self.model.end(job_id, JobState.CANCELLED)

    @precondition(lambda self: self.model.among(FINAL))
    @rule(data=st.data())
    def requeue(self, data: st.DataObject) -> None:
        ids = data.draw(st.lists(st.sampled_from(self.model.among(FINAL)), unique=True, min_size=1, max_size=4))
        records = [self.record(job_id) for job_id in ids]
        tick = self.model.tick()
        expected = []
        for job_id in ids:
            job = self.model.jobs[job_id]
            key = job.spec.options.unique_key if job.spec.options else ""
            expected.append(not key or key not in self.model.unique)
            if expected[-1]:
                if key:
                    self.model.unique[key] = job_id
                job.place, job.state, job.key, job.run = READY, JobState.PENDING, (1, tick, 0), job.run + 1
                job.retries = job.suspicion = 0
        assert self.do(self.store.requeue(records)) == expected

    def record(self, job_id: bytes) -> Record:
        (found,) = self.do(self.store.get([job_id]))
        record = found if isinstance(found, Record) else self.bench.finished[job_id]
        assert record.job.run == self.model.jobs[job_id].run
        return record

    @rule(limit=st.integers(1, 20), is_all=st.booleans())
    def drain_outbox(self, limit: int, is_all: bool) -> None:
        items = self.do(self.store.outbox(1000 if is_all else limit))
        for item in items:
            former = self.bench.finished.get(item.record.job.spec.id)
            if former is None or former.job.run < item.record.job.run:
                self.bench.finished[item.record.job.spec.id] = item.record
        self.do(self.store.outbox_remove(items))

    # ── what always holds ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    @invariant()
    def every_unfinished_job_is_in_exactly_one_place(self) -> None:
        if not hasattr(self, "model"):
            return
        page = self.do(self.store.list(JobFilter(), b"", 100_000))
        assert page.cursor == b""
        shown = [(live.job.spec.id, live.state, live.fence) for live in page.jobs]
        expected = [
            (job_id, job.state, job.fence if job.place == CLAIMED else 0) for job_id, job in self.model.jobs.items() if job.place != FINAL
        ]
        assert sorted(shown) == sorted(expected)

    @invariant()
    def who_has_all_is_hinted_of_what_becomes_ready(self) -> None:
        if hasattr(self, "model") and self.is_left_alone():
            self.do(asyncio.wait_for(self.until_hinted(), HINT_S))

    def is_left_alone(self) -> bool:
        served = self.has_all_of - self.model.paused
        return any(job.place == READY and job.spec.queue in served for job in self.model.jobs.values())

    async def until_hinted(self) -> None:
        while self.is_left_alone():  # noqa: ASYNC110 - it is what the store's own task changes
            await asyncio.sleep(0.001)

    @invariant()
    def every_job_is_found_as_it_is(self) -> None:
        if not hasattr(self, "model"):
            return
        ids = list(self.model.jobs)
        for job_id, found in zip(ids, self.do(self.store.get(ids)), strict=True):
            known = self.model.jobs[job_id]
            if found is None:
                assert known.place == FINAL
                found = self.bench.finished[job_id]
            assert isinstance(found, Record) == (known.place == FINAL)
            assert found.state is known.state
            assert found.job.run == known.run
            assert isinstance(found, Live | Record)

    @invariant()
    def counts_are_those_of_the_jobs(self) -> None:
        if not hasattr(self, "model"):
            return
        for count in self.do(self.store.counts()):
            mine = [job for job in self.model.jobs.values() if job.spec.queue == count.queue]
            assert count.pending == sum(job.place == READY for job in mine)
            assert count.running == sum(job.place == CLAIMED for job in mine)
            assert count.scheduled == sum(job.state is JobState.SCHEDULED for job in mine)
            assert count.retrying == sum(job.state is JobState.RETRYING for job in mine)
            assert count.paused == (count.queue in self.model.paused)


def machine_for(name: str, make_bench: Callable[[Path], Bench], examples: int, steps: int) -> type[TestCase]:
    parts = {"make_bench": staticmethod(make_bench)}
    case: type[TestCase] = type(f"QueueMachine_{name}", (QueueMachine,), parts).TestCase  # type: ignore[attr-defined]
    case.settings = settings(  # type: ignore[attr-defined]
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    return case


TestSQLite = machine_for("sqlite", BENCHES["sqlite"], 25, 30)
TestSQLiteForLong = pytest.mark.slow(pytest.mark.timeout(3600)(machine_for("sqlite", BENCHES["sqlite"], 1000, 60)))
TestRedis = machine_for("redis", BENCHES["redis"], 25, 30)
TestRedisForLong = pytest.mark.slow(pytest.mark.timeout(3600)(machine_for("redis", BENCHES["redis"], 1000, 60)))
TestRedisWithRecords = machine_for("redis_with_records", KeptBench, 25, 30)
TestRedisWithRecordsForLong = pytest.mark.slow(pytest.mark.timeout(3600)(machine_for("redis_with_records", KeptBench, 1000, 60)))
assert set(BENCHES) == {"sqlite", "redis"}, "give each store its own TestCase here"
