"""Records into MongoDB, in bulk.

An insert names all documents and is not ordered, so what is there already (after a crash between append and removal, or for a second
run of an id) does not hold up the others: the server reports those by their number. They are sorted out in a second step, by an
upsert on `{_id, run: {$lt: ours}}`: it replaces a lower run, inserts what was removed meanwhile, and meets the unique `_id` again where
the record there is the same or newer, which is what was wanted. So it is right also while another node does the same.

Commands are sent as such: the driver's own `insert_many` makes an object for each document and costs twice as much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from ..store import RecordItem
from .documents import Arrivals, Document, document_of
from .server import COLLECTION, Server

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
    for batch in batches(items):
        orders = arrivals.take(len(batch), now_ms)
        documents = [document_of(item, order) for item, order in zip(batch, orders, strict=True)]
        async with server.asked() as records:
            refused = await server.command(records, {"insert": COLLECTION, "documents": documents})
            if refused:
                await _sort_out(server, records, [documents[error["index"]] for error in refused])


async def _sort_out(server: Server, records: AsyncCollection[dict[str, Any]], documents: Sequence[Document]) -> None:
    best: dict[bytes, Document] = {}
    for document in documents:
        if document["_id"] not in best or document["run"] > best[document["_id"]]["run"]:
            best[document["_id"]] = document
    async for there in records.find({"_id": {"$in": list(best)}}, {"run": 1}):
        if there["run"] >= best[there["_id"]]["run"]:
            del best[there["_id"]]
    updates = [
        {"q": {"_id": job_id, "run": {"$lt": document["run"]}}, "u": document, "upsert": True}
        for job_id, document in best.items()
    ]
    if updates:
        await server.command(records, {"update": COLLECTION, "updates": updates})
