"""The node that the demo runs: `python -m zjp.node` on a temporary folder and a port of the system's choice, ended on every way out."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..config import TABLE, inherited_environment
from ..errors import NodeUnreachable

START_LIMIT_S = 20.0
STOP_LIMIT_S = 5.0
LOOK_EVERY_S = 0.02

CLUSTER = "zjp-demo"

SETTINGS: Mapping[str, str | int] = {
    "cluster_name": CLUSTER,
    "zmq_bind": "tcp://127.0.0.1:*",
    "api_enabled": "false",
    "worker_processes": 2,
    "worker_count": 4,
    "shutdown_grace": "1s",
    "log_format": "json",
    "log_level": "info",
}


@contextlib.contextmanager
def running_node(folder: Path, app: str) -> Iterator[str]:
    """Its address. `folder` holds everything it writes. Raises: NodeUnreachable with the end of its log."""
    config, log = folder / "demo.toml", folder / "node.log"
    settings = {**SETTINGS, "app": app, "data_dir": str(data_folder(folder))}
    config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
    with log.open("wb") as output, _ended_by_signals():
        # A session of its own: a Ctrl-C at the terminal reaches this process only, which then ends the node in order.
        process = subprocess.Popen(
            [sys.executable, "-m", "zjp.node", "--config", str(config)], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env=_environment(), start_new_session=True,
        )  # fmt: skip
        try:
            yield _address(process, log)
        finally:
            _end(process)


def data_folder(folder: Path) -> Path:
    return folder / "data"


def _environment() -> dict[str, str]:
    """Without any setting of zjp: the demo is the same wherever it runs."""
    inherited = inherited_environment()
    return {name: text for name, text in inherited.items() if not name.startswith("ZJP_") and name not in TABLE}


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        for line in log.read_bytes().splitlines(keepends=True):
            if b'"node.started"' in line and line.endswith(b"\n"):
                return str(json.loads(line)["address"])
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(LOOK_EVERY_S)
            raise NodeUnreachable(f"the node ended with exit code {code} before it was up:\n{_tail(log)}")
    raise NodeUnreachable(f"the node was not up after {START_LIMIT_S:g} s:\n{_tail(log)}")


def keep_log(folder: Path) -> Path:
    """A copy that outlives the folder."""
    kept = folder.with_name(f"{folder.name}.log")
    shutil.copyfile(folder / "node.log", kept)
    return kept


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its worker processes die with it."""
    process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """TERM and HUP end the demo as Ctrl-C does, through every `finally`."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def send_signal(pid: int, number: int) -> bool:
    """False: the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
