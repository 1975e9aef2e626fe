"""A real API process for tests, in front of a real node: `python -m zjp.api --from-node`, on free ports.

It is started as the node starts it, by a message on its standard input; `hang_up` is the node's end.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import httpx

from tests.system.running import ROOT, DidNotStart, RunningNode, clean_environment
from zjp.api.start import frame

START_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0


class RunningApi:
    """`settings`: field name -> text, as the start message has them."""

    def __init__(self, folder: Path, address: str, *, gate: bytes = b"", **settings: str) -> None:
        self.log_path = folder / "api.log"
        self.port = self.metrics_port = 0
        self._settings = {
            "server_port": "0",
            "metrics_port": "0",
            "log_format": "json",
            "data_dir": str(folder / "api-data"),
            **settings,
        }
        self._message = {"address": address, "gate": gate, "node": "", "settings": self._settings}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> RunningApi:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "zjp.api", "--from-node"], cwd=ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log, bufsize=0,
                env=clean_environment(),
            )  # fmt: skip
        self.tell(self._message)
        end = time.monotonic() + START_LIMIT_S
        while not self.events("api.listening"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(0.01)
                self.kill()
                raise DidNotStart(code, self.log_text())
            if time.monotonic() > end:
                self.kill()
                raise DidNotStart(None, self.log_text())
        told = self.events("api.listening")[-1]
        self.port, self.metrics_port = told["port"], told["metrics_port"]
        return self

    def tell(self, message: Mapping[str, Any]) -> None:
        pipe = self._pipe()
        pipe.write(frame(message))

    def hang_up(self) -> int:
        """The node is gone; the exit code."""
        self._pipe().close()
        assert self._process is not None
        return self._process.wait(STOP_LIMIT_S)

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_LIMIT_S)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._pipe().close()

    def __enter__(self) -> RunningApi:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20.0, trust_env=False, **options)

    def log_text(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [
            json.loads(line) for line in self.log_text().splitlines() if line.startswith("{") and line.endswith("}")
        ]
        return [line for line in lines if line["event"] == name]

    def _pipe(self) -> IO[bytes]:
        assert self._process is not None
        assert self._process.stdin is not None
        return self._process.stdin


@contextlib.contextmanager
def node_and_api(
    folder: Path, app: str = "tests.api.tasks:app", **settings: str
) -> Iterator[tuple[RunningNode, RunningApi]]:
    """One of each; the API has what it takes to speak for admins: a plain connection on this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        RunningNode(folder, app=app, worker_count=4, worker_processes=2) as node,
        RunningApi(folder, node.address, **settings) as api,
    ):
        yield node, api
