"""How a record becomes a document, a filter becomes a query, and what gives listings their order. Pure but for the log.

    _id           the job's id, as a UUID: a shell shows it as zjp does
    order         when it arrived; see `Arrivals`
    run           which life of that id
    state, type, queue, tags (left out where there are none), created_at, finished_at      what is filtered, sorted and aged by
    data          the record as it was encoded when the job finished

Only `data` is ever read back: the fields beside it are for the server's indexes, and for people with a shell.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from bson.binary import UUID_SUBTYPE, Binary
from bson.datetime_ms import DatetimeMS

from ...job import JobFilter, Record, format_id
from ...log import event
from ..store import RecordItem

Document = dict[str, Any]

BY_ORDER = "by_order"
BY_FINISHED = "by_finished"
BY_CREATED = "by_created"
INDEXES: Mapping[str, Sequence[tuple[str, int]]] = {
    BY_ORDER: [("order", -1)],
    BY_CREATED: [("created_at", -1)],
    "by_state": [("state", 1), ("order", -1)],
    "by_type": [("type", 1), ("order", -1)],
    "by_queue": [("queue", 1), ("order", -1)],
    "by_tag": [("tags", 1), ("order", -1)],
}
"""Each filter with the order of listings behind it, so that a page is read off the index. BY_FINISHED stands apart: it is the TTL's."""

DATA_BYTES_MAX = 15 << 20
"""Of one encoded record: a document may have 16 MiB."""

_EPOCH_US = 1_577_836_800_000_000
"""2020 in Unix us: with it an order fits in 63 bits until 2091."""
_WRITER_BITS = 12
ORDER_END = (1 << 63) - 1
_CLOCK_US_MAX = (ORDER_END >> _WRITER_BITS) - (1 << 45)
"""A clock that shows a later time (it is 2090) counts as showing this one: what comes next then still has a year's worth of numbers."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)
_log = logging.getLogger(__name__)


class Arrivals:
    """Numbers for what arrives: the microsecond, 12 bits of which writer it is, rising with each record of this writer.

    The clock orders what different nodes write; the writer's bits keep two of them apart in the same microsecond. (Were both the
    same, of these two records one could be missing from a listing whose page ends between them.)
    """

    def __init__(self) -> None:
        self._writer = int.from_bytes(os.urandom(2), "big") & (1 << _WRITER_BITS) - 1
        self._last_us = 0

    def note(self, order: int) -> None:
        """One that is there: what comes is to be newer, also where this clock is behind."""
        self._last_us = max(self._last_us, order >> _WRITER_BITS)

    def take(self, count: int, now_ms: int) -> Sequence[int]:
        first_us = max(min(now_ms * 1000 - _EPOCH_US, _CLOCK_US_MAX), self._last_us + 1)
        self._last_us = first_us + count - 1
        step = 1 << _WRITER_BITS
        first = first_us * step + self._writer
        return range(first, first + count * step, step)


def document_of(item: RecordItem, order: int) -> Document:
    if len(item.data) > DATA_BYTES_MAX:
        item = _shortened(item.record)
    return _document_of(item, order)


def least_document_of(item: RecordItem, order: int) -> Document:
    """Without payload and result."""
    short = _without_result(_without_payload(item.record))
    return _document_of(_Short(short, _encoder.encode(short)), order)


def _document_of(item: RecordItem, order: int) -> Document:
    record = item.record
    job = record.job
    spec = job.spec
    document = {
        "_id": Binary(spec.id, UUID_SUBTYPE),
        "order": order,
        "run": job.run,
        "state": record.state.value,
        "type": spec.type,
        "queue": spec.queue,
        "created_at": date_of(job.created_ms),
        "finished_at": date_of(record.finished_ms),
        "data": item.data,
    }
    if spec.options is not None and spec.options.tags:
        document["tags"] = spec.options.tags
    return document


def record_of(document: Mapping[str, Any]) -> Record | None:
    """None, and a line in the log, where `data` is no record: one that somebody else wrote must not hide the others."""
    try:
        return _decoder.decode(document["data"])
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        event(_log, logging.WARNING, "records.unreadable", id=str(document.get("_id")), reason=str(error))
        return None


def ids_of(ids: Sequence[bytes]) -> list[Binary]:
    return [Binary(job_id, UUID_SUBTYPE) for job_id in ids]


@lru_cache(maxsize=4096)
def date_of(at_ms: int) -> DatetimeMS:
    """Cached: of the jobs of one bulk many share their millisecond, and to make a date costs more than the rest of a document."""
    return DatetimeMS(at_ms)


class _Short(NamedTuple):
    record: Record
    data: bytes


def _shortened(record: Record) -> _Short:
    """Without its payload, and where that is not enough without its result: one huge record must not stop all that come after it."""
    event(_log, logging.WARNING, "records.shortened", id=format_id(record.job.spec.id), limit_bytes=DATA_BYTES_MAX)
    short = _without_payload(record)
    data = _encoder.encode(short)
    if len(data) > DATA_BYTES_MAX:
        short = _without_result(short)
        data = _encoder.encode(short)
    return _Short(short, data)


def _without_payload(record: Record) -> Record:
    spec = msgspec.structs.replace(record.job.spec, payload=b"\x80")
    return msgspec.structs.replace(record, job=msgspec.structs.replace(record.job, spec=spec))


def _without_result(record: Record) -> Record:
    return msgspec.structs.replace(record, result=b"\xc0", job=msgspec.structs.replace(record.job, progress=b""))


# Listings ------------------------------------------------------------------------------------------------------------------------


class Plan(NamedTuple):
    """`where` is read off the index named `by`; what it finds is to be looked at for `rest`."""

    by: str
    where: Document
    rest: Document


def plan_of(wanted: JobFilter) -> Plan:
    """Read by the one filter that is likely the rarest: a tag, then a type, a queue, a state."""
    state = "" if wanted.state is None else wanted.state.value
    named = [
        ("by_tag", "tags", wanted.tag),
        ("by_type", "type", wanted.type),
        ("by_queue", "queue", wanted.queue),
        ("by_state", "state", state),
    ]
    chosen = [(index, {field: value}) for index, field, value in named if value]
    if not chosen:
        return Plan(BY_ORDER, {}, created_between(wanted))
    (index, where), *others = chosen
    rest = created_between(wanted)
    for _, condition in others:
        rest |= condition
    return Plan(index, where, rest)


def created_between(wanted: JobFilter) -> Document:
    between = {}
    if wanted.created_after_ms:
        between["$gte"] = date_of(wanted.created_after_ms)
    if wanted.created_before_ms:
        between["$lt"] = date_of(wanted.created_before_ms)
    return {"created_at": between} if between else {}
