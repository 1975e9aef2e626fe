"""Durations and sizes: what is read, what is refused, and that what is shown can be read again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.build import PATIENT
from zjp.units import DURATION_MAX_S, parse_duration_s, parse_size_bytes, show_duration, show_size


@pytest.mark.covers("settings:formats")
@pytest.mark.parametrize(
    ("text", "duration_s"),
    [("250ms", 0.25), ("5s", 5.0), ("2m", 120.0), ("1h", 3600.0), ("7d", 604800.0), ("1.5h", 5400.0), ("30", 30.0)],
)
def test_duration_is_read_in_seconds(text: str, duration_s: float) -> None:
    assert parse_duration_s(text) == duration_s
    assert parse_duration_s(f" {text.upper()} ") == duration_s


def test_number_is_seconds_already() -> None:
    assert parse_duration_s(5) == 5.0
    assert parse_duration_s(0.25) == 0.25


@pytest.mark.parametrize("text", ["", "5 parsecs", "-1s", "s", "1h30m", "inf", "nan", "1e3", "9" * 400, "1,5s", "٣s"])
def test_text_that_is_no_duration_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(ValueError, match="250ms, 5s, 2m, 1h"):
        parse_duration_s(text)


@pytest.mark.parametrize("number", [-1, float("nan"), float("inf"), DURATION_MAX_S * 2, True, None])
def test_number_that_is_no_duration_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="250ms, 5s, 2m, 1h"):
        parse_duration_s(number)


@pytest.mark.covers("settings:formats")
@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("512B", 512),
        ("64KiB", 65536),
        ("1MiB", 2**20),
        ("1.5kib", 1536),
        ("2GB", 2 * 10**9),
        ("10kB", 10_000),
    ],
)
def test_size_is_read_in_bytes(text: str, size_bytes: int) -> None:
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize("value", ["", "1 lot", "-1", "9" * 400, "KiB", -1, True])
def test_value_that_is_no_size_is_refused_with_what_is_accepted(value: str | int) -> None:
    with pytest.raises(ValueError, match="64KiB, 1MiB"):
        parse_size_bytes(value)


@PATIENT
@given(st.integers(0, int(DURATION_MAX_S) * 1000))
def test_shown_duration_reads_back(milliseconds: int) -> None:
    assert parse_duration_s(show_duration(milliseconds / 1000)) == pytest.approx(milliseconds / 1000, abs=1e-9)


@PATIENT
@given(st.integers(0, 2**50 - 1))
def test_shown_size_reads_back(size_bytes: int) -> None:
    assert size_bytes >= 10**15 or parse_size_bytes(show_size(size_bytes)) == size_bytes


@PATIENT
@given(st.text())
def test_any_text_gives_a_duration_within_bounds_or_value_error(text: str) -> None:
    try:
        assert 0 <= parse_duration_s(text) <= DURATION_MAX_S
    except ValueError:
        return
