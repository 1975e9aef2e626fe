"""After the faults: wait until nothing is left to do, then the final lines, read from Mongo past all nodes, and the ticks that were due.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass

from sims.history import Recorder
from tests.chaos.experiment import by_state, gauges, live_count
from tests.chaos.mongo_scan import final_fields, key_of, records_in_mongo
from tests.chaos.servers import DATABASE
from tests.chaos.steady.stage import SteadyStage
from tests.chaos.steady.tasks import tick_key
from zjp.errors import ZjpError
from zjp.job import Record, format_id
from zjp.schedule import TAG_PREFIX, tick_of

EMPTY_LIMIT_S = 90.0
LOOK_S = 0.1
LINES_AT_ONCE = 1000
TICK_LATE_S = 2
"""The last seconds before the schedule was paused may have had no tick yet."""


@dataclass(frozen=True, slots=True)
class Kept:
    """`records`: documents in Mongo; `doubled`: ids that are there more than once. `ticks`: the seconds of the schedule's jobs."""

    records: int
    doubled: int
    ids: frozenset[str]
    ticks: list[int]


def until_empty(stage: SteadyStage, complaints: list[str]) -> float:
    """Seconds until no job is live and no record on its way."""
    began = time.monotonic()
    while True:
        with stage.client() as client, contextlib.suppress(ZjpError):
            stats = client.stats()
            if not live_count(stats) and not stats["backlog"]["count"]:
                return time.monotonic() - began
        if time.monotonic() - began > EMPTY_LIMIT_S:
            complaints.append(f"after {EMPTY_LIMIT_S:g} s without faults there is work left: {stats['queues']}, {stats['backlog']}")
            return EMPTY_LIMIT_S
        threading.Event().wait(LOOK_S)


def scan(stage: SteadyStage, recorder: Recorder, paused_at: int) -> Kept:
    """Writes the tick, final and scan lines. `paused_at`: the second in which the schedule was."""
    totals = {"done": 0, "dead": 0, "cancelled": 0}
    ids: Counter[str] = Counter()
    since = time.monotonic_ns()
    ticks: list[int] = []
    lines = []
    for record in records_in_mongo(stage.mongo.uri, DATABASE):
        fields = final_fields(record, _key_of(record))
        if is_tick(record):
            ticks.append(tick_of(record.job.spec.id) // 1000)
        ids[fields["job"]] += 1
        totals[fields["val"]] += 1
        lines.append(recorder.line("final", "ok", **fields))
        if len(lines) == LINES_AT_ONCE:
            recorder.append(lines)
            lines = []
    recorder.append(lines)
    if ticks:
        _write_ticks(recorder, range(min(ticks), max(max(ticks) + 1, paused_at - TICK_LATE_S)))
    with stage.client() as client:
        stats = client.stats()
    states = by_state(stats)
    recorder.write("scan", "ok", **states, **totals, t0=since, drained=True, metrics=states | gauges(stats))
    return Kept(sum(ids.values()), sum(count > 1 for count in ids.values()), frozenset(ids), sorted(ticks))


def is_tick(record: Record) -> bool:
    options = record.job.spec.options
    return options is not None and any(tag.startswith(TAG_PREFIX) for tag in options.tags or ())


def _key_of(record: Record) -> str:
    return tick_key(format_id(record.job.spec.id)) if is_tick(record) else key_of(record)


def _write_ticks(recorder: Recorder, seconds: range) -> None:
    """Each from its second to the next, in the histories' clock."""
    offset = time.monotonic_ns() - time.time_ns()
    for second in seconds:
        t = second * 1_000_000_000 + offset
        recorder.write("tick", "ok", t=t, t1=t + 1_000_000_000, key=f"tick-{second}")
