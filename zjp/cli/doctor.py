"""`zjp doctor`: all checks, one line each, and what to do about those that are not well."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from ..config import Settings
from ..errors import ConfigError
from ..wire.messages import Pong
from . import checks, show
from .checks import NOTE, OK, WRONG, Finding
from .options import Caller, caller, client_of, reading, talking

PING_LIMIT_S = 1.0
COLOURS = {OK: "green", NOTE: "yellow", WRONG: "red"}


@click.command("doctor", short_help="Check this machine and its node, and say what to do.")
@reading
@talking
@caller
@click.pass_context
def command(ctx: click.Context, asked: Caller) -> None:
    """Check settings, folders, disk, clock, limits, the application and the node; say what to do about what is wrong.

    Exit code 1 when something is wrong; a note is no failure.
    """
    findings = []
    for finding in _findings(asked):
        findings.append(finding)
        if not asked.as_json:
            _show(finding)
    if asked.as_json:
        show.as_json([asdict(finding) for finding in findings])
    ctx.exit(1 if any(finding.state == WRONG for finding in findings) else 0)


def _findings(asked: Caller) -> Iterator[Finding]:
    try:
        settings = asked.loaded.settings
    except ConfigError as fault:
        head, *problems = str(fault).splitlines()
        for problem in problems or [head]:
            yield Finding("settings", WRONG, problem.strip(), "correct it; docs/settings.md lists what is accepted")
        settings = Settings()
        yield Finding("settings", NOTE, "the checks below look at the defaults instead", "run this again afterwards")
    else:
        changed = sum(origin != "default" for origin in asked.loaded.origins.values())
        yield Finding("settings", OK, f"{changed} differ from their defaults (zjp config shows them)")
    for check in checks.CHECKS:
        yield check(settings)
    yield checks.node_or_port(settings, lambda: _ping(asked, settings))


def _ping(asked: Caller, settings: Settings) -> Pong:
    with client_of(settings, asked.address or settings.client_address, asked.cluster, timeout_s=PING_LIMIT_S) as client:
        return client.ping()


def _show(finding: Finding) -> None:
    click.echo(f"{click.style(finding.state.ljust(6), COLOURS[finding.state])}{finding.what.ljust(13)}{show.clean(finding.found, 400)}")
    if finding.advice:
        click.echo(f"{'':19}-> {finding.advice}")
