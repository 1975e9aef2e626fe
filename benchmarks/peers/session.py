"""One peer up and running: its Redis, its worker processes, its producer; what they count and what they use.

    with Session(peer) as session:
        session.freeze()
        session.ask("singly", count=1000, callers=1)
        session.thaw()
        session.until_counted(1000)

Done is counted the same way for all (sides/tally.py): each job adds one to a number in a mapped file.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from scripts.redis_server import DURABLE, RedisServer

from .installing import HERE, bin_folder, interpreter
from .peer import Peer
from .processes import families, signal_all, used_s

WARM_LIMIT_S = 40.0
COUNT_LIMIT_S = 120.0
REST_LIMIT_S = 10.0
REST_LOOK_S = 0.1
REST_SHARE = 0.15
"""At rest: all processes together use less than this share of a core. Those that poll use some for ever."""
LOOK_S = 0.005
RESTART_AFTER_S = 1.0


class Mark(NamedTuple):
    """A line of sides/tally.py: a job of `hold` started (1) or ended (2)."""

    at_ns: int
    index: int
    pid: int
    kind: int


class TookTooLong(Exception):
    """The peer did not get there within the limit."""


class Session:
    """A context: all processes end with it and its folder goes."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.folder = Path(tempfile.mkdtemp(prefix="zjp-peers-"))
        self.redis: RedisServer | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        self._producer: subprocess.Popen[bytes] | None = None
        self._groups: list[int] = []
        (self.folder / "counts").mkdir()
        self._log = (self.folder / "log").open("ab")

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> Session:
        try:
            if self.peer.uses_redis:
                (self.folder / "redis").mkdir()
                self.redis = RedisServer(options=DURABLE, folder=self.folder / "redis")
                self.redis.start()
            self.workers = [self._start(command) for command in self.peer.workers]
            self._producer = subprocess.Popen(
                self._producer_command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=self._environment(),
            )
            self._answer()
            self._warm_up()
        except BaseException as fault:
            fault.add_note(self.log_text()[-2000:])
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if fault is not None:
            fault.add_note(self.log_text()[-2000:])
        self.close()

    def close(self) -> None:
        signal_all(families(worker.pid for worker in self.workers if worker.poll() is None), signal.SIGKILL)
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError):  # what a killed supervisor left behind
                os.killpg(group, signal.SIGKILL)
        for process in self.workers:
            process.wait()
        if self._producer is not None:
            self._producer.kill()
            self._producer.communicate()
        self._log.close()
        if self.redis is not None:
            self.redis.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        filled = [
            part.format(bin=bin_folder(self.peer), python=interpreter(self.peer), folder=self.folder, port=self._port)
            for part in command
        ]
        process = subprocess.Popen(
            filled,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=self._environment(),
            cwd=self.folder,
            start_new_session=True,
        )
        self._groups.append(process.pid)
        return process

    def restart_ended(self) -> None:
        """Those commands whose first process has ended, as a supervisor would."""
        for place, worker in enumerate(self.workers):
            if worker.poll() is not None:
                self.workers[place] = self._start(self.peer.workers[place])

    def _producer_command(self) -> list[str]:
        if self.peer.go_module:
            return [str(bin_folder(self.peer) / "side"), "produce"]
        return [interpreter(self.peer), str(HERE / "sides" / "produce.py"), self.peer.side]

    def _environment(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("ZJP_", "PYTHONPATH"))}
        own = {
            "PEERS_FOLDER": str(self.folder),
            "PEERS_REDIS_PORT": self._port,
            "PEERS_ADDRESS": f"ipc://{self.folder}/door",
        }
        paths = [str(HERE / "sides"), *([str(HERE.parent.parent)] if self.peer.is_ours else [])]
        return {**kept, **own, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}

    @property
    def _port(self) -> str:
        return str(self.redis.port) if self.redis else ""

    def log_text(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _warm_up(self) -> None:
        """Until every worker process has run a job, or enough have been sent for all to have had the chance."""
        sent, deadline = 0, time.monotonic() + WARM_LIMIT_S
        while len(self._counts()) < 2 and sent < 400:
            self.ask("singly", count=20, callers=1)
            sent += 20
            self.until_counted(sent, max(1.0, deadline - time.monotonic()))

    # ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, do: str, **arguments: Any) -> float:
        """An order to the producer, carried out; the seconds it took."""
        assert self._producer is not None
        assert self._producer.stdin is not None
        self._producer.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self._producer.stdin.flush()
        return float(self._answer()["s"])

    def _answer(self) -> dict[str, Any]:
        assert self._producer is not None
        assert self._producer.stdout is not None
        line = self._producer.stdout.readline()
        if not line:
            raise RuntimeError(f"the producer of {self.peer.name} ended")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def freeze(self) -> None:
        """From now on jobs only wait."""
        if self.peer.pauses_queue:
            self.ask("pause")
        else:
            signal_all(self.worker_pids(), signal.SIGSTOP)

    def thaw(self) -> None:
        if self.peer.pauses_queue:
            self.ask("resume")
        else:
            signal_all(self.worker_pids(), signal.SIGCONT)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def worker_pids(self) -> list[int]:
        return families(worker.pid for worker in self.workers)

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far by part. `workers` are all processes of the peer but its producer; zjp's node is told apart."""
        assert self._producer is not None
        workers = self.worker_pids()
        node = [self.workers[0].pid] if self.peer.is_ours else []
        return {
            "producer": used_s([self._producer.pid]),
            "redis": used_s([self.redis.pid]) if self.redis else 0.0,
            "node": used_s(node),
            "workers": used_s(set(workers) - set(node)),
        }

    def _counts(self) -> list[int]:
        return [int.from_bytes(path.read_bytes(), "little") for path in (self.folder / "counts").iterdir()]

    def counted(self) -> int:
        return sum(self._counts())

    def until_counted(self, target: int, limit_s: float = COUNT_LIMIT_S) -> float:
        """The monotonic time at which so many jobs had run. Raises: TookTooLong."""
        deadline = time.monotonic() + limit_s
        while (count := self.counted()) < target:
            if time.monotonic() > deadline:
                raise TookTooLong(f"{self.peer.name}: {count} of {target} jobs ran within {limit_s:.0f} s")
            time.sleep(LOOK_S)
        return time.monotonic()

    def until_at_rest(self) -> None:
        """What was left to do after the last job had run (acknowledging, records) is done; at most REST_LIMIT_S."""
        deadline = time.monotonic() + REST_LIMIT_S
        calm, used = 0, sum(self.cpu().values())
        while calm < 3 and time.monotonic() < deadline:
            time.sleep(REST_LOOK_S)
            now = sum(self.cpu().values())
            calm = calm + 1 if now - used < REST_SHARE * REST_LOOK_S else 0
            used = now

    def waits_ms(self) -> list[float]:
        path = self.folder / "waits"
        lines = path.read_bytes() if path.exists() else b""
        return sorted(ns / 1e6 for (ns,) in struct.iter_unpack("<q", lines))

    def marks(self) -> list[Mark]:
        path = self.folder / "marks"
        return [Mark(*fields) for fields in struct.iter_unpack("<qqii", path.read_bytes())] if path.exists() else []


@contextlib.contextmanager
def costs(session: Session, jobs: int) -> Iterator[dict[str, float]]:
    """CPU us per job by part, from here until all is at rest, in the map given."""
    before, found = session.cpu(), dict[str, float]()
    yield found
    session.until_at_rest()
    after = session.cpu()
    found |= {f"{part}_us": (after[part] - before[part]) / jobs * 1e6 for part in after}
    found["total_us"] = sum(found.values())
