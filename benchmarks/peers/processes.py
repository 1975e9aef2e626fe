"""The processes of one peer: who descends from whom, what they used, stopping and ending all of them."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..running import cpu_s


def parents() -> dict[int, int]:
    """Each living process's parent."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def families(leaders: Iterable[int]) -> list[int]:
    """The living leaders and all that descend from them."""
    above = parents()
    kept: set[int] = {leader for leader in leaders if leader in above}
    while grown := {pid for pid, parent in above.items() if parent in kept} - kept:
        kept |= grown
    return sorted(kept)


def used_s(pids: Iterable[int]) -> float:
    """CPU seconds of all threads of those that still live."""
    return sum(_used(pids))


def _used(pids: Iterable[int]) -> Iterator[float]:
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            yield cpu_s(pid)


def signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
