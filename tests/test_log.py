"""Log lines: their form, what is escaped and masked, and that repeats are left out."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zjp.log import REPEATED_EVENTS_MAX, REPEATS_MAX, REPEATS_WINDOW_S, TEXT_MAX, RepeatFilter, answer, configure, event

pytestmark = pytest.mark.covers("main-path:2")

LOG = logging.getLogger("zjp.test")


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """`configure` changes the process: put it back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    configure("info", "json", stream)
    return stream


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def repeat(count: int, created: float, seen_by: RepeatFilter, msg: str = "worker lost") -> list[logging.LogRecord]:
    """Records of one event at one moment, those that the filter let through."""
    records = [
        logging.makeLogRecord({"name": "zjp.x", "levelno": 30, "msg": msg, "created": created, "fields": {"n": number}})
        for number in range(count)
    ]
    return [record for record in records if seen_by.filter(record)]


def test_event_is_one_json_line_with_its_fields(stream: io.StringIO) -> None:
    event(LOG, logging.WARNING, "worker lost", worker=3, queues=["a", "b"], rss_share=0.5, hung=True, job=None)
    (line,) = lines(stream)
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "zjp.test",
        "event": "worker lost",
        "worker": 3,
        "queues": ["a", "b"],
        "rss_share": 0.5,
        "hung": True,
        "job": None,
    }


@pytest.mark.covers("settings:LOG_LEVEL")
def test_level_keeps_lesser_events_out(stream: io.StringIO) -> None:
    event(LOG, logging.DEBUG, "detail")
    assert stream.getvalue() == ""


def test_plain_logging_calls_work_and_their_extra_becomes_fields(stream: io.StringIO) -> None:
    LOG.info("sent %d mails", 3, extra={"job_id": "abc"})
    (line,) = lines(stream)
    assert (line["event"], line["job_id"]) == ("sent 3 mails", "abc")


def test_event_text_with_percent_signs_is_not_formatted(stream: io.StringIO) -> None:
    event(LOG, logging.INFO, "disk 90% full %s")
    assert lines(stream)[0]["event"] == "disk 90% full %s"


def test_field_cannot_replace_what_every_line_has(stream: io.StringIO) -> None:
    event(LOG, logging.INFO, "truth", event="lie", level="lie", name="mail", msg="x", args="y")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["event_"], line["name"]) == ("truth", "info", "lie", "mail")


@pytest.mark.covers("settings:LOG_FORMAT")
def test_auto_is_console_on_a_terminal_and_json_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    configure("info", "auto", terminal)
    event(LOG, logging.INFO, "node started", app="examples.tasks:app", note="two words")
    configure("info", "auto", pipe)
    event(LOG, logging.INFO, "node started")
    assert terminal.getvalue().endswith("INFO zjp.test: node started app=examples.tasks:app note='two words'\n")
    assert lines(pipe)[0]["event"] == "node started"


def test_last_configuration_counts_and_leaves_the_handlers_of_others_alone() -> None:
    first, second = io.StringIO(), io.StringIO()
    other = logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(other)
    configure("info", "json", first)
    configure("debug", "json", second)
    event(LOG, logging.DEBUG, "detail")
    assert first.getvalue() == ""
    assert len(lines(second)) == 1
    assert other in logging.getLogger().handlers


def test_logs_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json")
    event(LOG, logging.INFO, "node started")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "node started" in captured.err


@given(st.text(), st.text(min_size=1), st.sampled_from(["json", "console"]))
def test_no_text_from_outside_makes_a_line_of_its_own_or_moves_the_cursor(name: str, value: str, format: Any) -> None:
    stream = io.StringIO()
    configure("info", format, stream)
    event(LOG, logging.INFO, name, field=value, **{"x\n" + value: value})
    LOG.info("%s", value)
    text = stream.getvalue()
    assert text.count("\n") == 2
    assert text.endswith("\n")
    assert text.replace("\n", "").isprintable()


def test_traceback_is_indented_below_its_line_and_escaped() -> None:
    stream = io.StringIO()
    configure("info", "console", stream)
    try:
        raise ValueError("first\n12:00:00.000 INFO zjp.node: all is well\x1b[2J")
    except ValueError:
        LOG.exception("task failed")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("ERROR zjp.test: task failed")
    assert any("all is well\\x1b[2J" in line for line in rest)
    assert all(line.startswith("    ") for line in rest)


