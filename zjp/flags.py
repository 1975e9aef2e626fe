"""The settings as flags of a command: what the node's and the HTTP door's command line have alike."""

from __future__ import annotations

import sys
from typing import Any

import click

from .config import TABLE
from .streams import UNWRITTEN, unwritten

EX_FAILED = 1


class Daemon(click.Command):
    """Its --help or --version that cannot be written is told in one line, and ends with 1 as those of `zjp` do."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except OSError as fault:
            if fault.errno not in UNWRITTEN:
                raise
            click.echo(unwritten(fault), err=True)
            sys.exit(EX_FAILED)


def with_settings(command: click.Command) -> None:
    """Every setting becomes an option of it; those of features that are not there yet are hidden."""
    for setting in TABLE.values():
        flag = "--" + setting.name.lower().replace("_", "-")
        command.params.append(
            click.Option(
                [flag], metavar="VALUE", help=f"{setting.meaning} [{setting.default_text}]", hidden=setting.later
            )
        )
