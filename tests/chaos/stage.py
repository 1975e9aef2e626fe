"""All that a chaos run consists of: the folder, the sink, the nodes and the load, each a process of its own, ended on every way out.

    F/h/          histories, a file per actor          F/data/       the node's data folder
    F/sink        the sink's socket                    F/node.log    of all lives of the node

Nodes that share a queue have a folder each (F/n1, F/n2 ...) and servers in common (servers.py). The nodes, the sink and the load end when
their stdin does, so also when the runner is killed.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from sims.sink import spawn_sink
from tests.chaos.jobs import SLOTS
from tests.chaos.planted import STORE_VARIABLE
from tests.chaos.processes import Grip, children_of, grips_on, number_of, until_all_ended
from tests.chaos.servers import Servers
from tests.chaos.tasks import FOLDER_VARIABLE
from tests.system.running import PING_LIMIT_S, ROOT, DidNotStart, RunningNode, clean_environment
from zjp import Client

NODE = "chaos"
GRACE_S = 2.0
LOAD_END_LIMIT_S = 30.0
ORPHAN_LIMIT_S = 10.0

SETTINGS: dict[str, Any] = {
    "worker_count": SLOTS,
    "queues": "default:3,side:1",
    "lease_duration": "5s",
    "shutdown_grace": f"{GRACE_S:g}s",
    "cancel_grace": "300ms",
    "max_retries": 3,
    "retry_base_delay": "100ms",
    "retry_max_delay": "500ms",
    "log_level": "info",
}

SHAPES: tuple[dict[str, Any], ...] = (
    {"worker_processes": 4, "app": "tests.chaos.tasks:plain", "load_balancer_strategy": "round_robin", "worker_max_jobs": 0},
    {"worker_processes": 2, "app": "tests.chaos.tasks:app", "load_balancer_strategy": "least_loaded", "worker_max_jobs": 0},
    {"worker_processes": 4, "app": "tests.chaos.tasks:app", "load_balancer_strategy": "priority", "worker_max_jobs": 150},
    {"worker_processes": 3, "app": "tests.chaos.tasks:app", "load_balancer_strategy": "random", "worker_max_jobs": 0},
)
"""Each life of the node takes the next: processes with one slot and with several, inline, threads and coroutines, every strategy."""


SHARED_LEASE_S = 3.0
SHARED_SETTINGS: dict[str, Any] = {"lease_duration": f"{SHARED_LEASE_S:g}s", "mongodb_timeout": "3s"}
SHARED_SHAPES: tuple[dict[str, Any], ...] = tuple(shape | {"worker_processes": 2} for shape in SHAPES)
"""Of nodes that share a queue: there are more of them, and the machine is the same."""


def spawn_recorded(arguments: Sequence[str], run: Path, log_path: Path, store: str = "") -> subprocess.Popen[bytes]:
    """A node whose store is recorded into the run's folder. It lives as long as its stdin stays open."""
    environment = clean_environment({FOLDER_VARIABLE: str(run), STORE_VARIABLE: store})
    with log_path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.node", *arguments], cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.PIPE,
            env=environment,
        )  # fmt: skip


