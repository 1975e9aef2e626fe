"""`python -m sims.live kill` starts again what a shell with an active virtual environment had started, and tells of what does not live."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sims.live import ports
from sims.live.revive import life_of
from tests.system.running import ROOT, clean_environment, first

pytestmark = [pytest.mark.system, pytest.mark.covers("cluster:live")]

BEGIN_S = 30.0
LISTENER = """
import only_here, pathlib, signal, socket, sys
if not pathlib.Path("alive").exists():
    sys.exit("no second life")
door = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(door.getsockname()[1], flush=True)
signal.pause()
"""


@pytest.fixture
def activated(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell in which a virtual environment is active; `only_here` can be imported by its python alone."""
    home, version = Path(sys.base_prefix) / "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(home / version)
    (venv / "pyvenv.cfg").write_text(f"home = {home}\n")
    packages = venv / "lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (packages / "only_here.py").touch()
    (tmp_path / "alive").touch()
    return {"PATH": f"{venv / 'bin'}{os.pathsep}{os.defpath}"}


@contextmanager
def listening(folder: Path, environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Started as `python`. With the port of its door."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            ["python", "-c", LISTENER, str(port)], cwd=folder, env=environment, stdout=log, stderr=log
        )  # fmt: skip
    try:
        first(lambda: True if (folder / "log").read_text().strip() == str(port) else None, BEGIN_S, "it listens")
        yield process, port
    finally:
        process.kill()
        process.wait()


def pull(pid: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sims.live", "kill", str(pid), "--for", "0.01"]
    return subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=BEGIN_S, check=False)


def test_bare_name_is_looked_up_in_the_path_of_the_process(tmp_path: Path, activated: dict[str, str]) -> None:
    with listening(tmp_path, activated) as (process, _):
        assert life_of(process.pid).arguments[0] == str(tmp_path / "venv" / "bin" / "python")


def test_killed_process_of_a_virtual_environment_listens_again(tmp_path: Path, activated: dict[str, str]) -> None:
    with listening(tmp_path, activated) as (process, port):
        done = pull(process.pid)
        assert done.returncode == 0, done
        pid = int(done.stdout.split()[-1])
        try:
            assert ports.find(f"127.0.0.1:{port}").pid == pid != process.pid
        finally:
            os.kill(pid, signal.SIGKILL)


def test_second_life_that_ends_at_once_is_told_with_its_exit_code_and_last_words(tmp_path: Path, activated: dict[str, str]) -> None:
    with listening(tmp_path, activated) as (process, port):
        (tmp_path / "alive").unlink()
        done = pull(process.pid)
        assert done.returncode == 1, done
        assert "ended with exit code 1" in done.stderr
        assert "no second life" in done.stderr
        assert str(port) not in done.stderr, "what the first life said is not the second's"
