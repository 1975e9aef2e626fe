"""A node whose queue is in Redis, and the server's folder on the disk that loses its power; the node's own DATA_DIR lies elsewhere.

Server and node die together, as on one machine. Records lie in the same Redis, so what had been told as finished is Redis's to remember.
"""

from __future__ import annotations

from pathlib import Path

from tests.power.redis_queue import RedisQueue
from tests.power.sqlite_node import SQLiteNode


class RedisNode(SQLiteNode):
    """`appendfsync`: always or everysec."""

    def __init__(self, folder: Path, appendfsync: str) -> None:
        super().__init__(folder)
        self._folder = folder
        self._redis = RedisQueue(appendfsync)

    def start(self, disk: Path) -> None:
        self._redis.start(disk)
        self._start(data_dir=self._folder / "data", redis_addr=self._redis.url)

    def begin(self, disk: Path) -> None:
        self._redis.begin(disk)
        self._begin(data_dir=self._folder / "data", redis_addr=self._redis.url)

    def strike(self) -> None:
        self._redis.strike()
        super().strike()

    def die(self) -> None:
        self._redis.die()
        super().die()

    def stop(self) -> list[str]:
        wrong = super().stop()
        self._redis.die()
        return wrong

    def check(self, disk: Path) -> list[str]:
        return self._redis.check(disk)
