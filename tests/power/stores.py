"""What can be put under power cuts, by name; and what a machine lacks for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.power.image import what_is_missing
from tests.power.sqlite_node import PLANTED, SQLiteNode
from tests.power.system import System


def _redis(appendfsync: str) -> Callable[[Path], System]:
    def make(_: Path) -> System:
        from tests.power.redis_queue import RedisQueue  # only where a server is: its driver may be missing with it

        return RedisQueue(appendfsync)

    return make


def _redis_node(appendfsync: str) -> Callable[[Path], System]:
    def make(folder: Path) -> System:
        from tests.power.redis_node import RedisNode

        return RedisNode(folder, appendfsync)

    return make


STORES: Mapping[str, Callable[[Path], System]] = {
    "sqlite": SQLiteNode,
    "redis-always": _redis("always"),
    "redis-everysec": _redis("everysec"),
}
PLANTED_STORES: Mapping[str, Callable[[Path], System]] = {"sqlite-normal": lambda folder: SQLiteNode(folder, PLANTED)}
"""With a bug that the judge must see."""
NODE_STORES: Mapping[str, Callable[[Path], System]] = {
    "redis-node-always": _redis_node("always"),
    "redis-node-everysec": _redis_node("everysec"),
}
"""Through a node. By name only, until a node on Redis is more than begun; then they take the place of the stores alone in `all`."""
ALL = {**STORES, **PLANTED_STORES, **NODE_STORES}


def missing_for(store: str) -> str:
    """For the reason of a skip; empty: nothing."""
    if store.startswith("redis") and shutil.which("redis-server") is None:
        return f"power cuts of {store} need redis-server"
    return what_is_missing()
