"""`zjp node`: the daemon, by becoming it. Nothing of the node is imported here."""

from __future__ import annotations

import os
import sys

import click

from .options import Caller, caller


@click.command(
    "node",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    short_help="Run a node (the same as python -m zjp.node).",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[FLAGS]...")
@caller
def command(asked: Caller, arguments: tuple[str, ...]) -> None:
    """Run a node in this terminal: `zjp node --app module:app`. Every setting is a flag; `zjp node --help` lists them.

    TERM or INT drain, a second one stops now.
    """
    given = ["--config", str(asked.config)] if asked.config else []
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "zjp.node", *given, *arguments])
