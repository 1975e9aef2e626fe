"""The demo's application: one task that indexes one file, loaded by the node's worker processes.

To the plain work it adds what the demo wants to show: a first attempt that fails for some files, files that can never
succeed, and some that take longer.
"""

from __future__ import annotations

import time
from typing import Any

from zjp import App, Context, Discard

from ..retry import RetryPolicy
from .demo_index import SLOW_S, TASK, CannotIndex, index_of, is_flaky, is_slow

app = App()


class Flaky(Exception):
    """The failure that the demo asks for."""


@app.task(TASK, max_retries=3, timeout="30s", retry=RetryPolicy(kind="fixed", base_s=0.2, max_s=0.2))
def index_file(ctx: Context, path: str | bytes) -> dict[str, Any]:
    try:
        index = index_of(path)
    except CannotIndex as fault:
        raise Discard(str(fault)) from None
    if is_flaky(index) and ctx.attempt == 1:
        raise Flaky("the first attempt at this file fails on purpose")
    if is_slow(index):
        time.sleep(SLOW_S)
    return index
