"""The tasks that benchmarks run."""

from __future__ import annotations

import time

from zjp import App

app = App()


@app.task("noop")
def noop() -> None:
    """Nothing: what remains is the cost of the path."""


@app.task("stamp")
def stamp(sent_ns: int) -> int:
    """Nanoseconds from the submit call to the start of the task, by the one clock of this machine."""
    return time.monotonic_ns() - sent_ns
