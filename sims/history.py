"""The history of an experiment: how it is written down while things die, and how it is read back.

A history is a set of files of JSON lines, one file per actor (client, worker process, node, sink, nemesis). Each line is whole in one
write(2) to a file opened O_APPEND, so it survives SIGKILL of its writer at any moment; what a SIGKILL can tear is the last line of the
writer's file, and nothing else. What a line can say is in lines.py. An example, one job that was killed once:

    {"f":"submit","t":100,"p":"cli","type":"invoke","job":"J","max_retries":3}
    {"f":"submit","t":190,"p":"cli","type":"ok","job":"J","level":"disk"}
    {"f":"run","t":300,"p":"w41","type":"ok","job":"J","fence":7,"pid":41,"attempt":1,"ek":"e-J"}
    {"f":"fault","t":350,"p":"nemesis","type":"ok","t1":360,"kind":"kill","val":"worker","pids":[41]}
    {"f":"run","t":700,"p":"w52","type":"ok","job":"J","fence":9,"pid":52,"attempt":2,"ek":"e-J"}
    {"f":"effect","t":720,"p":"sink","type":"ok","job":"J","fence":9,"ek":"e-J"}
    {"f":"end","t":740,"p":"w52","type":"ok","job":"J","fence":9,"pid":52}
    {"f":"final","t":990,"p":"cli","type":"ok","job":"J","val":"done","attempts":[{"fence":9,"outcome":"completed"}]}

Rules for writers:

- `invoke` is written before the request leaves, one completion (`ok`, `fail`, `info`) after. What was never completed counts as `info`.
- Time-out and broken connection are `info`. `fail` is only for what surely did not happen.
- An actor that starts again may go on in its file: a torn tail is cut off first, it was never said.
- After the faults: heal, let the system drain to empty, then write the `final` lines, then judge.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from .lines import BY_KIND, AnyLine, Line, LineType

SUFFIX = ".jsonl"

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(AnyLine)


class HistoryDamaged(Exception):
    """A line that is not the last of its file cannot be read: the history proves nothing."""


class Recorder:
    """Writes one actor's file. Safe from several threads of one process; one process per file."""

    def __init__(self, path: str | Path, actor: str) -> None:
        self.actor = actor
        self.path = Path(path)
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.cut_bytes = _cut_torn_tail(self._fd)

    def line(self, f: str, type: LineType, /, **fields: Any) -> Line:
        """A line said by this actor now (or at `t`), not yet written. Raises: TypeError for a field the kind does not have."""
        fields.setdefault("t", time.monotonic_ns())
        return BY_KIND[f](p=self.actor, type=type, **fields)

    def write(self, f: str, type: LineType, /, **fields: Any) -> None:
        self.append((self.line(f, type, **fields),))

    def append(self, lines: Sequence[Line]) -> None:
        """Write many lines by one write(2). Raises: OSError when the disk is full."""
        data = _encoder.encode_lines(lines)
        written = os.write(self._fd, data)
        if written != len(data):
            raise OSError(f"{self.path}: wrote {written} of {len(data)} bytes; free some disk space and run again")

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class History(msgspec.Struct, frozen=True):
    """`ops`: all lines by `t`; lines of one file with the same `t` keep their order. `torn`: files whose last line was dropped."""

    ops: list[Line]
    torn: list[str]


def load(paths: Iterable[str | Path]) -> History:
    """Read files, and all histories in folders. Raises: HistoryDamaged, OSError."""
    ops: list[Line] = []
    torn: list[str] = []
    with collector_off():
        for path in _files(paths):
            lines, is_torn = _parse(path.read_bytes(), path)
            ops += lines
            if is_torn:
                torn.append(str(path))
        ops.sort(key=attrgetter("t"))
    return History(ops, torn)


@contextmanager
def collector_off() -> Iterator[None]:
    """Millions of small objects that all stay: looking for garbage among them triples the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _files(paths: Iterable[str | Path]) -> list[Path]:
    found: list[Path] = []
    for path in map(Path, paths):
        found += sorted(path.glob("*" + SUFFIX)) if path.is_dir() else [path]
    return found


def _parse(data: bytes, path: Path) -> tuple[list[Line], bool]:
    """All whole lines, and whether the last one was torn."""
    head, _, tail = data.removesuffix(b"\n").rpartition(b"\n")
    try:
        return _decoder.decode_lines(data), False
    except msgspec.DecodeError:
        pass
    try:
        lines = _decoder.decode_lines(head)
    except msgspec.DecodeError:
        raise HistoryDamaged(_where(head, path)) from None
    if data.endswith(b"\n") and _is_json(tail):
        raise HistoryDamaged(f"{path}: the last line is JSON but no known line: {tail[:200]!r}")
    return lines, True


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return True


def _where(data: bytes, path: Path) -> str:
    for number, text in enumerate(data.split(b"\n"), 1):
        try:
            _decoder.decode(text)
        except msgspec.DecodeError as error:
            return f"{path}, line {number}: {error}: {text[:200]!r}; only the last line of a file may be torn"
    return f"{path}: cannot be read"


def _cut_torn_tail(fd: int) -> int:
    """Cut what stands after the last newline. Returns how many bytes that were."""
    size = os.fstat(fd).st_size
    end, step = size, 1 << 16
    while end > 0:
        start = max(0, end - step)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)
    return size - end