class ChaosNode(RunningNode):
    """A recorded node. `children` are its worker processes, by number. `run`: the folder of the run, `folder`: its own."""

    def __init__(self, run: Path, folder: Path, name: str, store: str, *, shapes: Sequence[dict[str, Any]], **settings: object) -> None:
        super().__init__(folder, node_id=name, **settings)
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self._run, self._store, self._shapes = run, store, shapes
        self._lives = 0

    def launch(self, **settings: object) -> None:
        assert not self.is_running, "the node is running already; stop or kill it first"
        self._let_go()
        self._flags |= {**self._shapes[self._lives % len(self._shapes)], **settings}
        self._lives += 1
        if self.address:
            self._flags["zmq_bind"] = self.address
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._process = spawn_recorded(self._arguments(), self._run, self.log_path, self._store)
        self.number = number_of(self._process.pid)

    def has_started(self) -> bool:
        """After `launch`: whether it answers by now. Raises: DidNotStart."""
        code = self._running().poll()
        if code is not None:
            raise DidNotStart(code, self._present_log())
        if not self.events("node.started"):
            return False
        with Client(self.address, timeout=PING_LIMIT_S) as client:
            return self._answers(client)

    @property
    def processes(self) -> int:
        """Worker processes that the present life keeps ready."""
        return int(str(self._flags["worker_processes"]))

    @property
    def history_path(self) -> Path:
        """Of the present life. Not there before its store is made."""
        return self._run / "h" / f"n{self.number}.jsonl"

    def children(self) -> list[int]:
        return children_of(self.pid)

    def grips(self) -> list[Grip]:
        """On its worker processes."""
        return grips_on(self.children())

    def signal(self, number: int) -> None:
        self._running().send_signal(number)

    def end(self) -> None:
        """At once, also when it is stopped. Its worker processes die by themselves."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._let_go()

    def _let_go(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


class Stage:
    """`with Stage(folder, ...) as stage`: sink, servers and nodes run; `start_load`, `stop_load`. `servers`: what several nodes share."""

    def __init__(
        self, folder: Path, *, seed: int, store: str = "", busy: float, stretch: float, servers: Servers | None = None, node_count: int = 1
    ) -> None:
        self.folder = folder
        self.histories = folder / "h"
        self.histories.mkdir(parents=True, exist_ok=True)
        self.servers = servers
        self._store = store
        self._node_count = node_count
        self.nodes: list[ChaosNode] = []
        self._wishes = ["--seed", str(seed), "--busy", str(busy), "--stretch", str(stretch)]
        self._sink: subprocess.Popen[bytes] | None = None
        self._load: subprocess.Popen[bytes] | None = None

    @property
    def addresses(self) -> list[str]:
        return [node.address for node in self.nodes]

    def __enter__(self) -> Stage:
        try:
            # FULL would spend the disk's syncs on the sink; it is never cut off.
            self._sink = spawn_sink(self.folder / "sink", self.folder / "sink.db", self.histories / "sink.jsonl", synchronous="OFF")
            if self.servers is not None:
                self.servers.start()
            self.nodes = self._make_nodes(self.servers)
            for node in self.nodes:
                node.start()
        except BaseException:
            self._end_all()
            raise
        return self

    def _make_nodes(self, servers: Servers | None) -> list[ChaosNode]:
        if servers is None:
            return [ChaosNode(self.folder, self.folder, NODE, self._store, shapes=SHAPES, **SETTINGS)]
        settings = SETTINGS | SHARED_SETTINGS | servers.settings
        names = [f"n{number}" for number in range(1, self._node_count + 1)]
        return [ChaosNode(self.folder, self.folder / name, name, self._store, shapes=SHARED_SHAPES, **settings) for name in names]

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self._end_all()

    def start_load(self) -> None:
        command = [sys.executable, "-m", "tests.chaos.load", "--address", ",".join(self.addresses), "--folder", str(self.folder)]
        if self.servers is not None:
            command.append("--quick")
        self._load = subprocess.Popen(
            [*command, *self._wishes], cwd=ROOT, stdin=subprocess.PIPE, env=clean_environment(), start_new_session=True
        )

    def stop_load(self) -> None:
        """Let every producer finish its call. Raises: AssertionError when one failed."""
        load = self._load
        assert load is not None, "the load was not started"
        assert load.stdin is not None
        load.stdin.close()
        code = load.wait(LOAD_END_LIMIT_S)
        assert code == 0, f"the load ended with exit code {code}: see its error output above"

    def _end_all(self) -> None:
        grips = [grip for node in self.nodes if node.is_running for grip in node.grips()]
        for node in self.nodes:
            node.end()
        for process in (self._load, self._sink):
            if process is not None:
                process.kill()
                process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        with contextlib.suppress(OSError):
                            pipe.close()
        if self.servers is not None:
            self.servers.stop()
        for grip in grips:
            if not grip.wait(1.0):  # it should have died with its node; the judge has been told
                grip.send(signal.SIGKILL)
        until_all_ended(grips, ORPHAN_LIMIT_S)
