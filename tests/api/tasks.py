"""The application of the node that the API is tested against: the contract's `email`, and tasks that fail, wait or give back."""

from __future__ import annotations

from typing import Any

from tests import fakes
from zjp import App, Context

app = App()


@app.task("email")
def email(recipient: str = "", subject: str = "", **rest: Any) -> dict[str, str]:
    return {"sent_to": recipient}


@app.task("noop")
def noop() -> None:
    return None


@app.task("echo")
def echo(ctx: Context, **payload: Any) -> dict[str, Any]:
    return payload


@app.task("fail", max_retries=0)
def fail(text: str = "it fails on purpose") -> None:
    raise ValueError(text)


@app.task("hold")
def hold(path: str) -> str:
    """Until the test makes the file."""
    return fakes.hold_until(path)
