"""A disk whose power can be cut: an ext4 file system in a file, on a loop device, mounted in a folder of its own.

    with Image(folder, size_bytes) as image:      # folder: made by `own_folder`
        ...                                       # write below image.mount
        image.cut(strike)                         # strike: sends SIGKILL to all that could still tell somebody something
        ...                                       # wait for the end of every process that has something open there
        image.mount_again()                       # what the journal brings back is what a machine finds after a power cut

The cut is the ioctl EXT4_IOC_SHUTDOWN without a flush of the journal: what was not synced is gone, every later write and sync fails. What
this is not: a disk with a cache of its own that forgets, or tears a sector. Source: Linux, fs/ext4/ioctl.c, and the tests of xfstests that
use it ("godown").

The order: first SIGKILL, and within microseconds the cut. The other way round a process still runs while its disk is gone (the ioctl takes
some milliseconds), and a sync that is under way then may be answered with success though its data are not on the disk: seen on Linux 6.18,
once in 25 cuts of a loop of fdatasync. A machine without power answers nobody; so what was answered was answered before, and has to hold.

The trap: a file system that is still mounted somewhere, because a process holds a file of it, shows its cached pages to the next mount, and
nothing seems lost, or, where it was cut, nothing can be read. So `mount_again` takes the mount away for real, never lazily, and fails when
somebody holds it. A process that makes a mount namespace (`ip netns exec` does) takes a copy of every mount along, which stays unless it is
told: so an image's folder is a shared mount of its own, whose copies follow it.

Cleaning up, whatever happens: a run's folder has a name with PREFIX and is held by a file lock that dies with its process. `sweep` removes
what processes left that are gone; it touches no mount and no loop device outside such folders.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import TracebackType

PREFIX = "zjp-power-"
SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN = _IOR('X', 125, __u32)."""
NO_LOG_FLUSH = struct.pack("I", 2)
TOOLS = ("mkfs.ext4", "mount", "umount", "losetup", "setpriv")
SYSTEM_FOLDERS = "/usr/sbin:/sbin"
"""Where they may lie, and are not always looked for."""
TOOL_LIMIT_S = 60.0
TRIAL_BYTES = 16 << 20
MAKE_TRIES = 10
HELD_LIMIT_S, HELD_LOOK_S = 5.0, 0.05
"""Children of a killed process end by themselves, a little later; the mount has no event for it."""


class CannotCut(Exception):
    """This machine has no power to cut; says what is missing."""


class Image:
    """Mounted from `__enter__` to `__exit__`, but between `cut` and `mount_again` of no use."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.mount = folder / "m"
        self._file = folder / "image"
        self._size_bytes = size_bytes

    def __enter__(self) -> Image:
        folder = str(self.mount.parent)
        _tool("mount", "--bind", folder, folder)
        _tool("mount", "--make-shared", folder)
        self.mount.mkdir()
        with self._file.open("wb") as file:
            file.truncate(self._size_bytes)
        _tool("mkfs.ext4", "-q", "-F", str(self._file))
        self._mount()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        release(self.mount.parent)
        self.mount.rmdir()
        self._file.unlink()

    def cut(self, strike: Callable[[], None] = lambda: None) -> int:
        """Returns when it was begun, CLOCK_MONOTONIC in ns. Raises: OSError where the file system cannot do it."""
        descriptor = os.open(self.mount, os.O_RDONLY)
        try:
            cut_ns = time.monotonic_ns()
            strike()
            fcntl.ioctl(descriptor, SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(descriptor)
        return cut_ns

    def mount_again(self) -> None:
        """Raises: CannotCut when a process still holds the mount, or another namespace a copy of it, after HELD_LIMIT_S."""
        end = time.monotonic() + HELD_LIMIT_S
        while (said := _run("umount", str(self.mount))).returncode:
            if time.monotonic() > end:
                raise CannotCut(f"{said.stderr.strip()}; every process that has a file open there must be ended first")
            threading.Event().wait(HELD_LOOK_S)
        while devices := _devices_in(self.mount.parent):
            if time.monotonic() > end:
                raise CannotCut(f"another mount namespace holds a copy of {self.mount} ({', '.join(devices)}); end its processes")
            threading.Event().wait(HELD_LOOK_S)
        self._mount()

    def _mount(self) -> None:
        _tool("mount", "-t", "ext4", "-o", "loop", str(self._file), str(self.mount))


# ── folders, and what is left of them ────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for images, removed at the end with all that is mounted in it."""
    sweep()
    folder, lock = _make_folder()
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(lock)


def _make_folder() -> tuple[Path, int]:
    """Another run may sweep it before it is held: then the next one."""
    for _ in range(MAKE_TRIES):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        if (lock := _try_lock(folder)) is not None and folder.exists():
            return folder, lock
    raise CannotCut(f"no folder could be made in {tempfile.gettempdir()}: others remove it each time")


def sweep() -> list[Path]:
    """Remove the folders whose process is gone, however it went. Returns them."""
    swept = []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        if (lock := _try_lock(folder)) is not None:
            _remove(folder)
            os.close(lock)
            swept.append(folder)
    return swept


def release(folder: Path) -> None:
    """Unmount what is mounted in `folder`, lazily where it is held, and let its loop devices go."""
    for point in mounts_in(folder):
        if _run("umount", str(point)).returncode:
            _run("umount", "--lazy", str(point))
    for device in _devices_in(folder):
        _run("losetup", "--detach", device)  # it goes when the last that uses it does


def mounts_in(folder: Path) -> list[Path]:
    """Of it, too. The latest first, as they have to be unmounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4].encode().decode("unicode_escape")) for line in lines]
    return [point for point in reversed(points) if folder in (point, *point.parents)]


def _devices_in(folder: Path) -> list[str]:
    listed = _run("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").stdout.splitlines()
    named = [line.split(maxsplit=1) for line in listed]
    return [one[0] for one in named if len(one) == 2 and folder in Path(one[1].removesuffix(" (deleted)")).parents]


def _remove(folder: Path) -> None:
    release(folder)
    if mounts_in(folder):
        raise CannotCut(f"{folder} still has a mount in it; umount it by hand")
    shutil.rmtree(folder, ignore_errors=True)


def _try_lock(folder: Path) -> int | None:
    """A descriptor while nobody else has it. Not inherited: no child keeps the folder after its run."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


# ── whether this machine can do it ───────────────────────────────────────────────────────────────────────────────────────────────────


@cache
def what_is_missing() -> str:
    """Why power cannot be cut here, for the reason of a skip; empty: it can."""
    if sys.platform != "linux":
        return "power cuts need Linux (ext4 on a loop device)"
    if os.geteuid() != 0:
        return "power cuts need root (mount, loop devices)"
    if absent := [name for name in TOOLS if _find(name) is None]:
        return f"power cuts need {', '.join(absent)}"
    try:
        with own_folder() as folder, Image(folder, TRIAL_BYTES) as image:
            image.cut()
    except (OSError, CannotCut) as fault:
        return f"power cuts need loop devices and EXT4_IOC_SHUTDOWN: {fault}"
    return ""


def _tool(*command: str) -> None:
    """Raises: CannotCut."""
    said = _run(*command)
    if said.returncode:
        raise CannotCut(f"{' '.join(command)}: {said.stderr.strip() or said.returncode}")


def _find(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=SYSTEM_FOLDERS)


def _run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([_find(name) or name, *arguments], capture_output=True, text=True, timeout=TOOL_LIMIT_S, check=False)
