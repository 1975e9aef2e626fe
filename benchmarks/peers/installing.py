"""Each peer in an environment of its own, made once and kept in the user's cache folder, never in the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .peer import Peer

HERE = Path(__file__).parent


class Missing(Exception):
    """The peer cannot run here; the message says why."""


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zjp" / "peers"


def bin_folder(peer: Peer) -> Path:
    if peer.is_ours:
        return Path(sys.executable).parent
    return cache() / peer.name if peer.go_module else cache() / peer.name / "bin"


def interpreter(peer: Peer) -> str:
    return sys.executable if peer.is_ours else str(bin_folder(peer) / "python")


def is_installed(peer: Peer) -> bool:
    if peer.is_ours:
        return True
    return _stamp(peer).exists() and _stamp(peer).read_text() == _wanted(peer)


def install(peer: Peer) -> None:
    """Does nothing when it is there at the right versions. Raises: Missing."""
    if peer.uses_redis and shutil.which("redis-server") is None:
        raise Missing("redis-server is not installed")
    if is_installed(peer):
        return
    if peer.go_module:
        _build(peer)
    else:
        _fill(peer)
    _stamp(peer).write_text(_wanted(peer))


def _fill(peer: Peer) -> None:
    folder = cache() / peer.name
    shutil.rmtree(folder, ignore_errors=True)
    _run(peer, [sys.executable, "-m", "venv", str(folder)])
    _run(peer, [interpreter(peer), "-m", "pip", "install", "--quiet", *peer.requirements])


def _build(peer: Peer) -> None:
    if shutil.which("go") is None:
        raise Missing("go is not installed")
    bin_folder(peer).mkdir(parents=True, exist_ok=True)
    _run(peer, ["go", "build", "-trimpath", "-o", str(bin_folder(peer) / "side"), "."], HERE / peer.go_module)


def _run(peer: Peer, command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise Missing(f"{peer.name} was not installed: {done.stderr.strip()[-500:]}")


def _stamp(peer: Peer) -> Path:
    return cache() / peer.name / "installed"


def _wanted(peer: Peer) -> str:
    if peer.go_module:
        return "".join((HERE / peer.go_module / name).read_text() for name in ("go.mod", "main.go"))
    return "\n".join(peer.requirements)


def version(peer: Peer) -> str:
    if peer.is_ours:
        import zjp

        return zjp.__version__
    if peer.go_module:
        lines = (HERE / peer.go_module / "go.mod").read_text().splitlines()
        return next(
            line.split()[-1].lstrip("v") for line in lines if line.strip().startswith("github.com/hibiken/asynq ")
        )
    return peer.requirements[0].partition("==")[2]
