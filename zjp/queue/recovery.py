"""What happens to the file when a life begins: claims of former lives are taken back, and the loop's picture is read from it.

A claimed job kept its row, so taking it back unspent is nothing but forgetting the claim. Jobs that had been started gain a suspicion
and a `lost` attempt; those being cancelled end; progress that was stored goes into the job.

A claim's row is written behind, so a node that dies within a millisecond of its first claims leaves none. `started` names such jobs and
their fences all the same; when they were claimed is not known then. For claims handed out by workers that left no mark either,
`State.strict_to` makes the life after an unclean stop write its claims *before* it hands them out, until the rows that were there are
through: what takes the node down twice is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from ..job import Attempt, Record, StoredJob, add_attempt
from .claiming import LOST, cancelled_record
from .database import (
    AMONG,
    ROWS,
    Database,
    among,
    delete_jobs,
    fetch,
    json_text,
    put_fact,
    read_fact,
    unpack_rows,
    update_jobs,
)
from .layout import ROW_BITS
from .moving import write_ended
from .outbox import read_outbox
from .sessions import Sessions
from .state import COUNTER_BITS, State, decode_job, encode_job
from .store import Life, LostClaims

CHUNK = 5_000


class Held(msgspec.Struct, frozen=True):
    """Which claim of a former life held a row."""

    fence: int
    claimed_ms: int
    node: str


def recover(db: Database, life: Life, started: Mapping[bytes, int], now_ms: int) -> LostClaims:
    """One transaction: afterwards no claim is open and `life` is begun."""
    db.execute("BEGIN IMMEDIATE")
    lost = _take_back(db, life.node, started, now_ms)
    for table in ("claims", "progress", "cancelling"):
        db.execute(f"DELETE FROM {table}")
    put_fact(db, "boot", max(life.boot, read_fact(db, "boot") + 1))
    put_fact(db, "was_unclean", 1 - read_fact(db, "is_clean") if read_fact(db, "version") else 0)
    put_fact(db, "is_clean", 0)
    put_fact(db, "version", read_fact(db, "version") + 1)
    db.execute("COMMIT")
    return lost


def _take_back(db: Database, node: str, started: Mapping[bytes, int], now_ms: int) -> LostClaims:
    held: dict[int, Held] = {}
    for fence, claimed_ms, node, rows in db.execute("SELECT fence, claimed_ms, node, held FROM claims ORDER BY fence"):
        held.update(dict.fromkeys(unpack_rows(rows), Held(fence, claimed_ms, node)))
    progress = dict(db.execute("SELECT id, data FROM progress"))
    cancelling = {job_id for (job_id,) in db.execute("SELECT id FROM cancelling")}
    rows = sorted(set(held) | _rows_of(db, cancelling.union(started, progress)))
    jobs = suspects = 0
    for at in range(0, len(rows), CHUNK):
        changed: list[tuple[int, StoredJob]] = []
        ended: list[tuple[int, Record]] = []
        for row, job_id, data in _read(db, rows[at : at + CHUNK]):
            jobs += 1
            job = decode_job(data)
            job.progress = progress.get(job_id, job.progress)
            claim = held.get(row) or Held(started.get(job_id, 0), now_ms, node)
            was_started = job_id in started and _is_of(started[job_id], claim, job)
            if was_started:
                suspects += 1
                job.suspicion += 1
                add_attempt(job, Attempt(claim.fence, claim.node, "", claim.claimed_ms, now_ms, LOST))
            if job_id in cancelling:
                ended.append((row, cancelled_record(job, now_ms)))
            elif was_started or job_id in progress:
                changed.append((row, job))
        update_jobs(db, [row for row, _ in changed], [encode_job(job) for _, job in changed])
        delete_jobs(db, [row for row, _ in ended])
        (top,) = db.execute("SELECT coalesce(max(row), 0) FROM outbox").fetchone()
        write_ended(db, top + 1, [record for _, record in ended])
    return LostClaims(jobs, suspects)


def _is_of(mark: int, claim: Held, job: StoredJob) -> bool:
    """Whether a mark speaks of this claim: one that outlived an attempt which is told already says nothing of a later one."""
    return mark >= claim.fence and (not job.attempts or mark > job.attempts[-1].fence)


def _rows_of(db: Database, ids: set[bytes]) -> set[int]:
    return {row for (row,) in db.execute(f"SELECT row FROM jobs WHERE id {AMONG}", among(list(ids)))}


def _read(db: Database, rows: list[int]) -> Iterator[tuple[int, bytes, bytes]]:
    yield from fetch(db, f"SELECT row, id, data FROM jobs WHERE row {ROWS}", (json_text(rows),), numbers=["row"], blobs=["id", "data"])


def load(db: Database, state: State, sessions: Sessions, now: float) -> None:
    """Fill the loop's picture from the file. The index on ids is the narrowest thing that has all rows: 0.3 s for a million."""
    state.version = read_fact(db, "version")
    state.next_fence = (read_fact(db, "boot") << COUNTER_BITS) + 1
    for number, name, is_paused in db.execute("SELECT number, name, is_paused FROM queues"):
        state.load_queue(number, name, bool(is_paused))
    was_unclean = bool(read_fact(db, "was_unclean"))
    counted = f"SELECT row >> {ROW_BITS}, count(*), max(row) FROM jobs INDEXED BY jobs_id GROUP BY 1"
    for number, count, top in db.execute(counted).fetchall():
        level = state.load_level(number)
        level.waiting, level.stored, level.next_row, level.served_at = count, top, top + 1, now
        if was_unclean:
            state.strict_to[number] = top
    for number, is_retry, count in db.execute("SELECT level, is_retry, count(*) FROM later GROUP BY 1, 2").fetchall():
        state.load_level(number)
        state.count_later(number, bool(is_retry), count)
    (state.next_due_ms,) = db.execute("SELECT min(due_ms) FROM later").fetchone()
    sessions.load(db.execute("SELECT session, last_id, seen_ms FROM sessions"), read_fact(db, "floor_ms"))
    for row, records, datas in read_outbox(db):
        state.outbox.drop([record.job.spec.id for record in records])
        state.outbox.add(row, records, datas)
    state.requeued = _live_again(db, state)


def _live_again(db: Database, state: State) -> set[bytes]:
    ids = list(state.outbox.ids())
    found: set[bytes] = set()
    for at in range(0, len(ids), CHUNK):
        for table in ("jobs", "later"):
            found.update(row[0] for row in db.execute(f"SELECT id FROM {table} WHERE id {AMONG}", among(ids[at : at + CHUNK])))
    return found
