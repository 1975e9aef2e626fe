"""What the command line of the simulator takes: which case to run, and where to write. A wrong value ends it with exit code 2.

All is looked at before anything runs, as a run may take minutes. Exit code 1 means that an invariant broke, so no mistake may end with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from zjp.node.ring import Recording, read_recording

from .election.faults import PROFILES, draw
from .election.planted_bugs import PLANTED
from .election.run import ALGORITHMS, Case

NODES_MAX = 100
NO_FAULT = "none"

Command = Callable[..., None]


def of_a_case(command: Command) -> Command:
    options = (
        click.option(
            "--algorithm", type=click.Choice(ALGORITHMS), default=None, help="Default: that of --planted, else raft."
        ),
        click.option("--nodes", type=click.IntRange(1, NODES_MAX), default=5, show_default=True),
        click.option("--seed", type=int, default=1, show_default=True),
        click.option("--profile", type=click.Choice(list(PROFILES)), default="chaos", show_default=True),
        click.option(
            "--faults", default="", metavar="N,N,...", help="Only these of the schedule, by number; none: no fault."
        ),
        click.option(
            "--planted", type=click.Choice(sorted(PLANTED)), default=None, help="Run a core with this planted bug."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def case_of(algorithm: str | None, nodes: int, seed: int, profile: str, faults: str, planted: str | None) -> Case:
    """Raises: click.BadParameter."""
    algorithms = algorithms_of((algorithm or "raft",) if algorithm or not planted else (), planted)
    return Case(algorithms[0], nodes, seed, profile, _kept(faults, nodes, seed, profile), planted or "")


def algorithms_of(chosen: tuple[str, ...], planted: str | None) -> tuple[str, ...]:
    """Those chosen; of none: that of the planted bug, else all. Raises: click.BadParameter for a bug in another core."""
    if planted is None:
        return chosen or ALGORITHMS
    own = PLANTED[planted].algorithm
    for algorithm in chosen:
        if algorithm != own:
            raise click.BadParameter(
                f"{planted} is a bug in the core of {own}, not of {algorithm}; leave out --algorithm, or choose another bug: "
                "`python -m sims mutants --list` names them",
                param_hint="--planted",
            )
    return (own,)


def _kept(text: str, nodes: int, seed: int, profile: str) -> tuple[int, ...] | None:
    if not text:
        return None
    if text == NO_FAULT:
        return ()
    count = len(draw(seed, profile, nodes))
    has = f"it has {count}, numbered from 0" if count else "it has none"
    kept = []
    for word in text.split(","):
        number = int(word) if word.isdecimal() and len(word) < 10 else -1
        if not 0 <= number < count:
            raise click.BadParameter(
                f"{word[:40]!r} is no number of a fault in the schedule of seed {seed}, {profile}, {nodes} nodes: {has}; "
                f"give numbers with commas between them, {NO_FAULT} for no fault, or leave it out for all",
                param_hint="--faults",
            )
        kept.append(number)
    return tuple(kept)


class OutFile(click.Path):
    """A file to write: its folder is there, and it may be written."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(str(super().convert(value, param, ctx)))  # type: ignore[arg-type]
        if not path.parent.is_dir():
            self.fail(f"{path}: there is no folder {path.parent}; make it, or name another file", param, ctx)
        if not path.exists() and not os.access(path.parent, os.W_OK):
            self.fail(f"{path}: the folder {path.parent} may not be written; name another file", param, ctx)
        return path


class OutFolder(click.Path):
    """A folder to write into; made when it is not there."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(str(super().convert(value, param, ctx)))  # type: ignore[arg-type]
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            self.fail(f"{path}: cannot be made a folder: {_why(fault)}; name another one", param, ctx)
        if not os.access(path, os.W_OK):
            self.fail(f"{path}: may not be written; name another folder", param, ctx)
        return path


def write(path: Path, text: str) -> None:
    """Raises: click.UsageError."""
    try:
        path.write_text(text)
    except OSError as fault:
        raise click.UsageError(f"{path}: cannot be written: {_why(fault)}; name another file") from None


def refuse_others(chosen: str) -> None:
    """Options of the command at hand that say nothing beside that one. Raises: click.UsageError."""
    context = click.get_current_context()
    given = [f"--{name}" for name in context.params if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
    if others := sorted(set(given) - {f"--{chosen}"}):
        raise click.UsageError(f"{', '.join(others)}: of no use beside --{chosen}; leave out the one or the other")


def recording_in(path: Path) -> Recording:
    """One that can be replayed to its end. Raises: click.BadParameter."""
    try:
        recording = read_recording(path)
        for _ in recording.fed():
            pass
    except OSError as fault:
        raise click.BadParameter(f"{path}: cannot be read: {_why(fault)}", param_hint="--ring") from None
    except (ValueError, msgspec.DecodeError) as fault:
        raise click.BadParameter(
            f"{path} is no recording of a node of this version: {fault}; give an election-ring.msgpack, which a node writes into its "
            "DATA_DIR on USR1",
            param_hint="--ring",
        ) from None
    if recording.algorithm not in ALGORITHMS:
        raise click.BadParameter(
            f"{path} is of algorithm {recording.algorithm[:40]!r}; this version knows {', '.join(ALGORITHMS)}",
            param_hint="--ring",
        )
    return recording


def _why(fault: OSError) -> str:
    return (fault.strerror or str(fault)).lower()
