"""The checker's file on each job: one pass over the history sorts its lines by the job and the key they speak of. No judgement here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..lines import (
    Ack,
    Cancel,
    ClaimEnd,
    Dead,
    Duty,
    Effect,
    End,
    Expire,
    Fault,
    Final,
    Lead,
    Lease,
    Line,
    Nack,
    Open,
    Promote,
    Reap,
    Release,
    Renew,
    Requeue,
    Run,
    Scan,
    Seen,
    Submit,
    Tick,
    Workload,
    kind_of,
)

AnyEnd = TypeVar("AnyEnd", bound=ClaimEnd)


@dataclass(slots=True, eq=False)
class Case:
    """All that was said of one job, each list by `t`. `claim_ends` holds invokes and completions alike."""

    job: str
    asked: list[Submit] = field(default_factory=list)
    acks: list[Submit] = field(default_factory=list)
    cancels: list[Cancel] = field(default_factory=list)
    requeues: list[int] = field(default_factory=list)
    promotes: list[int] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    finals: list[Final] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)
    claim_ends: list[ClaimEnd] = field(default_factory=list)

    def accepted(self, *kinds: type[AnyEnd]) -> list[AnyEnd]:
        """Reports of these kinds that counted."""
        return [end for end in self.claim_ends if end.type == "ok" and isinstance(end, kinds)]

    def final(self) -> str:
        """State in the last scan, empty when the scan did not find it."""
        return self.finals[-1].val if self.finals else ""

    def acks_of_cancel(self, *values: str) -> list[Cancel]:
        return [cancel for cancel in self.cancels if cancel.type == "ok" and cancel.val in values]

    def is_requeued_between(self, start: int, end: int) -> bool:
        return any(start <= t <= end for t in self.requeues)


@dataclass(slots=True, eq=False)
class Asked:
    """All attempts to submit under one key."""

    invokes: list[Submit] = field(default_factory=list)
    acks: list[Submit] = field(default_factory=list)
    fails: int = 0

    @property
    def is_possible(self) -> bool:
        """Whether a job may have come of it: some attempt did not surely fail."""
        return len(self.invokes) > self.fails

    @property
    def due(self) -> int:
        invokes = self.invokes
        return invokes[0].due if len(invokes) == 1 else min((line.due for line in invokes), default=0)

    @property
    def max_retries(self) -> int:
        """-1: unknown."""
        return self.invokes[0].max_retries if self.invokes else -1


def key_of(line: Submit | Run | Final) -> str:
    return line.key or line.job


def began(line: Lease | ClaimEnd | Open | Renew | Reap | Lead | Duty | Scan) -> int:
    """The earliest moment at which it can have happened; `t` is the latest."""
    return line.t0 or line.t


class Casebook:
    """The whole history, sorted into cases."""

    def __init__(self, ops: Sequence[Line]) -> None:
        self.ops_count = len(ops)
        self.cases: dict[str, Case] = {}
        self.asked: dict[str, Asked] = {}
        self.accepted_effects: dict[str, list[Effect]] = {}
        self.faults: list[Fault] = []
        self.first_leases: list[tuple[Lease, Case]] = []
        self.opens: list[Open] = []
        self.renewals: dict[tuple[str, int], list[Renew]] = {}
        self.reaps: list[Reap] = []
        self.leads: list[Lead] = []
        self.duties: list[Duty] = []
        self.scans: list[Scan] = []
        self.ticks: dict[str, list[Tick]] = {}
        self.is_fifo = False
        self.kinds: set[str] = set()
        self._read(ops)

    def case(self, job: str) -> Case:
        case = self.cases.get(job)
        if case is None:
            case = self.cases[job] = Case(job)
        return case

    def ask(self, key: str) -> Asked:
        asked = self.asked.get(key)
        if asked is None:
            asked = self.asked[key] = Asked()
        return asked

    def _read(self, ops: Sequence[Line]) -> None:
        takers = self._takers()
        for line in ops:
            takers[line.__class__](line)
        self.kinds = {kind_of(line_class) for line_class in set(map(type, ops))}

    def _takers(self) -> dict[type[Line], Callable[[Any], None]]:
        """Kind of line -> who files it."""
        case = self.case
        return {
            Submit: self._take_submit,
            Effect: self._take_effect,
            Tick: lambda line: self.ticks.setdefault(line.key, []).append(line),
            Workload: self._take_workload,
            Requeue: self._take_requeue,
            Promote: self._take_promote,
            Renew: lambda line: self.renewals.setdefault((line.node, line.boot), []).append(line),
            Cancel: lambda line: case(line.job).cancels.append(line),
            Seen: lambda line: case(line.job).seen.append(line),
            Final: lambda line: case(line.job).finals.append(line),
            Run: lambda line: case(line.job).runs.append(line),
            End: lambda line: case(line.job).ends.append(line),
            Lease: self._take_lease,
            **dict.fromkeys((Ack, Dead, Nack, Release, Expire), lambda line: case(line.job).claim_ends.append(line)),
            Open: self.opens.append,
            Reap: self.reaps.append,
            Lead: self.leads.append,
            Duty: self.duties.append,
            Fault: self.faults.append,
            Scan: self.scans.append,
        }

    def _take_submit(self, line: Submit) -> None:
        asked = self.ask(key_of(line))
        if line.type == "invoke":
            asked.invokes.append(line)
            if line.job:
                self.case(line.job).asked.append(line)
        elif line.type == "ok":
            asked.acks.append(line)
            self.case(line.job).acks.append(line)
        elif line.type == "fail":
            asked.fails += 1

    def _take_effect(self, line: Effect) -> None:
        self.case(line.job).effects.append(line)
        if line.type == "ok":
            self.accepted_effects.setdefault(line.ek, []).append(line)

    def _take_lease(self, line: Lease) -> None:
        case = self.case(line.job)
        if not case.leases:
            self.first_leases.append((line, case))
        case.leases.append(line)

    def _take_requeue(self, line: Requeue) -> None:
        # The invoke is what may have had an effect first; a surely failed one takes it back.
        requeues = self.case(line.job).requeues
        if line.type == "invoke":
            requeues.append(line.t)
        elif line.type == "fail" and requeues:
            requeues.pop()

    def _take_promote(self, line: Promote) -> None:
        if line.type in ("invoke", "ok"):
            self.case(line.job).promotes.append(line.t)

    def _take_workload(self, line: Workload) -> None:
        self.is_fifo = self.is_fifo or line.fifo
