"""Figures of runs in which several nodes share a queue: takeovers, zombies, outages, and what the records hold. From the history.

A takeover is calm when no fault of the servers and no pause of a node touched the time between the kill of the node and the next run of
its job: leases last longer when the store was away.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sims.checkers.case import Case, Casebook, began
from sims.lines import ClaimEnd, Fault, Line
from tests.chaos.figures import NS, Runs, Times, is_low
from tests.chaos.outages import MONGO, REDIS_KILL, REDIS_STOP
from tests.chaos.pauses import ZOMBIE

WAIT_LIMIT_S = 2.0
"""A job that begins later than this after its acknowledgement, while nothing but Mongo is away, has waited for something."""


@dataclass(frozen=True, kw_only=True)
class SharedFigures:
    """`takeovers`: jobs of killed nodes, calm, of normal priority and above; `low_takeovers`: the others, which wait for those first.
    `zombies`: those that brought something late; `zombies_refused`: nothing of it counted.
    `resumed`: from Redis being back to the next acknowledged submit. `mongo_*`: jobs acknowledged while it was away."""

    takeovers: Times
    low_takeovers: Times
    ran_on_another_node: int
    zombies: int
    zombies_refused: int
    late_outcomes: int
    late_refused: int
    resumed: Times
    mongo_jobs: int
    mongo_waited: int
    mongo_starts: Times
    mongo_told: int
    """Ends that clients were told of meanwhile."""
    records_lost: int
    records_doubled: int
    records_in_mongo: int | None


def measure_shared(ops: Sequence[Line], listed: Counter[str], in_mongo: Counter[str] | None) -> SharedFigures:
    """`listed`, `in_mongo`: how often an id came in the final scan through a node, and past all nodes."""
    book = Casebook(ops)
    takeovers = list(_takeovers(book))
    late = [outcomes for fault in book.faults if fault.val == ZOMBIE and (outcomes := list(_late_outcomes(book, fault)))]
    away = [fault for fault in book.faults if fault.kind == "store" and fault.val.startswith(MONGO)]
    starts = [seconds for fault in away for seconds in _starts(book, fault)]
    acked = {line.job for asked in book.asked.values() for line in asked.acks}
    kept = listed if in_mongo is None else in_mongo
    return SharedFigures(
        takeovers=Times(sorted(seconds for case, seconds in takeovers if not is_low(case))),
        low_takeovers=Times(sorted(seconds for case, seconds in takeovers if is_low(case))),
        ran_on_another_node=sum(len({run.node for run in case.runs}) > 1 for case in book.cases.values()),
        zombies=len(late),
        zombies_refused=sum(all(end.type == "fail" for end in outcomes) for outcomes in late),
        late_outcomes=sum(map(len, late)),
        late_refused=sum(end.type == "fail" for outcomes in late for end in outcomes),
        resumed=Times(sorted(_resumed(book))),
        mongo_jobs=len(starts),
        mongo_waited=sum(seconds > WAIT_LIMIT_S for seconds in starts),
        mongo_starts=Times(sorted(starts)),
        mongo_told=sum(seen.type == "ok" and _is_in(seen.t, away) for case in book.cases.values() for seen in case.seen),
        records_lost=len(acked - kept.keys()),
        records_doubled=sum(count > 1 for count in (*listed.values(), *kept.values())),
        records_in_mongo=None if in_mongo is None else len(in_mongo),
    )


def _is_in(t: int, faults: Sequence[Fault]) -> bool:
    return any(fault.t <= t <= fault.t1 for fault in faults)


def _takeovers(book: Casebook) -> Iterator[tuple[Case, float]]:
    runs = Runs(book)
    disturbing = [fault for fault in book.faults if fault.kind in ("store", "stop")]
    for fault in book.faults:
        if fault.kind == "kill" and fault.node:
            for case, again in runs.again(fault):
                if not any(other.t <= again and other.t1 >= fault.t for other in disturbing):
                    yield case, (again - fault.t) / NS


def _late_outcomes(book: Casebook, zombie: Fault) -> Iterator[ClaimEnd]:
    """What the woken node brought of jobs that others had been given while it was stopped."""
    for case in book.cases.values():
        for end in case.claim_ends:
            # One that was sent just before the stop may have been written then, and only its answer is late.
            may_be_late = end.type == "fail" or (end.type == "ok" and began(end) >= zombie.t)
            if may_be_late and end.node == zombie.node and end.t > zombie.t1 and _was_lost(case, end, zombie):
                yield end


def _was_lost(case: Case, end: ClaimEnd, zombie: Fault) -> bool:
    was_held = any(lease.fence == end.fence and lease.t < zombie.t for lease in case.leases)
    return was_held and any(lease.fence > end.fence and zombie.t <= began(lease) and lease.t <= zombie.t1 for lease in case.leases)


def _resumed(book: Casebook) -> Iterator[float]:
    acks = sorted(line.t for asked in book.asked.values() for line in asked.acks)
    for fault in book.faults:
        if fault.kind == "store" and fault.val.startswith((REDIS_KILL, REDIS_STOP)):
            after = bisect_right(acks, fault.t1)
            if after < len(acks):
                yield (acks[after] - fault.t1) / NS


def _starts(book: Casebook, away: Fault) -> Iterator[float]:
    """From the acknowledgement to the first claim, of jobs that may run at once."""
    for asked in book.asked.values():
        acks = [line for line in asked.acks if away.t <= line.t <= away.t1 and not line.existed]
        if not acks or asked.due:
            continue
        case = book.cases[acks[0].job]
        ended = [line.t for line in case.acks_of_cancel("cancelled")]
        first = min((lease.t for lease in case.leases), default=min(ended, default=away.t1))
        yield max(0, first - acks[0].t) / NS
