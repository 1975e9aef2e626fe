"""How things look on a terminal: tables without frames, ages, sizes, JSON. Knows nothing of nodes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from ..job import JobState, JobView

COLOURS = {
    JobState.COMPLETED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.CANCELLING: "yellow",
    JobState.RUNNING: "cyan",
    JobState.RETRYING: "magenta",
}
TEXT_MAX = 200
"""Characters of one cell."""


def as_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def talk(text: str) -> None:
    """To the person, beside the result: stderr."""
    click.echo(text, err=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, colour: Sequence[str | None] = ()) -> None:
    """Columns as wide as their widest cell. `colour`: one per row."""
    texts = [[clean(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *texts, strict=True)]
    click.secho(_line(head, widths), bold=True)
    for index, row in enumerate(texts):
        click.secho(_line(row, widths), fg=colour[index] if colour else None)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def pairs(rows: Iterable[tuple[str, object]]) -> None:
    """Name and value, one per line."""
    shown = [(name, clean(str(value))) for name, value in rows]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name.ljust(width)}  {value}")


def clean(text: str, chars_max: int = TEXT_MAX) -> str:
    """One line, nothing that a terminal would obey, not too long."""
    cut = text if len(text) <= chars_max else f"{text[:chars_max]}..."
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut)


def clean_lines(text: str) -> str:
    """As `clean`, line by line and without a limit: for tracebacks."""
    return "\n".join(clean(line, len(line)) for line in text.splitlines())


def age(seconds: float) -> str:
    """The two largest units are enough to judge an age by: 3725 -> `1h02m`."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if not hours:
        return f"{minutes}m{int(seconds % 60):02d}s"
    return f"{hours}h{minutes % 60:02d}m" if not days else f"{days}d{hours % 24:02d}h"


def ago(at_ms: int, now: datetime | None = None) -> str:
    """How long ago, or `in ...`; `-` where it has not happened."""
    if not at_ms:
        return "-"
    seconds = (now or datetime.now(UTC)).timestamp() - at_ms / 1000
    return f"in {age(-seconds)}" if seconds < 0 else age(seconds)


def size(size_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size_bytes < 1024:
            return f"{size_bytes:.0f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} GiB"


def colour_of(job: JobView) -> str | None:
    return COLOURS.get(job.status)
