"""A mesh with keys whose stores are recorded, on one Redis and a Mongo-wire server, with a sink and a load at a constant rate.

    F/h/         histories, a file per actor         F/a, F/b ...    folders of the nodes
    F/sink       the sink's socket                   F/redis         the queue's file

Mongo keeps its records in memory, as in a file each would cost it ten times as much and the machine would be measured with it. So it goes
away as a cut network takes it: a fault proxy stands before it, which ends its connections and refuses all others (`cut_mongo`).

All processes but the servers end when their stdin does, so also when the runner is killed; the servers end with it by themselves.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from scripts.mongo_server import MongoServer
from scripts.redis_server import RedisServer
from sims.sink import spawn_sink
from tests.chaos.processes import children_of, number_of, pid_of
from tests.chaos.servers import DATABASE, Proxy
from tests.chaos.stage import spawn_recorded
from tests.chaos.steady.load import Asked, Told
from tests.cluster.stage import Stage, StageNode
from tests.system.running import ROOT, clean_environment

WORKERS = 2
"""Of each node, processes of their own with one slot each."""
LEASE_S = 3.0
LOAD_END_LIMIT_S = 60.0
SETTINGS: dict[str, Any] = {
    "app": "tests.chaos.steady.tasks:app", "worker_count": WORKERS, "worker_processes": WORKERS, "lease_duration": f"{LEASE_S:g}s",
    "mongodb_database": DATABASE, "log_level": "info",
}  # fmt: skip


class SteadyNode(StageNode):
    """A recorded one."""

    def launch(self, **settings: object) -> None:
        assert not self.is_running, "the node is running already; stop or kill it first"
        self._let_go()
        self._flags |= settings
        self.folder.mkdir(parents=True, exist_ok=True)
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._process = spawn_recorded(self._arguments(), self.folder.parent, self.log_path)

    def numbers(self) -> list[int]:
        """Of the node's process, then of its workers'."""
        return [number_of(self.pid), *children_of(self.pid)]

    def kill(self) -> None:
        super().kill()
        self._let_go()

    def _let_go(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


class SteadyStage(Stage):
    """`start_load`, `stop_load` while it is entered."""

    node_class = SteadyNode

    def __init__(
        self, folder: Path, redis: RedisServer, mongo: MongoServer, gate: Proxy | None, sink_pid: int, algorithm: str, count: int
    ) -> None:
        uri = mongo.uri if gate is None else f"mongodb://{gate.address}"
        super().__init__(folder, redis, algorithm, count, mongodb_uri=uri, **SETTINGS)
        self.folder, self.redis, self.mongo, self._gate, self._sink_pid = folder, redis, mongo, gate, sink_pid
        self.prefix_of_keys = f"{{zjp:{self.cluster}}}:"
        self._load: subprocess.Popen[bytes] | None = None

    def start_load(self, rate: float, effects_each: int, seed: int) -> None:
        command = [
            sys.executable, "-m", "tests.chaos.steady.load", "--addresses", ",".join(self.addresses.values()),
            "--key-file", str(self.key_file), "--server-keys", self.server_keys, "--folder", str(self.folder),
            "--rate", f"{rate:g}", "--effects-each", str(effects_each), "--seed", str(seed),
        ]  # fmt: skip
        self._load = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, env=clean_environment(), start_new_session=True)

    def stop_load(self) -> tuple[Told, list[Asked]]:
        """Once all its calls are answered. Raises: AssertionError when it failed."""
        load = self._load
        assert load is not None, "the load was not started"
        assert load.stdin is not None
        load.stdin.close()
        code = load.wait(LOAD_END_LIMIT_S)
        assert code == 0, f"the load ended with exit code {code}: see its error output above"
        told = msgspec.json.decode((self.folder / "load.json").read_bytes(), type=Told)
        return told, msgspec.json.Decoder(Asked).decode_lines((self.folder / "asked.jsonl").read_bytes())

    def cut_mongo(self) -> None:
        self._mongo_gate.say("refuse")
        self._mongo_gate.say("cut")

    def heal_mongo(self) -> None:
        self._mongo_gate.say("heal")

    @property
    def _mongo_gate(self) -> Proxy:
        assert self._gate is not None, "say so when the stage is made: can_cut_mongo=True"
        return self._gate

    def pids(self) -> list[tuple[str, int]]:
        """(role, pid) of all but the nodes and their workers."""
        assert self._load is not None, "the load was not started"
        java = [pid_of(number) for number in children_of(os.getpid()) if _name_of(pid_of(number)) == "java"]
        own = [("Redis", self.redis.pid), ("sink", self._sink_pid), ("producer", self._load.pid), ("this runner", os.getpid())]
        return [*own, *(("Mongo", pid) for pid in java)]

    def close(self) -> None:
        if self._load is not None:
            self._load.kill()
            self._load.wait()
        super().close()


@contextlib.contextmanager
def steady_stage(folder: Path, algorithm: str, count: int, *, can_cut_mongo: bool) -> Iterator[SteadyStage]:
    """All of it, up to the load. Raises: NotInstalled, Missing, NotInTime."""
    (folder / "h").mkdir(parents=True, exist_ok=True)
    (folder / "redis").mkdir(exist_ok=True)
    redis = RedisServer(options={"appendonly": "yes", "appendfsync": "everysec"}, folder=folder / "redis")
    mongo = MongoServer(is_long_lived=True)
    with ExitStack() as stack:
        redis.start()
        stack.callback(redis.stop)
        mongo.start()
        stack.callback(mongo.kill)
        # FULL would spend the disk's syncs on the sink; it is never cut off.
        sink = spawn_sink(folder / "sink", folder / "sink.db", folder / "h" / "sink.jsonl", synchronous="OFF")
        stack.callback(_end, sink)
        gate = Proxy(mongo.uri.removeprefix("mongodb://")) if can_cut_mongo else None
        if gate is not None:
            stack.callback(gate.stop)
        stage = SteadyStage(folder, redis, mongo, gate, sink.pid, algorithm, count)
        stack.enter_context(stage)
        yield stage


def _name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
