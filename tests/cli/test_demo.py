"""`zjp demo`, as a newcomer runs it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bounds import allowed
from tests.system.running import ROOT, clean_environment, run_zjp

pytestmark = [pytest.mark.system, pytest.mark.covers("main-path:11", "cli:demo", "main-path:judged:1")]

END_LIMIT_S = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """600 files that take a few ms each, one name that is no text, one file that is no text."""
    inner = tmp_path / "files"
    inner.mkdir()
    for number in range(600):
        (inner / f"{number}.txt").write_text(f"file {number}\n" * 20_000)
    (inner / os.fsdecode(b"\xff-name.txt")).write_text("fine\n")
    (inner / "picture.bin").write_bytes(b"\x89PNG\xff\xfe")
    return inner


def figures(out: str) -> dict[str, str]:
    """`jobs/s 1675` -> {"jobs/s": "1675"}"""
    return {name: value for name, _, value in (line.rpartition(" ") for line in out.splitlines())}


def test_every_result_is_right_although_a_worker_was_killed(folder: Path) -> None:
    told = run_zjp("demo", "--folder", str(folder))
    assert told.code == 0, told
    said = figures(told.out)
    assert "lost 0" in told.out.splitlines()
    assert (said["jobs"], said["failed for good"], said["different from the plain loop"]) == ("612", "11", "0")
    assert said["crashes survived"] == "1"
    assert int(said["started jobs hit by them"]) >= 1
    assert "with SIGKILL" in told.err


def test_without_the_kill_nothing_crashes(folder: Path) -> None:
    told = run_zjp("demo", "--folder", str(folder), "--no-kill")
    assert told.code == 0, told
    assert figures(told.out)["crashes survived"] == "0"
    assert "SIGKILL" not in told.err


def test_settings_of_this_machine_do_not_matter(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "zjp.toml").write_text("worker_count = 1\nno_such = 1\n")
    told = run_zjp("demo", "--folder", str(folder), "--no-kill", cwd=tmp_path, env={"ZJP_WORKER_COUNT": "x", "REDIS_ADDR": "y"})
    assert told.code == 0, told


@pytest.mark.slow
def test_the_standard_library_is_indexed_within_a_minute(tmp_path: Path) -> None:
    began = time.monotonic()
    told = run_zjp("demo", cwd=tmp_path)
    assert told.code == 0, told
    assert time.monotonic() - began < allowed(60)
    said = figures(told.out)
    assert int(said["jobs"]) > 1_000
    assert int(said["retries"]) > 0
    assert int(said["delayed"]) > 0
    assert int(said["started jobs hit by them"]) >= 1


# ── every way out ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo in the middle of its work."""
    process = subprocess.Popen(
        [sys.executable, "-m", "zjp", "demo", "--folder", str(folder)], cwd=ROOT, env=clean_environment(), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        said = ""
        while "indexing" not in said:
            line = process.stderr.readline()
            said += line
            assert line, f"the demo ended before it began: {said}"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes are followed by pidfd")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_behind(running: subprocess.Popen[str], number: signal.Signals) -> None:
    family = [os.pidfd_open(pid) for pid in descendants(running.pid)]
    assert len(family) >= 3, "a node and its two workers"
    running.send_signal(number)
    assert running.wait(END_LIMIT_S) == 130
    assert running.stderr is not None
    assert "goes on" not in running.stderr.read(), "its node has ended with it"
    for pidfd in family:
        assert select.select([pidfd], [], [], END_LIMIT_S)[0], "a process outlived the demo"
        os.close(pidfd)


def descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(inner for child in children for inner in descendants(child))]
