"""`python -m sims`: run the election cores in simulated clusters, look for seeds that break an invariant, replay, shrink and draw them.

Exit code 1 when an invariant broke, or a planted bug was not caught; 2 when it was called wrongly; 74 when what it says could not be
written. `run` prints nothing that depends on the machine or the hour.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from .curves.command import curves_command
from .election.faults import PROFILES
from .election.fuzz import Result, cases, fuzz
from .election.planted_bugs import PLANTED
from .election.plot import draw_svg
from .election.proving import Proof, prove_kept, search
from .election.run import ALGORITHMS, Outcome, run
from .election.shrink import shrink
from .options import (
    NODES_MAX,
    OutFile,
    OutFolder,
    algorithms_of,
    case_of,
    of_a_case,
    recording_in,
    refuse_others,
    write,
)
from .output import Speaking
from .ring import replayed


@click.group(cls=Speaking, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def main() -> None:
    """Simulated clusters of the election cores, decided by a seed."""


@main.command("run")
@of_a_case
@click.option("--quiet", is_flag=True, help="The summary only.")
def run_command(quiet: bool, **chosen: Any) -> None:
    """Run one seed and print each transition: a line per change, a column per node."""
    show(run(case_of(**chosen)), quiet=quiet)


@main.command("replay")
@of_a_case
@click.option("--svg", type=OutFile(), help="Draw it into this file too.")
@click.option(
    "--ring",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Instead, without other options: what a real node recorded, election-ring.msgpack.",
)
def replay_command(svg: Path | None, ring: Path | None, **chosen: Any) -> None:
    """Run a seed again that failed, or what a node recorded, and print each transition."""
    if ring is not None:
        refuse_others("ring")
        for line in replayed(recording_in(ring)):
            click.echo(line)
        return
    outcome = run(case_of(**chosen))
    if svg is not None:
        write(svg, draw_svg(outcome))
    show(outcome, quiet=False)


@main.command("plot")
@of_a_case
@click.option("--out", type=OutFile(), default=Path("run.svg"), show_default=True)
def plot_command(out: Path, **chosen: Any) -> None:
    """Draw a run as SVG."""
    outcome = run(case_of(**chosen))
    write(out, draw_svg(outcome))
    click.echo(f"{out}: {verdict(outcome)}")


@main.command("shrink")
@of_a_case
@click.option("--svg", type=OutFile(), help="Draw what is left into this file.")
def shrink_command(svg: Path | None, **chosen: Any) -> None:
    """Cut a failing run down to the fewest faults that still break the same invariant."""
    outcome = run(case_of(**chosen))
    if outcome.is_well:
        raise click.UsageError("this run breaks nothing; there is nothing to shrink")
    report(outcome, svg)
    sys.exit(1)


@main.command("fuzz")
@click.option(
    "--algorithm", "algorithms", type=click.Choice(ALGORITHMS), multiple=True, help="May be given again; default: all."
)
@click.option("--seeds", type=click.IntRange(1), default=120, show_default=True, help="So many per algorithm.")
@click.option("--first", type=int, default=0, show_default=True, help="The first seed.")
@click.option("--nodes", type=click.IntRange(0, NODES_MAX), default=0, help="0: by seed, mostly 3, 5 and 7.")
@click.option("--profile", type=click.Choice(["mix", *PROFILES]), default="mix", show_default=True)
@click.option("--planted", type=click.Choice(sorted(PLANTED)), default=None, help="Run cores with this planted bug.")
@click.option("--workers", type=click.IntRange(1), default=None, help="Processes; default: one per core.")
@click.option(
    "--svg",
    "folder",
    type=OutFolder(),
    default=Path("."),
    help="Folder for the pictures of failing runs.",
)
def fuzz_command(
    algorithms: tuple[str, ...],
    seeds: int,
    first: int,
    nodes: int,
    profile: str,
    planted: str | None,
    workers: int | None,
    folder: Path,
) -> None:
    """Run many seeds; a failing one is shrunk, drawn, and printed as one command."""
    failed = 0
    for algorithm in algorithms_of(algorithms, planted):
        results: list[Result] = []
        todo = cases(algorithm, range(first, first + seeds), nodes=nodes, profile=profile, planted=planted or "")
        for result in fuzz(todo, workers or os.cpu_count() or 1):
            results.append(result)
            if result.invariant:
                failed += 1
                report(run(result.case), folder / f"failed-{algorithm}-{result.case.seed}.svg")
        click.echo(
            f"{algorithm}: {len(results)} seeds, {sum(result.steps for result in results)} events, {failed} failed in all"
        )
    sys.exit(1 if failed else 0)


@main.command("mutants")
@click.option("--list", "is_list", is_flag=True, help="Only name them.")
@click.option("--name", "names", multiple=True, type=click.Choice(sorted(PLANTED)), help="Only these.")
@click.option(
    "--search",
    "seeds",
    type=click.IntRange(0),
    default=0,
    help="Look for the first of so many seeds that catches each.",
)
@click.option("--workers", type=click.IntRange(1), default=None, help="Processes; default: one per core.")
def mutants_command(is_list: bool, names: tuple[str, ...], seeds: int, workers: int | None) -> None:
    """Planted bugs: prove that each is caught on its kept seed, where the right core passes."""
    chosen = [PLANTED[name] for name in names] if names else list(PLANTED.values())
    missed = 0
    for bug in chosen:
        if is_list:
            click.echo(f"{bug.name:34} {bug.algorithm:7} {bug.file:28} {' '.join(bug.invariants)}")
            continue
        proof = search(bug, seeds, workers or os.cpu_count() or 1) if seeds else prove_kept(bug)
        missed += not proof.is_caught
        click.echo(line_of(proof))
    sys.exit(1 if missed else 0)


def line_of(proof: Proof) -> str:
    return f"{'caught' if proof.is_caught else 'MISSED'} {proof.bug.name:34} {proof.text}"


def verdict(outcome: Outcome) -> str:
    if outcome.is_well:
        return "all invariants held"
    return f"{outcome.invariant} broke at {outcome.at / 1e9:.6f} s: {outcome.text}"


def show(outcome: Outcome, *, quiet: bool) -> None:
    if not quiet:
        for line in outcome.trace.text():
            click.echo(line)
    case = outcome.case
    click.echo(f"{case.algorithm}, {case.nodes} nodes, seed {case.seed}, {case.profile}: {verdict(outcome)}")
    click.echo(
        f"{outcome.at / 1e9:.3f} s simulated, {outcome.steps} events, {outcome.sent} messages, trace {outcome.digest}"
    )
    if not outcome.is_well:
        click.echo(case.command())
        sys.exit(1)


def report(outcome: Outcome, svg: Path | None) -> None:
    """What a failing run leaves: the verdict, the command for the whole, the command for what is left of it, the picture of that."""
    click.echo(f"{verdict(outcome)}\n  {outcome.case.command()}")
    least = shrink(outcome)
    faults = least.case.schedule()
    click.echo(
        f"shrunk from {len(outcome.case.schedule())} faults to {len(faults)}: {verdict(least)}\n  {least.case.command()}"
    )
    for fault in faults:
        click.echo(f"    {fault.at / 1e9:9.3f} s  {fault.text(least.trace.names)}")
    if svg is not None:
        write(svg, draw_svg(least))
        click.echo(f"  drawn in {svg}")


main.add_command(curves_command)

if __name__ == "__main__":
    main(prog_name="python -m sims")
