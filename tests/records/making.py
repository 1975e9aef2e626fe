"""Records for tests, and the stores that the one suite is run against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from tests.records import wire_server
from tests.redis import shared_redis
from zjp.job import Attempt, JobFault, JobSpec, JobState, Options, Record, StoredJob, make_id
from zjp.records.redis import RedisRecordStore
from zjp.records.sqlite import SQLiteRecordStore
from zjp.records.store import RecordStore

START_MS = 1_760_000_000_000
SESSION = 0x155_5555_5555

_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Item:
    record: Record
    data: bytes


def make_item(
    number: int,
    *,
    run: int = 1,
    type: str = "email",
    queue: str = "default",
    state: JobState = JobState.COMPLETED,
    tags: tuple[str, ...] = (),
    created_ms: int | None = None,
    payload: bytes = b"\x80",
) -> Item:
    """The `number`-th job, finished 10 ms after the one before it, with all that a record can hold."""
    at_ms = START_MS + number * 10
    spec = JobSpec(make_id(at_ms, SESSION, number), type, payload, queue, 5, Options(tags=tags) if tags else None)
    fault = JobFault("ValueError", "no such recipient", "Traceback ...") if state is JobState.FAILED else None
    attempts = (
        Attempt(run * 1000 + number, "node-1", "node-1.1", at_ms, at_ms + 2, "crashed", JobFault("WorkerCrashed")),
        Attempt(run * 1001 + number, "node-2", "node-2.1", at_ms + 3, at_ms + 4, str(state.value), fault),
    )
    job = StoredJob(spec, at_ms if created_ms is None else created_ms, run=run, retries=1, attempts=attempts)
    result = b"\x93\x01\x02\x03" if state is JobState.COMPLETED else b""
    record = Record(job, state, at_ms + 5, result, fault)
    return Item(record, _encode(record))


def id_of(item: Item) -> bytes:
    return item.record.job.spec.id


class Opener(Protocol):
    """Makes a store over what `folder` holds; not opened yet."""

    def __call__(
        self, folder: Path, *, ttl_s: float = 0.0, events_ttl_s: float = 0.0, wall_ms: Callable[[], int] = lambda: START_MS
    ) -> RecordStore: ...


def _for_ever(ttls_s: dict[str, float]) -> dict[str, float]:
    """What is not named does not grow old."""
    return {"ttl_s": 0.0, "events_ttl_s": 0.0} | ttls_s


def _sqlite(folder: Path, *, wall_ms: Callable[[], int] = lambda: START_MS, **ttls_s: float) -> RecordStore:
    return SQLiteRecordStore(folder / "records.db", wall_ms=wall_ms, **_for_ever(ttls_s))


def _mongo(folder: Path, *, wall_ms: Callable[[], int] = lambda: START_MS, **ttls_s: float) -> RecordStore:
    return wire_server.open_in(folder, wall_ms=wall_ms, **_for_ever(ttls_s))


def _redis(folder: Path, *, wall_ms: Callable[[], int] = lambda: START_MS, **ttls_s: float) -> RecordStore:
    """A folder is a namespace on the server of this process."""
    server = shared_redis()
    return RedisRecordStore(server.unix_url, namespace=str(folder), count_max=100_000, wall_ms=wall_ms, **_for_ever(ttls_s))


OPENERS: Mapping[str, Opener] = {"mongo": _mongo, "redis": _redis, "sqlite": _sqlite}
"""Every store there is: a new one is one more line here."""
