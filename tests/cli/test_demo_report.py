"""The demo's judge must see what is wrong: each way in which a job can differ from the plain loop is planted here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest

from zjp.cli.demo_files import FILES_WANTED, as_payload, folder_files, library_files, make_undecodable
from zjp.cli.demo_index import CannotIndex, index_of, is_flaky
from zjp.cli.demo_report import Asked, Report, judge, percentile
from zjp.job import Attempt, JobFault, JobState, JobView

pytestmark = pytest.mark.covers("main-path:11", "cli:demo")

CREATED_MS = 1_893_456_000_000


@pytest.fixture
def text(tmp_path: Path) -> str:
    return str(next(path for path in plain_files(tmp_path) if not is_flaky(index_of(str(path)))))


@pytest.fixture
def flaky(tmp_path: Path) -> str:
    return str(next(path for path in plain_files(tmp_path) if is_flaky(index_of(str(path)))))


def plain_files(folder: Path) -> Iterator[Path]:
    for number in count():
        path = folder / f"{number}.py"
        path.write_text(f"line {number}\nlonger line\n")
        yield path


def done(path: str, **fields: object) -> JobView:
    """What an honest node tells of this file."""
    needed = {
        "id": path.encode(), "type": "index-file", "queue": "default", "priority": 5, "status": JobState.COMPLETED,
        "payload": msgspec.msgpack.encode({"path": path}), "created_ms": CREATED_MS, "started_ms": CREATED_MS + 40,
        "result": msgspec.msgpack.encode(index_of(path)),
        "attempts": (Attempt(1, "n", "w0", CREATED_MS + 40, CREATED_MS + 41, "completed"),),
    }  # fmt: skip
    return JobView(**{**needed, **fields})


def report_on(path: str, view: JobView | None, *, delay_ms: int = 0, killed: int | None = None) -> Report:
    asked = Asked(path.encode(), path, delay_ms)
    return judge([asked], {} if view is None else {asked.id: view}, 2.0, killed)


def test_an_honest_run_is_good(text: str) -> None:
    report = report_on(text, done(text))
    assert report.fault() == ""
    assert "lost 0" in list(report.lines())
    assert report.waits_ms == [40]


def test_a_job_that_nobody_knows_is_lost(text: str) -> None:
    report = report_on(text, None)
    assert report.fault()
    assert "lost 1" in list(report.lines())


def test_a_job_that_never_finished_is_lost(text: str) -> None:
    assert report_on(text, done(text, status=JobState.RUNNING)).lost == 1


def test_a_wrong_result_is_seen(text: str) -> None:
    wrong = {**index_of(text), "lines": 3}
    report = report_on(text, done(text, result=msgspec.msgpack.encode(wrong)))
    assert report.fault()
    assert "the plain loop says" in report.mismatches[0]


def test_a_failure_that_should_not_be_is_seen_with_its_error(text: str) -> None:
    view = done(text, status=JobState.FAILED, result=b"", error=JobFault("WorkerCrashed", "3 crashes"))
    assert "is failed (WorkerCrashed: 3 crashes), the plain loop says completed" in report_on(text, view).mismatches[0]


def test_a_success_on_a_file_that_does_not_decode_is_seen(text: str, tmp_path: Path) -> None:
    bad = make_undecodable(tmp_path / "bad")[0].decode()
    report = report_on(bad, done(text, id=bad.encode()))
    assert "is completed, the plain loop says failed" in report.mismatches[0]


def test_a_file_that_fails_its_first_attempt_must_have_been_retried(flaky: str) -> None:
    assert not report_on(flaky, done(flaky, retries=1)).fault()
    assert report_on(flaky, done(flaky, retries=0)).mismatches == [f"{flaky}: was retried 0 times, it fails 1 times"]


def test_a_retry_that_nobody_asked_for_is_seen(text: str) -> None:
    assert report_on(text, done(text, retries=1)).fault()


def test_a_delayed_job_that_started_early_is_seen(text: str) -> None:
    assert report_on(text, done(text), delay_ms=1000).fault()
    late = done(text, started_ms=CREATED_MS + 1000, attempts=(Attempt(1, "n", "w", CREATED_MS + 1000, CREATED_MS + 1001, "completed"),))
    report = report_on(text, late, delay_ms=1000)
    assert report.fault() == ""
    assert report.waits_ms == [0]


def test_a_kill_that_hit_no_started_job_proves_nothing(text: str) -> None:
    assert "nothing was shown" in report_on(text, done(text), killed=4711).fault()


def test_a_kill_that_could_not_be_done_is_no_success(text: str) -> None:
    report = report_on(text, done(text))
    report.wanted_kill = True
    assert "--no-kill" in report.fault()


@pytest.mark.parametrize("outcome", ["crashed", "lost"])
def test_a_kill_is_counted_with_the_jobs_it_hit(text: str, outcome: str) -> None:
    hit = Attempt(1, "n", "w0", CREATED_MS + 10, CREATED_MS + 20, outcome)
    view = done(text, attempts=(hit, *done(text).attempts))
    report = report_on(text, view, killed=4711)
    assert report.fault() == ""
    assert {"crashes survived 1", "started jobs hit by them 1"} <= set(report.lines())


def test_an_index_has_the_lines_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("é\nlonger\nno end", encoding="utf-8")
    index = index_of(str(tmp_path / "a"))
    assert (index["lines"], index["longest"], index["bytes"]) == (3, 6, 16)
    (tmp_path / "empty").touch()
    assert index_of(str(tmp_path / "empty"))["lines"] == 0


def test_files_that_are_gone_or_no_text_cannot_be_indexed(tmp_path: Path) -> None:
    with pytest.raises(CannotIndex, match="FileNotFoundError"):
        index_of(str(tmp_path / "gone"))
    for path in make_undecodable(tmp_path / "bad"):
        with pytest.raises(CannotIndex, match="UnicodeDecodeError"):
            index_of(path)


def test_the_standard_library_gives_well_over_a_thousand_files() -> None:
    files = library_files()
    assert len(files) >= min(FILES_WANTED, 1_000)
    assert len(set(files)) == len(files)
    assert all(path.endswith(b".py") for path in files)


def test_a_folder_gives_its_regular_files_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.txt").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "b").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "inner" / "a.txt")
    assert folder_files(tmp_path) == [os.fsencode(tmp_path / "inner" / "a.txt")]


def test_names_in_unknown_encodings_travel_as_they_are() -> None:
    assert as_payload(b"/a/b.py") == "/a/b.py"
    assert as_payload(b"/a/\xff.py") == b"/a/\xff.py"


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile(range(1, 101), 0.5) == 50
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([7], 0.99) == 7
    assert percentile([], 0.5) == 0
