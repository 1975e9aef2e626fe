"""Which branches of the cores simulation alone has taken: what it never reaches, its invariants never judge."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .intervals import Estimate
from .result import Result, Row, Scale, Verdict

GOAL = 95.0
FOLDER = "zjp/election"
PROFILES = ("mix", "driver")
WITHOUT = ("alone.py", "make.py", "__init__.py", "membership/__init__.py")
"""Of the folder, what is no part of a simulated core: one node without peers, the table of algorithms."""


def curve(scale: Scale) -> Result:
    """Raises: CalledProcessError when an invariant broke, or the package `coverage` is not there."""
    result = Result(
        "coverage",
        "Branches of the cores that simulation alone takes",
        f"`python -m sims fuzz --seeds {scale.covered_seeds}`, mix and profile `driver`, all algorithms, under coverage.py with branches",
        f"0 to {scale.covered_seeds - 1} of each algorithm",
    )
    found, result.events = _fuzz(scale.covered_seeds)
    files = {_short(name): file for name, file in sorted(found["files"].items())}
    files = {name: file for name, file in files.items() if name not in WITHOUT}
    for name, file in files.items():
        result.rows.append(_row(name, "branches, %", *_branches(file["summary"])))
        result.rows.append(_row(name, "lines and branches, %", *_both(file["summary"])))
    branches = [sum(counts) for counts in zip(*(_branches(file["summary"]) for file in files.values()), strict=True)]
    both = [sum(counts) for counts in zip(*(_both(file["summary"]) for file in files.values()), strict=True)]
    result.rows.append(_row("all", "branches, %", *branches))
    result.rows.append(_row("all", "lines and branches, %", *both))
    low = [row for row in result.rows if row.what == "branches, %" and row.of != "all" and row.measured.value < GOAL]
    result.verdicts += [
        Verdict(
            f"branches of all files together: {GOAL:g} %",
            f"{branches[0]} of {branches[1]}: {_percent(*branches):.1f} %; lines and branches {_percent(*both):.1f} %",
            _percent(*branches) >= GOAL,
        ),
        Verdict(
            f"branches of each file: {GOAL:g} %",
            ", ".join(f"{row.of} {row.measured.value:.0f} %" for row in low) or "all",
            not low,
        ),
    ]
    for name, file in files.items():
        if file["missing_branches"]:
            jumps = ", ".join(f"{a} to {b}" for a, b in file["missing_branches"])
            result.explain(f"{name}, never taken (from line, to line; negative: out of it): {jumps}")
    return result


def _fuzz(seeds: int) -> tuple[dict[str, Any], int]:
    """What coverage found, and the number of events."""
    with TemporaryDirectory() as folder:
        data, report = f"--data-file={folder}/data", Path(folder) / "report.json"
        rcfile = Path(folder) / "coveragerc"
        rcfile.write_text("[run]\nbranch = True\n[report]\nexclude_also =\n    if TYPE_CHECKING:\n    \\.\\.\\.$\n")
        fuzz = ["-m", "sims", "fuzz", "--workers", "1", "--seeds", str(seeds), "--svg", folder]
        run = [sys.executable, "-m", "coverage", "run", "--append", f"--rcfile={rcfile}", data, f"--include={FOLDER}/*"]
        printed = ""
        for profile in PROFILES:
            command = [*run, *fuzz, "--profile", profile]
            printed += subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        tell = [sys.executable, "-m", "coverage", "json", f"--rcfile={rcfile}", data, "-o", str(report)]
        subprocess.run(tell, check=True, stdout=subprocess.DEVNULL)
        return json.loads(report.read_text()), sum(map(int, re.findall(r"(\d+) events", printed)))


def _short(name: str) -> str:
    return Path(name).relative_to(FOLDER).as_posix()


def _branches(summary: dict[str, int]) -> tuple[int, int]:
    return summary["covered_branches"], summary["num_branches"]


def _both(summary: dict[str, int]) -> tuple[int, int]:
    return (
        summary["covered_lines"] + summary["covered_branches"],
        summary["num_statements"] + summary["num_branches"],
    )


def _row(of: str, what: str, covered: int, count: int) -> Row:
    value = _percent(covered, count)
    return Row(of, 0, what, Estimate(value, value, value), GOAL, count)


def _percent(covered: int, count: int) -> float:
    return 100 * covered / count if count else 100.0
