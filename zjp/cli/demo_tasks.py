"""The demo's application: one task that indexes one file. The node's worker processes load it; `zjp demo` compares with `index_of`.

`index_of` is the whole work, as plain Python; the task adds what the demo wants to show: a first attempt that fails for some files,
and files that can never succeed.
"""

from __future__ import annotations

import hashlib
from typing import Any

from zjp import App, Context, Discard

from ..retry import RetryPolicy

APP = "zjp.cli.demo_tasks:app"
TASK = "index-file"
FLAKY_ONE_IN = 40
"""One file in so many fails its first attempt, chosen by its content."""

app = App()


class CannotIndex(Exception):
    """The file cannot be read or is no text: for good."""


class Flaky(Exception):
    """The failure that the demo asks for."""


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


@app.task(TASK, max_retries=3, timeout="30s", retry=RetryPolicy(kind="fixed", base_s=0.2, max_s=0.2))
def index_file(ctx: Context, path: str | bytes) -> dict[str, Any]:
    try:
        index = index_of(path)
    except CannotIndex as fault:
        raise Discard(str(fault)) from None
    if is_flaky(index) and ctx.attempt == 1:
        raise Flaky("the first attempt at this file fails on purpose")
    return index
