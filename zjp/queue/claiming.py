"""What is written for a claim, for the outcomes of its jobs, and when its lease is lost.

A claim itself is decided in the loop; its row is written behind and only read at the next start, to tell which jobs a dead node held.
Outcomes are judged in the loop, too (does the claim still hold the job?), so a repeat is refused even while the first is being written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from ..job import Attempt, JobState, Record, StoredJob, add_attempt
from .database import AMONG, ROWS, Database, among, delete_jobs, fetch, insert_later, json_text, pack_rows, update_jobs
from .journal import Operation
from .layout import ROW_BITS
from .outbox import delete_outbox, encode_record, insert_outbox
from .state import Lapsed, OpenClaim, State, decode_job, encode_job
from .store import Outcome, OutcomeKind

LOST = "lost"
PIECE_BYTES = 1 << 20
"""Some of them fit into the room that is set aside, whatever else the log holds."""
_NOTHING_HELD: dict[bytes, int] = {}


class ClaimOperation(Operation):
    def __init__(self, claim: OpenClaim, node: str) -> None:
        self.claim, self.node = claim, node
        self.rows = pack_rows(list(claim.held.values()))

    def write(self, db: Database) -> None:
        claim = self.claim
        db.execute("INSERT INTO claims VALUES(?, ?, ?, ?)", (claim.fence, claim.claimed_ms, self.node, self.rows))

    def apply(self) -> None:
        pass


class FinishOperation(Operation):
    is_held: ClassVar[bool] = True

    def __init__(self, state: State, now_ms: int, now: float) -> None:
        self.state, self.now_ms, self.now = state, now_ms, now
        self.held: dict[OpenClaim, list[bytes]] = {}
        self.rows: list[int] = []
        """Of jobs that leave the level, for good or into later."""
        self.records: list[Record] = []
        self.datas: list[bytes] = []
        self.delayed: list[tuple[int, bool, StoredJob]] = []
        """(level's number, is_retry, job)"""
        self.released: list[tuple[int, StoredJob]] = []
        self.cancelled: list[bytes] = []
        self.progressed: list[bytes] = []
        """Those whose progress is on disk."""
        self.outbox_row = 0
        self.closed: list[int] = []

    def plan(self, outcomes: Sequence[Outcome]) -> list[bytes]:
        """Take the outcomes of jobs that their claims still hold. Returns the ids refused."""
        refused: list[bytes] = []
        cancelling, finish, rows, records = self.state.cancelling, OutcomeKind.FINISH, self.rows, self.records
        fence, held = -1, _NOTHING_HELD
        mine: list[bytes] = []
        for outcome in outcomes:
            job_id = outcome.job.spec.id
            if outcome.fence != fence:
                fence = outcome.fence
                held, mine = self._held_by(fence)
            row = held.get(job_id, -1)
            if row < 0:
                refused.append(job_id)
                continue
            held[job_id] = ~row
            mine.append(job_id)
            record = outcome.record
            if record is not None and outcome.kind is finish and job_id not in cancelling:
                records.append(record)
                rows.append(row)
            else:
                self._plan_rare(outcome, row)
        for claim, ids in self.held.items():
            claim.open_count -= len(ids)
        self.closed = [claim.fence for claim in self.held if not claim.open_count]
        if self.state.progress:
            self.progressed = [job_id for ids in self.held.values() for job_id in ids if job_id in self.state.progress]
        self.size = len(outcomes) - len(refused)
        if self.records:
            self.outbox_row = self.state.outbox.reserve_row()
        return refused

    def _held_by(self, fence: int) -> tuple[dict[bytes, int], list[bytes]]:
        """What that claim holds, and the list of what of it ends here."""
        claim = self.state.claims.get(fence)
        return (_NOTHING_HELD, []) if claim is None else (claim.held, self.held.setdefault(claim, []))

    def _plan_rare(self, outcome: Outcome, row: int) -> None:
        job = outcome.job
        if job.spec.id in self.state.cancelling:
            self.cancelled.append(job.spec.id)
            self.records.append(cancelled_record(outcome.record.job if outcome.record else job, self.now_ms))
            self.rows.append(row)
        elif outcome.kind is OutcomeKind.RELEASE:
            self.released.append((row, job))
        else:
            assert outcome.kind is not OutcomeKind.FINISH, "a finished job has a record"
            job.due_ms = self.now_ms + outcome.delay_ms
            self.delayed.append((row >> ROW_BITS, outcome.kind is OutcomeKind.RETRY, job))
            self.rows.append(row)

    def write(self, db: Database) -> None:
        if self.rows:
            delete_jobs(db, self.rows)
        if self.records:
            self.datas = [encode_record(record) for record in self.records]
            insert_outbox(db, self.outbox_row, self.datas)
            settle_keys(db, self.records)
        if self.delayed:
            jobs = [job for _, _, job in self.delayed]
            entries = [(job.due_ms, level, is_retry) for level, is_retry, job in self.delayed]
            insert_later(db, entries, [job.spec.id for job in jobs], [encode_job(job) for job in jobs])
        if self.released:
            update_jobs(db, [row for row, _ in self.released], [encode_job(job) for _, job in self.released])
        if self.closed:
            db.execute(f"DELETE FROM claims WHERE fence {ROWS}", (json_text(self.closed),))
        if self.cancelled:
            db.executemany("DELETE FROM cancelling WHERE id = ?", [(job_id,) for job_id in self.cancelled])
        if self.progressed:
            forget_progress(db, self.progressed)

    def apply(self) -> None:
        state = self.state
        for claim, ids in self.held.items():
            held = claim.held
            for job_id in ids:
                del held[job_id]
            if not held:
                state.claims.pop(claim.fence, None)
        for job_id in self.progressed:
            state.progress.pop(job_id, None)
        if self.rows:
            state.count_running(self.rows, -1)
        if self.records:
            state.finish(self.outbox_row, self.records, self.datas)
        state.cancelling.difference_update(self.cancelled)
        for number, is_retry, job in self.delayed:
            state.count_later(number, is_retry, 1)
            state.note_due(job.due_ms)
        state.give_back(self.released, self.now)
        if self.released:
            state.count_running([row for row, _ in self.released], -1)
        if self.delayed:
            state.became_ready = True  # wakes who sleeps until a later due time

    def refuse(self) -> None:
        for claim, ids in self.held.items():
            for job_id in ids:
                claim.held[job_id] = ~claim.held[job_id]
            claim.open_count += len(ids)


class ReapOperation(Operation):
    """Jobs whose lease was lost go back, with the loss among their attempts; those being cancelled end."""

    is_held: ClassVar[bool] = True

    def __init__(self, state: State, lapsed: Sequence[Lapsed], node: str, *, now_ms: int, now: float) -> None:
        self.state, self.lapsed, self.node = state, lapsed, node
        self.now_ms, self.now = now_ms, now
        self.size = len(lapsed)
        self.cancelling = frozenset(one.id for one in lapsed if one.id in state.cancelling)
        self.outbox_row = state.outbox.reserve_row()
        still = {one.fence for one in state.lapsed}
        self.closed = sorted({one.fence for one in lapsed} - still)
        self.back: list[tuple[int, StoredJob]] = []
        self.records: list[Record] = []
        self.datas: list[bytes] = []

    def write(self, db: Database) -> None:
        by_row = {one.row: one for one in self.lapsed}
        self.back, self.records = [], []
        ended: list[int] = []
        source = f"SELECT row, data FROM jobs WHERE row {ROWS} ORDER BY row"
        for row, data in fetch(db, source, (json_text(by_row),), numbers=["row"], blobs=["data"]):
            job, one = decode_job(data), by_row[row]
            note_loss(job, one, self.node, self.now_ms)
            if one.id in self.cancelling:
                self.records.append(cancelled_record(job, self.now_ms))
                ended.append(row)
            else:
                self.back.append((row, job))
        update_jobs(db, [row for row, _ in self.back], [encode_job(job) for _, job in self.back])
        self.datas = [encode_record(record) for record in self.records]
        if ended:
            delete_jobs(db, ended)
            insert_outbox(db, self.outbox_row, self.datas)
            settle_keys(db, self.records)
            db.executemany("DELETE FROM cancelling WHERE id = ?", [(job_id,) for job_id in self.cancelling])
        db.execute(f"DELETE FROM claims WHERE fence {ROWS}", (json_text(self.closed),))
        forget_progress(db, [one.id for one in self.lapsed])

    def apply(self) -> int:
        state = self.state
        for one in self.lapsed:
            state.progress.pop(one.id, None)
        state.lapsing.difference_update(one.row for one in self.lapsed)
        if self.records:
            state.finish(self.outbox_row, self.records, self.datas)
        state.cancelling -= self.cancelling
        state.give_back(self.back, self.now)
        return len(self.lapsed)


class OutboxRemoval(Operation):
    is_held: ClassVar[bool] = True

    def __init__(self, rows: Sequence[int]) -> None:
        self.rows = rows

    def write(self, db: Database) -> None:
        delete_outbox(db, self.rows)

    def apply(self) -> None:
        pass


def pieces(outcomes: Sequence[Outcome]) -> Iterator[Sequence[Outcome]]:
    """Parts that a disk with little room takes one by one, when it would never take all of them at once."""
    begin = size = 0
    for end, outcome in enumerate(outcomes):
        size += len(outcome.job.spec.payload) + (len(outcome.record.result) if outcome.record is not None else 0)
        if size >= PIECE_BYTES:
            yield outcomes[begin : end + 1]
            begin, size = end + 1, 0
    if begin < len(outcomes):
        yield outcomes[begin:]


def note_loss(job: StoredJob, lapsed: Lapsed, node: str, now_ms: int) -> None:
    add_attempt(job, Attempt(lapsed.fence, node, "", lapsed.claimed_ms, now_ms, LOST))


def cancelled_record(job: StoredJob, now_ms: int) -> Record:
    return Record(job, JobState.CANCELLED, now_ms)


def forget_progress(db: Database, ids: Sequence[bytes]) -> None:
    db.execute(f"DELETE FROM progress WHERE id {AMONG}", among(ids))


def settle_keys(db: Database, records: Sequence[Record]) -> None:
    """Let go of the unique keys that finished jobs held."""
    for record in records:
        options = record.job.spec.options
        if options is not None and options.unique_key:
            db.execute("DELETE FROM uniq WHERE key = ? AND id = ?", (options.unique_key, record.job.spec.id))
