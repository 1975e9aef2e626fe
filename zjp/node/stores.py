"""Which queue and which records a node has, by its settings. Makes them; opening and closing them is the node's.

    nothing set             queue and records embedded: SQLite files in DATA_DIR
    REDIS_ADDR              queue in Redis, shared by nodes; records there as well, so that any node answers for any job
    REDIS_ADDR, MONGODB_URI queue in Redis, records in MongoDB
    MONGODB_URI             queue embedded, records in MongoDB

The drivers are imported only where they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..config import Settings
from ..config.rules import record_bytes_max
from ..errors import ConfigError
from ..queue.sqlite import SQLiteQueueStore
from ..queue.store import Durability, FinishedLookup, QueueStore
from ..records.sqlite import SQLiteRecordStore
from ..records.store import RecordStore
from ..transport.knock import listens


def make_records(
    settings: Settings, folder: Path, *, embedded: Callable[..., RecordStore] = SQLiteRecordStore
) -> RecordStore:
    """`folder`: DATA_DIR. `embedded`: who makes the SQLite store. Raises: ConfigError."""
    ttl_s = settings.records_ttl_effective_s
    if settings.mongodb_uri is not None:
        from ..records.mongo import MongoRecordStore

        return MongoRecordStore(
            settings.mongodb_uri, database=settings.mongodb_database, ttl_s=ttl_s, timeout_s=settings.mongodb_timeout_s,
            events_ttl_s=settings.events_ttl_s,
        )  # fmt: skip
    if settings.redis_addr is not None:
        from ..records.redis import RedisRecordStore

        return RedisRecordStore(
            settings.redis_addr,
            namespace=settings.cluster_name,
            password=settings.redis_password,
            db=settings.redis_db,
            ttl_s=ttl_s,
            events_ttl_s=settings.events_ttl_s,
            count_max=settings.records_max,
            dedup_s=settings.dedup_window_s,
        )
    return embedded(folder / "records.db", ttl_s=ttl_s, events_ttl_s=settings.events_ttl_s)


def place_of_records(settings: Settings) -> str:
    """Told the same by all nodes that have the same, without a secret."""
    if settings.mongodb_uri is not None:
        from ..records.mongo.server import hosts_of

        hosts = {host.lower().removesuffix(":27017") for host in hosts_of(settings.mongodb_uri).split(",")}
        return f"MongoDB at {','.join(sorted(hosts))}/{settings.mongodb_database}"
    return "Redis" if settings.redis_addr is not None else "SQLite"


def make_queue(
    settings: Settings,
    folder: Path,
    finished: FinishedLookup,
    *,
    embedded: Callable[..., QueueStore] = SQLiteQueueStore,
) -> QueueStore:
    """`finished`: looks ids up in the records. `embedded`: who makes the SQLite store (for stores that are made to fail)."""
    if settings.redis_addr is not None:
        from ..queue.redis import RedisQueueStore

        return RedisQueueStore(
            settings.redis_addr,
            namespace=settings.cluster_name,
            password=settings.redis_password,
            db=settings.redis_db,
            lease_s=settings.lease_duration_s,
            starvation_s=settings.starvation_limit_s,
            dedup_s=settings.dedup_window_s,
            outbox_count_max=settings.outbox_max,
            outbox_bytes_max=settings.outbox_max_bytes,
            finished=finished,
            records_max=0 if settings.mongodb_uri is not None else settings.records_max,
            value_max=record_bytes_max(settings),
            listens=listens,
            level_wanted=None if settings.require_durability == "none" else Durability(settings.require_durability),
        )
    return embedded(
        folder / "zjp.db",
        lease_s=settings.lease_duration_s,
        starvation_s=settings.starvation_limit_s,
        dedup_s=settings.dedup_window_s,
        outbox_count_max=settings.outbox_max,
        outbox_bytes_max=settings.outbox_max_bytes,
        disk_reserve_bytes=settings.disk_reserve_bytes,
        finished=finished,
    )


def check_durability(level: Durability, wanted: str) -> None:
    """Raises: ConfigError."""
    order = list(Durability)
    if wanted != "none" and order.index(level) < order.index(Durability(wanted)):
        raise ConfigError(
            f"REQUIRE_DURABILITY={wanted}: this store promises {level.value} for an acknowledged submit; "
            "lower the requirement or use a store that promises more"
        )
