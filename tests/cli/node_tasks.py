"""The application of the node that the command line is tested against."""

from __future__ import annotations

from typing import Any

from zjp import App, Context

app = App()


@app.task("echo")
def echo(ctx: Context, **payload: Any) -> dict[str, Any]:
    return payload


@app.task("noop")
def noop() -> None:
    return None


@app.task("fail", max_retries=0)
def fail(ctx: Context) -> None:
    raise ValueError("it fails\x1b[2J\x07 on purpose")


@app.task("hold")
def hold(fifo: str) -> str:
    """Runs until somebody opens the named pipe for writing."""
    with open(fifo, encoding="utf-8") as pipe:
        return pipe.read()


@app.task("unpackable")
def unpackable() -> object:
    return object()
