"""The work of the demo, as plain Python: one file's index. The task runs it in a worker process, `zjp demo` compares with it. Pure but for
reading the file.
"""

from __future__ import annotations

import hashlib
from typing import Any

APP = "zjp.cli.demo_tasks:app"
TASK = "index-file"
FLAKY_ONE_IN = 40
"""One file in so many fails its first attempt, chosen by its content."""
SLOW_ONE_IN, SLOW_S = 40, 0.2
"""One in so many takes longer, as on a slow disk: without them a modern machine is never caught in the midst of a job."""


class CannotIndex(Exception):
    """The file cannot be read or is no text: for good."""


def index_of(path: str | bytes) -> dict[str, Any]:
    """SHA-256, bytes, lines and the longest line (in characters) of a UTF-8 text. Raises: CannotIndex."""
    try:
        with open(path, "rb") as file:
            content = file.read()
        text = content.decode()
    except (OSError, UnicodeDecodeError) as fault:
        raise CannotIndex(f"{type(fault).__name__}: {fault}") from None
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
        "lines": len(lines),
        "longest": max(map(len, lines), default=0),
    }


def is_flaky(index: dict[str, Any]) -> bool:
    return int(index["sha256"][:8], 16) % FLAKY_ONE_IN == 0


def is_slow(index: dict[str, Any]) -> bool:
    return int(index["sha256"][8:16], 16) % SLOW_ONE_IN == 0
