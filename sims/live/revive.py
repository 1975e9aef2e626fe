"""A process that is killed, and started again as it was: same program, arguments, folder, environment, output."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .ports import Target, connections

GONE_S = 5.0
LOOK_S = 0.01


@dataclass(frozen=True, slots=True)
class Life:
    """What it takes to start it again; read while it lives."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    output: str


def life_of(pid: int) -> Life:
    """Raises: OSError."""
    proc = Path(f"/proc/{pid}")
    arguments = [part.decode() for part in (proc / "cmdline").read_bytes().split(b"\0")[:-1]]
    pairs = [part.decode(errors="surrogateescape").partition("=") for part in (proc / "environ").read_bytes().split(b"\0") if part]
    output = os.readlink(proc / "fd/2")
    return Life(
        [os.readlink(proc / "exe"), *arguments[1:]] if "/" not in arguments[0] else arguments, os.readlink(proc / "cwd"),
        {name: value for name, _, value in pairs}, output if output.startswith("/") and os.path.exists(output) else os.devnull,
    )  # fmt: skip


def kill(target: Target) -> None:
    """SIGKILL; returns when it is gone, or a zombie that its parent has not looked at."""
    os.kill(target.pid, signal.SIGKILL)
    end = time.monotonic() + GONE_S
    while _is_alive(target.pid) and time.monotonic() < end:
        time.sleep(LOOK_S)


def start_again(life: Life, target: Target) -> int:
    """Its new process id; 0: somebody else (a supervisor) has done so already."""
    if any(one.is_listening and one.local.port == target.door.port for one in connections()):
        return 0
    with open(life.output, "ab") as output:
        process = subprocess.Popen(
            life.arguments, cwd=life.folder, env=life.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    return process.pid


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
