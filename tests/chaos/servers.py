"""The servers that the nodes of a chaos run share: Redis, the Mongo-wire server when it is wanted, and a fault proxy in front of each.

    node ── proxy ── redis-server        `always`, its files in memory where the system has such a folder: with `everysec` Redis answers
                                         before it writes while a sync is under way, so on a slow disk a kill -9 takes what it acknowledged
    node ── proxy ── Mongo-wire server   in memory, away as a cut network takes it: on a file it forgets minutes when it is killed, and
                                         from 70,000 documents on answers nothing in time

The runner itself speaks to both past the proxies, so that it can heal what they did.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from scripts.mongo_server import MongoServer
from scripts.redis_server import RedisServer
from tests.system.running import ROOT, clean_environment

DATABASE = "chaos"
END_LIMIT_S = 5.0
MEMORY = Path("/dev/shm")


class Proxy:
    """`sims.proxy` as a process of its own, which ends with this one. `say` a verb as its documentation names them."""

    def __init__(self, upstream: str) -> None:
        command = [sys.executable, "-m", "sims.proxy", "--upstream", upstream]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment()
        )
        self.address = self._hear().removeprefix("listening ")

    def say(self, verb: str, **knobs: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"verb": verb, **knobs}) + "\n")
        self._process.stdin.flush()
        answer = self._hear()
        assert answer == "ok", answer

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(END_LIMIT_S)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Servers:
    """`start`, then `settings` for the nodes; `stop` at the end, whatever is up: what Redis kept is in `folder` then.

    Raises on start: NotInstalled, Missing.
    """

    def __init__(self, folder: Path, *, has_mongo: bool) -> None:
        self._folder = folder / "redis"
        self._files = tempfile.TemporaryDirectory(prefix="redis-", dir=MEMORY if MEMORY.is_dir() else None)
        self.redis = RedisServer(options={"appendonly": "yes", "appendfsync": "always"}, folder=Path(self._files.name))
        self.mongo = MongoServer(is_long_lived=True) if has_mongo else None
        self.proxy: Proxy | None = None
        self.mongo_proxy: Proxy | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """Of every node."""
        assert self.proxy is not None, "start() comes first"
        found: dict[str, Any] = {"redis_addr": self.proxy.address}
        if self.mongo_proxy is not None:
            found |= {"mongodb_uri": f"mongodb://{self.mongo_proxy.address}", "mongodb_database": DATABASE}
        return found

    def start(self) -> None:
        self.redis.start()
        self.proxy = Proxy(f"127.0.0.1:{self.redis.port}")
        if self.mongo is not None:
            self.mongo.start()
            self.mongo_proxy = Proxy(self.mongo.uri.removeprefix("mongodb://"))

    def stop(self) -> None:
        for proxy in (self.proxy, self.mongo_proxy):
            if proxy is not None:
                proxy.stop()
        self.redis.stop()
        with self._files as files:
            shutil.copytree(files, self._folder, ignore=shutil.ignore_patterns("*.sock"))
        if self.mongo is not None:
            self.mongo.kill()
