"""The indexes, made where they are missing, and RECORDS_TTL put into the one that ages records."""

from __future__ import annotations

import math
from typing import Any

from pymongo import IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

from .documents import BY_FINISHED, BY_ORDER, INDEXES

TTL_S_MAX = (1 << 31) - 1
"""What the server takes: 68 years."""

_CONFLICTS = {85, 86}
"""IndexOptionsConflict, IndexKeySpecsConflict: there is one of that name with another TTL."""

Records = AsyncCollection[dict[str, Any]]


async def prepare(records: Records, ttl_s: float) -> int:
    """Returns the order of the newest record, 0 where there is none."""
    await records.create_indexes([IndexModel(keys, name=name) for name, keys in INDEXES.items()])
    options = {"expireAfterSeconds": min(max(1, math.ceil(ttl_s)), TTL_S_MAX)} if ttl_s else {}
    try:
        await _create(records, options)
    except OperationFailure as error:
        if error.code not in _CONFLICTS:
            raise
        await _change(records, options)
    newest = await records.find_one({}, {"_id": 0, "order": 1}, sort=[("order", -1)], hint=BY_ORDER)
    return newest["order"] if newest else 0


async def _create(records: Records, options: dict[str, int]) -> None:
    await records.create_indexes([IndexModel([("finished_at", 1)], name=BY_FINISHED, **options)])


async def _change(records: Records, options: dict[str, int]) -> None:
    """Another TTL is a change of the catalogue; from a TTL to none, or on older servers the other way, the index is made anew."""
    try:
        if options:
            await records.database.command("collMod", records.name, index={"name": BY_FINISHED, **options})
            return
    except OperationFailure as error:
        if error.timeout:
            raise
    await records.drop_index(BY_FINISHED)
    await _create(records, options)
