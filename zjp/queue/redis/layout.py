"""How a job stands in the hash `j`, and what scripts answer, as Python sees it. Pure.

    live       l | run 4 | priority 1 | length of queue 2 | length of unique key 2 | queue | unique key | StoredJob in msgpack,
               of a new job without its last fields, which have their defaults
               r: the same, delayed as a retry
    finished   f | run 4 | Record in msgpack

Scripts read the fixed header; nobody but the node that runs a job decodes the rest. Level: priority (1 byte) + queue.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ...job import Attempt, JobSpec, JobState, Record, StoredJob
from ..store import OutboxItem

encode = msgspec.msgpack.Encoder().encode
_decode_job = msgspec.msgpack.Decoder(StoredJob).decode
_decode_record = msgspec.msgpack.Decoder(Record).decode
_decode_attempt = msgspec.msgpack.Decoder(Attempt).decode

FINISHED, RETRYING = ord("f"), ord("r")
FIXED_BYTES = 10
RECORD_AT = 5
MARK_BYTES = 8
"""Of a record that is kept beside the queue: the fence it was finished under (see records/redis.py)."""


def level_name(queue: str, priority: int) -> bytes:
    return bytes((priority,)) + queue.encode()


def level_header(queue: str, priority: int, unique_key: str = "") -> bytes:
    """What follows the run."""
    name, key = queue.encode(), unique_key.encode()
    return bytes((priority,)) + len(name).to_bytes(2, "big") + len(key).to_bytes(2, "big") + name + key


def unique_key(spec: JobSpec) -> str:
    return spec.options.unique_key if spec.options is not None else ""


def live_value(job: StoredJob, *, is_retry: bool = False) -> bytes:
    spec = job.spec
    header = level_header(spec.queue, spec.priority, unique_key(spec))
    return (b"r" if is_retry else b"l") + job.run.to_bytes(4, "big") + header + encode(job)


def finished_value(record: Record) -> bytes:
    return b"f" + record.job.run.to_bytes(4, "big") + encode(record)


def read_job(value: bytes) -> StoredJob:
    return _decode_job(value[FIXED_BYTES + int.from_bytes(value[6:8], "big") + int.from_bytes(value[8:10], "big") :])


def read_jobs(values: Sequence[bytes]) -> list[StoredJob]:
    """The same for many, which mostly have the same queue: its length is worked out once."""
    jobs: list[StoredJob] = []
    lengths, at = b"", 0
    for value in values:
        if value[6:10] != lengths:
            lengths = value[6:10]
            at = FIXED_BYTES + int.from_bytes(lengths[:2], "big") + int.from_bytes(lengths[2:], "big")
        jobs.append(_decode_job(value[at:]))
    return jobs


def read_record(value: bytes) -> Record:
    return _decode_record(value[RECORD_AT:])


def outbox_items(values: Sequence[bytes], rare: Sequence[Any]) -> list[OutboxItem]:
    """`rare`: number, losses, of those that have some."""
    items = [OutboxItem(read_record(value), value[RECORD_AT:]) for value in values]
    for number, lost in zip(rare[::2], rare[1::2], strict=True):
        record = items[number - 1].record
        add_losses(record.job, lost, b"")
        items[number - 1] = OutboxItem(record, encode(record))
    return items


def removal_arguments(items: Sequence[OutboxItem]) -> list[Any]:
    arguments: list[Any] = [0]
    for item in items:
        job = item.record.job
        arguments += (job.spec.id, job.run.to_bytes(4, "big"), len(item.data))
    return arguments


def is_finished(value: bytes) -> bool:
    return value[0] == FINISHED


def later_state(value: bytes) -> JobState:
    return JobState.RETRYING if value[0] == RETRYING else JobState.SCHEDULED


def add_losses(job: StoredJob, lost: bytes, progress: bytes) -> StoredJob:
    """What scripts noted beside the job, in the order it happened."""
    for suspicion, attempt in _losses(lost):
        job.suspicion += suspicion
        job.attempts += (attempt,)
    if progress:
        job.progress = progress
    return job


def _losses(data: bytes) -> Iterator[tuple[int, Attempt]]:
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        yield data[at + 2], _decode_attempt(data[at + 3 : at + 2 + size])
        at += 2 + size


class Segment(msgspec.Struct, frozen=True):
    """Jobs of one claim from one level, in their order. `place`: of the first in the level's list since it began; none when returned."""

    level: bytes
    place: int | None
    ids: Sequence[bytes]


class ClaimRow(msgspec.Struct, frozen=True):
    life: str
    segments: Sequence[Segment]


def read_claim(row: bytes) -> ClaimRow:
    life, _, rest = row.partition(b"\n")
    _, _, rest = rest.partition(b"\n")
    segments: list[Segment] = []
    while rest:
        place, _, rest = rest.partition(b"\n")
        size, _, rest = rest.partition(b"\n")
        level, rest = rest[: int(size)], rest[int(size) :]
        count, _, rest = rest.partition(b"\n")
        end = int(count) * 16
        ids = [rest[at : at + 16] for at in range(0, end, 16)]
        rest = rest[end:]
        segments.append(Segment(level, None if place[:1] == b"b" else int(place[1:]), ids))
    return ClaimRow(life.decode(), segments)


def node_of(life: str) -> str:
    return life.rpartition(":")[0]
