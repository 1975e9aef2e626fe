"""What a claim and its outcomes are in the scripts' terms.

Outcomes of the usual kind (a record, no unique key) go as (id, value) pairs per fence, queue and run, which the script passes on to Redis
without looking at them. A job that is being cancelled comes back from the script untouched; it is sent again with a record that says
cancelled, which needs the job as its outcome has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec

from ...job import JobState, Record, StoredJob
from ...redis.packing import pairs
from ..store import Outcome, OutcomeKind
from .held import Held
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

SINGLE_KINDS = {OutcomeKind.RETRY: b"t", OutcomeKind.SNOOZE: b"s", OutcomeKind.RELEASE: b"r", OutcomeKind.FINISH: b"f"}


def claimed_jobs(values: Sequence[bytes], rare: Sequence[bytes]) -> list[StoredJob]:
    jobs = read_jobs(values)
    if rare:
        beside = {rare[at]: (rare[at + 1], rare[at + 2]) for at in range(0, len(rare), 3)}
        for job in jobs:
            if (found := beside.get(job.spec.id)) is not None:
                add_losses(job, *found)
    return jobs


class Section:
    """Outcomes of the usual kind with one fence, queue and run."""

    __slots__ = ("data", "fence", "ids", "queue", "records", "run")

    def __init__(self, fence: int, queue: str, run: int) -> None:
        self.fence, self.queue, self.run = fence, queue, run
        self.ids: list[bytes] = []
        self.records: list[Record] = []
        self.data: list[bytes] = []
        """The records' encodings."""


class Sorted(msgspec.Struct, frozen=True):
    """Outcomes as the script takes them."""

    sections: Sequence[Section]
    singles: Sequence[Outcome]

    def ids(self) -> list[bytes]:
        return [*chain.from_iterable([section.ids for section in self.sections]), *[one.job.spec.id for one in self.singles]]

    def by_fence(self) -> Iterator[tuple[int, Sequence[bytes]]]:
        yield from ((section.fence, section.ids) for section in self.sections)
        yield from ((one.fence, [one.job.spec.id]) for one in self.singles)

    def encoded(self) -> Iterator[tuple[Record, bytes]]:
        """Of those in sections, which are nearly all."""
        for section in self.sections:
            yield from zip(section.records, section.data, strict=True)

    def final_ids(self, cancelling: Sequence[bytes]) -> list[bytes]:
        singles = [one.job.spec.id for one in self.singles if one.kind is OutcomeKind.FINISH or one.job.spec.id in cancelling]
        return [*chain.from_iterable([section.ids for section in self.sections]), *singles]

    def arguments(self, now_ms: int, held: Held, *, are_records_here: bool) -> list[Any]:
        """`held`: what the server is believed to hold for this node, which it checks. A claim only ever loses jobs, so by their number
        it is known to be as believed, and no job has to be asked for."""
        arguments: list[Any] = [len(self.sections)]
        left = dict[int, int]()
        for section in self.sections:
            fence, ids = section.fence, section.ids
            whole = held.whole(fence, ids)
            believed = left.get(fence, whole) if whole else 0
            left[fence] = max(0, believed - len(ids))  # after one that is not believed nothing of its fence is
            head = _head(fence, section.run, are_records_here)
            arguments += (fence, section.queue, believed, len(ids), pairs(ids, head, section.data))
        arguments.append(len(self.singles))
        for outcome in self.singles:
            arguments += _single(outcome, now_ms, are_records_here)
        return arguments


def sort_outcomes(outcomes: Sequence[Outcome]) -> Sorted:
    sections: dict[tuple[int, str, int], Section] = {}
    singles: list[Outcome] = []
    fence, queue, run = -1, "", 0
    section = Section(fence, queue, run)
    finish = OutcomeKind.FINISH
    for outcome in outcomes:
        record, job = outcome.record, outcome.job
        spec = job.spec
        if outcome.kind is finish and (spec.options is None or not spec.options.unique_key):
            assert record is not None, "a finished job has a record"
            if outcome.fence != fence or spec.queue != queue or job.run != run:
                fence, queue, run = outcome.fence, spec.queue, job.run
                section = sections.setdefault((fence, queue, run), Section(fence, queue, run))
            section.ids.append(spec.id)
            section.records.append(record)
        else:
            singles.append(outcome)
    for section in sections.values():
        section.data = list(map(encode, section.records))
    return Sorted(list(sections.values()), singles)


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