def test_traceback_is_a_list_of_lines_in_json(stream: io.StringIO) -> None:
    try:
        raise ValueError("no")
    except ValueError:
        event(LOG, logging.ERROR, "task failed")
        LOG.exception("again")
    without, with_it = lines(stream)
    assert "traceback" not in without
    assert with_it["traceback"][-1] == "ValueError: no"


@pytest.mark.parametrize("name", ["password", "jwt_secret", "Authorization", "token", "api_key", "payload"])
def test_field_with_the_name_of_a_secret_is_masked(stream: io.StringIO, name: str) -> None:
    event(LOG, logging.INFO, "login", **{name: "hunter2"}, inner={name: "hunter2"})
    assert "hunter2" not in stream.getvalue()
    assert lines(stream)[0][name] == "***"


def test_login_inside_a_url_is_masked(stream: io.StringIO) -> None:
    event(LOG, logging.INFO, "store is redis://app:hunter2@db:6379", url="redis://app:hunter2@db:6379/0")
    (line,) = lines(stream)
    assert (line["event"], line["url"]) == ("store is redis://***@db:6379", "redis://***@db:6379/0")


def test_password_among_the_options_of_a_url_is_masked(stream: io.StringIO) -> None:
    event(LOG, logging.INFO, "store is redis://db?password=hunter2", url="redis+sentinel://db/m?db=1&sentinel_password=hunter2&protocol=3")
    (line,) = lines(stream)
    assert line["event"] == "store is redis://db?password=***"
    assert line["url"] == "redis+sentinel://db/m?db=1&sentinel_password=***&protocol=3"


def test_any_value_can_be_a_field(stream: io.StringIO) -> None:
    event(LOG, logging.INFO, "odd", big=2**70, raw=b"\x00\xff", cls=ValueError("x"), nan=float("nan"), keys={1: (2, {3})})
    (line,) = lines(stream)
    assert (line["big"], line["raw"], line["cls"], line["nan"]) == (str(2**70), "00ff", "x", None)
    assert line["keys"] == {"1": [2, [3]]}


def test_long_text_is_cut_and_its_length_told(stream: io.StringIO) -> None:
    event(LOG, logging.INFO, "long", text="x" * 1_000_000)
    text = lines(stream)[0]["text"]
    assert len(text) < TEXT_MAX + 50
    assert text.endswith("... (1000000 characters)")


def test_repeats_of_an_event_are_left_out_and_counted_later() -> None:
    watch = RepeatFilter()
    assert len(repeat(REPEATS_MAX + 7, 1000.0, watch)) == REPEATS_MAX
    (later,) = repeat(1, 1000.0 + REPEATS_WINDOW_S, watch)
    assert vars(later)["fields"] == {"n": 0, "left_out": 7}
    (next_one,) = repeat(1, 1001.0 + REPEATS_WINDOW_S, watch)
    assert vars(next_one)["fields"] == {"n": 0}


def test_other_events_are_not_held_back_by_a_noisy_one() -> None:
    watch = RepeatFilter()
    repeat(REPEATS_MAX * 2, 1000.0, watch)
    assert len(repeat(1, 1000.0, watch, "node started")) == 1


def test_wall_clock_that_went_back_does_not_silence_an_event() -> None:
    watch = RepeatFilter()
    repeat(REPEATS_MAX * 2, 1000.0, watch)
    assert len(repeat(1, 10.0, watch)) == 1


def test_watch_for_repeats_is_bounded() -> None:
    watch = RepeatFilter()
    for number in range(REPEATED_EVENTS_MAX * 2 + 1):
        repeat(1, 1000.0, watch, f"event {number}")
    assert len(watch._seen) <= REPEATED_EVENTS_MAX


def test_logs_of_tasks_are_never_left_out(stream: io.StringIO) -> None:
    for _ in range(REPEATS_MAX * 3):
        LOG.info("tick")
    assert len(lines(stream)) == REPEATS_MAX * 3


def test_closed_stderr_of_a_daemon_does_not_stop_configure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    configure("warning", "auto")
    assert logging.getLogger().level == logging.WARNING


def test_what_was_asked_for_is_written_whatever_the_level_and_however_often() -> None:
    stream = io.StringIO()
    configure("error", "json", stream)
    for number in range(REPEATS_MAX + 5):
        answer(LOG, "dump", number=number)
    assert [line["number"] for line in lines(stream)] == list(range(REPEATS_MAX + 5))
    assert {(line["event"], line["level"], line["logger"]) for line in lines(stream)} == {("dump", "info", "zjp.test")}
    assert "is_asked_for" not in stream.getvalue()
