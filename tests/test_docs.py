"""The code that README and docs show is run as it stands: Python blocks against a real node, command lines in a shell's order."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.running import RunningNode
from zjp.config import inherited_environment

pytestmark = [pytest.mark.system, pytest.mark.covers("main-path:judged:2")]

ROOT = Path(__file__).parent.parent
DEFAULT_ADDRESS = "tcp://127.0.0.1:5570"
LIMIT_S = 60.0
RUN = """
import ast, asyncio, sys
namespace = {"__name__": "shown"}
for path in sys.argv[1:]:
    waiting = eval(compile(open(path).read(), path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), namespace)
    if waiting is not None:
        asyncio.run(waiting)
"""


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [text for named, text in found if named == language]


def run(command: list[str], folder: Path, address: str) -> str:
    environment = {**inherited_environment(), "CLIENT_ADDRESS": address, "PYTHONPATH": f"{folder}:{ROOT}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def run_python(folder: Path, address: str, *shown: str) -> None:
    """The blocks one after the other, in one namespace."""
    paths = [folder / f"block{number}.py" for number in range(len(shown))]
    for path, text in zip(paths, shown, strict=True):
        path.write_text(text.replace(DEFAULT_ADDRESS, address))
    run([sys.executable, "-c", RUN, *map(str, paths)], folder, address)


def node_with(folder: Path, module: str, tasks: str) -> RunningNode:
    (folder / f"{module}.py").write_text(tasks)
    return RunningNode(folder, app=f"{module}:app", worker_count=2, worker_processes=1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_python_of_the_readme_does_what_it_shows(folder: Path) -> None:
    tasks, client, submits = blocks("README.md", "python")
    with node_with(folder, "tasks", tasks) as node:
        run_python(folder, node.address, client)
        run_python(folder, node.address, submits)


def test_python_of_the_page_on_tasks_does_what_it_shows(folder: Path) -> None:
    tasks, submits, testing = blocks("docs/tasks.md", "python")
    with node_with(folder, "shown_tasks", tasks) as node:
        run_python(folder, node.address, tasks, submits)
    run_python(folder, node.address, tasks, testing)


@pytest.mark.covers("cluster:schedules")
def test_page_on_schedules_does_what_it_shows(tmp_path: Path) -> None:
    (commands,) = (block for block in blocks("docs/schedules.md", "") if block.startswith("zjp schedules"))
    (python,) = blocks("docs/schedules.md", "python")
    with RunningNode(tmp_path, app="tests.fakes:app") as node:
        for line in commands.splitlines():
            words = shlex.split(line, comments=True)
            run([sys.executable, "-m", *words, *(["--yes"] if "remove" in words else [])], tmp_path, node.address)
        run_python(tmp_path, node.address, python)


def test_commands_of_the_readme_do_what_they_show(tmp_path: Path) -> None:
    (commands,) = (block for block in blocks("README.md", "") if block.startswith("zjp submit"))
    with RunningNode(tmp_path, app="examples.tasks:app", worker_count=2, worker_processes=1) as node:
        job = ""
        for line in commands.splitlines():
            told = run([sys.executable, "-m", *shlex.split(line.replace("JOB_ID", job))], tmp_path, node.address)
            assert told.strip()
            job = next(iter(re.findall(r"[0-9a-f]{8}-[0-9a-f-]{27}", told)), job)
        assert job, "no command told an id"


@pytest.mark.covers("main-path:10")
def test_examples_of_the_reference_do_what_they_show(tmp_path: Path) -> None:
    """Its other blocks are usage lines, made from the commands themselves."""
    shown = [block.strip() for block in blocks("docs/cli.md", "")]
    lines = [line for line in shown if not re.search(r"VERB \.\.\.|\[OPTIONS\]|\[FLAGS\]|SHELL$", line)]
    assert len(lines) == 3
    with RunningNode(tmp_path, app="examples.tasks:app", worker_count=2, worker_processes=1) as node:
        for line in lines:
            run([sys.executable, "-m", *shlex.split(line)], tmp_path, node.address)
