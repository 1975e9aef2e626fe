"""`python -m tests.deploy.containers [--algorithm all] [--report FILE]`: the compose files on a real engine, as a user meets them.

For each file: up, work through each published address, the leader killed, a node cut off and back, a drain, keys and users as README.md
tells them, down. Each step is told with its time. Exit 0: all held. 1: one did not. 2: the run itself failed, or this machine cannot do it.

`--engine own` (root, Debian's docker.io) starts dockerd in a network namespace, with stand-ins for images (images.py); `--engine present`
takes the engine that is there and the real images.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from tests.deploy import images, steps
from tests.deploy.engine import Engine, Failed, enter, is_present, what_own_lacks
from tests.deploy.report import markdown
from tests.deploy.stage import Stage
from tests.system.running import ROOT

ALGORITHMS = ("bully", "raft", "gossip")


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(given)
    try:
        if options.engine == "own" and not options.inside:
            if lacks := what_own_lacks():
                print(lacks, file=sys.stderr)
                return 2
            images.fetch(options.folder)
            return enter(["-m", "tests.deploy.containers", *given, "--inside"])
        if options.engine == "present" and not is_present():
            print("no container engine answers: set DOCKER_HOST, or --engine own", file=sys.stderr)
            return 2
        return _run(
            options,
            shlex.join(["python", "-m", "tests.deploy.containers", *(one for one in given if one != "--inside")]),
        )
    except (Failed, subprocess.SubprocessError, OSError):
        traceback.print_exc()
        return 2


def _run(options: argparse.Namespace, command: str) -> int:
    is_own, algorithms = options.engine == "own", ALGORITHMS if options.algorithm == "all" else (options.algorithm,)
    seen: dict[str, list[steps.Step]] = {}
    begun = datetime.now(UTC)
    with Engine(options.folder, is_own=is_own, compose=options.compose) as engine:
        stages = [Stage(engine, one, options.folder / one, has_standins=is_own) for one in algorithms]
        if is_own:
            images.prepare(engine, options.folder, stages[0].images())
        if not options.no_build:
            images.build_ours(engine)
        seen["image"] = steps.of_the_image(engine)
        for stage in stages:
            seen[stage.algorithm] = steps.of_a_cluster(stage)
        if options.report is not None:
            facts = {
                "Engine": f"Docker {engine.version()}, compose {engine.compose_version()}, {options.engine}",
                "Commit": _commit(),
                "Run": f"{begun:%Y-%m-%d %H:%M} UTC, {(datetime.now(UTC) - begun).total_seconds():.0f} s",
            }
            options.report.write_text(markdown(command, facts, seen, has_standins=is_own))
    return 0 if all(step.is_good for each in seen.values() for step in each) else 1


def _commit() -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.deploy.containers", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument("--algorithm", choices=("all", *ALGORITHMS), default="all")
    parser.add_argument("--engine", choices=("own", "present"), default="present" if is_present() else "own")
    parser.add_argument("--compose", metavar="FILE", help="The compose program. [docker compose]")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()) / "zjp-containers",
        help="Images and data of an own engine.",
    )
    parser.add_argument("--report", type=Path, metavar="FILE")
    parser.add_argument("--no-build", action="store_true", help="The image zjp is there already.")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
