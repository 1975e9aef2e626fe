"""What a task reports belongs to the attempt that runs, whatever a former one left behind."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from msgspec import structs

from zjp.wire.messages import ResultKind
from zjp.worker.outbox import PROGRESS_S

from .conftest import Open

pytestmark = pytest.mark.covers("main-path:7", "main-path:9")


def size_of(path: str) -> int:
    return Path(path).stat().st_size


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("task", ["haunt", "async_haunt", "decorated_haunt"])
async def test_what_an_attempt_left_behind_reports_for_no_later_one(desk_of: Open, task: str, processes: int, tmp_path: Path) -> None:
    """In the same process and in another one."""
    desk = await desk_of(app="tests.mischief:app", slots=2 * processes, processes=processes)
    path = str(tmp_path / "go")
    job = desk.job(task, {"path": path})
    first = desk.put(job)
    assert (await desk.result(first)).kind == ResultKind.RETRY
    worker = desk.workers.pop(first)
    desk.results.clear()
    desk.put(structs.replace(job, retries=1))
    own = {"done": 2, "total": None, "note": "its own"}
    await desk.until(lambda: desk.progress.get(first) == own)
    seen, end = [], time.monotonic() + 3 * PROGRESS_S
    await desk.until(lambda: (seen.append(desk.progress[first]), time.monotonic() > end)[1])
    assert size_of(f"{path}.ghost") > 10  # it is still there
    assert all(one == own for one in seen)
    (tmp_path / "go").touch()
    assert (await desk.result(first)).kind == ResultKind.COMPLETED
    assert (desk.workers[first] == worker) is (processes == 1)


@pytest.mark.parametrize("app", ["tests.mischief:app", "tests.mischief:plain"])
async def test_what_was_not_sent_yet_of_an_attempt_is_not_told_of_the_next_one(desk_of: Open, app: str, tmp_path: Path) -> None:
    desk = await desk_of(app=app)
    job = desk.job("report_twice", {"path": str(tmp_path / "go")})
    first = desk.put(job)
    await desk.result(first)
    desk.results.clear()
    desk.put(structs.replace(job, retries=1))
    end = time.monotonic() + 3 * PROGRESS_S
    await desk.until(lambda: time.monotonic() > end)
    assert desk.progress[first]["done"] == 1
    (tmp_path / "go").touch()
    await desk.value(first)
