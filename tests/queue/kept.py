"""A queue in Redis that keeps the records beside it: what a claim finishes is a record at once, the rest goes by the outbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from scripts.redis_server import RedisServer
from tests.queue.making import RedisBench
from zjp.job import Record
from zjp.queue.redis import RedisQueueStore
from zjp.records.redis import RECORD_AT

RECORDS_KEY = b"{zjp:zjp}:records:r"
_decode = msgspec.msgpack.Decoder(Record).decode


class KeptRecords(dict[bytes, Record]):
    """What was taken from the outbox, and what the server holds: of two runs of an id the later one, as the records do it."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self._server = server

    def _kept(self, job_id: bytes) -> Record | None:
        size, _, rest = self._server.send(b"HGET", RECORDS_KEY, job_id).partition(b"\r\n")
        return None if size == b"$-1" else _decode(rest[RECORD_AT : int(size[1:])])

    def get(self, job_id: bytes, default: Any = None) -> Any:
        found = [one for one in (super().get(job_id), self._kept(job_id)) if one is not None]
        return max(found, key=lambda record: record.job.run, default=default)

    def __getitem__(self, job_id: bytes) -> Record:
        found = self.get(job_id)
        if found is None:
            raise KeyError(job_id)
        return found  # type: ignore[no-any-return]

    def __contains__(self, job_id: object) -> bool:
        return isinstance(job_id, bytes) and self.get(job_id) is not None


class KeptBench(RedisBench):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.finished = KeptRecords(self.server)

    def make(self, **limits: Any) -> RedisQueueStore:
        return super().make(**({"records_max": 100_000} | limits))
