"""A real node for tests: `python -m zjp.node` as a process of its own, on a data folder and a free port of its own.

    with RunningNode(tmp_path, app="tests.system.tasks:app") as node:
        client = Client(node.address)

`start` returns when the node answers a ping (and, when it has an application, has read its tasks); nothing here sleeps to wait. The port is
the system's choice and read from the node's log, so nodes of tests that run side by side do not meet; a restart keeps it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from zjp import Client
from zjp.config import inherited_environment
from zjp.errors import ZjpError

ROOT = Path(__file__).parent.parent.parent
START_LIMIT_S = 30.0
STOP_LIMIT_S = 40.0
PING_LIMIT_S = 0.5
ANY_PORT = "tcp://127.0.0.1:*"
LOOK_S = 0.01

T = TypeVar("T")


class DidNotStart(AssertionError):
    """The node ended, or did not answer in time. `exit_code` None: it was still there."""

    def __init__(self, exit_code: int | None, log: str) -> None:
        super().__init__(f"the node did not start (exit code {exit_code}); its log:\n{log[-4000:]}")
        self.exit_code = exit_code


class RunningNode:
    """`settings` are flags: `worker_count=2`, `lease_duration="3s"`. Not started before `start` or `with`. Without the HTTP API, unless
    `api_enabled=True` is among them: then give ports as well (`server_port=0`: a free one)."""

    def __init__(self, folder: Path, app: str | None = None, **settings: object) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.log_path = folder / "node.log"
        self.address = ""
        self.client_options: dict[str, Any] = {}
        """Of every client that is made here; keys, for a node with CURVE."""
        self._flags: dict[str, object] = {
            "data_dir": self.data_dir, "zmq_bind": ANY_PORT, "log_format": "json", "api_enabled": False, **settings,
        }  # fmt: skip
        if app is not None:
            self._flags["app"] = app
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, **settings: object) -> RunningNode:
        """Start and wait until it answers. Settings given here count from now on. Raises: DidNotStart."""
        self.launch(**settings)
        try:
            self._await_answer(time.monotonic() + START_LIMIT_S)
        except BaseException:
            self.kill()
            raise
        return self

    def launch(self, **settings: object) -> None:
        """Start without waiting: for nodes that are meant to refuse."""
        assert not self.is_running, "the node is running already; stop or kill it first"
        self._flags |= settings
        if self.address:
            self._flags["zmq_bind"] = self.address
        self.folder.mkdir(parents=True, exist_ok=True)
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._program(), *self._arguments()], cwd=ROOT, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, env=clean_environment(),
            )  # fmt: skip

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Drain and wait. Returns the exit code; -SIGKILL when it did not end in time."""
        process = self._running()
        process.send_signal(number)
        try:
            return process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def kill(self) -> None:
        """SIGKILL, as a machine dies: nothing is handed back."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self, **settings: object) -> RunningNode:
        """After `stop` or `kill`: the next life, on the same folder and port."""
        if self.is_running:
            self.stop()
        return self.start(**settings)

    def wait(self, limit_s: float = START_LIMIT_S) -> int:
        """Until the process ends by itself; its exit code. Raises: subprocess.TimeoutExpired."""
        return self._running().wait(limit_s)

    def __enter__(self) -> RunningNode:
        return self if self.is_running else self.start()

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        if self.is_running:
            self.stop(signal.SIGTERM) if kind is None else self.kill()

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._running().pid

    @contextlib.contextmanager
    def client(self, **options: Any) -> Iterator[Client]:
        with Client(self.address, **self.client_options, **options) as client:
            yield client

    def stats(self) -> dict[str, Any]:
        with self.client() as client:
            return client.stats()

    def worker_pids(self) -> list[int]:
        """Of its worker processes that are ready."""
        return [worker["pid"] for worker in self.stats()["workers"] if worker["state"] == "ready"]

    def log_text(self) -> str:
        """Of all lives so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Log lines of the present life as maps; those of one event when `name` is given."""
        lines = self._present_log().splitlines()
        read = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [line for line in read if name is None or line["event"] == name]

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _program(self) -> list[str]:
        return [sys.executable, "-m", "zjp.node"]

    def _arguments(self) -> list[str]:
        return [f"--{name.replace('_', '-')}={_text(value)}" for name, value in self._flags.items()]

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the node was not started"
        return self._process

    def _present_log(self) -> str:
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _await_answer(self, deadline: float) -> None:
        pause = _Pause(self._running())
        while not self.events("node.started"):
            pause.until_something_may_have_happened(deadline, self._present_log)
        self.address = str(self.events("node.started")[-1]["address"])
        with self.client(timeout=PING_LIMIT_S) as client:
            while not self._answers(client):
                pause.until_something_may_have_happened(deadline, self._present_log)

    def _answers(self, client: Client) -> bool:
        try:
            pong = client.ping()
        except (ZjpError, TimeoutError):
            return False
        return bool(pong.tasks) or "app" not in self._flags


class _Pause:
    """A look at the process now and then: its log has no event to wait on, its end has (so a node that refuses is told at once)."""

    EVERY_S = 0.01

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def until_something_may_have_happened(self, deadline: float, log: Any) -> None:
        """Raises: DidNotStart."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise DidNotStart(self._process.wait(self.EVERY_S), log())
        if time.monotonic() > deadline:
            raise DidNotStart(None, log())


class NotInTime(AssertionError):
    """What was waited for did not come."""


def first(claim: Callable[[], T | None], within_s: float, what: str = "what was waited for") -> T:
    """What `claim` says once it says something. Raises: NotInTime."""
    end = time.monotonic() + within_s
    tick = threading.Event()
    while (said := claim()) is None:
        if time.monotonic() > end:
            raise NotInTime(f"{what}: not within {within_s:.1f} s")
        tick.wait(LOOK_S)
    return said


def await_that(claim: Callable[[], Any], within_s: float = 20.0) -> None:
    first(lambda: True if claim() else None, within_s)


def run_zjp(*arguments: str, cwd: Path = ROOT, limit_s: float = 60.0, env: Mapping[str, str] | None = None, stdin: str = "") -> Ended:
    """`zjp ARGUMENTS` as a process of its own, to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "zjp", *arguments], cwd=cwd, input=stdin, capture_output=True, text=True, timeout=limit_s,
        check=False, env=clean_environment(env),
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


class Ended:
    """How a command ended and what it said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def json(self) -> Any:
        return json.loads(self.out)

    def __repr__(self) -> str:
        return f"exit code {self.code}\nstdout: {self.out}\nstderr: {self.err}"


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours, without settings of zjp that happen to be set here, and with the checkout on the path."""
    kept = {name: text for name, text in inherited_environment().items() if not name.startswith("ZJP_")}
    path = os.pathsep.join(part for part in (str(ROOT), kept.get("PYTHONPATH", "")) if part)
    return {**kept, "PYTHONPATH": path, **(more or {})}


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
