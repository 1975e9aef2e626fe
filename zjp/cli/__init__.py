"""The command line: `zjp VERB`. A file per group of verbs; here are the group itself and what an error becomes.

A verb's file is imported when the verb is asked for, and ZeroMQ only when a verb talks to a node, so `zjp --help` and completion
stay quick. Results go to stdout, talk goes to stderr.

Exit codes: 0 done, 1 failed, 2 usage, 69 unavailable, 70 a bug of ours, 75 jobs were handed back (the node), 77 not allowed,
78 bad settings, 130 interrupted. A reader that closes the pipe early (`zjp jobs list | head`) is content: 0; output that cannot be
written (a full disk) is a failure: 1.
"""

from __future__ import annotations

import difflib
import sys
import traceback
from importlib import import_module
from typing import Any

import click

from .. import __version__
from ..config import inherited_environment
from ..errors import ZjpError
from ..streams import UNWRITTEN, forget_stdout, stand_in_for_closed, unwritten
from .options import Caller, check_texts, connecting, reading

EX_FAILED, EX_USAGE, EX_SOFTWARE, EX_INTERRUPTED = 1, 2, 70, 130

VERBS = {
    "node": "node",
    "submit": "submit",
    "jobs": "jobs",
    "queues": "queues",
    "schedules": "schedules",
    "cluster": "cluster",
    "stats": "stats",
    "top": "top",
    "config": "config",
    "keys": "keys",
    "users": "users",
    "token": "token",
    "doctor": "doctor",
    "bench": "bench",
    "demo": "demo",
    "completion": "completion",
}
"""Verb -> the file beside this one that holds the command of that name, in the order of the help."""


class Verbs(click.Group):
    """The group; every way out of it ends in one exit code and, when something is wrong, one clear line on stderr."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = import_module(f"{__name__}.{VERBS[cmd_name]}")
        command: click.Command = module.command
        return check_texts(command)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, n=1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **extra: Any) -> Any:
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
        except click.Abort:
            click.echo("zjp: interrupted", err=True)
            code = EX_INTERRUPTED
        except click.ClickException as fault:
            fault.show()
            code = fault.exit_code
        except OSError as fault:  # of what click itself writes, as `--help`: a verb's own ends in `invoke`
            if fault.errno not in UNWRITTEN:
                raise
            code = _unwritten(fault)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
            return code
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            goes_on = ctx.ensure_object(Caller).goes_on
            click.echo(f"\nzjp: interrupted{'; ' if goes_on else ''}{goes_on}", err=True)  # not behind the terminal's ^C
            return EX_INTERRUPTED
        except BrokenPipeError:
            forget_stdout()
            return 0
        except TimeoutError as fault:
            return _fail(ctx, fault, getattr(fault, "exit_code", 69))
        except ZjpError as fault:
            return _fail(ctx, fault, fault.exit_code)
        except OSError as fault:
            return _unwritten(fault) if fault.errno in UNWRITTEN else _own_bug(ctx, fault)
        except Exception as fault:
            return _own_bug(ctx, fault)


def _fail(ctx: click.Context, fault: Exception, code: int) -> int:
    if ctx.ensure_object(Caller).debug:
        traceback.print_exception(fault)
    _say(str(fault))
    return code


def _say(text: str) -> None:
    """It may hold what a job or a node said: nothing of it is for the terminal to obey."""
    from .show import clean_lines

    click.echo(f"zjp: {clean_lines(text)}", err=True)


def _own_bug(ctx: click.Context, fault: Exception) -> int:
    text = " ".join(f"{type(fault).__name__}: {fault}".split())
    if ctx.ensure_object(Caller).debug:
        traceback.print_exception(fault)
        _say(f"this is a bug of zjp: {text}")
    else:
        again = "run it again as `zjp --debug ...` for the traceback, and report that"
        _say(f"this is a bug of zjp: {text}; {again}")
    return EX_SOFTWARE


def _unwritten(fault: OSError) -> int:
    click.echo(f"zjp: {unwritten(fault)}; what was asked for may be done all the same", err=True)
    return EX_FAILED


@click.group("zjp", cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, "-V", "--version", prog_name="zjp", help="Show the version.")
@reading
@connecting
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Submit jobs to a zjp node, look at them, and run nodes.

    Options before the verb count for every verb; most can also stand after it. `zjp VERB --help` says more.
    """
    if inherited_environment().get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """The entry point of the installed `zjp`."""
    stand_in_for_closed()
    cli(prog_name="zjp")
