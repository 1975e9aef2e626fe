"""One chaos run from start to verdict: load, faults until enough of them counted, heal, drain to empty, scan, judge.

A run is bounded: by the kills that count, and by time. What it says about itself (Outcome) is all that report.py and the tests need.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sims.checkers import Verdict, judge
from sims.history import Recorder, load
from sims.recording import final_word
from tests.chaos.figures import Figures, measure
from tests.chaos.nemesis import CALL_LIMIT_S, Nemesis, Toll
from tests.chaos.stage import Stage
from zjp import Client
from zjp.client.blocking import Job
from zjp.errors import ZjpError

EMPTY_LIMIT_S = 45.0
"""What is left then is a finding, and for the judge."""
LOOK_S = 0.05
WORKER_PAUSE_S = (0.0, 0.3)
WARM_UP_S = 1.0
DATABASES = ("zjp.db", "records.db")


@dataclass(frozen=True)
class Plan:
    """What is to be done. `kills`, `node_kills`: those that count. `limit_s`: for the faults, without start and drain."""

    kills: int
    node_kills: int = 0
    drains: int = 0
    others: int = 0
    """Stops of node and workers, pauses of a queue."""
    clock_jumps: int = 0
    seed: int = 1
    store: str = ""
    limit_s: float = 60.0
    busy: float = 0.45
    """Share of the slots' time that the load asks for; deaths take about as much again."""
    stretch: float = 1.0
    """Factor on how long jobs take."""


@dataclass
class Outcome:
    plan: Plan
    verdict: Verdict
    toll: Toll
    figures: Figures
    faults_s: float
    empty_s: float
    """From the end of the faults until every queue was empty."""
    damage: list[str] = field(default_factory=list)
    """What the databases' own check found, and errors in the node's log."""

    @property
    def lost(self) -> int:
        return next(finding.violations for finding in self.verdict.findings if finding.id == "C1")

    @property
    def double_effects(self) -> int:
        return next(finding.violations for finding in self.verdict.findings if finding.id == "C4")

    @property
    def counted(self) -> dict[str, int]:
        return {target: kills.started for target, kills in self.verdict.kills.items()}


def run(plan: Plan, folder: Path) -> Outcome:
    """Raises: DidNotStart, AssertionError of the load; the folder keeps the histories and the node's log."""
    draw = random.Random(plan.seed)
    with Stage(folder, seed=plan.seed, store=plan.store, busy=plan.busy, stretch=plan.stretch) as stage:
        with contextlib.closing(Nemesis(stage, draw)) as nemesis:
            stage.start_load()
            nemesis.rest(WARM_UP_S)
            began = time.monotonic()
            _haunt(plan, nemesis, draw, began + plan.limit_s)
            faults_s = time.monotonic() - began
            stage.stop_load()
            empty_s = _until_empty(stage, nemesis)
        with contextlib.closing(Recorder(stage.histories / "scan.jsonl", "scan")) as recorder:
            _scan(stage, recorder)
        code = stage.node.stop()
    if code != 0:
        nemesis.toll.complaints.append(f"the last node ended with exit code {code} though it was idle")
    history = load([folder / "h"])
    return Outcome(plan, judge(history), nemesis.toll, measure(history.ops), faults_s, empty_s, list(_damage(stage)))


# ── the faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _haunt(plan: Plan, nemesis: Nemesis, draw: random.Random, deadline: float) -> None:
    """Deeds in random order, in the proportions of what is left to do."""
    left_drains, left_others, left_jumps = plan.drains, plan.others, plan.clock_jumps
    toll = nemesis.toll
    while time.monotonic() < deadline:
        left_kills = max(0, plan.kills - toll.started["worker"])
        left_node = max(0, plan.node_kills - toll.started["node"])
        lefts = (left_kills, left_node, left_drains, left_others, left_jumps)
        if not any(lefts):
            return
        (deed,) = draw.choices(("worker", "node", "drain", "other", "clock"), lefts)
        if deed == "worker":
            nemesis.kill_worker()
            nemesis.rest(draw.uniform(*WORKER_PAUSE_S))
        elif deed == "node":
            nemesis.kill_node()
        elif deed == "drain":
            nemesis.drain()
            left_drains -= 1
        elif deed == "other":
            draw.choice((nemesis.stop_node, nemesis.stop_worker, nemesis.pause_queue))()
            left_others -= 1
        else:
            nemesis.jump_clock()
            left_jumps -= 1


