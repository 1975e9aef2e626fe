"""What every peer's tasks do, so that they do the same: count, stamp, hold. Nothing but the standard library, for it runs in each peer's
own environment; `asynq/main.go` does the same in Go.

A job is counted by adding one to a number that its process keeps in a mapped file of PEERS_FOLDER/counts (one file per process, 8 bytes,
little-endian); the harness adds the files up. That costs a fraction of a microsecond and no round trip, is alike for all, and survives
kill -9. Waits and marks are records appended with one write each.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
import threading
import time
from pathlib import Path

FOLDER = Path(os.environ["PEERS_FOLDER"])
WAIT = struct.Struct("<q")
"""Nanoseconds from the submit to the start of a job."""
MARK = struct.Struct("<qqii")
"""Nanoseconds on the monotonic clock, the job's index, the process, STARTED or ENDED."""
STARTED, ENDED = 1, 2


class Count:
    """Opened by the process that counts: a number mapped before a fork would be shared."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._number = memoryview(bytearray(8)).cast("q")

    def add(self) -> None:
        with self._lock:
            if self._pid != os.getpid():
                self._open()
            self._number[0] += 1

    def _open(self) -> None:
        self._pid = os.getpid()
        path = FOLDER / "counts" / str(self._pid)
        with path.open("a+b") as file:
            if file.tell() == 0:
                file.truncate(8)
            self._number = memoryview(mmap.mmap(file.fileno(), 8)).cast("q")


COUNT = Count()


def noop() -> None:
    COUNT.add()


def stamp(sent_ns: int) -> None:
    waited_ns = time.monotonic_ns() - sent_ns
    _append("waits", WAIT.pack(waited_ns))
    COUNT.add()


def hold(index: int, ms: int) -> None:
    mark(index, STARTED)
    time.sleep(ms / 1000)
    mark(index, ENDED)


async def hold_async(index: int, ms: int) -> None:
    mark(index, STARTED)
    await asyncio.sleep(ms / 1000)
    mark(index, ENDED)


def mark(index: int, kind: int) -> None:
    _append("marks", MARK.pack(time.monotonic_ns(), index, os.getpid(), kind))


def _append(name: str, record: bytes) -> None:
    file = os.open(FOLDER / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, record)
    finally:
        os.close(file)
