"""What the machine was worth while it was measured: two small figures that change with it, so that those of zjp can be read beside them."""

from __future__ import annotations

import os
import statistics
import tempfile
import time

SYNCS = 200
SYNC_BYTES = 12_288
"""About what one small commit writes."""
LOOPS = 2_000_000


def speed() -> dict[str, float]:
    """`loop_ns`: one turn of an empty Python loop, the best of five; `fdatasync_ms`: the median of syncs that each follow a small write."""
    return {"loop_ns": min(_loop_ns() for _ in range(5)), "fdatasync_ms": statistics.median(_sync_ms())}


def _loop_ns() -> float:
    began = time.process_time_ns()
    for _ in range(LOOPS):
        pass
    return (time.process_time_ns() - began) / LOOPS


def _sync_ms() -> list[float]:
    took = []
    with tempfile.TemporaryFile() as file:
        for _ in range(SYNCS):
            os.write(file.fileno(), os.urandom(SYNC_BYTES))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1e3)
    return took
