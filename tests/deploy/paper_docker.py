"""A `docker` without an engine, for pages that show its commands: it reads its arguments as docker does and looks whether what they name is
there. What is to run in a container runs here instead, where it can: `zjp` against the node that is up, a shell with redis-cli.

    docker build -t NAME FOLDER
    docker compose -f FILE up | build | run | exec | cp | kill ...

Each line is noted in $PAPER_DOCKER, a file with a JSON list per line. An option or a service that there is none of ends it with 2.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import yaml

RUN_HERE = {"zjp", "sh"}
NOT_HERE = {"mongo", "keys"}
"""Services whose commands are only read: their programs are not here, or would write where the tests have nothing."""


@click.group()
def main() -> None:
    with Path(os.environ["PAPER_DOCKER"]).open("a") as notes:
        notes.write(json.dumps(sys.argv[1:]) + "\n")


@main.command()
@click.option("-t", "tag", required=True)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def build(tag: str, folder: Path) -> None:
    """Whatever its Dockerfile copies must lie in the folder."""
    for source in re.findall(r"^COPY (?:--\S+ )*(\S+) ", (folder / "Dockerfile").read_text(), re.MULTILINE):
        if not (folder / source).exists():
            raise click.UsageError(f"{source}: not in {folder}")


@main.group()
@click.option("-f", "file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_context
def compose(context: click.Context, file: Path) -> None:
    """Every variable that the files demand has a value, as compose itself would say."""
    services: dict[str, Any] = yaml.safe_load(file.read_text())["services"]
    given = dict(line.split("=", 1) for line in (file.parent / ".env").read_text().splitlines())
    text = file.read_text() + (file.parent / "services.yml").read_text()
    missing = {name for name in re.findall(r"\${(\w+):\?", text) if not given.get(name)}
    if missing:
        raise click.UsageError(f"{', '.join(sorted(missing))}: not set in .env")
    context.obj = services


def check(context: click.Context, names: tuple[str, ...]) -> None:
    if strange := set(names) - set(context.obj):
        raise click.UsageError(f"no service {', '.join(sorted(strange))}")


SERVICES = click.argument("services", nargs=-1)
INSIDE = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@compose.command()
@click.option("-d", is_flag=True, required=True)
@click.option("--wait", is_flag=True)
@click.option("--no-build", is_flag=True)
@click.option("--no-deps", is_flag=True)
@click.option("--no-recreate", is_flag=True)
@click.option("--scale", multiple=True)
@SERVICES
@click.pass_context
def up(context: click.Context, services: tuple[str, ...], scale: tuple[str, ...], **_: bool) -> None:
    check(context, (*services, *(one.partition("=")[0] for one in scale)))


@compose.command("build")
@SERVICES
@click.pass_context
def build_services(context: click.Context, services: tuple[str, ...]) -> None:
    check(context, services)


@compose.command("kill")
@click.option("-s", "signal", required=True)
@SERVICES
@click.pass_context
def kill(context: click.Context, services: tuple[str, ...], signal: str) -> None:
    check(context, services)


@compose.command("cp")
@click.argument("source")
@click.argument("target")
@click.pass_context
def copy(context: click.Context, source: str, target: str) -> None:
    check(context, (source.partition(":")[0],))


@compose.command("exec", context_settings=INSIDE)
@click.option("-T", "no_terminal", is_flag=True)
@click.argument("service")
@click.argument("command", nargs=-1, required=True)
@click.pass_context
def execute(context: click.Context, service: str, command: tuple[str, ...], no_terminal: bool) -> None:
    inside(context, service, command)


@compose.command("run", context_settings=INSIDE)
@click.option("--rm", is_flag=True, required=True)
@click.option("--no-deps", is_flag=True)
@click.option("--entrypoint")
@click.argument("service")
@click.argument("command", nargs=-1)
@click.pass_context
def run(context: click.Context, service: str, command: tuple[str, ...], **_: Any) -> None:
    inside(context, service, command)


def inside(context: click.Context, service: str, command: tuple[str, ...]) -> None:
    check(context, (service,))
    if service in NOT_HERE:
        command = ("sh", "-n", *command[1:]) if command[:1] == ("sh",) else ("true",)
    elif command[:3] == ("zjp", "users", "add"):
        command = (*command, "--password-file", os.environ["PAPER_PASSWORD"])  # which a terminal would be asked for
    assert command[0] in {*RUN_HERE, "true"}, command
    sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main(prog_name="docker")
