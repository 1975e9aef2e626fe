"""The indexes, made where they are missing, and RECORDS_TTL and EVENTS_TTL put into those that age."""

from __future__ import annotations

import math
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from .documents import BY_FINISHED, BY_ORDER, INDEXES
from .events import BY_KIND, BY_TIME

TTL_S_MAX = (1 << 31) - 1
"""What the server takes: 68 years."""

_CONFLICTS = {85, 86}
"""IndexOptionsConflict, IndexKeySpecsConflict: there is one of that name with another TTL."""

Records = AsyncCollection[dict[str, Any]]


async def prepare(records: Records, ttl_s: float) -> int:
    """Returns the order of the newest record, 0 where there is none."""
    await records.create_indexes([IndexModel(keys, name=name) for name, keys in INDEXES.items()])
    await _age(records, BY_FINISHED, "finished_at", ttl_s)
    newest = await records.find_one({}, {"_id": 0, "order": 1}, sort=[("order", -1)], hint=BY_ORDER)
    return newest["order"] if newest else 0


async def prepare_events(events: Records, ttl_s: float) -> None:
    await events.create_indexes([IndexModel([("kind", 1), ("_id", -1)], name=BY_KIND)])
    await _age(events, BY_TIME, "at", ttl_s)


async def _age(documents: Records, name: str, field: str, ttl_s: float) -> None:
    """The TTL index of that name."""
    options = {"expireAfterSeconds": min(max(1, math.ceil(ttl_s)), TTL_S_MAX)} if ttl_s else {}
    index = IndexModel([(field, 1)], name=name, **options)
    try:
        await documents.create_indexes([index])
    except OperationFailure as error:
        if error.code not in _CONFLICTS:
            raise
        await _change(documents, name, index, options)


async def _change(documents: Records, name: str, index: IndexModel, options: dict[str, int]) -> None:
    """Another TTL is a change of the catalogue; from a TTL to none, or on older servers the other way, the index is made anew."""
    try:
        if options:
            await documents.database.command("collMod", documents.name, index={"name": name, **options})
            return
    except OperationFailure as error:
        if error.timeout:
            raise
    await documents.drop_index(name)
    await documents.create_indexes([index])
