"""`zjp config`: the settings as they count, and where each came from."""

from __future__ import annotations

import click

from ..config import TABLE, effective
from . import show
from .options import Caller, caller, local, reading


@click.command("config", short_help="Show the effective settings and their origin.")
@click.option("--all", "everything", is_flag=True, help="Also the settings of features that later versions bring.")
@reading
@local
@caller
def command(asked: Caller, everything: bool) -> None:
    """Show the effective settings, each with where it came from; secrets are masked.

    A flag of the node wins over ZJP_NAME, that over NAME in the environment, that over the file, that over the default.
    """
    rows = [row for row in effective(asked.loaded) if everything or not TABLE[row[0]].later]
    if asked.as_json:
        show.as_json([{"name": name, "value": value, "origin": origin} for name, value, origin in rows])
    else:
        show.table(("NAME", "VALUE", "FROM"), rows)
