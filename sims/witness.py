"""What a task under test says of its own run: the run and end lines, written from inside the worker process.

    def index(ctx: Context, path: str) -> int:
        with witness(HISTORY).run(ctx.job_id, ctx.fence, attempt=ctx.attempt, ek=f"e-{ctx.job_id}") as run:
            sink.effect(ctx.job_id, ctx.fence, run.ek)
            run.will_crash()    # only when it is about to take its process down, or never to return
            os.abort()

How the block is left decides the end line. Exceptions are told by the names of their classes, so that this module needs no zjp.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from .history import SUFFIX, Recorder
from .lines import LineType

END_BY_EXCEPTION = {"Snooze": "snooze", "Discard": "discard", "CancelledError": "cancel", "KeyboardInterrupt": "cancel"}
"""Class name -> `val` of the end line; anything else is `raise`, a failure that counts."""


class RunUnderWay:
    """One run, between its two lines."""

    def __init__(self, recorder: Recorder, job: str, fence: int, ek: str) -> None:
        self.ek = ek
        self._recorder, self._job, self._fence = recorder, job, fence

    def will_crash(self) -> None:
        """Say that this process is about to die by this task's doing."""
        self.say_end("info", "crash")

    def will_hang(self) -> None:
        """Say that this task will not return; its process will have to be killed."""
        self.say_end("info", "hang")

    def say_end(self, type: LineType, val: str) -> None:
        names = {"job": self._job, "fence": self._fence, "pid": os.getpid()}
        self._recorder.write("end", type, **names, val=val)


class Witness:
    """Safe from all threads and tasks of one process."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    @contextmanager
    def run(
        self, job: str, fence: int, *, attempt: int = 0, key: str = "", ek: str = "", node: str = ""
    ) -> Iterator[RunUnderWay]:
        names = {"job": job, "fence": fence, "pid": os.getpid(), "attempt": attempt, "key": key, "ek": ek, "node": node}
        self.recorder.write("run", "ok", **names)
        run = RunUnderWay(self.recorder, job, fence, ek)
        try:
            yield run
        except BaseException as error:
            run.say_end("fail", END_BY_EXCEPTION.get(type(error).__name__, "raise"))
            raise
        run.say_end("ok", "")


def witness(folder: str | Path) -> Witness:
    """This process's witness: one file per process, `worker-<pid>.jsonl`."""
    return _witness_of(str(folder), os.getpid())


@lru_cache(maxsize=8)
def _witness_of(folder: str, pid: int) -> Witness:
    return Witness(Recorder(Path(folder) / f"worker-{pid}{SUFFIX}", f"worker-{pid}"))
