"""What a run says: as text for the terminal, as Markdown for docs/reports/."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence

from tests.power.experiment import CUTS_PER_DISK, Outcome
from tests.power.judge import Verdict
from tests.system.running import ROOT

HEAD = """\
# Power cuts

A store under load on a disk of its own; the power of that disk goes at a random moment, every process dies, the disk comes back, and what
it remembers is compared with what had been told. How: `tests/power/`. This page is written by the run:"""
MEANING = f"""\
- `sqlite`: a real node with its whole DATA_DIR on the disk; producers submit and wait through clients, workers run.
- `redis-always`, `redis-everysec`: a real redis-server with its folder on the disk, driven by small scripts of the queue's data model, not
  yet by a node.
- The cut: EXT4_IOC_SHUTDOWN without a flush of the journal, ext4 on a loop device. It takes away what the kernel had not written. It is no
  disk that forgets its own cache or tears a sector.
- Every cut: what was acknowledged is there; what had been told as finished is finished in the same way; nothing has two ends; a request
  that was never answered is there whole or not at all; a request said again is recognised; the files pass their own check; all work ends.
- The disk is made new after every {CUTS_PER_DISK} cuts; what was there after one cut must be there after the next.
- Lost: acknowledged and nowhere. Undone: told as finished, and back to unfinished. Ages: from the acknowledgement to the cut."""


def text(outcomes: Sequence[Outcome]) -> str:
    return "\n".join(line for outcome in outcomes for line in [f"{outcome.plan.store}: {_summary(outcome)}", *_faults(outcome)])


def markdown(outcomes: Sequence[Outcome]) -> str:
    parts = [HEAD, *(f"    {_command(outcome)}" for outcome in outcomes), MEANING, _table(outcomes)]
    parts += [f"**{outcome.plan.store}: {'NOT GOOD' if outcome.wrong else 'good'}.** {_summary(outcome)}" for outcome in outcomes]
    parts += ["\n".join(_faults(outcome)) for outcome in outcomes if outcome.wrong]
    return "\n\n".join([*parts, _versions()]) + "\n"


def _summary(outcome: Outcome) -> str:
    verdicts = outcome.verdicts
    lost, undone, oldest = _losses(verdicts)
    promise = "nothing may be lost" if outcome.promise_s is None else f"at most {outcome.promise_s:g} s may be lost"
    acknowledged = sum(verdict.acknowledged for verdict in verdicts)
    return (
        f"{len(verdicts)} cuts, {acknowledged} acknowledged, lost {lost}, undone {undone}, oldest {oldest} ({promise}); "
        f"{'BROKEN' if outcome.wrong else 'kept'}, {outcome.duration_s:.0f} s"
    )


def _table(outcomes: Sequence[Outcome]) -> str:
    head = ["store", "cuts", "acknowledged", "on their way", "ends told", "lost", "undone", "oldest loss"]
    head += ["torn", "two ends", "corrupt"]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *map(_row, outcomes)])


def _row(outcome: Outcome) -> list[str]:
    verdicts = outcome.verdicts
    lost, undone, oldest = _losses(verdicts)
    counts = [len(verdicts), sum(v.acknowledged for v in verdicts), sum(v.on_their_way for v in verdicts), sum(v.told for v in verdicts)]
    faults = [sum(len(v.torn) for v in verdicts), sum(len(v.two_ends) for v in verdicts), sum(len(v.corrupt) for v in verdicts)]
    return [outcome.plan.store, *map(str, counts), str(lost), str(undone), oldest, *map(str, faults)]


def _losses(verdicts: Sequence[Verdict]) -> tuple[int, int, str]:
    """(lost, undone, age of the oldest of them)"""
    ages_s = [age_s for verdict in verdicts for age_s in verdict.ages_s]
    lost = sum(len(verdict.lost_ages_s) for verdict in verdicts)
    return lost, len(ages_s) - lost, f"{max(ages_s):.3f} s" if ages_s else "-"


def _faults(outcome: Outcome) -> Iterator[str]:
    yield from (f"- WRONG: {one[:500]}" for one in outcome.wrong)


def _command(outcome: Outcome) -> str:
    plan = outcome.plan
    return f"python -m tests.power --store {plan.store} --cuts {plan.cuts} --seed {plan.seed}"


def _versions() -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    words = [f"Commit {commit or 'unknown'}", f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    if server := shutil.which("redis-server"):
        said = subprocess.run([server, "--version"], capture_output=True, text=True, check=False).stdout.split()
        words.append(f"Redis {next((word[2:] for word in said if word.startswith('v=')), 'unknown')}")
    return ", ".join([*words, f"Linux {platform.release()}", f"{os.cpu_count()} cores"]) + "."
