"""Which queue and which records a node has, by its settings. Makes them; opening and closing them is the node's.

    nothing set    queue and records embedded, SQLite files in DATA_DIR
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..config import Settings
from ..errors import ConfigError
from ..queue.sqlite import SQLiteQueueStore
from ..queue.store import Durability, FinishedLookup, QueueStore
from ..records.sqlite import SQLiteRecordStore
from ..records.store import RecordStore


def make_records(
    settings: Settings, folder: Path, *, embedded: Callable[..., RecordStore] = SQLiteRecordStore
) -> RecordStore:
    """`folder`: DATA_DIR. `embedded`: who makes the SQLite store."""
    return embedded(folder / "records.db", ttl_s=settings.records_ttl_s)


def make_queue(
    settings: Settings,
    folder: Path,
    finished: FinishedLookup,
    *,
    embedded: Callable[..., QueueStore] = SQLiteQueueStore,
) -> QueueStore:
    """`finished`: looks ids up in the records. `embedded`: who makes the SQLite store (for stores that are made to fail)."""
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
