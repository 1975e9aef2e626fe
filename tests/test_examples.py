"""Every example runs as its docstring says, within its time, and ends with exit code 0 only when its result is right."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from examples import crawler, etl, index_folder, thumbnails

pytestmark = [pytest.mark.covers("main-path:11"), pytest.mark.system]

ROOT = Path(__file__).parent.parent
PROGRAMS = {
    "tasks": r"email +would send 'hi' to a@example\.com, attempt 1\nadd +5\nsleep +0\.3\nflaky +succeeded at attempt 3",
    "index_folder": r"\d+ files, \d+ indexed, \d+ no text\nsame as a plain loop",
    "send_mail": r"46 jobs: 45 mails arrived, 5 after a retry, 1 refused for good\n.*550 no such mailbox",
    "thumbnails": r"picture-00: 40 x 30\n(.*\n)*picture-of-nothing: .* has 10 bytes of pixels, 100 x 100 need 30000",
    "crawler": r"30 pages read, 31 requests in .*, at least \d+ ms apart\nfailed: /page-999",
    "etl": r"1400 orders of 7 days loaded; submitting each day twice made 7 jobs\n(.*\n)a run with an older fence was refused",
    "fan_out": r"1000 tasks, 2,000,000 darts: pi is about 3\.1",
}
"""Module -> what it prints."""
LIMIT_S = 90.0


def run(module: str) -> tuple[int, str, str]:
    """Exit code, output, log. In a process group of its own: nothing of it is left when the time is over."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("ZJP_", "SMTP_", "CLIENT_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", f"examples.{module}"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, log = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, log = process.communicate()
        pytest.fail(f"examples.{module} was not done after {LIMIT_S:g} s:\n{output}\n{log}")
    return process.returncode, output, log


@pytest.mark.parametrize("module", PROGRAMS)
def test_example_does_its_work(module: str) -> None:
    code, output, log = run(module)
    assert code == 0, output + log
    assert re.search(PROGRAMS[module], output), output


def test_every_example_is_run_here() -> None:
    programs = {path.stem for path in (ROOT / "examples").glob("*.py") if "__main__" in path.read_text()}
    assert programs == {*PROGRAMS, "http_client"}  # which needs an API: test_http_guide.py


# ── the parts that need no node ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_index_counts_lines_and_the_longest(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\nthree\n\n")
    found = index_folder.index_of(tmp_path / "a")
    assert (found["bytes"], found["lines"], found["longest"]) == (11, 3, 5)


def test_thumbnail_of_one_colour_has_that_colour(tmp_path: Path) -> None:
    picture = thumbnails.Picture(80, 60, [bytes([10, 20, 30]) * 80] * 60)
    small = thumbnails.scaled(picture, 40)
    assert (small.width, small.height, set(small.rows)) == (40, 30, {bytes([10, 20, 30]) * 40})
    thumbnails.write_png(small, tmp_path / "t.png")
    assert thumbnails.pixels_of((tmp_path / "t.png").read_bytes()) == (b"\0" + bytes([10, 20, 30]) * 40) * 30


def test_sink_of_the_etl_refuses_a_lower_fence_and_takes_the_same_again(tmp_path: Path) -> None:

    with closing(sqlite3.connect(tmp_path / "sink.db", isolation_level=None)) as sink:
        sink.executescript(etl.SCHEMA)
        etl.load(sink, "2024-03-01", 7, [("DE", 100)])
        etl.load(sink, "2024-03-01", 7, [("DE", 100)])
        with pytest.raises(etl.Overtaken, match="fence 6 is lower than the one seen"):
            etl.load(sink, "2024-03-01", 6, [("DE", 999)])
        assert etl.revenue_of(sink) == 100
        etl.load(sink, "2024-03-01", 8, [("DE", 150)])
        assert etl.revenue_of(sink) == 150


def test_crawler_takes_turns_and_reads_no_page_twice(tmp_path: Path) -> None:

    with closing(sqlite3.connect(tmp_path / "notes.db", isolation_level=None)) as notes:
        notes.executescript(crawler.SCHEMA)
        assert crawler.take_turn(notes, "/a")
        with pytest.raises(crawler.Snooze) as snoozed:
            crawler.take_turn(notes, "/b")
        assert snoozed.value.delay_s == crawler.INTERVAL_S
        crawler.end_turn(notes)
        with pytest.raises(crawler.Snooze) as snoozed:
            crawler.take_turn(notes, "/b")
        assert 0 < snoozed.value.delay_s <= crawler.INTERVAL_S
        notes.execute("INSERT INTO pages VALUES ('/a', 1)")
        assert not crawler.take_turn(notes, "/a")
