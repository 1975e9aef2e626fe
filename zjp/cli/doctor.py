"""`zjp doctor`: all checks, one line each, and what to do about those that are not well."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import asdict

import click

from ..config import TABLE, Settings
from ..errors import ConfigError, ZjpError
from . import check_doors, check_stores, checks, show
from .checks import NOTE, OK, WRONG, Finding
from .options import Caller, caller, client_of, is_http, reading, talking

PING_LIMIT_S = 1.0
COLOURS = {OK: "green", NOTE: "yellow", WRONG: "red"}


@click.command("doctor", short_help="Check this machine and its node, and say what to do.")
@reading
@talking
@caller
@click.pass_context
def command(ctx: click.Context, asked: Caller) -> None:
    """Check settings, folders, disks, stores, clocks, ports, keys, secrets, limits, the application, the node and what waits there; say
    what to do about what is wrong. Nothing is changed.

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
    is_whole = True
    try:
        settings = asked.loaded.settings
    except ConfigError as fault:
        head, *problems = str(fault).splitlines()
        for problem in problems or [head]:
            yield Finding("settings", WRONG, problem.strip(), "correct it; docs/settings.md lists what is accepted")
        settings, is_whole = Settings(), False
        yield Finding("settings", NOTE, "the checks below look at the defaults instead", "run this again afterwards")
    else:
        changed = sum(origin != "default" for origin in asked.loaded.origins.values())
        yield Finding("settings", OK, f"{changed} differ from their defaults (zjp config shows them)")
    for check in (*checks.CHECKS, check_doors.client_keys, check_stores.file_system):
        yield check(settings)
    yield from check_stores.shared_stores(settings)
    yield from check_doors.api(settings, asked.loaded.origins if is_whole else dict.fromkeys(TABLE, "default"))
    yield from check_doors.ports(settings)
    yield from check_doors.voters(settings)
    yield from _node(asked, settings)


def _node(asked: Caller, settings: Settings) -> Iterator[Finding]:
    """The node that the command line would talk to, and what waits there."""
    addresses = asked.address or settings.client_address
    settings = dataclasses.replace(settings, client_address=addresses)
    with client_of(settings, addresses, asked.cluster, timeout_s=PING_LIMIT_S) as client:
        node = checks.node_or_port(settings, client.ping)
        yield node
        if "answers" in node.found and not is_http(addresses[0]):
            try:
                yield check_doors.unserved(client)
            except (ZjpError, TimeoutError) as fault:
                yield Finding("waiting jobs", NOTE, f"could not be looked at: {fault}", "run this again")


def _show(finding: Finding) -> None:
    click.echo(f"{click.style(finding.state.ljust(6), COLOURS[finding.state])}{finding.what.ljust(14)}{show.clean(finding.found, 400)}")
    if finding.advice:
        click.echo(f"{'':20}-> {finding.advice}")
