"""What stands in MongoDB after a run, read past every node: one entry per document of the records' collection."""

from __future__ import annotations

import uuid
from collections import Counter

from pymongo import MongoClient

from zjp.records.mongo.server import COLLECTION

TIMEOUT_MS = 20_000
DOCUMENTS_AT_ONCE = 5_000
"""The Mongo-wire server puts all into one answer, unless it is told how many, and the driver takes 48 MB at most."""


def ids_in_mongo(uri: str, database: str) -> Counter[str]:
    """Job id as clients know it -> how many documents."""
    client: MongoClient[dict[str, bytes]] = MongoClient(uri, serverSelectionTimeoutMS=TIMEOUT_MS)
    try:
        found = client[database][COLLECTION].find({}, {"_id": 1}).batch_size(DOCUMENTS_AT_ONCE)
        return Counter(str(uuid.UUID(bytes=bytes(document["_id"]))) for document in found)
    finally:
        client.close()
