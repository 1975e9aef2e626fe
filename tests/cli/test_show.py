"""How tables, ages and foreign text look on a terminal."""

from __future__ import annotations

import pytest

from zjp.cli import show

pytestmark = pytest.mark.covers("main-path:10")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0004, "0ms"), (0.25, "250ms"), (1.5, "1.5s"), (59.94, "59.9s"), (61, "1m01s"), (3725, "1h02m"), (90_000, "1d01h")],
)
def test_ages_are_told_in_their_two_largest_units(seconds: float, told: str) -> None:
    assert show.age(seconds) == told


def test_columns_are_as_wide_as_their_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(("A", "LONG"), [("wider", 1), ("x", 22)])
    assert capsys.readouterr().out == "A      LONG\nwider  1\nx      22\n"


def test_an_empty_table_is_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(("A", "B"), [])
    assert capsys.readouterr().out == "A  B\n"


def test_nothing_in_a_cell_can_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show.table(("A",), [("\x1b[31mred\nnext",)])
    assert capsys.readouterr().out == "A\n\\x1b[31mred\\nnext\n"


def test_long_cells_are_cut() -> None:
    assert show.clean("x" * 500) == "x" * 200 + "..."


def test_tracebacks_keep_their_lines_and_lose_their_controls() -> None:
    assert show.clean_lines("a\n  b\x1b[2J") == "a\n  b\\x1b[2J"


@pytest.mark.parametrize(("size_bytes", "told"), [(0, "0 B"), (2048, "2 KiB"), (5 << 20, "5 MiB"), (3 << 30, "3.0 GiB")])
def test_sizes_have_their_unit(size_bytes: int, told: str) -> None:
    assert show.size(size_bytes) == told
