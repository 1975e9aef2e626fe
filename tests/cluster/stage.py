"""Some real nodes on one real Redis, with keys, each in a network of its own or all on loopback, and a witness at the store.

    with Stage(folder, redis, "raft", 3, network) as stage:
        leader = stage.agreed()
        stage.kill(leader.leader)
        follower = stage.agreed(stage.but(leader.leader), above=leader.epoch)

All that is done to nodes is noted in `acts`, for the judge. Nothing here decides whether what follows is right.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import redis as redis_py

from scripts.redis_server import RedisServer
from tests.cluster.late import LateDoors
from tests.cluster.netns import Network
from tests.cluster.watch import Agreed, Watch
from tests.system.running import RunningNode, first
from zjp import Client, Job
from zjp.job import parse_id
from zjp.schedule import tick_of
from zjp.transport.curve import AUTHORIZED, NODE_KEY, Holder, KeyRole, authorize, make_folder, make_pair, write_pair

APP = "tests.fakes:app"
ALGORITHMS = ("bully", "raft", "gossip")
PORT = 5570
"""In a namespace nobody else listens."""
CLUSTER = "live"
LEAD_KEY = f"{{zjp:{CLUSTER}}}:lead"
SAMPLE_S = 0.01
START_S = 60.0
AGREE_S = 30.0
"""Enough for a machine that is busy; how long it took is told, and judged elsewhere."""
WATCHER = "watcher"
BEAT = "beat"


@dataclass(frozen=True, slots=True)
class Act:
    """What was done to whom, in Unix seconds. `node` "": to all."""

    at: float
    kind: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """The leadership in the store: as changed since the sample before."""

    at: float
    epoch: int
    owner: str


class StoreLooker:
    """Looks into the store again and again, in a thread: `start`, `stop`. What it does with what it sees is `look`."""

    def __init__(self, unix_socket: str, name: str, every_s: float) -> None:
        self._store = redis_py.Redis(unix_socket_path=unix_socket, decode_responses=True)
        self._every_s = every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def look(self) -> None:
        """Raises: RedisError, when the store is away; then nothing is seen."""
        raise NotImplementedError

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()
        self._store.close()

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            with contextlib.suppress(redis_py.RedisError):
                self.look()


class Witness(StoreLooker):
    """Looks at the store's lead key; keeps what has changed."""

    def __init__(self, unix_socket: str) -> None:
        super().__init__(unix_socket, "witness", SAMPLE_S)
        self.samples: list[Sample] = []
        self._before = (0, "")

    def installed(self) -> Sample:
        epoch, owner = self._store.hmget(LEAD_KEY, "epoch", "owner")  # type: ignore[misc]
        return Sample(time.time(), int(epoch or 0), owner or "")

    def look(self) -> None:
        seen = self.installed()
        if (seen.epoch, seen.owner) != self._before:
            self._before = (seen.epoch, seen.owner)
            self.samples.append(seen)


class StageNode(RunningNode):
    """`prefix`: what leads into its network."""

    prefix: Sequence[str] = ()

    def _program(self) -> list[str]:
        return [*self.prefix, *super()._program()]


