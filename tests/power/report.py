"""What a run says: as text for the terminal, as Markdown for docs/reports/."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from functools import cache

from tests.power.experiment import CUTS_PER_DISK, Outcome
from tests.power.judge import Verdict
from tests.power.stores import PLANTED_STORES
from tests.power.system import LOSS_AGE_MAX_S
from tests.system.running import ROOT

FAULT_CHARS_MAX = 500
HEAD = """\
# Power cuts

A store under load on a disk of its own; the power of that disk goes at a random moment, every process dies, the disk comes back, and what
it remembers is compared with what had been told. How: `tests/power/`. This page is written by the run:"""
MEANING = f"""\
- `sqlite`: a real node with its whole DATA_DIR on the disk; producers submit and wait through clients, workers run.
- `redis-always`, `redis-everysec`: a real redis-server with its folder on the disk, driven by the queue store itself, not
  yet by a node.
- `sqlite-normal`: the same node with a planted bug, `synchronous=NORMAL` under an acknowledgement that says `disk`: the judge must see it.
- The cut: EXT4_IOC_SHUTDOWN without a flush of the journal, ext4 on a loop device. It takes away what the kernel had not written. It is no
  disk that forgets its own cache or tears a sector.
- Every cut: what was acknowledged is there; what had been told as finished is finished in the same way; nothing has two ends; a request
  that was never answered is there whole or not at all; a request said again is recognised; the files pass their own check; all work ends.
- After some cuts the power goes once more, while the store is starting.
- The disk is made new after every {CUTS_PER_DISK} cuts; what was there after one cut must be there after the next.
- Lost: acknowledged and nowhere. Undone: told as finished, and back to unfinished. Ages: from the acknowledgement to the cut; on their
  way: answers that arrived after it had begun, which count like the others."""


def is_good(outcome: Outcome) -> bool:
    """The promise was kept; or the planted bug was seen."""
    return bool(outcome.wrong) == (outcome.plan.store in PLANTED_STORES)


def text(outcomes: Sequence[Outcome]) -> str:
    return "\n".join(line for outcome in outcomes for line in [_summary(outcome), *_faults(outcome)])


def markdown(outcomes: Sequence[Outcome], command: str) -> str:
    parts = [HEAD, f"    {command}", MEANING, _table(outcomes), *map(_paragraph, outcomes), _versions()]
    return "\n\n".join(parts) + "\n"


def _paragraph(outcome: Outcome) -> str:
    said = f"**{'Good' if is_good(outcome) else 'NOT GOOD'}.** {_summary(outcome)}"
    return "\n".join([said, "", *_faults(outcome)]) if outcome.wrong else said


def _summary(outcome: Outcome) -> str:
    plan, verdicts = outcome.plan, outcome.verdicts
    lost, undone, oldest = _losses(verdicts)
    acknowledged = sum(verdict.acknowledged for verdict in verdicts)
    age_max_s = LOSS_AGE_MAX_S.get(outcome.level)
    may = f"`{outcome.level.value}` says {'nothing' if age_max_s is None else f'no more than the last {age_max_s:g} s'} may be lost"
    if plan.store in PLANTED_STORES:
        verdict = "the planted bug was seen" if outcome.wrong else "THE PLANTED BUG WAS NOT SEEN"
    else:
        verdict = "BROKEN" if outcome.wrong else "kept"
    return (
        f"{plan.store}, seed {plan.seed}, {outcome.duration_s:.0f} s: {len(verdicts)} cuts under load, {outcome.at_start} at the start; "
        f"{acknowledged} acknowledged, {lost} lost, {undone} undone, the oldest {oldest}; {may}: {verdict}"
    )


def _table(outcomes: Sequence[Outcome]) -> str:
    head = ["store", "cuts under load", "while starting", "acknowledged", "on their way", "ends told", "lost", "undone", "oldest loss"]
    head += ["torn", "two ends", "corrupt"]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *map(_row, outcomes)])


def _row(outcome: Outcome) -> list[str]:
    verdicts = outcome.verdicts
    lost, undone, oldest = _losses(verdicts)
    sums = [sum(each) for each in ([v.acknowledged for v in verdicts], [v.on_their_way for v in verdicts], [v.told for v in verdicts])]
    faults = [sum(len(v.torn) for v in verdicts), sum(len(v.two_ends) for v in verdicts), sum(len(v.corrupt) for v in verdicts)]
    cells = [outcome.plan.store, len(verdicts), outcome.at_start, *sums, lost, undone, oldest, *faults]
    return [str(cell) for cell in cells]


def _losses(verdicts: Sequence[Verdict]) -> tuple[int, int, str]:
    """(lost, undone, age of the oldest of them)"""
    ages_s = [age_s for verdict in verdicts for age_s in verdict.ages_s]
    lost = sum(len(verdict.lost_ages_s) for verdict in verdicts)
    return lost, len(ages_s) - lost, f"{max(ages_s):.3f} s" if ages_s else "-"


def _faults(outcome: Outcome) -> Iterator[str]:
    yield from (f"- {one[:FAULT_CHARS_MAX]}" for one in outcome.wrong)


@cache
def commit() -> str:
    """Ask for it when the run begins. What is not committed is told by a plus sign."""
    said = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"


def _versions() -> str:
    words = [f"Commit {commit()}", f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    if server := shutil.which("redis-server"):
        said = subprocess.run([server, "--version"], capture_output=True, text=True, check=False).stdout.split()
        words.append(f"Redis {next((word[2:] for word in said if word.startswith('v=')), 'unknown')}")
    return ", ".join([*words, f"Linux {platform.release().partition('-')[0]}", f"{os.cpu_count()} cores"]) + "."
