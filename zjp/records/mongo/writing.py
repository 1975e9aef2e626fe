"""Records into MongoDB, in bulk.

An insert names all documents and is not ordered, so what is there already (after a crash between append and removal, or for a second
run of an id) does not hold up the others: the server reports those by their number. They are sorted out in a second step, by an
upsert on `{_id, run: {$lt: ours}}`: it replaces a lower run, inserts what was removed meanwhile, and meets the unique `_id` again where
the record there is the same or newer, which is what was wanted. So it is right also while another node does the same.

A document may be refused for good: by a validator or a unique index that somebody else has made, or for its size. The others of its command
are written all the same. It is sent once more without payload and result, where that may help; what is refused again is told to the caller.

Commands are sent as such: the driver's own `insert_many` makes an object for each document and costs twice as much.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DocumentTooLarge, PyMongoError

from ...job import format_id
from ...log import event
from ..store import RecordItem, RecordsRefused, Refusal
from .documents import Arrivals, Document, document_of, least_document_of
from .server import COLLECTION, DUPLICATE, TOO_LARGE, Reply, Server, is_there, is_too_large

Records = AsyncCollection[dict[str, Any]]
Key = tuple[bytes, int]
"""Id and run."""
_log = logging.getLogger(__name__)

INSERT_MAX = 512
"""Documents in one command: to encode them takes the loop some 3 ms, and more would make each of them hardly cheaper."""
INSERT_BYTES_MAX = 8 << 20
"""Unless one record alone is larger: a command may have 16 MiB."""


def batches(items: Sequence[RecordItem]) -> Iterator[Sequence[RecordItem]]:
    start, size = 0, 0
    for number, item in enumerate(items):
        if number > start and (number - start >= INSERT_MAX or size + len(item.data) > INSERT_BYTES_MAX):
            yield items[start:number]
            start, size = number, 0
        size += len(item.data)
    yield items[start:]


async def append(server: Server, items: Sequence[RecordItem], arrivals: Arrivals, now_ms: int) -> None:
    """Raises: StoreUnavailable, StoreFull, RecordsRefused."""
    refusals: list[Refusal] = []
    for batch in batches(items):
        orders = arrivals.take(len(batch), now_ms)
        async with server.asked() as records:
            refusals += await _write(server, records, batch, orders)
    if refusals:
        raise RecordsRefused(refusals)


async def _write(server: Server, records: Records, items: Sequence[RecordItem], orders: Sequence[int]) -> Sequence[Refusal]:
    documents = [document_of(item, order) for item, order in zip(items, orders, strict=True)]
    refused = await _insert(server, records, documents)
    if not refused:
        return ()
    short = [place for place, error in refused.items() if error["code"] != DUPLICATE]  # a key stays what it is
    for place in await _insert_least(server, records, {place: least_document_of(items[place], orders[place]) for place in short}):
        job_id, error = format_id(items[place].record.job.spec.id), refused.pop(place)
        event(_log, logging.WARNING, "records.shortened", id=job_id, code=error["code"], reason=server.reason(error))
    return [Refusal(items[place], error["code"], server.reason(error)) for place, error in refused.items()]


async def _insert_least(server: Server, records: Records, documents: Mapping[int, Document]) -> Sequence[int]:
    """Returns the places of those that are there now."""
    if not documents:
        return ()
    still = await _insert(server, records, list(documents.values()))
    return [place for number, place in enumerate(documents) if number not in still]


async def _insert(server: Server, records: Records, documents: Sequence[Document]) -> dict[int, Reply]:
    """Place -> error, of those that are refused for good."""
    try:
        errors = await server.command(records, {"insert": COLLECTION, "documents": documents})
    except (PyMongoError, DocumentTooLarge) as error:  # a server with lower limits than MongoDB's
        if not is_too_large(error):
            raise
        return await _insert_halves(server, records, documents, error)
    refused = {error["index"]: error for error in errors if error["code"] != DUPLICATE}
    doubles = {error["index"]: error for error in errors if error["code"] == DUPLICATE}
    if doubles:
        kept_out = await _sort_out(server, records, [(documents[place], error) for place, error in doubles.items()])
        refused |= {place: kept_out[key] for place in doubles if (key := _key_of(documents[place])) in kept_out}
    return refused


async def _insert_halves(
    server: Server, records: Records, documents: Sequence[Document], error: Exception
) -> dict[int, Reply]:
    if len(documents) == 1:
        return {0: {"code": getattr(error, "code", None) or TOO_LARGE, "errmsg": str(error)}}
    half = len(documents) // 2
    first = await _insert(server, records, documents[:half])
    second = await _insert(server, records, documents[half:])
    return {**first, **{half + place: refusal for place, refusal in second.items()}}


async def _sort_out(server: Server, records: Records, doubles: Sequence[tuple[Document, Reply]]) -> Mapping[Key, Reply]:
    """Of documents that some unique index did not let in. Returns the errors of those that are refused for good."""
    best: dict[bytes, tuple[Document, Reply]] = {}
    for document, error in doubles:
        if document["_id"] not in best or document["run"] > best[document["_id"]][0]["run"]:
            best[document["_id"]] = document, error
    older = set()
    async for there in records.find({"_id": {"$in": list(best)}}, {"run": 1}):
        if there["run"] >= best[there["_id"]][0]["run"]:
            del best[there["_id"]]
        else:
            older.add(there["_id"])
    refused = {_key_of(document): error for job_id, (document, error) in best.items() if job_id not in older and not is_there(error)}
    updates: list[dict[str, Any]] = [
        {"q": {"_id": job_id, "run": {"$lt": document["run"]}}, "u": document, "upsert": True}
        for job_id, (document, _) in best.items()
        if _key_of(document) not in refused
    ]
    if updates:
        errors = await server.command(records, {"update": COLLECTION, "updates": updates})
        refused |= {_key_of(updates[error["index"]]["u"]): error for error in errors if not is_there(error)}
    return refused


def _key_of(document: Document) -> Key:
    return document["_id"], document["run"]