# ── after them ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _until_empty(stage: Stage, nemesis: Nemesis) -> float:
    """Seconds."""
    began = time.monotonic()
    with Client(stage.node.address, timeout=CALL_LIMIT_S) as client:
        with contextlib.suppress(ZjpError):
            client.resume("side")
        while True:
            stats = client.stats()
            if not _live(stats) and not stats["backlog"]["count"]:
                return time.monotonic() - began
            if time.monotonic() - began > EMPTY_LIMIT_S:
                nemesis.toll.complaints.append(f"after {EMPTY_LIMIT_S:g} s without faults {_live(stats)} jobs are left: {stats['queues']}")
                return EMPTY_LIMIT_S
            nemesis.rest(LOOK_S)


def _live(stats: dict[str, Any]) -> int:
    return sum(queue[state] for queue in stats["queues"] for state in ("pending", "scheduled", "retrying", "running"))


def _scan(stage: Stage, recorder: Recorder) -> None:
    """The final lines, and the sums of the store and of the metrics."""
    totals = {"done": 0, "dead": 0, "cancelled": 0}
    with Client(stage.node.address, timeout=CALL_LIMIT_S) as client:
        since = time.monotonic_ns()
        for job in client.jobs():
            fields = _final_fields(job)
            if fields["val"] in totals:
                totals[fields["val"]] += 1
            recorder.write("final", "ok", **fields)
        stats = client.stats()
    queues = stats["queues"]
    live = {
        "ready": sum(queue["pending"] for queue in queues),
        "delayed": sum(queue["scheduled"] + queue["retrying"] for queue in queues),
        "leased": sum(queue["running"] for queue in queues),
    }
    metrics = {**live, **_gauges(stats)}
    recorder.write("scan", "ok", **live, **totals, t0=since, drained=True, metrics=metrics)


def _gauges(stats: dict[str, Any]) -> dict[str, int]:
    """The same sums as the metrics tell them."""
    names = {"pending": "ready", "scheduled": "delayed", "retrying": "delayed", "running": "leased"}
    sums = dict.fromkeys(names.values(), 0)
    for series in stats["metrics"]["queue_depth_gauge"]["series"]:
        _, state = series["labels"]
        sums[names[state]] += int(series["value"])
    return sums


def _final_fields(job: Job) -> dict[str, Any]:
    attempts = [
        {
            "fence": one.fence, "outcome": one.outcome, "node": one.node_id, "worker": one.worker_id,
            "start": round((one.started_at or 0) * 1000), "end": round((one.ended_at or 0) * 1000),
        }
        for one in job.attempts
    ]  # fmt: skip
    return {"job": job.id, "val": final_word(job.status), "key": job.payload["key"], "retries": job.retry_count, "attempts": attempts}


def _damage(stage: Stage) -> Iterator[str]:
    """What SQLite's own check says of the files, once nobody has them; what the node itself called an error, in any of its lives."""
    for line in stage.node.log_text().splitlines():
        if line.startswith("Traceback") or '"level": "error"' in line or '"level":"error"' in line:
            yield f"node.log: {line[:300]}"
    for name in DATABASES:
        with contextlib.closing(sqlite3.connect(stage.node.data_dir / name)) as db:
            answer = [row[0] for row in db.execute("PRAGMA integrity_check")]
        if answer != ["ok"]:
            yield f"{name}: {answer[:3]}"
