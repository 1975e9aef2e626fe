"""The recording store over the real SQLite store: the judge finds its histories right, and finds planted bugs of a store."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sims.checkers import Verdict, judge
from sims.history import Recorder, load
from sims.lines import Ack, AttemptSeen, Lease, Submit
from sims.recording import RecordingStore, final_word
from zjp.errors import JobConflict, StoreUnavailable
from zjp.job import Attempt, JobSpec, JobState, Options, Record, StoredJob, format_id, make_id
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.queue.store import Claim, Life, Outcome, OutcomeKind

LEASE_S = 15.0
NODE = "n1"


async def nothing_finished(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    return {}


def open_store(path: Path) -> SQLiteQueueStore:
    return SQLiteQueueStore(
        path,
        lease_s=LEASE_S,
        starvation_s=60.0,
        dedup_s=600.0,
        outbox_count_max=100_000,
        outbox_bytes_max=1 << 28,
        disk_reserve_bytes=0,
        finished=nothing_finished,
    )


class Bench:
    """A test as client, node and worker in one; `fiddle` stands between the recording and the real store."""

    def __init__(self, folder: Path, fiddle: Any = lambda store: store) -> None:
        self.folder = folder
        self.fiddle = fiddle
        self.recorder = Recorder(folder / "bench.jsonl", "bench")
        self.boot = 0
        self.made = 0

    async def start(self) -> None:
        self.boot += 1
        self.inner = open_store(self.folder / "zjp.db")
        self.store = RecordingStore(
            self.fiddle(self.inner), self.recorder, lease_ms=int(LEASE_S * 1000), is_client=True
        )
        await self.store.open(Life(NODE, self.boot), {})

    def spec(self, **options: Any) -> JobSpec:
        self.made += 1
        job_id = make_id(1_700_000_000_000, 7, self.made)
        return JobSpec(job_id, "task", b"\x80", options=Options(max_retries=2, **options))

    def say_run(self, job: StoredJob, fence: int, *, is_well: bool) -> None:
        names: dict[str, Any] = {"job": format_id(job.spec.id), "fence": fence, "pid": 1}
        self.recorder.write("run", "ok", **names, attempt=job.retries + 1)
        self.recorder.write("end", "ok" if is_well else "fail", **names, val="" if is_well else "raise")

    def outcome(self, job: StoredJob, fence: int, kind: str) -> Outcome:
        words = {"done": "completed", "dead": "failed", "retry": "retried"}
        attempts = job.attempts
        if kind in words:
            attempts += (Attempt(fence, NODE, "w", 1, 2, words[kind]),)
        failures = job.retries + (kind in ("dead", "retry"))
        job = StoredJob(job.spec, job.created_ms, job.due_ms, job.run, failures, attempts=attempts)
        if kind == "retry":
            return Outcome(fence, job, OutcomeKind.RETRY, delay_ms=1)
        if kind == "release":
            return Outcome(fence, job, OutcomeKind.RELEASE)
        state = JobState.COMPLETED if kind == "done" else JobState.FAILED
        return Outcome(fence, job, OutcomeKind.FINISH, Record(job, state, 1))

    async def run(self, claim: Claim, kind: str) -> None:
        for job in claim.jobs:
            if kind != "release":
                self.say_run(job, claim.fence, is_well=kind == "done")
        await self.store.finish([self.outcome(job, claim.fence, kind) for job in claim.jobs])

    async def drain(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            claim = await self.store.claim(100, {"*": 1})
            await self.run(claim, "done")
            if not claim.jobs and claim.next_due_s is None:
                return
        raise AssertionError("the store did not drain in 20 s")

    async def judge(self) -> Verdict:
        for item in await self.store.outbox(100_000):
            job = item.record.job
            seen = [AttemptSeen(fence=attempt.fence, outcome=attempt.outcome) for attempt in job.attempts]
            names: dict[str, Any] = {"job": format_id(job.spec.id), "retries": job.retries, "attempts": seen}
            self.recorder.write("final", "ok", val=final_word(item.record.state), **names)
        await self.store.close()
        self.recorder.close()
        return judge(load([self.folder]))


@pytest.mark.parametrize("seed", range(3))
async def test_the_history_of_the_real_store_is_right(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    bench = Bench(tmp_path)
    await bench.start()
    waiting: list[JobSpec] = []
    for _ in range(60):
        deed = rng.choice(["submit", "submit", "work", "work", "repeat", "cancel", "renew", "restart"])
        if deed == "submit":
            specs = [bench.spec(delay_ms=rng.choice((0, 0, 20))) for _ in range(rng.randint(1, 8))]
            await bench.store.submit(specs)
            waiting += specs
        elif deed == "work":
            claim = await bench.store.claim(rng.randint(1, 8), {"*": 1})
            is_spent = any(job.retries >= 2 for job in claim.jobs)
            await bench.run(claim, rng.choice(["done", "done", "release", "done" if is_spent else "retry"]))
        elif deed == "repeat" and waiting:
            await bench.store.submit([rng.choice(waiting)])
        elif deed == "cancel" and waiting:
            await bench.store.cancel([rng.choice(waiting).id])
        elif deed == "renew":
            await bench.store.renew({})
            await bench.store.tend(100)
        elif deed == "restart":
            await bench.store.claim(3, {"*": 1})
            await bench.store.close()
            await bench.start()
    await bench.drain()
    verdict = await bench.judge()
    assert verdict.is_valid, [finding.examples for finding in verdict.findings if finding.violations]
    assert {"C1", "C2", "C3", "C6", "C8", "C9", "C11", "C15"} <= set(verdict.checked)
    assert verdict.counts["claims"] > 20


async def test_a_refused_submit_is_written_as_fail(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.start()
    spec = bench.spec()
    await bench.store.submit([spec])
    with pytest.raises(JobConflict):
        await bench.store.submit([JobSpec(spec.id, "other", b"\x80")])
    await bench.drain()
    assert (await bench.judge()).is_valid
    said = [op.type for op in load([tmp_path]).ops if isinstance(op, Submit)]
    assert said == ["invoke", "ok", "invoke", "fail"]


async def test_lease_lines_keep_the_order_of_the_claim(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    await bench.start()
    specs = [bench.spec() for _ in range(10)]
    await bench.store.submit(specs)
    claim = await bench.store.claim(10, {"*": 1})
    leases = [op for op in load([tmp_path]).ops if isinstance(op, Lease)]
    assert [lease.job for lease in leases] == [format_id(spec.id) for spec in specs]
    assert {(lease.fence, lease.node, lease.boot) for lease in leases} == {(claim.fence, NODE, 1)}
    assert all(0 < lease.t0 <= lease.t for lease in leases)
    await bench.run(claim, "done")
    assert (await bench.judge()).is_valid


class Fiddle:
    """Passes everything on to the real store."""

    def __init__(self, store: SQLiteQueueStore) -> None:
        self.inner = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class FenceOff(Fiddle):
    """Says that every outcome counted."""

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bytes]:
        await self.inner.finish(outcomes)
        return []


class GrantsTwice(Fiddle):
    """Hands the jobs of the last claim out again with the next."""

    last: tuple[StoredJob, ...] = ()

    async def claim(self, count: int, weights: Mapping[str, int]) -> Claim:
        claim = await self.inner.claim(count, weights)
        jobs = (*self.last, *claim.jobs)
        self.last = tuple(claim.jobs)
        return Claim(claim.fence, jobs, claim.next_due_s, claim.version)


class Forgets(Fiddle):
    """Acknowledges submits and stores only the first job of each."""

    async def submit(self, specs: Sequence[JobSpec]) -> Any:
        answers = await self.inner.submit(specs[:1])
        return [type(answers[0])(spec.id, answers[0].kind) for spec in specs]


class AnswersLate(Fiddle):
    """Carries out the first report of all and does not answer; its repeat, which comes when another has the job, is told how it went."""

    is_silent = True

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bytes]:
        if self.is_silent:
            self.is_silent = False
            await self.inner.finish(outcomes)
            raise StoreUnavailable("no answer")
        return await self.inner.finish(outcomes) if outcomes[0].kind is OutcomeKind.FINISH else []


async def test_of_two_claims_of_one_job_the_older_ones_report_is_told_as_refused(tmp_path: Path) -> None:
    """The store names ids only. Fails on a recording that takes both for refused, and on one that takes the first of the call."""
    bench = Bench(tmp_path)
    await bench.start()
    await bench.store.submit([bench.spec()])
    old = await bench.store.claim(1, {"*": 1})
    await bench.store.finish([bench.outcome(old.jobs[0], old.fence, "release")])
    new = await bench.store.claim(1, {"*": 1})
    bench.say_run(new.jobs[0], new.fence, is_well=True)
    both = [bench.outcome(new.jobs[0], new.fence, "done"), bench.outcome(old.jobs[0], old.fence, "done")]
    assert await bench.store.finish(both) == [new.jobs[0].spec.id]
    acks = [op for op in load([tmp_path]).ops if isinstance(op, Ack) and op.type != "invoke"]
    assert {op.fence: op.type for op in acks} == {old.fence: "fail", new.fence: "ok"}
    assert (await bench.judge()).is_valid


async def test_an_answer_to_a_repeat_may_be_of_any_call_before_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, AnswersLate)
    await bench.start()
    await bench.store.submit([bench.spec()])
    claim = await bench.store.claim(1, {"*": 1})
    handed_back = [bench.outcome(claim.jobs[0], claim.fence, "release")]
    with pytest.raises(StoreUnavailable):
        await bench.store.finish(handed_back)
    again = await bench.store.claim(1, {"*": 1})
    assert again.fence > claim.fence
    assert await bench.store.finish(handed_back) == []
    await bench.run(again, "done")
    assert (await bench.judge()).is_valid


async def test_a_store_that_forgets_is_caught(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Forgets)
    await bench.start()
    await bench.store.submit([bench.spec() for _ in range(3)])
    await bench.drain()
    assert (await bench.judge()).violated == ["C1"]


async def test_a_store_with_its_fence_off_is_caught(tmp_path: Path) -> None:
    bench = Bench(tmp_path, FenceOff)
    await bench.start()
    await bench.store.submit([bench.spec()])
    old = await bench.store.claim(1, {"*": 1})
    await bench.store.close()
    await bench.start()
    await bench.drain()
    await bench.store.finish([bench.outcome(old.jobs[0], old.fence, "done")])
    verdict = await bench.judge()
    assert {"C6", "C8"} <= set(verdict.violated)


async def test_a_store_that_grants_twice_is_caught(tmp_path: Path) -> None:
    bench = Bench(tmp_path, GrantsTwice)
    await bench.start()
    await bench.store.submit([bench.spec() for _ in range(4)])
    first = await bench.store.claim(2, {"*": 1})
    second = await bench.store.claim(2, {"*": 1})
    assert len(second.jobs) == 4
    await bench.run(first, "done")
    await bench.run(second, "done")
    await bench.drain()
    verdict = await bench.judge()
    assert {"C6", "C9"} <= set(verdict.violated)
