"""Checks on what was promised at submit: C1 lost, C2 unexpected, C3 duplicate key, C11 early, C13 conservation."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from ..lines import FINAL_VALUES, Ack, Dead, Lease, Nack, Run, Scan
from .case import Case, Casebook, began, key_of
from .check import check

EARLY_SLACK_NS = 2_000_000
"""Products keep due times in whole milliseconds, and round both the moment and the delay."""


@check(
    "C1", "lost", "every acknowledged submit, and every job that ran, is found finished after the drain",
    needs=("final",),
)  # fmt: skip
def lost(book: Casebook) -> Iterator[str]:
    for case in book.cases.values():
        if not case.acks and not case.runs:
            continue
        proof = "acknowledged" if case.acks else "seen running"
        if not case.finals:
            yield f"job {case.job} was {proof} and is nowhere in the final scan"
        elif case.final() not in FINAL_VALUES and not case.accepted(Ack, Dead):
            yield f"job {case.job} was {proof} and is still {case.final()!r} after the drain"


@check(
    "C2", "unexpected", "every run and every stored job belongs to a submit that was attempted and did not surely fail",
    needs=("submit",), also={"final": "no final lines: only runs were judged"},
)  # fmt: skip
def unexpected(book: Casebook) -> Iterator[str]:
    for case in book.cases.values():
        for run in case.runs:
            trouble = _trouble_with_key(book, key_of(run), run.t)
            if trouble:
                yield f"job {case.job} ran at {run.t} under key {key_of(run)!r}, which {trouble}"
        if case.finals and not case.runs and not case.acks:
            trouble = _trouble_with_key(book, _key_of_unrun(case), case.finals[0].t)
            if trouble:
                yield f"job {case.job} is in the final scan under key {_key_of_unrun(case)!r}, which {trouble}"


def _key_of_unrun(case: Case) -> str:
    return key_of(case.asked[0]) if case.asked else key_of(case.finals[0])


def _trouble_with_key(book: Casebook, key: str, t: int) -> str:
    """Why nothing could be known of this key at `t`; empty when all is well."""
    if key in book.ticks:
        return ""
    asked = book.asked.get(key)
    if asked is None or not asked.invokes:
        return "nobody submitted"
    if not asked.is_possible:
        return "was refused each time"
    if asked.invokes[0].t > t:
        return f"was first submitted at {asked.invokes[0].t}"
    return ""


@check("C3", "duplicate key", "one key is one job", needs=("submit",))
def duplicate_key(book: Casebook) -> Iterator[str]:
    jobs: dict[str, str] = {}
    for case in book.cases.values():
        keys = {line.key or line.job for line in case.acks}
        keys.update([line.key or line.job for line in case.runs])
        keys.update([line.key for line in case.finals if line.key])
        if len(keys) > 1:
            yield f"job {case.job} answers to {len(keys)} keys: {sorted(keys)}"
        for key in keys - book.ticks.keys():
            other = jobs.setdefault(key, case.job)
            if other != case.job:
                yield f"key {key!r} made the jobs {other} and {case.job}"


@check(
    "C11", "early", "no claim and no run before the job is due, after its submit or after a failure", needs=("run",),
    also={"nack": "no nack lines: the delay of retries was not judged"},
)  # fmt: skip
def early(book: Casebook) -> Iterator[str]:
    for case in book.cases.values():
        if case.promotes or not (case.runs or case.leases):
            continue
        due = _due_of(book, case)
        if due:
            start = min(line.t for line in (*case.runs[:1], *case.leases[:1]))
            if start + EARLY_SLACK_NS < due and not case.is_requeued_between(0, start):
                yield f"job {case.job} was started at {start}, {(due - start) / 1e6:.3f} ms before it was due"
        for end in case.claim_ends:
            if isinstance(end, Nack) and end.due and end.type == "ok":
                yield from _early_after(case, end)


def _due_of(book: Casebook, case: Case) -> int:
    asked = book.asked.get(key_of(case.runs[0]) if case.runs else case.job)
    return asked.due if asked else 0


def _early_after(case: Case, nack: Nack) -> Iterator[str]:
    starts: list[Lease | Run] = [*case.leases, *case.runs]
    again = min((start.t for start in starts if start.fence > nack.fence), default=nack.due)
    if again + EARLY_SLACK_NS < nack.due and not case.is_requeued_between(nack.t, again):
        yield f"job {case.job} was started at {again}, {(nack.due - again) / 1e6:.3f} ms before its retry was due"


@check(
    "C13", "conservation", "at every scan the jobs add up to those submitted, nothing moves after the drain, metrics agree",
    needs=("scan",),
)  # fmt: skip
def conservation(book: Casebook) -> Iterator[str]:
    acked = sorted(asked.acks[0].t for asked in book.asked.values() if asked.acks)
    possible = [asked.invokes[0].t for asked in book.asked.values() if asked.is_possible]
    possible += [tick.t for ticks in book.ticks.values() for tick in ticks]
    possible.sort()
    for scan in book.scans:
        least, most = bisect_right(acked, began(scan)), bisect_right(possible, scan.t)
        total = sum(_by_state(scan).values())
        if not least <= total <= most:
            yield f"the scan at {scan.t} counts {total} jobs: {least} were acknowledged before, {most} attempted"
        for name, value in scan.metrics.items():
            if _by_state(scan).get(name) != value:
                yield f"the metrics at {scan.t} say {name}={value}, the store says {_by_state(scan).get(name)}"
        if scan.drained:
            yield from _drained_scan(book, scan)


def _by_state(scan: Scan) -> dict[str, int]:
    return {
        "ready": scan.ready,
        "delayed": scan.delayed,
        "leased": scan.leased,
        "done": scan.done,
        "dead": scan.dead,
        "cancelled": scan.cancelled,
    }


def _drained_scan(book: Casebook, scan: Scan) -> Iterator[str]:
    counts = _by_state(scan)
    for name in ("ready", "delayed", "leased"):
        if counts[name]:
            yield f"the scan at {scan.t} was after the drain and counts {counts[name]} {name} jobs"
    if "final" not in book.kinds:
        return
    finals = [case.final() for case in book.cases.values()]
    for name in sorted(FINAL_VALUES):
        if counts[name] != finals.count(name):
            yield f"the scan at {scan.t} counts {counts[name]} {name} jobs, the final lines {finals.count(name)}"
