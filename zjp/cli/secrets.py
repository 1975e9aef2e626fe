"""How a verb is given a password: at the terminal, unseen, or from a file. Never as an argument: every process can read those."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
BYTES_MAX = 4096

password_file = click.option(
    "--password-file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), metavar="FILE",
    help="The password is the first line of this file; - is standard input. [asked for at the terminal]",
)  # fmt: skip


def password(file: Path | None, prompt: str, *, is_new: bool) -> str:
    """A new one is asked for twice. Raises: click.UsageError."""
    if file is not None:
        return _first_line(file)
    if not sys.stdin.isatty():
        raise click.UsageError(
            "there is no terminal to ask for the password: give --password-file FILE, or - for FILE to read it from standard input"
        )
    given: str = click.prompt(prompt, hide_input=True, confirmation_prompt=is_new, err=True)
    return given


def _first_line(file: Path) -> str:
    try:
        if str(file) == "-":
            text = sys.stdin.readline(BYTES_MAX)
        else:
            with file.open(encoding="utf-8") as lines:
                text = lines.readline(BYTES_MAX)
    except (OSError, ValueError) as fault:
        raise click.UsageError(f"--password-file {file}: cannot be read: {fault}") from None
    line = text.rstrip("\r\n")
    if not line:
        raise click.UsageError(f"--password-file {file}: its first line is empty")
    return line
