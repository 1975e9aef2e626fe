"""What a claim and its outcomes are in the scripts' terms.

Outcomes of the usual kind (a record, no unique key) go as (id, value) pairs per fence, queue and run, which the script passes on to Redis
without looking at them. A job that is being cancelled comes back from the script untouched; it is sent again with a record that says
cancelled, which needs the job as its outcome has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...job import JobState, Record, StoredJob
from ...redis.packing import pairs
from ..store import Outcome, OutcomeKind
from .layout import (
    MARK_BYTES,
    add_losses,
    encode,
    finished_value,
    level_name,
    live_value,
    read_jobs,
    unique_key,
)

Section = tuple[list[Record], list[bytes], list[bytes]]
"""Records, their ids and their encodings."""
SINGLE_KINDS = {OutcomeKind.RETRY: b"t", OutcomeKind.SNOOZE: b"s", OutcomeKind.RELEASE: b"r", OutcomeKind.FINISH: b"f"}


def claimed_jobs(values: Sequence[bytes], rare: Sequence[bytes]) -> list[StoredJob]:
    jobs = read_jobs(values)
    if rare:
        beside = {rare[at]: (rare[at + 1], rare[at + 2]) for at in range(0, len(rare), 3)}
        for job in jobs:
            if (found := beside.get(job.spec.id)) is not None:
                add_losses(job, *found)
    return jobs


Ended = list[tuple[Record, bytes]]
"""Records and their encodings."""


def finish_arguments(outcomes: Sequence[Outcome], now_ms: int, *, are_records_here: bool = False) -> tuple[list[Any], Ended]:
    """The script's sections and singles, and what the sections end."""
    sections: dict[tuple[int, str, int], Section] = {}
    singles: list[Any] = []
    single_count = 0
    fence, queue, run = -1, "", 0
    records: list[Record] = []
    ids: list[bytes] = []
    data: list[bytes] = []
    finish = OutcomeKind.FINISH
    for outcome in outcomes:
        record, job = outcome.record, outcome.job
        spec = job.spec
        if outcome.kind is finish and (spec.options is None or not spec.options.unique_key):
            assert record is not None, "a finished job has a record"
            if outcome.fence != fence or spec.queue != queue or job.run != run:
                fence, queue, run = outcome.fence, spec.queue, job.run
                records, ids, data = sections.setdefault((fence, queue, run), ([], [], []))
            records.append(record)
            ids.append(spec.id)
            data.append(encode(record))
        else:
            singles += _single(outcome, now_ms, are_records_here)
            single_count += 1
    arguments: list[Any] = [len(sections)]
    ended: Ended = []
    for (fence, queue, run), (records, ids, data) in sections.items():
        arguments += (fence, queue, len(ids), pairs(ids, _head(fence, run, are_records_here), data))
        if not are_records_here:
            ended += zip(records, data, strict=True)
    arguments.append(single_count)
    arguments += singles
    return arguments, ended


def _head(fence: int, run: int, are_records_here: bool) -> bytes:
    """What stands before a record: in the outbox its state and run, among the records here its mark and run."""
    return (fence.to_bytes(MARK_BYTES, "big") if are_records_here else b"f") + run.to_bytes(4, "big")


def _single(outcome: Outcome, now_ms: int, are_records_here: bool) -> tuple[Any, ...]:
    job, kind = outcome.job, outcome.kind
    spec = job.spec
    if kind is OutcomeKind.FINISH:
        assert outcome.record is not None, "a finished job has a record"
        value = _head(outcome.fence, job.run, are_records_here) + encode(outcome.record)
    else:
        if kind is not OutcomeKind.RELEASE:
            job.due_ms = now_ms + outcome.delay_ms
        value = live_value(job, is_retry=kind is OutcomeKind.RETRY)
    return (outcome.fence, SINGLE_KINDS[kind], spec.id, value, level_name(spec.queue, spec.priority), outcome.delay_ms, unique_key(spec))


def cancelled_arguments(outcomes: Iterable[Outcome], now_ms: int) -> list[Any]:
    """The same outcomes as ends of jobs that were cancelled."""
    singles: list[Any] = []
    count = 0
    for outcome in outcomes:
        job = outcome.record.job if outcome.record else outcome.job
        spec = job.spec
        value = finished_value(Record(job, JobState.CANCELLED, now_ms))
        singles += (outcome.fence, b"x", spec.id, value, level_name(spec.queue, spec.priority), 0, unique_key(spec))
        count += 1
    return [0, count, *singles]


def has_repeats(outcomes: Sequence[Outcome]) -> bool:
    return len({outcome.job.spec.id for outcome in outcomes}) != len(outcomes)
