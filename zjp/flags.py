"""The settings as flags of a command: what the node's and the HTTP door's command line have alike."""

from __future__ import annotations

import click

from .config import TABLE


def with_settings(command: click.Command) -> None:
    """Every setting becomes an option of it; those of features that are not there yet are hidden."""
    for setting in TABLE.values():
        flag = "--" + setting.name.lower().replace("_", "-")
        command.params.append(
            click.Option(
                [flag], metavar="VALUE", help=f"{setting.meaning} [{setting.default_text}]", hidden=setting.later
            )
        )
