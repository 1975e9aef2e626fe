"""What tasks write down of their own runs."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sims.history import load
from sims.lines import End, Run
from sims.witness import witness
from zjp.task import Discard, Retry, Snooze


def failing_with(error: BaseException) -> Callable[[], None]:
    def task() -> None:
        raise error

    return task


@pytest.mark.parametrize(
    ("task", "type_", "val"),
    [
        (lambda: None, "ok", ""),
        (failing_with(ValueError("no")), "fail", "raise"),
        (failing_with(Retry("1s")), "fail", "raise"),
        (failing_with(Snooze("1s")), "fail", "snooze"),
        (failing_with(Discard("never")), "fail", "discard"),
        (failing_with(asyncio.CancelledError()), "fail", "cancel"),
    ],
)
def test_the_way_a_task_is_left_is_its_end_line(tmp_path: Path, task: Callable[[], None], type_: str, val: str) -> None:
    raised: BaseException | None = None
    try:
        with witness(tmp_path).run("j", 7, attempt=2, key="k", ek="e", node="n1") as run:
            assert run.ek == "e"
            task()
    except BaseException as error:
        raised = error
    assert (raised is None) == (type_ == "ok")
    start, end = load([tmp_path]).ops
    assert isinstance(start, Run)
    assert (start.job, start.fence, start.pid, start.attempt, start.key, start.node) == (
        "j",
        7,
        os.getpid(),
        2,
        "k",
        "n1",
    )
    assert isinstance(end, End)
    assert (end.job, end.fence, end.pid, end.type, end.val) == ("j", 7, os.getpid(), type_, val)


CRASHING = """
import os, sys
from sims.witness import witness
with witness(sys.argv[1]).run("j", 7) as run:
    run.will_crash()
    os._exit(3)
"""


def test_a_task_says_that_it_will_crash_before_it_does(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", CRASHING, tmp_path], cwd=Path(__file__).parents[2])
    assert process.wait(30) == 3
    _, end = load([tmp_path]).ops
    assert isinstance(end, End)
    assert (end.type, end.val, end.pid) == ("info", "crash", process.pid)
    assert end.p == f"worker-{process.pid}"


def test_a_process_has_one_file(tmp_path: Path) -> None:
    for fence in (1, 2):
        with witness(tmp_path).run("j", fence):
            pass
    assert [path.name for path in tmp_path.iterdir()] == [f"worker-{os.getpid()}.jsonl"]
