"""The worker process itself: what it loads, what it sees, how it starts and with whom it dies."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bounds import allowed
from tests.fakes import started

from .conftest import Open
from .test_crashes import is_alive

pytestmark = pytest.mark.covers("main-path:7")

ROOT = Path(__file__).parent.parent.parent
NOT_LOADED = {
    "sqlite3",
    "click",
    "rich",
    "redis",
    "pymongo",
    "starlette",
    "jwt",
    "zjp.queue",
    "zjp.records",
    "zjp.cli",
    "zjp.node",
    "zjp.config",
    "zjp.worker.pool",
}


async def test_a_worker_process_loads_neither_stores_nor_servers(desk_of: Open) -> None:
    desk = await desk_of()
    loaded = set(await desk.value(desk.submit("list_modules")))
    assert {"zmq", "msgpack", "msgspec", "uvloop", "zjp.task"} <= loaded
    assert {
        name for name in loaded if name in NOT_LOADED or name.startswith(tuple(f"{name}." for name in NOT_LOADED))
    } == set()


async def test_secrets_of_the_node_do_not_reach_the_tasks(desk_of: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "JWT_SECRET",
        "ZJP_JWT_SECRET",
        "REDIS_PASSWORD",
        "ZJP_REDIS_PASSWORD_FILE",
        "MONGODB_URI",
        "REDIS_ADDR",
    ):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("MY_OWN", "kept")
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    desk = await desk_of()
    seen = await desk.value(desk.submit("list_environment"))
    assert "canary" not in seen.values()
    assert (seen["MY_OWN"], seen["PYTHONPATH"]) == ("kept", "/somewhere/else")
    assert not any(b"canary" in environment_of(state.pid) for state in desk.pool.states())


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def test_a_task_that_reads_stdin_finds_it_empty(desk_of: Open) -> None:
    desk = await desk_of(app="tests.fakes:plain")
    assert await desk.value(desk.submit("read_stdin")) == ""


async def test_signals_for_the_whole_terminal_or_service_do_not_end_a_worker(desk_of: Open, tmp_path: Path) -> None:
    desk = await desk_of(app="tests.fakes:plain")
    go = str(tmp_path / "go")
    job_id = desk.submit("hold_until", {"path": go})
    await desk.until(lambda: started(go).exists())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(desk.pool.states()[0].pid, number)
    (tmp_path / "go").touch()
    assert await desk.value(job_id) == "released"
    assert desk.reports == []


async def test_each_worker_leads_a_process_group_of_its_own(desk_of: Open) -> None:
    desk = await desk_of(slots=2, processes=2)
    assert all(os.getpgid(state.pid) == os.getsid(state.pid) == state.pid for state in desk.pool.states())


async def test_the_sockets_lie_in_a_private_folder_that_is_removed(desk_of: Open) -> None:
    desk = await desk_of()
    folder = desk.pool._run_folder
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    await desk.pool.stop(1.0)
    with pytest.raises(FileNotFoundError):
        os.stat(folder)


async def test_a_temporary_folder_with_a_long_path_is_no_obstacle(
    desk_of: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    desk = await desk_of()
    assert await desk.value(desk.submit("echo", {"value": 1})) == 1
    assert list(deep.iterdir()) == []


async def test_the_log_level_changes_in_running_processes_and_in_those_to_come(
    desk_of: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    desk = await desk_of(slots=2, processes=2, log_level="warning", log_format="json")
    logged = ""

    async def write(text: str) -> set[int]:
        """The processes that were asked to write it."""
        nonlocal logged
        jobs = [desk.submit("log_at", {"level": "debug", "text": text}) for _ in range(2)]
        pids = {await desk.value(job_id) for job_id in jobs}
        await desk.value(desk.submit("echo", {"value": 0}))
        logged += capfd.readouterr().err
        return pids

    await write("too soon")
    desk.pool.log_as("debug", "json")
    first = await write("heard")
    assert ("too soon" in logged, logged.count('"heard"')) == (False, 2)
    for state in desk.pool.states():
        os.kill(state.pid, signal.SIGKILL)
    await desk.until(lambda: len(desk.reports) == 2 and desk.ready_count() == 2)
    assert not first & await write("also heard")
    assert logged.count('"also heard"') == 2


async def test_a_process_that_was_loading_when_the_log_level_changed_is_told_when_it_is_ready(
    desk_of: Open, capfd: pytest.CaptureFixture[str]
) -> None:
    desk = await desk_of(log_level="warning", log_format="json")
    os.kill(desk.pool.states()[0].pid, signal.SIGKILL)
    await desk.until(lambda: any(state.state == "starting" for state in desk.pool.states()))
    desk.pool.log_as("debug", "json")
    await desk.value(desk.submit("log_at", {"level": "debug", "text": "heard"}))
    assert '"heard"' in capfd.readouterr().err


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        (
            "tests.no_such_module:app",
            "--app tests.no_such_module:app: cannot import 'tests.no_such_module': ModuleNotFoundError",
        ),
        ("tests.fakes:nothing", "module 'tests.fakes' has no 'nothing'; it has app, plain, broken"),
        ("tests.fakes:POLL_S", "has 'POLL_S', which is float and no App"),
        ("tests.fakes:broken", "it has no tasks; decorate a function with @broken.task"),
    ],
)
async def test_an_application_that_cannot_be_loaded_is_told_with_its_reason(
    desk_of: Open, app: str, reason: str
) -> None:
    desk = await desk_of(app=app)
    assert reason in desk.not_ready[0]
    assert desk.reports == []


async def test_an_application_that_raises_or_exits_at_import_is_told_with_the_line(
    desk_of: Open, tmp_path: Path
) -> None:
    (tmp_path / "exits_at_import.py").write_text("import sys\n\nsys.exit('no configuration found')\n")
    desk = await desk_of(app="exits_at_import:app", folder=str(tmp_path))
    assert "SystemExit: no configuration found" in desk.not_ready[0]
    assert "exits_at_import.py, line 3" in desk.not_ready[0]


async def test_a_process_that_dies_while_it_loads_is_tried_again_ever_more_rarely(
    desk_of: Open, tmp_path: Path
) -> None:
    code = "import os, time\nopen({!r}, 'a').write(f'{{time.monotonic()}}\\n')\nos._exit(9)\n"
    (tmp_path / "dies_at_import.py").write_text(code.format(str(tmp_path / "starts")))
    desk = await desk_of(app="dies_at_import:app", folder=str(tmp_path))
    await desk.until(lambda: len(desk.not_ready) >= 3)
    assert "ended with exit code 9 before it was ready" in desk.not_ready[0]
    first, second, third = [float(line) for line in (tmp_path / "starts").read_text().splitlines()[:3]]
    assert second - first > 0.1
    assert third - second > 0.2


def test_started_by_hand_it_says_how_it_is_meant_to_be_started() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "zjp.worker.process"], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert found.returncode == 1
    assert "run: python -m zjp.node --app module:app" in found.stderr


@contextmanager
def doomed(note: Path, task: str, count: int) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    node = subprocess.Popen(
        [sys.executable, "-m", "tests.worker.doomed", str(note), task, str(count)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert node.stdout is not None
    try:
        yield node, [int(pid) for pid in node.stdout.readline().split()]
    finally:
        node.kill()
        node.wait()
        node.stdout.close()


@pytest.mark.system
@pytest.mark.parametrize("task", ["start_grandchild", "hang_with_lock", "hang_in_c"])
async def test_workers_and_what_they_started_are_gone_within_a_second_of_the_nodes_death(
    tmp_path: Path, task: str
) -> None:
    note = tmp_path / "note"
    with doomed(note, task, 2) as (node, workers):
        assert len(workers) == 2
        marks = [
            Path(f"{note}{number}") if task == "start_grandchild" else started(f"{note}{number}") for number in range(2)
        ]
        await wait_until(lambda: all(mark.exists() for mark in marks), 20)
        grandchildren = [int(mark.read_text()) for mark in marks] if task == "start_grandchild" else []
        node.kill()
        await wait_until(lambda: not any(map(is_alive, [*workers, *grandchildren])), allowed(1))


async def wait_until(claim: Callable[[], bool], within_s: float) -> None:
    end = time.monotonic() + within_s
    while not claim():
        assert time.monotonic() < end, f"not within {within_s} s"
        await asyncio.sleep(0.01)


async def test_sockets_of_a_life_that_was_cut_off_go_with_the_next_and_nothing_else(desk_of: Open, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    former, foreign = tmp_path / "zjp-run-former", tmp_path / "precious"
    for folder in (former, foreign):
        folder.mkdir()
        (folder / "file").touch()
    (marks / "run").write_text(str(former))
    desk = await desk_of(marks_folder=str(marks))
    assert (marks / "run").read_text() == desk.pool._run_folder
    await desk.pool.stop(0.0)
    assert [path.name for path in marks.iterdir() if path.name == "run"] == []
    (marks / "run").write_text(str(foreign))
    await desk_of(marks_folder=str(marks))
    assert (former.exists(), foreign.exists()) == (False, True)
