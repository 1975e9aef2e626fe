"""A queue store that writes down what it is asked and what it answers: the lease, ack, nack, dead, release, open, renew and reap lines.

It wraps any store and changes nothing. Used where the store is within reach: conformance and model tests, and nodes started with a
recorded store. Order of writing is what makes the lines proof: a lease line is written before the caller gets the jobs, so nothing runs
before it; an outcome's invoke is written before the store is asked, its ok or fail before the caller hears of it.

With `is_client` it also writes the lines a client would write (submit, cancel, requeue, promote), keyed by the job's id: for tests
whose only client is the test.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zjp.errors import JobRejected, Unavailable
from zjp.job import FINAL_STATES, JobFilter, JobSpec, JobState, Record, format_id
from zjp.queue.store import (
    Backlog,
    Beside,
    Claim,
    Document,
    DocumentKind,
    Fired,
    Lead,
    Life,
    Live,
    LivePage,
    LostClaims,
    OutboxItem,
    OutboxPage,
    Outcome,
    OutcomeKind,
    QueueStore,
    Reaped,
    Renewal,
    RerunMark,
    Tended,
)
from zjp.wire.messages import CancelKind, QueueCount, SubmitKind, Submitted

from .history import Recorder
from .lines import Line, LineType

FINAL_WORDS = {JobState.COMPLETED: "done", JobState.FAILED: "dead", JobState.CANCELLED: "cancelled"}
"""State -> the word that final and seen lines use; any other state is written by its own name."""

assert FINAL_WORDS.keys() == FINAL_STATES


def final_word(state: JobState) -> str:
    return FINAL_WORDS.get(state, state.value)


class RecordingStore:
    """Has the methods of `QueueStore`. `lease_ms`: what the wrapped store was given, so that the checker knows when silence is loss."""

    def __init__(self, store: QueueStore, recorder: Recorder, *, lease_ms: int = 0, is_client: bool = False) -> None:
        self._store = store
        self.is_shared = store.is_shared
        self.level = store.level
        self._recorder = recorder
        self._lease_ms = lease_ms
        self._is_client = is_client
        self._life = Life("", 0)
        self._unanswered: dict[tuple[bytes, int], int] = {}
        """Since when an outcome is being told: a repeat is answered for the call that was carried out, which may be any before it."""
        self._asked: dict[bytes, int] = {}
        """Since when a job is being submitted, for those that are handed over by that."""

    @property
    def on_ready(self) -> Callable[[], None] | None:
        return self._store.on_ready

    @on_ready.setter
    def on_ready(self, wake: Callable[[], None] | None) -> None:
        self._store.on_ready = wake

    @property
    def on_finished(self) -> Callable[[Sequence[bytes]], None] | None:
        return self._store.on_finished

    @on_finished.setter
    def on_finished(self, wake: Callable[[Sequence[bytes]], None] | None) -> None:
        self._store.on_finished = wake

    @property
    def room(self) -> Callable[[], int] | None:
        return self._store.room

    @room.setter
    def room(self, room: Callable[[], int] | None) -> None:
        self._store.room = room

    @property
    def on_claimed(self) -> Callable[[Claim], None] | None:
        return self._store.on_claimed

    @on_claimed.setter
    def on_claimed(self, take: Callable[[Claim], None] | None) -> None:
        def noted(claim: Claim) -> None:
            now = time.monotonic_ns()
            self._say_claimed(claim, min(self._asked.get(job.spec.id, now) for job in claim.jobs))
            assert take is not None
            take(claim)

        self._store.on_claimed = None if take is None else noted

    # What is written down

    async def open(self, life: Life, started: Mapping[bytes, int]) -> LostClaims:
        t0 = time.monotonic_ns()
        lost = await self._store.open(life, started)
        self._life, self.level = life, self._store.level
        self._recorder.write("open", "ok", node=life.node, boot=life.boot, lease_ms=self._lease_ms, t0=t0)
        return lost

    async def claim(self, count: int, weights: Mapping[str, int]) -> Claim:
        t0 = time.monotonic_ns()
        claim = await self._store.claim(count, weights)
        self._say_claimed(claim, t0)
        return claim

    def _say_claimed(self, claim: Claim, t0: int) -> None:
        names: dict[str, Any] = {"fence": claim.fence, "node": self._life.node, "boot": self._life.boot, "t0": t0}
        self._say(
            "lease", "ok", [{"job": format_id(job.spec.id)} for job in claim.jobs], **names, t=time.monotonic_ns()
        )

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bytes]:
        t0 = time.monotonic_ns()
        self._recorder.append([self._outcome_line(outcome, "invoke", t0) for outcome in outcomes])
        try:
            refused = await self._store.finish(outcomes)
        except BaseException:
            # The protocol says nothing was stored; the judge does not take its word for it.
            self._recorder.append([self._outcome_line(outcome, "info", t0) for outcome in outcomes])
            for outcome in outcomes:
                self._unanswered.setdefault((outcome.job.spec.id, outcome.fence), t0)
            raise
        lost, told = _refused_of(outcomes, refused), self._unanswered
        self._recorder.append(
            [
                self._outcome_line(one, "fail", t0) if (one.job.spec.id, one.fence) in lost
                else self._outcome_line(one, "ok", told.get((one.job.spec.id, one.fence), t0))
                for one in outcomes
            ]
        )  # fmt: skip
        for one in outcomes if told else ():
            told.pop((one.job.spec.id, one.fence), None)
        return refused

    async def look(self, ids: Sequence[bytes]) -> tuple[RerunMark, list[Live | Record | None]]:
        return await self._store.look(ids)

    async def confirm(self, since: RerunMark) -> None:
        await self._store.confirm(since)

    async def renew(self, progress: Mapping[bytes, bytes]) -> Renewal:
        t0 = time.monotonic_ns()
        renewal = await self._store.renew(progress)
        life = self._life
        self._recorder.write("renew", "ok" if renewal.alive else "fail", node=life.node, boot=life.boot, t0=t0)
        return renewal

    async def tend(self, limit: int) -> Tended:
        t0 = time.monotonic_ns()
        tended = await self._store.tend(limit)
        if tended.reaped:
            self._recorder.write("reap", "ok", count=tended.reaped, t0=t0)
        return tended

    # What a client would write down

    async def submit(self, specs: Sequence[JobSpec]) -> list[Submitted]:
        asked = [_submit_fields(spec) for spec in specs]
        self._asked.update(dict.fromkeys([spec.id for spec in specs], time.monotonic_ns()))
        try:
            with self._client_call("submit", asked):
                answers = await self._store.submit(specs)
        finally:
            for spec in specs:
                self._asked.pop(spec.id, None)
        if self._is_client:
            lines = [self._answer_line(fields, answer) for fields, answer in zip(asked, answers, strict=True)]
            self._recorder.append(lines)
        return answers

    def _answer_line(self, fields: dict[str, Any], answer: Submitted) -> Line:
        if answer.kind is SubmitKind.UNIQUE:
            return self._recorder.line("submit", "fail", **fields, why=f"unique key held by {format_id(answer.id)}")
        is_repeat = answer.kind is SubmitKind.EXISTED
        fields = fields | {"job": format_id(answer.id)}
        return self._recorder.line("submit", "ok", **fields, level=self.level.value, existed=is_repeat)

    async def cancel(self, ids: Sequence[bytes]) -> list[CancelKind]:
        asked = [{"job": format_id(job_id)} for job_id in ids]
        with self._client_call("cancel", asked):
            kinds = await self._store.cancel(ids)
        answers = [fields | {"val": kind.value} for fields, kind in zip(asked, kinds, strict=True)]
        self._say_as_client("cancel", "ok", answers)
        return kinds

    async def requeue(self, records: Sequence[Record], since: RerunMark | None = None) -> list[bool]:
        asked = [{"job": format_id(record.job.spec.id)} for record in records]
        with self._client_call("requeue", asked):
            taken = await self._store.requeue(records, since)
        self._say_taken("requeue", asked, taken)
        return taken

    async def promote(self, ids: Sequence[bytes]) -> list[bool]:
        asked = [{"job": format_id(job_id)} for job_id in ids]
        with self._client_call("promote", asked):
            taken = await self._store.promote(ids)
        self._say_taken("promote", asked, taken)
        return taken

    def _say_taken(self, f: str, asked: list[dict[str, Any]], taken: Sequence[bool]) -> None:
        for fields, is_taken in zip(asked, taken, strict=True):
            self._say_as_client(f, "ok" if is_taken else "fail", [fields])

    @contextmanager
    def _client_call(self, f: str, asked: list[dict[str, Any]]) -> Iterator[None]:
        """Invoke lines before; on an error fail lines where it surely did not happen, else info."""
        self._say_as_client(f, "invoke", asked)
        try:
            yield
        except (JobRejected, Unavailable):
            self._say_as_client(f, "fail", asked)
            raise
        except BaseException:
            self._say_as_client(f, "info", asked)
            raise

    def _say_as_client(self, f: str, type: LineType, asked: list[dict[str, Any]]) -> None:
        if self._is_client:
            self._say(f, type, asked)

    def _say(self, f: str, type: LineType, each: list[dict[str, Any]], **common: Any) -> None:
        if each:
            self._recorder.append([self._recorder.line(f, type, **fields, **common) for fields in each])

    def _outcome_line(self, outcome: Outcome, type: LineType, asked_at: int) -> Line:
        f, extra = _outcome_word(outcome)
        if f == "nack" and outcome.delay_ms:
            extra["due"] = asked_at + outcome.delay_ms * 1_000_000
        times = {"t": asked_at} if type == "invoke" else {"t0": asked_at}
        names = {"job": format_id(outcome.job.spec.id), "fence": outcome.fence, "node": self._life.node}
        return self._recorder.line(f, type, **names, boot=self._life.boot, **extra, **times)

    # What is only passed on

    async def close(self) -> None:
        await self._store.close()

    async def pause(self, queue: str) -> None:
        await self._store.pause(queue)

    async def resume(self, queue: str) -> None:
        await self._store.resume(queue)

    async def purge(self, queue: str) -> int:
        return await self._store.purge(queue)

    async def counts(self) -> list[QueueCount]:
        return await self._store.counts()

    async def get(self, ids: Sequence[bytes]) -> list[Live | Record | None]:
        return await self._store.get(ids)

    async def list(self, wanted: JobFilter, cursor: bytes, limit: int) -> LivePage:
        return await self._store.list(wanted, cursor, limit)

    async def outbox(self, limit: int) -> Sequence[OutboxItem]:
        return await self._store.outbox(limit)

    async def newest(self, older: int, limit: int) -> OutboxPage:
        return await self._store.newest(older, limit)

    async def outbox_remove(self, items: Sequence[OutboxItem]) -> None:
        await self._store.outbox_remove(items)

    def backlog(self) -> Backlog:
        return self._store.backlog()

    async def outbox_share(self, limit: int) -> Sequence[OutboxItem]:
        return await self._store.outbox_share(limit)

    async def watch(self, ids: Sequence[bytes]) -> None:
        await self._store.watch(ids)

    async def publish(self, tasks: Sequence[str]) -> frozenset[str]:
        return await self._store.publish(tasks)

    async def claim_lead(self, owner: str, epoch: int, for_s: float, *, is_elected: bool = False) -> Lead:
        return await self._store.claim_lead(owner, epoch, for_s, is_elected=is_elected)

    async def renew_lead(self, owner: str, epoch: int, for_s: float) -> bool:
        return await self._store.renew_lead(owner, epoch, for_s)

    async def release_lead(self, owner: str, epoch: int) -> bool:
        return await self._store.release_lead(owner, epoch)

    async def documents(self, kind: DocumentKind) -> Sequence[Document]:
        return await self._store.documents(kind)

    async def put_document(self, kind: DocumentKind, name: str, data: bytes, version: int, *, beside: Beside | None = None) -> int:
        return await self._store.put_document(kind, name, data, version, beside=beside)

    async def remove_document(self, kind: DocumentKind, name: str, version: int, *, beside: Beside | None = None) -> bool:
        return await self._store.remove_document(kind, name, version, beside=beside)

    async def fire(self, owner: str, epoch: int, kind: DocumentKind, document: Document, jobs: Sequence[JobSpec]) -> Fired:
        return await self._store.fire(owner, epoch, kind, document, jobs)

    async def reap_dead(self, owner: str, epoch: int, life: Life, silent_s: float, limit: int) -> Reaped:
        return await self._store.reap_dead(owner, epoch, life, silent_s, limit)

    def now_ms(self) -> int:
        return self._store.now_ms()


def _outcome_word(outcome: Outcome) -> tuple[str, dict[str, Any]]:
    """Kind of line, and what it says beyond job and fence."""
    if outcome.kind is OutcomeKind.RELEASE:
        return "release", {}
    if outcome.kind is not OutcomeKind.FINISH:
        return "nack", {"val": "snooze"} if outcome.kind is OutcomeKind.SNOOZE else {}
    assert outcome.record is not None
    word = final_word(outcome.record.state)
    if word == "dead":
        return "dead", {}
    return "ack", {"val": word} if word == "cancelled" else {}


def _submit_fields(spec: JobSpec) -> dict[str, Any]:
    options = spec.options
    fields: dict[str, Any] = {"job": format_id(spec.id), "queue": spec.queue, "priority": spec.priority}
    if options is not None and options.idempotency_key:
        fields["key"] = options.idempotency_key
    if options is not None and options.delay_ms:
        fields["due"] = time.monotonic_ns() + options.delay_ms * 1_000_000
    if options is not None and options.max_retries is not None:
        fields["max_retries"] = options.max_retries
    return fields


if TYPE_CHECKING:
    _follows_the_protocol: type[QueueStore] = RecordingStore


def _refused_of(outcomes: Sequence[Outcome], refused: Sequence[bytes]) -> set[tuple[bytes, int]]:
    """(id, fence) of each that the store refused. It names ids only: of two claims of one job the older one's outcome does not count."""
    left = Counter(refused)
    found = set()
    for one in sorted(outcomes, key=lambda outcome: outcome.fence) if left else ():
        if left[one.job.spec.id] > 0:
            left[one.job.spec.id] -= 1
            found.add((one.job.spec.id, one.fence))
    return found
