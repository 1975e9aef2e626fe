"""How long submits, starts and ends took, by when the job was acknowledged: all the time, or before, during and after an outage.

    submit   from the request to its acknowledgement       start   from that to the first claim       end   from that to the end, stored

A job may be claimed before its producer has the acknowledgement; that counts as no wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sims.lines import Ack, Dead, Lease, Line, Submit
from tests.chaos.figures import NS, Times
from tests.chaos.steady.load import Asked

BEFORE, MEANWHILE, AFTER, ALL = "before", "while Mongo was away", "after", "all the time"


@dataclass(frozen=True, slots=True)
class Phase:
    submits: Times
    starts: Times
    ends: Times


Delays = dict[str, Phase]
Span = tuple[int, int]


def delays(ops: Sequence[Line], away: Span | None) -> Delays:
    asked: dict[str, int] = {}
    acked: dict[str, tuple[int, int]] = {}
    claimed: dict[str, int] = {}
    ended: dict[str, int] = {}
    for line in ops:
        if isinstance(line, Submit):
            if line.type == "invoke":
                asked.setdefault(line.key, line.t)
            elif line.type == "ok":
                acked.setdefault(line.job, (line.t - asked[line.key], line.t))
        elif isinstance(line, Lease):
            claimed.setdefault(line.job, line.t)
        elif isinstance(line, Ack | Dead) and line.type == "ok":
            ended.setdefault(line.job, line.t)
    found: dict[str, tuple[list[float], list[float], list[float]]] = {}
    for job, (took, t) in acked.items():
        submits, starts, ends = found.setdefault(phase_of(t, away), ([], [], []))
        submits.append(took / NS)
        for times, at in ((starts, claimed), (ends, ended)):
            if job in at:
                times.append(max(0, at[job] - t) / NS)
    return {name: Phase(*(Times(sorted(times)) for times in three)) for name, three in found.items()}


def acked(ops: Sequence[Line]) -> frozenset[str]:
    """Ids of acknowledged jobs."""
    return frozenset(line.job for line in ops if isinstance(line, Submit) and line.type == "ok")


def phase_of(t: int, away: Span | None) -> str:
    if away is None:
        return ALL
    return BEFORE if t < away[0] else MEANWHILE if t <= away[1] else AFTER


@dataclass(frozen=True, slots=True)
class Answers:
    """Questions for results. Those for jobs from before an outage do not count: their records are where nobody reaches them."""

    asked: int
    took: Times
    faults: list[str]


def answers(asked: Sequence[Asked], away: Span | None) -> Answers:
    """Of all; or, with an outage, of jobs that were acknowledged and asked for within it, however late the answer was."""
    counted = [one for one in asked if away is None or (away[0] <= one.acked and one.t <= away[1])]
    return Answers(
        len(counted), Times(sorted(one.took / NS for one in counted)), [f"{one.job}: {one.said}" for one in counted if one.said != "ok"]
    )
