"""Where a node's gate is: the socket in its data folder by which its own HTTP door, and operators on the machine, reach it.

    DATA_DIR/gate.sock                      mode 0700 of the folder says who may connect
    DATA_DIR/gate ──► /tmp/zjp-gate-...     where that path is too long for a socket: a short folder (0700), linked from there

Node and command line find it by DATA_DIR alone. Knows paths, not sockets.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from ..errors import ConfigError

PATH_BYTES_MAX = 100
"""The system's limit is 107."""
SOCKET, LINK = "gate.sock", "gate"
PREFIX = "zjp-gate-"


def gate_address(data_dir: Path) -> str:
    """Of the node that has this folder, whether or not it runs."""
    folder = data_dir.absolute()
    if _fits(folder):
        return f"ipc://{folder / SOCKET}"
    try:
        return f"ipc://{os.readlink(folder / LINK)}/{SOCKET}"
    except OSError:
        return f"ipc://{folder / SOCKET}"  # nothing was ever there; whoever connects is told so


def make_gate(data_dir: Path) -> str:
    """The address, with a folder for it. Called by the node alone, which holds DATA_DIR. Raises: ConfigError."""
    folder = data_dir.absolute()
    if _fits(folder):
        return gate_address(data_dir)
    link = folder / LINK
    try:
        if not _is_ours(link):
            link.unlink(missing_ok=True)
            link.symlink_to(tempfile.mkdtemp(prefix=PREFIX, dir="/tmp"))
    except OSError as fault:
        raise ConfigError(
            f"DATA_DIR={folder}: its path is too long for a socket, and no short folder can be linked to it: {fault.strerror}"
        ) from None
    return gate_address(data_dir)


def remove_gate(data_dir: Path) -> None:
    """After the socket was closed: leave no folder behind."""
    link = data_dir.absolute() / LINK
    if _is_ours(link):
        folder = Path(os.readlink(link))
        (folder / SOCKET).unlink(missing_ok=True)
        folder.rmdir()
        link.unlink()


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / SOCKET)) <= PATH_BYTES_MAX


def _is_ours(link: Path) -> bool:
    """Whether the link leads to a folder that nobody else may enter."""
    try:
        target = Path(os.readlink(link))
        status = target.lstat()
    except OSError:
        return False
    return (
        target.name.startswith(PREFIX)
        and stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and not stat.S_IMODE(status.st_mode) & 0o077
    )
