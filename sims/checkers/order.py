"""Checks on who is first: C12 leader tokens, C14 order of claims, C16 schedules."""

from __future__ import annotations

from collections.abc import Iterator

from ..lines import Lead, Submit
from .case import Casebook, began, key_of
from .check import check


@check(
    "C12", "leader tokens", "tokens never fall, never name two nodes; no duty is accepted under less than the highest token installed",
    needs=("lead",), also={"duty": "no duty lines: only the tokens were judged"},
)  # fmt: skip
def leader_tokens(book: Casebook) -> Iterator[str]:
    holder: dict[int, str] = {}
    installed = [lead for lead in book.leads if lead.type == "ok"]
    highest: Lead | None = None
    for lead in installed:
        if holder.setdefault(lead.tok, lead.node) != lead.node:
            yield f"token {lead.tok} was given to {holder[lead.tok]} and to {lead.node}"
        if highest and lead.tok < highest.tok and began(lead) >= highest.t:
            yield f"token {lead.tok} was installed at {lead.t} after {highest.tok} at {highest.t}"
        if highest is None or lead.tok > highest.tok:
            highest = lead
    yield from _stale_duties(book, installed)


def _stale_duties(book: Casebook, installed: list[Lead]) -> Iterator[str]:
    """A duty that began after a higher token was surely there must have been refused."""
    events = sorted(
        [(lead.t, 0, lead.tok, "") for lead in installed]
        + [(began(duty), 1, duty.tok, duty.node) for duty in book.duties if duty.type == "ok"]
        + [(duty.t, 0, duty.tok, "") for duty in book.duties if duty.type == "ok"]
    )
    highest = 0
    for t, is_duty, token, node in events:
        if is_duty and token < highest:
            yield f"{node}'s write under token {token} at {t} was accepted, {highest} stood before"
        elif not is_duty:
            highest = max(highest, token)


@check(
    "C14", "order", "in one queue and priority jobs are first claimed in the order of their submits",
    needs=("submit", "lease"), needs_fifo=True,
)  # fmt: skip
def order(book: Casebook) -> Iterator[str]:
    levels: dict[tuple[str, int], list[tuple[Submit, Submit]]] = {}
    # By fence; jobs of one claim keep the order of their lines.
    for _, case in sorted(book.first_leases, key=lambda first: first[0].fence):
        asked = book.asked.get(key_of(case.acks[0])) if case.acks else None
        if asked is not None and asked.invokes and not asked.due:
            invoke = asked.invokes[0]
            levels.setdefault((invoke.queue, invoke.priority), []).append((invoke, asked.acks[0]))
    for (queue, priority), claimed in levels.items():
        for overtaker, overtaken in _overtakings(claimed):
            yield f"queue {queue}, priority {priority}: {overtaker} was claimed before {overtaken}, acknowledged before its submit"


def _overtakings(claimed: list[tuple[Submit, Submit]]) -> Iterator[tuple[str, str]]:
    """From the last claimed to the first: who was acknowledged earliest among those claimed later?"""
    earliest: Submit | None = None
    for invoke, ack in reversed(claimed):
        if earliest is not None and earliest.t < invoke.t:
            yield ack.job, earliest.job
        if earliest is None or ack.t < earliest.t:
            earliest = ack


@check(
    "C16", "schedule", "each tick of a schedule makes at most one job, and at least one when a leader stood all the time",
    needs=("tick", "run"), also={"lead": "no lead lines: missing jobs were not judged"},
)  # fmt: skip
def schedule(book: Casebook) -> Iterator[str]:
    jobs: dict[str, set[str]] = {}
    for case in book.cases.values():
        for key in {line.key for line in case.runs} | {line.key for line in case.finals}:
            if key in book.ticks:
                jobs.setdefault(key, set()).add(case.job)
    for key, ticks in book.ticks.items():
        made = jobs.get(key, set())
        if len(made) > 1:
            yield f"tick {key!r} made {len(made)} jobs: {sorted(made)}"
        if not made and any(_was_led(book, tick.t, tick.t1) for tick in ticks):
            yield f"tick {key!r} made no job, though a leader stood from {ticks[0].t} to {ticks[0].t1}"


def _was_led(book: Casebook, start: int, end: int) -> bool:
    """A leader was there before, and neither a change of leader nor a fault touched the window."""
    leads = [lead for lead in book.leads if lead.type == "ok"]
    return (
        any(lead.t < start for lead in leads)
        and not any(start <= lead.t and began(lead) <= end for lead in leads)
        and not any(fault.t <= end and fault.t1 >= start for fault in book.faults)
    )