class Stage:
    """`network` None: all on loopback; `prefix`: in the one namespace that it leads into, which `client` does not reach.
    `late`: nodes reach each other through these."""

    node_class: type[StageNode] = StageNode

    def __init__(
        self, folder: Path, redis: RedisServer, algorithm: str, count: int, network: Network | None = None, *,
        prefix: Sequence[str] = (), late: LateDoors | None = None, **settings: object,
    ) -> None:  # fmt: skip
        self.algorithm, self.network = algorithm, network
        self.store_url, self.cluster = redis.unix_url, CLUSTER
        self.names = [chr(ord("a") + number) for number in range(count)]
        self.acts: list[Act] = []
        self._folder, self.prefix = folder, list(prefix)
        self._keys = {name: make_pair(name) for name in [*self.names, WATCHER]}
        self.addresses = {name: self._address(number) for number, name in enumerate(self.names)}
        self._doors = self.addresses if late is None else {name: late.before(address) for name, address in self.addresses.items()}
        self.nodes = {name: self._node(name, redis, settings) for name in self.names}
        self.watch = Watch({name: node.log_path for name, node in self.nodes.items()})
        self.witness = Witness(redis.socket)

    def __enter__(self) -> Stage:
        self.witness.start()
        try:
            for name in self.names:
                self.nodes[name].launch()
            for name in self.names:
                self._await_start(name)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for node in self.nodes.values():
            node.kill()
        self.watch.look()
        self.witness.stop()

    # ── deeds ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def kill(self, name: str) -> Act:
        act = self._act("kill", name)
        self.nodes[name].kill()
        self.watch.forget(name)
        return act

    def restart(self, name: str) -> None:
        self._act("start", name)
        self.nodes[name].launch()
        self._await_start(name)

    def pause(self, name: str) -> Act:
        act = self._act("stop", name)
        os.kill(self.nodes[name].pid, signal.SIGSTOP)
        return act

    def go_on(self, name: str) -> Act:
        act = self._act("go on", name)
        os.kill(self.nodes[name].pid, signal.SIGCONT)
        return act

    def cut(self, name: str, *, mutes: bool = True, deafens: bool = True) -> Act:
        assert self.network is not None, "there is nothing to cut on loopback"
        act = self._act("cut" if mutes and deafens else "mute" if mutes else "deafen", name)
        self.network.isolate(self.names.index(name), mutes=mutes, deafens=deafens)
        return act

    def lose(self, percent: int) -> Act:
        assert self.network is not None
        act = self._act(f"lose {percent} %")
        self.network.lose(percent)
        return act

    def heal(self) -> Act:
        assert self.network is not None
        self.network.heal()
        return self._act("heal")

    def schedule(self, task: str = "noop") -> None:
        """A tick a second, all of which must fire."""
        with self.client() as client:
            client.schedules.add(BEAT, task, every="1s", catch_up="all")

    def ticks(self, within_s: float = AGREE_S) -> list[int]:
        """The seconds of all jobs that the schedule made, once the latest of them have completed. No tick fires afterwards."""
        self.pause_schedule()
        with self.client() as client:
            first(lambda: True if all(job.status == "completed" for job in self._beats(client)) else None, within_s, "ticks complete")
            return [tick_of(parse_id(job.id)) // 1000 for job in self._beats(client)]

    def pause_schedule(self) -> int:
        """Returns the second in which that was."""
        with self.client() as client:
            client.schedules.pause(BEAT)
        return int(time.time())

    @staticmethod
    def _beats(client: Client) -> list[Job]:
        return list(client.jobs(tag=f"schedule:{BEAT}"))

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def but(self, *names: str) -> list[str]:
        return [name for name in self.names if name not in names]

    def agreed(self, names: Iterable[str] | None = None, *, above: int = 0, within_s: float = AGREE_S) -> Agreed:
        """Waits for it. Raises: NotInTime."""
        asked = list(self.names if names is None else names)
        what = f"{self.algorithm}: {', '.join(asked)} agree on a leader in office above epoch {above}"
        return first(lambda: self.watch.agreed(asked, above), within_s, what)

    @contextlib.contextmanager
    def client(self, timeout: float = 10.0) -> Iterator[Client]:
        """That knows all nodes."""
        with Client(
            *self.addresses.values(), cluster=CLUSTER, key_file=self.key_file, server_key=self.server_keys, timeout=timeout
        ) as client:
            yield client

    @property
    def key_file(self) -> Path:
        """Of who may ask all nodes everything."""
        return self._folder / f"{WATCHER}.key"

    @property
    def server_keys(self) -> str:
        return ",".join(self._keys[name].public.hex() for name in self.names)

    # ── making ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _address(self, number: int) -> str:
        if self.network is not None:
            return f"tcp://{self.network.address(number)}:{PORT}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return f"tcp://127.0.0.1:{probe.getsockname()[1]}"

    def _node(self, name: str, redis: RedisServer, settings: dict[str, object]) -> StageNode:
        folder = self._folder / name
        curve = folder / "keys"
        make_folder(curve)
        self._write_keys(curve, name)
        seeds = ",".join(address for other, address in self._doors.items() if other != name)
        node = self.node_class(
            folder, **{
                "app": APP, "node_id": name, "cluster_name": CLUSTER, "redis_addr": redis.unix_url, "zmq_bind": self.addresses[name],
                "cluster_seeds": seeds, "cluster_size": len(self.names), "election_algorithm": self.algorithm,
                "curve_enabled": True, "curve_dir": curve, "worker_count": 1, "worker_processes": 1, "lease_duration": "3s",
                **({} if self._doors is self.addresses else {"zmq_advertise": self._doors[name]}), **settings,
            }
        )  # fmt: skip
        node.prefix = self.prefix if self.network is None else self.network.command(self.names.index(name))
        return node

    def _write_keys(self, folder: Path, name: str) -> None:
        write_pair(folder / NODE_KEY, self._keys[name])
        for other, pair in self._keys.items():
            role = KeyRole.ADMIN if other == WATCHER else KeyRole.NODE
            if other != name:
                authorize(folder / AUTHORIZED, Holder(pair.name, role, pair.public))
        if not self.key_file.exists():
            write_pair(self.key_file, self._keys[WATCHER])

    def _await_start(self, name: str) -> None:
        node = self.nodes[name]

        def has_started() -> bool | None:
            assert node.is_running, f"{name} ended:\n{node.log_text()[-4000:]}"
            return True if node.events("node.started") else None

        first(has_started, START_S, f"{name} starts")

    def _act(self, kind: str, name: str = "") -> Act:
        act = Act(time.time(), kind, name)
        self.acts.append(act)
        return act

