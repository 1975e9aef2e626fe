"""`python -m sims curves`: run the curves, write their numbers, pictures and the report."""

from __future__ import annotations

import os
import subprocess
import time
from importlib import import_module
from pathlib import Path

import click

from ..history import collector_off
from ..options import OutFolder
from .report import save, write_text
from .result import FULL, QUICK, Curve

CURVES = {
    "wan": "wan",
    "split": "split",
    "failover": "failover",
    "omission": "omission",
    "swim": "swim",
    "load": "load",
    "false-deaths": "false_deaths",
    "coverage": "covered",
}
"""Name -> module, in the order of the report."""
ASKED_FOR = ("coverage",)
"""Only by name: it needs a package that zjp does not, coverage."""


@click.command("curves")
@click.option(
    "--only",
    "chosen",
    type=click.Choice(list(CURVES)),
    multiple=True,
    help="May be given again; default: all but coverage.",
)
@click.option(
    "--out",
    "folder",
    type=OutFolder(),
    default=Path("docs"),
    show_default=True,
    help="Holds reports/, pictures/.",
)
@click.option("--quick", is_flag=True, help="Few elections, small clusters: does everything run?")
def curves_command(chosen: tuple[str, ...], folder: Path, quick: bool) -> None:
    """Draw the published curves of elections and membership again, beside the published points."""
    missed, of = 0, commit()
    for name in chosen or [name for name in CURVES if name not in ASKED_FOR]:
        curve: Curve = import_module(f".{CURVES[name]}", __package__).curve
        wall, cpu = time.monotonic(), _cpu_s()
        with collector_off():
            result = curve(QUICK if quick else FULL)
        took = {"wall_s": round(time.monotonic() - wall, 1), "cpu_s": round(_cpu_s() - cpu, 1)}
        words = f"python -m sims curves --only {name}" + (" --quick" if quick else "")
        save(folder, name, {"command": words, "commit": of, **took, **result.as_json()}, result.pictures)
        for verdict in result.verdicts:
            missed += not verdict.is_met
            click.echo(f"{'met   ' if verdict.is_met else 'MISSED'} {name}: {verdict.text}: {verdict.seen}")
        click.echo(f"       {name}: {result.events:,} events, {took['cpu_s']} s of a core")
    write_text(folder, tuple(CURVES))
    click.echo(f"{folder}/reports, {folder}/pictures; {missed} missed")


def _cpu_s() -> float:
    """Of this process and those that it has waited for."""
    return sum(os.times()[:4])


def commit() -> str:
    """Empty where there is no repository."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()
