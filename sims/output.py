"""Output that cannot be written: it must not end as a run does that broke an invariant.

A full disk, a device that is gone: one line on stderr, and EX_IOERR. A reader that closes the pipe early (`python -m sims run | head`) is
content, so it is told nothing and the code is 0; `zjp` does so, too.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from zjp.cli import EX_INTERRUPTED
from zjp.streams import UNWRITTEN, unwritten

EX_IOERR = 74


class Speaking(click.Group):
    """A group of commands that print. Every way out of it ends in one exit code."""

    def main(self, *args: Any, **extra: Any) -> Any:
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
        except click.ClickException as fault:
            fault.show()
            code = fault.exit_code
        except click.Abort:
            click.echo("interrupted", err=True)
            code = EX_INTERRUPTED
        except OSError as fault:  # of what click itself writes, as `--help`: a command's own ends in `invoke`
            code = _unwritten(fault)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """What a command printed is out when it ends; a pipe is looked after here, as click would end with 1 for it."""
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
            return code
        except OSError as fault:
            return _unwritten(fault)


def _unwritten(fault: OSError) -> int:
    """Raises: the fault, when it is of something else."""
    if not isinstance(fault, BrokenPipeError) and fault.errno not in UNWRITTEN:
        raise fault
    text = unwritten(fault)
    if isinstance(fault, BrokenPipeError):
        return 0
    click.echo(text, err=True)
    return EX_IOERR
