"""What an election core has written down: DATA_DIR/election-ALGORITHM.log, append-only.

    file     MAGIC, then frames
    frame    length (4 bytes), crc32 of the rest (4 bytes), a msgpack array of records

A batch is one frame, written and synced before anything that depends on it is said. So only the last frame can be torn, by a crash while
it was written: it is cut off at the next start. A bad frame with a good one behind it was whole once, and what it promised to others is
lost: that is told, and nothing is guessed.

The file is replaced by the few records that count once it has grown: written aside, synced, renamed, the folder synced. All of this blocks,
so a thread does it.

A folder that was put back from a backup holds promises that are whole and yet not the latest: what was promised since, to whom, is not in
them. When the store knows of later lives than the folder, its files are put aside (`put_aside`), and the core begins as with an empty
folder: teaching.py, for those that vote.
"""

from __future__ import annotations

import logging
import os
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..errors import ConfigError
from ..log import event
from ..wire.peers import Stored

MAGIC = b"zjp-election-1\n\x00"
HEAD_BYTES = 8
FRAME_BYTES_MAX = 16 << 20
REWRITE_BYTES = 256 << 10
"""Grown by so much since it was last written whole, it is written whole again."""
CURE = "move the file away: then the node asks the others what it may have promised, and votes again when it knows. One node at a time"

log = logging.getLogger(__name__)
_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[list[Stored]] = msgspec.msgpack.Decoder(list[Stored])


class ElectionLog:
    """One process has it at a time: it lies in the data folder, which is locked. `open` first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._end = self._whole_end = 0
        self._lock = threading.Lock()
        """A thread that still writes is waited for before the file is let go."""

    @property
    def has_grown(self) -> bool:
        """`rewrite` would be worth it."""
        return self._end - self._whole_end > REWRITE_BYTES

    def check(self) -> None:
        """Whether it is whole, if there is one; changes nothing. Raises: ConfigError (it is damaged, or cannot be read)."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as fault:
            raise ConfigError(
                f"{self._path} cannot be read: {fault.strerror or fault}; it holds what this node promised in elections. Put it right, or "
                f"{CURE}"
            ) from fault
        _read(self._path, data)

    def open(self) -> list[Stored]:
        """All records, in order. Raises: ConfigError (damaged), OSError; after either it may be tried again."""
        if not self._path.exists():
            self.rewrite(())
            return []
        data = self._path.read_bytes()
        records, end = _read(self._path, data)
        file = os.open(self._path, os.O_RDWR)
        try:
            if end < len(data):
                event(log, logging.WARNING, "election.torn_end_cut", path=str(self._path), bytes=len(data) - end)
                os.ftruncate(file, end)
                os.fsync(file)
        except OSError:
            os.close(file)
            raise
        self._file, self._end, self._whole_end = file, end, end
        return records

    def append(self, records: Sequence[Stored]) -> None:
        """On the disk when it returns. Raises: OSError; then it may be tried again."""
        frame = _frame(records)
        with self._lock:
            if self._file < 0:
                raise OSError(f"{self._path} is closed")
            try:
                written = os.pwrite(self._file, frame, self._end)
                if written != len(frame):
                    raise OSError(f"{written} of {len(frame)} bytes were written")
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, self._end)
                raise
            self._end += len(frame)

    def rewrite(self, records: Sequence[Stored]) -> None:
        """These instead of all there are. On the disk when it returns. Raises: OSError; then the old ones stand."""
        content = MAGIC + (_frame(records) if records else b"")
        aside = self._path.with_name(f"{self._path.name}.new")
        file = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            if os.write(file, content) != len(content):
                raise OSError(f"{aside} was not written whole")
            os.fsync(file)
            aside.rename(self._path)
            _sync_folder(self._path.parent)
        except OSError:
            os.close(file)
            raise
        with self._lock:
            former, self._file = self._file, file
            self._end = self._whole_end = len(content)
        if former >= 0:
            os.close(former)

    def close(self) -> None:
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1


def put_aside(folder: Path) -> None:
    """The files of all algorithms, when the folder is behind; in place of what was put aside before. Durable when it returns.
    Raises: OSError; then it may be tried again."""
    for path in sorted(folder.glob("election-*.log")):
        aside = path.with_suffix(".behind")
        path.rename(aside)
        event(
            log, logging.WARNING, "election.put_aside", path=str(path), kept=str(aside),
            reason="the store knows of later lives of this node than its data folder, as when an older copy was put back: the file does not"
            " say all that was promised. A voter asks the others first, as one with an empty folder does",
        )  # fmt: skip
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _frame(records: Sequence[Stored]) -> bytes:
    body = _encode(list(records))
    return len(body).to_bytes(4, "big") + zlib.crc32(body).to_bytes(4, "big") + body


def _read(path: Path, data: bytes) -> tuple[list[Stored], int]:
    """(records, where the good part ends). Raises: ConfigError."""
    if data[: len(MAGIC)] != MAGIC:
        raise _damaged(path, 0)
    records: list[Stored] = []
    at = len(MAGIC)
    while (body := _body_at(data, at)) is not None:
        try:
            records += _decoder.decode(body)
        except msgspec.MsgspecError:
            raise _damaged(path, at) from None  # whole, and not of this program
        at += HEAD_BYTES + len(body)
    if any(_body_at(data, later) is not None for later in range(at + 1, len(data) - HEAD_BYTES)):
        raise _damaged(path, at)
    return records, at


def _body_at(data: bytes, at: int) -> bytes | None:
    """An empty body is none: a file that grew before its content came is full of zeros, whose crc is zero as well."""
    size = int.from_bytes(data[at : at + 4], "big")
    body = data[at + HEAD_BYTES : at + HEAD_BYTES + size]
    if not 0 < size <= FRAME_BYTES_MAX or len(body) != size:
        return None
    return body if zlib.crc32(body) == int.from_bytes(data[at + 4 : at + HEAD_BYTES], "big") else None


def _damaged(path: Path, at: int) -> ConfigError:
    return ConfigError(
        f"{path} is damaged at byte {at}, before its end: what this node promised in elections is lost. Do not put an older copy in its "
        f"place, which lacks what was promised since; {CURE}"
    )
