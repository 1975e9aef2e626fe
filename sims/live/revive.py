"""A process that is killed, and started again as it was: same program, arguments, folder, environment, output."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .ports import Target, connections

GONE_S = 5.0
LOOK_S = 0.01
LISTENS_S = 10.0
"""A node on a busy machine listens within seconds; one that cannot start is gone sooner."""
SAID_BYTES_MAX = 2000


@dataclass(frozen=True, slots=True)
class Life:
    """What it takes to start it again; read while it lives."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]
    output: str


@dataclass(frozen=True, slots=True)
class Again:
    """The new life. `code`: with what it ended before anybody listened, None: it lives. `said`: its last output, if that goes to a file."""

    pid: int
    is_listening: bool
    code: int | None
    said: str


def life_of(pid: int) -> Life:
    """Raises: OSError."""
    proc = Path(f"/proc/{pid}")
    arguments = [part.decode() for part in (proc / "cmdline").read_bytes().split(b"\0")[:-1]]
    pairs = [part.decode(errors="surrogateescape").partition("=") for part in (proc / "environ").read_bytes().split(b"\0") if part]
    environment = {name: value for name, _, value in pairs}
    output = os.readlink(proc / "fd/2")
    return Life(
        [_program(proc, arguments[0], environment), *arguments[1:]], os.readlink(proc / "cwd"), environment,
        output if output.startswith("/") and os.path.exists(output) else os.devnull,
    )  # fmt: skip


def _program(proc: Path, name: str, environment: dict[str, str]) -> str:
    """A bare name is looked up as its shell did. What it leads to (`exe`) is no good first choice: behind the `python` of a virtual
    environment that is the interpreter outside it, without its packages."""
    if "/" in name:
        return name
    return shutil.which(name, path=environment.get("PATH", os.defpath)) or os.readlink(proc / "exe")


def kill(target: Target) -> None:
    """SIGKILL; returns when it is gone, or a zombie that its parent has not looked at."""
    os.kill(target.pid, signal.SIGKILL)
    end = time.monotonic() + GONE_S
    while _is_alive(target.pid) and time.monotonic() < end:
        time.sleep(LOOK_S)


def start_again(life: Life, target: Target) -> Again | None:
    """Returns when it listens, has ended, or neither within LISTENS_S. None: somebody else (a supervisor) has started it already."""
    if _has_listener(target):
        return None
    with open(life.output, "ab") as output:
        begun = os.fstat(output.fileno()).st_size
        process = subprocess.Popen(
            life.arguments, cwd=life.folder, env=life.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
    end, code = time.monotonic() + LISTENS_S, None
    while code is None and not _has_listener(target) and time.monotonic() < end:
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(LOOK_S)
    return Again(process.pid, code is None and _has_listener(target), code, _said(life.output, begun))


def _has_listener(target: Target) -> bool:
    return any(one.is_listening and one.local.port == target.door.port for one in connections())


def _said(path: str, begun: int) -> str:
    if not os.path.isfile(path):
        return ""
    with open(path, "rb") as file:
        file.seek(max(begun, os.fstat(file.fileno()).st_size - SAID_BYTES_MAX))
        return file.read().decode(errors="replace").strip()


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
