"""The judge: reads a history and says which promises were broken.

Sixteen checks, each one sentence (C1 to C16). A check whose lines are not in the history is not applicable, and the verdict says so: a
history taken from outside has no lease lines, one of a store alone has no effects. Faults excuse what they can have caused and nothing
else. Theory of operation: `case.py` sorts the history by job once; each check walks the cases and yields what contradicts its sentence.

    verdict = judge(load(["histories/"]))
    verdict.is_valid, verdict.violated, verdict.counts

`python -m sims.checkers FILES...` prints the same, exit 0 valid, 1 invalid, 2 usage or unreadable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from ..history import History, collector_off
from ..lines import Line
from .case import Casebook
from .check import Check, Finding
from .claims import claims_overlap, double_effect, stale_effect, unexplained_run
from .ends import cancel, done_without_effect, retries, two_ends
from .kills import Kills, count_kills
from .order import leader_tokens, order, schedule
from .submits import conservation, duplicate_key, early, lost, unexpected

__all__ = ["CHECKS", "Check", "Finding", "Kills", "Verdict", "judge", "judge_ops"]

CHECKS: tuple[Check, ...] = (
    lost,
    unexpected,
    duplicate_key,
    double_effect,
    stale_effect,
    claims_overlap,
    cancel,
    two_ends,
    unexplained_run,
    done_without_effect,
    early,
    leader_tokens,
    conservation,
    order,
    retries,
    schedule,
)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`is_valid`: something was checked and nothing contradicted. `findings`: one for each check, in order."""

    is_valid: bool
    findings: list[Finding]
    counts: dict[str, int]
    kills: dict[str, Kills]
    torn: list[str]

    @property
    def violated(self) -> list[str]:
        """Ids of the checks that were contradicted."""
        return [finding.id for finding in self.findings if finding.violations]

    @property
    def checked(self) -> list[str]:
        return [finding.id for finding in self.findings if finding.is_checked]


def judge(history: History) -> Verdict:
    return judge_ops(history.ops, history.torn)


def judge_ops(ops: Sequence[Line], torn: Sequence[str] = ()) -> Verdict:
    """`ops` sorted by `t`."""
    with collector_off():
        book = Casebook(ops)
        findings = [one.judge(book) for one in CHECKS]
        return Verdict(
            is_valid=any(f.is_checked for f in findings) and not any(f.violations for f in findings),
            findings=findings,
            counts=_count(book),
            kills=count_kills(book),
            torn=list(torn),
        )


def _count(book: Casebook) -> dict[str, int]:
    counts: Counter[str] = Counter(
        lines=book.ops_count,
        submits_acked=sum(1 for asked in book.asked.values() if asked.acks),
        submits_refused=sum(1 for asked in book.asked.values() if not asked.is_possible),
        submits_unknown=sum(1 for asked in book.asked.values() if asked.is_possible and not asked.acks),
        faults=len(book.faults),
    )
    for case in book.cases.values():
        counts["recovered"] += bool(case.asked and not case.acks and (case.runs or case.finals))
        counts["runs"] += len(case.runs)
        counts["jobs_run_again"] += len(case.runs) > 1
        counts["claims"] += len(case.leases)
        if case.finals:
            counts[f"final_{case.final()}"] += 1
        for effect in case.effects:
            counts["effects" if effect.type == "ok" else f"effects_{effect.val}"] += 1
        for line in case.cancels:
            if line.type == "ok":
                counts[f"cancels_{line.val}"] += 1
    return dict(counts)
