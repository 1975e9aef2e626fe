"""The task of chaos runs: it tells the history what it does, works a while, asks the fenced sink, and ends as its job says.

CHAOS_DIR names the run's folder: histories in `h/`, the sink's socket at `sink`. Each worker process writes a file of its own, named by its
process number, which unlike a pid is never used twice.

`app` has the task as `def` ("work") and as `async def` ("flow"); in `plain` both are the `def`, so that a process with one slot runs them
inline. What a mode means stands in jobs.py.
"""

from __future__ import annotations

import asyncio
import os
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from sims.history import Recorder
from sims.sink import SinkClient
from tests.chaos.jobs import HANG_S, HEED_S
from tests.chaos.processes import number_of
from tests.fakes import burn_ms, rest_ms
from zjp import App, Context, Discard, Snooze

FOLDER_VARIABLE = "CHAOS_DIR"
SNOOZE_S = 0.05
HEED_STEP_MS = 5.0
EXIT_CODE = 3

app = App()
plain = App()


class Planned(Exception):
    """The failure that the job asked for."""


class Stale(Exception):
    """The sink has seen a higher fence: this claim is lost, and its holder must not act."""


@cache
def _folder() -> Path:
    return Path(os.environ[FOLDER_VARIABLE])


@cache
def _own_number() -> int:
    return number_of(os.getpid())


@cache
def _recorder() -> Recorder:
    name = f"w{_own_number()}"
    return Recorder(_folder() / "h" / f"{name}.jsonl", name)


@cache
def _sink() -> SinkClient:
    return SinkClient(_folder() / "sink")


class Act:
    """One run of the task, as told to the history."""

    def __init__(self, ctx: Context, key: str, mode: str, ek: str) -> None:
        self._ctx, self._mode, self._ek = ctx, mode, ek
        self._names: dict[str, Any] = {"job": ctx.job_id, "fence": ctx.fence, "pid": _own_number()}
        _recorder().write("run", "ok", **self._names, key=key, attempt=ctx.attempt, ek=ek, node=ctx.node_id)
        if mode == "hang":
            self._say("info", "hang")

    def end(self) -> str:
        """The last thing that the task does."""
        ctx, mode = self._ctx, self._mode
        is_first = ctx.attempt == 1
        if mode == "fail" or (mode == "flaky" and is_first):
            self._fail(Planned(f"attempt {ctx.attempt} fails on purpose"))
        if mode == "discard":
            self._fail(Discard("this job can never succeed"), "discard")
        if mode == "snooze" and _is_first_time(ctx.job_id):
            self._fail(Snooze(SNOOZE_S), "snooze")
        if mode == "exit":
            self._say("info", "crash")
            os._exit(EXIT_CODE)
        if self._ek and _sink().effect(ctx.job_id, ctx.fence, self._ek) == "stale":
            self._fail(Stale(f"fence {ctx.fence} of job {ctx.job_id} is dead"))
        if mode == "late" and is_first:
            self._fail(Planned("the first attempt fails after its effect"))
        self._say("ok", "")
        return ctx.job_id

    def stopped(self) -> None:
        """The coroutine was cancelled from outside."""
        self._say("fail", "cancel")

    def _fail(self, fault: Exception, val: str = "raise") -> NoReturn:
        self._say("fail", val)
        raise fault

    def _say(self, type: Any, val: str) -> None:
        _recorder().write("end", type, **self._names, val=val)


def _is_first_time(job: str) -> bool:
    """Asked once per job and run folder, whichever process asks."""
    folder = _folder() / "snoozed"
    folder.mkdir(exist_ok=True)
    try:
        os.close(os.open(folder / job, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _work(ctx: Context, key: str, mode: str, ms: float, ek: str = "", burns: bool = False) -> str:
    act = Act(ctx, key, mode, ek)
    if mode == "hang":
        rest_ms(HANG_S * 1000)
    elif mode == "heed":
        for _ in range(int(HEED_S * 1000 / HEED_STEP_MS)):
            if ctx.cancelled:
                break
            rest_ms(HEED_STEP_MS)
    elif burns:
        burn_ms(ms)
    else:
        rest_ms(ms)
    return act.end()


async def _flow(ctx: Context, key: str, mode: str, ms: float, ek: str = "", burns: bool = False) -> str:
    act = Act(ctx, key, mode, ek)
    if mode == "hang":
        rest_ms(HANG_S * 1000)  # blocks the loop, so that being cancelled does not reach it
    try:
        await asyncio.sleep(HEED_S if mode == "heed" else ms / 1000)
    except asyncio.CancelledError:
        act.stopped()
        raise
    return act.end()


app.task("work")(_work)
app.task("flow")(_flow)
plain.task("work")(_work)
plain.task("flow")(_work)
