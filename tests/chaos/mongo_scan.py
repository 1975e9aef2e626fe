"""What stands in MongoDB after a run, read past every node: one entry per document of the records' collection.

The Mongo-wire server looks through all documents for each page of a listing: through a node a run of an hour would be listed for another.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
from pymongo import MongoClient

from sims.recording import final_word
from zjp.job import Record, format_id
from zjp.records.mongo.server import COLLECTION

TIMEOUT_MS = 20_000
DOCUMENTS_AT_ONCE = 5_000
"""The Mongo-wire server puts all into one answer, unless it is told how many, and the driver takes 48 MB at most."""

_decode = msgspec.msgpack.Decoder(Record).decode


def records_in_mongo(uri: str, database: str) -> Iterator[Record]:
    client: MongoClient[dict[str, Any]] = MongoClient(uri, serverSelectionTimeoutMS=TIMEOUT_MS)
    try:
        for document in client[database][COLLECTION].find({}, {"data": 1}).batch_size(DOCUMENTS_AT_ONCE):
            yield _decode(document["data"])
    finally:
        client.close()


def final_fields(record: Record, key: str) -> dict[str, Any]:
    """Of a final line. `key`: what the job was submitted for."""
    job = record.job
    attempts = [
        {
            "fence": one.fence, "outcome": one.outcome, "node": one.node, "worker": one.worker, "start": one.started_ms,
            "end": one.ended_ms,
        }
        for one in job.attempts
    ]  # fmt: skip
    return {"job": format_id(job.spec.id), "val": final_word(record.state), "key": key, "retries": job.retries, "attempts": attempts}


def key_of(record: Record) -> str:
    return str(msgspec.msgpack.decode(record.job.spec.payload)["key"])


def ids_in_mongo(uri: str, database: str) -> Counter[str]:
    """Job id as clients know it -> how many documents."""
    client: MongoClient[dict[str, bytes]] = MongoClient(uri, serverSelectionTimeoutMS=TIMEOUT_MS)
    try:
        found = client[database][COLLECTION].find({}, {"_id": 1}).batch_size(DOCUMENTS_AT_ONCE)
        return Counter(str(uuid.UUID(bytes=bytes(document["_id"]))) for document in found)
    finally:
        client.close()
