"""The tasks of jobs that a power cut meets: short ones, some that take a while, some that fail. Each run ends in a way of its own."""

from __future__ import annotations

import secrets

from tests.fakes import rest_ms
from zjp import App

app = App()


@app.task("draw")
def draw() -> str:
    return secrets.token_hex(8)


@app.task("rest")
def rest(ms: float) -> str:
    rest_ms(ms)
    return secrets.token_hex(8)


@app.task("refuse", max_retries=0)
def refuse() -> None:
    raise ValueError(secrets.token_hex(8))
