"""A progress bar on stderr: live on a terminal, a line per tenth elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

import click

STEPS = 10

Advance = Callable[[int], None]


@contextlib.contextmanager
def bar(title: str, total: int) -> Iterator[Advance]:
    """Gives `advance(count)`."""
    with _live(title, total) if sys.stderr.isatty() else _plain(title, total) as advance:
        yield advance


@contextlib.contextmanager
def _live(title: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


@contextlib.contextmanager
def _plain(title: str, total: int) -> Iterator[Advance]:
    done = told = 0

    def advance(count: int) -> None:
        nonlocal done, told
        done += count
        step = done * STEPS // max(total, 1)
        if step > told:
            told = step
            click.echo(f"{title} {done}/{total}", err=True)

    yield advance
