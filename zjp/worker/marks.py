"""Which jobs a worker process has started, and until when it may start more: a small file, mapped by the process and by its node.

The process marks a slot before it calls the job's function, so what is marked when the process dies was started, and nothing else
was. The file is shared memory with a name: it outlives `kill -9` of the process (the node reads it then) and of the node (its next
life reads the folder). It says nothing after a power cut, when nobody is to be charged anyway.

    header   64 bytes: magic, until when the node's lease is known to last
    slot     64 bytes each: number, id, fence, number

A mark is valid when both numbers are the same and not 0. They are written in this order, and the number is a new one for each mark:
so a mark that was cut short, by a kill or by a look from the other side, has two numbers and counts as none. The fence cannot serve
for that, since jobs of one claim share it.

A job that has ended has only its first number set to 0: what a slot ran last can still be told.

The lease's end is the node's to write, after each renewal. So it ends also for the workers of a node that is stopped, and for a whole group
that wakes up, before anybody could send them a word. It is time.monotonic(), which all processes of a machine share, and which goes on
while they are stopped (though not while the machine itself sleeps).
"""

from __future__ import annotations

import itertools
import math
import mmap
import os
import struct
from pathlib import Path

_MAGIC = b"zjpmark1"
_SLOT_BYTES = 64
"""A cache line: slots are written by different threads."""
_MARK = struct.Struct("=Q16sQQ")
_NUMBER = struct.Struct("=Q")
UNTIL = 1
"""Its place in `MarkFile.lease`: behind the magic."""

Mark = tuple[bytes, int]
"""(id, fence)."""


class MarkFile:
    """`create` in the node, then `open` in the worker process, which alone writes marks."""

    def __init__(self, path: Path, mapped: mmap.mmap) -> None:
        self.path = path
        self._mapped = mapped
        self.lease: memoryview[float] = memoryview(mapped).cast("d")
        """`lease[UNTIL]`: nothing is to be started after this (monotonic). Without a call around it, as it is looked at for every job."""
        self._numbers = itertools.count(1)

    @classmethod
    def create(cls, path: str | os.PathLike[str], slots: int) -> MarkFile:
        """A new file, whatever was there: a process of a former life may still have the old one mapped."""
        where = Path(path)
        where.unlink(missing_ok=True)
        descriptor = os.open(where, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Written, not only made long: in a file of holes the first mark on a full disk would end the process with SIGBUS.
            os.write(descriptor, _MAGIC.ljust(_SLOT_BYTES * (slots + 1), b"\0"))
            made = cls(where, mmap.mmap(descriptor, 0))
            made.keep(math.inf)
            return made
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> MarkFile:
        with Path(path).open("r+b") as file:
            return cls(Path(path), mmap.mmap(file.fileno(), 0))

    def keep(self, until: float) -> None:
        """Nothing that is waiting in the process is started after this; it comes back. Infinite: no limit, as in a new file."""
        self.lease[UNTIL] = until

    def mark(self, slot: int, job_id: bytes, fence: int) -> None:
        """The job is about to be called. Takes the place of the slot's former mark."""
        number = next(self._numbers)
        _MARK.pack_into(self._mapped, _SLOT_BYTES * (slot + 1), number, job_id, fence, number)

    def clear(self, slot: int) -> None:
        _NUMBER.pack_into(self._mapped, _SLOT_BYTES * (slot + 1), 0)

    def read(self) -> list[Mark]:
        """What is marked now, by slot."""
        return _read(self._mapped[:])

    def read_latest(self) -> list[Mark]:
        """What each slot started last, whether it still runs or has ended."""
        return _read(self._mapped[:], ended=True)

    def close(self) -> None:
        """Give up the mapping. The file stays."""
        self.lease.release()
        self._mapped.close()


def read_folder(folder: str | os.PathLike[str]) -> dict[bytes, int]:
    """id -> fence of what worker processes of a former life had marked, the highest where one is marked twice;
    files that are none of theirs are passed over."""
    try:
        paths = sorted(Path(folder).iterdir())
    except FileNotFoundError:
        return {}
    marks = [mark for path in paths if path.is_file() for mark in _read(path.read_bytes())]
    return dict(sorted(marks, key=lambda mark: mark[1]))


def _read(content: bytes, *, ended: bool = False) -> list[Mark]:
    """`ended`: also what no longer runs."""
    if not content.startswith(_MAGIC):
        return []
    marks = []
    for at in range(_SLOT_BYTES, len(content) - _MARK.size + 1, _SLOT_BYTES):
        before, job_id, fence, after = _MARK.unpack_from(content, at)
        if before == after != 0 or (ended and before == 0 != after):
            marks.append((job_id, fence))
    return marks
