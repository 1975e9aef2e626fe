"""A fault on the n-th call of one operation of a queue store, in a small life that uses them all: in one process, without workers.

    fails            the call is not made, StoreUnavailable is raised
    answer lost      the call is made, then StoreUnavailable is raised
    given up         the call is begun, and its caller cancelled
    reply cut        the connection is reset in the middle of the reply, so what was asked is carried out       (stores behind the proxy)
    request cut      the connection is reset in the middle of the request                                       (stores behind the proxy)

`Life` acts as a node and its producers do: what fails it asks again, with the same ids. What it did and saw is a history for the judge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from sims.history import Recorder
from sims.proxy import FaultProxy
from sims.recording import RecordingStore, final_word
from tests.queue.making import ALL, NODE, Bench, Producer, archive, completed, failed, released, retried, snoozed
from zjp.errors import OutcomeUnknown, StoreUnavailable, Unavailable
from zjp.job import JobSpec, StoredJob, format_id
from zjp.queue.store import Claim, Durability, Life, LostClaims, Outcome, QueueStore

T = TypeVar("T")

OPERATIONS = ("submit", "claim", "finish", "cancel", "promote")
CALL_FAULTS = ("fails", "answer lost", "given up")
WIRE_FAULTS = ("reply cut", "request cut")
REPLY_BYTES, REQUEST_BYTES = 3, 40
TRIES_MAX = 20
ROUNDS_MAX = 60
BATCHES, BATCH = 3, 5
CLAIM_MAX = 4
DELAY_MS = 2_000
PID = 1


class FaultyStore:
    """Every method of the bench's store, and a fault on the `nth` call of one of them. `count`: calls of that one so far."""

    is_shared = False

    def __init__(self, bench: Bench, operation: str, nth: int, fault: str, proxy: FaultProxy | None = None) -> None:
        self._bench, self._operation, self._nth, self._fault, self._proxy = bench, operation, nth, fault, proxy
        self._store: QueueStore | None = None
        self.count = 0
        self.level = Durability.DISK

    async def open(self, life: Life, started: frozenset[bytes]) -> LostClaims:
        self._store = await self._bench.open()
        return self._bench.lost

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return self._counted(method) if name == self._operation else method

    def _counted(self, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.count != self._nth:
                return await method(*arguments, **options)
            return await self._fail(lambda: method(*arguments, **options))

        return call

    async def _fail(self, call: Callable[[], Awaitable[Any]]) -> Any:
        fault, proxy = self._fault, self._proxy
        if fault == "answer lost":
            await call()
        elif fault == "given up":
            task = asyncio.ensure_future(call())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        elif fault in WIRE_FAULTS:
            assert proxy is not None
            direction, more = ("down", REPLY_BYTES) if fault == "reply cut" else ("up", REQUEST_BYTES)
            proxy.limit_data(direction, more)  # type: ignore[arg-type]
            return await call()
        raise StoreUnavailable(f"planted: {fault}")


class Sink:
    """The world outside: takes each effect once, and none from a holder that another has followed."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._fences: dict[str, int] = {}
        self._done: set[str] = set()

    def effect(self, job: str, fence: int) -> None:
        key = f"e-{job}"
        is_stale = fence < self._fences.get(job, 0)
        self._fences[job] = max(fence, self._fences.get(job, 0))
        said = {"job": job, "fence": fence, "ek": key}
        if is_stale or key in self._done:
            self._recorder.write("effect", "fail", **said, val="stale" if is_stale else "duplicate")
        else:
            self._done.add(key)
            self._recorder.write("effect", "ok", **said)


class SmallLife:
    """Fifteen jobs of every kind, from submit to record; cancels and promotes on the way."""

    def __init__(self, bench: Bench, recorder: Recorder) -> None:
        self._bench, self._recorder = bench, recorder
        self._sink = Sink(recorder)
        self._producer = Producer()
        self._seen: dict[str, int] = {}
        self._boots = 0

    async def live(self, store: RecordingStore) -> None:
        """The node's next life, until nothing is left that it may have. The first one also has the producers."""
        self._boots += 1
        await store.open(Life(NODE, self._boots), {})
        for number in range(BATCHES if self._boots == 1 else 0):
            delayed = self._producer.spec(delay_ms=DELAY_MS * (1 + number % 2))
            specs = [*self._producer.specs(BATCH - 1), delayed]
            await self._submit(store, specs)
            if number != 1:
                await self._insist("promote", store.promote, [delayed.id])
            await self._cancel(store, specs[0].id)
            await self._work(store, cancels_one=True)
        for _ in range(ROUNDS_MAX):
            self._bench.pass_time(1.0)
            await store.renew({})
            await store.tend(1000)
            if not await self._work(store) and not await self._is_left(store):
                break
        await self._archive(store)

    async def _is_left(self, store: RecordingStore) -> bool:
        return any(count.pending or count.scheduled or count.retrying for count in await store.counts())

    async def end(self) -> None:
        """The final lines."""
        for record in self._bench.finished.values():
            attempts = [{"fence": one.fence, "outcome": one.outcome} for one in record.job.attempts]
            self._recorder.write("final", "ok", job=format_id(record.job.spec.id), val=final_word(record.state), attempts=attempts)

    # ── what a producer does ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _submit(self, store: RecordingStore, specs: Sequence[JobSpec]) -> None:
        jobs = [format_id(spec.id) for spec in specs]
        for _ in range(TRIES_MAX):
            self._say("submit", "invoke", jobs)
            try:
                await store.submit(specs)
            except (Unavailable, OutcomeUnknown):
                self._say("submit", "info", jobs)
            else:
                self._say("submit", "ok", jobs, level=store.level.value)
                return
        raise AssertionError("the submit was never taken")

    async def _cancel(self, store: RecordingStore, job_id: bytes) -> None:
        job = format_id(job_id)
        kinds = await self._insist("cancel", store.cancel, [job_id])
        self._recorder.write("cancel", "ok", job=job, val=kinds[0].value)

    async def _insist(self, f: str, call: Callable[[list[bytes]], Awaitable[Any]], ids: list[bytes]) -> Any:
        jobs = [format_id(job_id) for job_id in ids]
        for _ in range(TRIES_MAX):
            self._say(f, "invoke", jobs)
            try:
                return await call(ids)
            except (Unavailable, OutcomeUnknown):
                self._say(f, "info", jobs)
        raise AssertionError(f"{f} was never carried out")

    def _say(self, f: str, type: Any, jobs: Sequence[str], **fields: Any) -> None:
        for job in jobs:
            self._recorder.write(f, type, job=job, **fields)

    # ── what a node does ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _work(self, store: RecordingStore, *, cancels_one: bool = False) -> int:
        """Claim and finish until nothing is ready. Returns how many jobs that were."""
        done = 0
        while (claim := await self._claim(store)).jobs:
            if cancels_one:
                await self._cancel(store, claim.jobs[-1].spec.id)
                cancels_one = False
            await self._finish(store, [self._run(claim.fence, job) for job in claim.jobs])
            done += len(claim.jobs)
        return done

    async def _claim(self, store: RecordingStore) -> Claim:
        return await self._again("the claim", lambda: store.claim(CLAIM_MAX, ALL))

    async def _finish(self, store: RecordingStore, outcomes: list[Outcome]) -> None:
        await self._again("the finish", lambda: store.finish(outcomes))

    async def _archive(self, store: RecordingStore) -> None:
        """A machine that stands still for two seconds is enough for a store to be away."""
        await self._again("the move of the records", lambda: archive(self._bench, store))

    async def _again(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """As a node does it, which asks again while the store is away."""
        for _ in range(TRIES_MAX):
            try:
                return await call()
            except Unavailable:
                continue
        raise AssertionError(f"{what} was never carried out")

    def _run(self, fence: int, job: StoredJob) -> Outcome:
        """What a job does depends on its number; each kind of outcome comes."""
        name = format_id(job.spec.id)
        number = int.from_bytes(job.spec.id[12:], "big") % 6
        times = self._seen[name] = self._seen.get(name, 0) + 1
        if times == 1 and number == 1:
            return released(fence, job)
        names = {"job": name, "fence": fence, "pid": PID}
        self._recorder.write("run", "ok", **names, ek="" if number == 4 else f"e-{name}")
        if times == 1 and number in (2, 3):
            self._recorder.write("end", "fail", **names, val="raise" if number == 2 else "snooze")
            return retried(fence, job, DELAY_MS) if number == 2 else snoozed(fence, job, DELAY_MS)
        if number == 4:
            self._recorder.write("end", "fail", **names, val="discard")
            return failed(fence, job)
        self._sink.effect(name, fence)
        self._recorder.write("end", "ok", **names)
        return completed(fence, job)
