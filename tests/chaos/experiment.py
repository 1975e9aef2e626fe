"""One chaos run from start to verdict: load, faults until enough of them counted, heal, drain to empty, scan, judge.

A run is bounded: by the kills that count, and by time. What it says about itself (Outcome) is all that report.py and the tests need.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sims.checkers import Verdict, judge
from sims.history import Recorder, load
from sims.recording import final_word
from tests.chaos.figures import Figures, measure
from tests.chaos.mongo_scan import final_fields, ids_in_mongo, key_of, records_in_mongo
from tests.chaos.nemesis import CALL_LIMIT_S, CALM_SHARE, Nemesis, Toll
from tests.chaos.outages import MONGO, REDIS_KILL, REDIS_STOP, RESET, Outages
from tests.chaos.pauses import Pauses
from tests.chaos.servers import DATABASE, Servers
from tests.chaos.shared_figures import SharedFigures, measure_shared
from tests.chaos.stage import Stage
from zjp import Client
from zjp.client.blocking import Job
from zjp.errors import ZjpError

EMPTY_LIMIT_S = 45.0
"""What is left then is a finding, and for the judge."""
LOOK_S = 0.05
WORKER_PAUSE_S = (0.0, 0.3)
ZOMBIES_UNSEEN = 30
"""One more zombie is made for each so many: the history, which counts in the end, sometimes knows less of one than was seen."""
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
    nodes: int = 1
    queue: str = "sqlite"
    records: str = ""
    """`mongo`, or where the queue is."""
    redis_kills: int = 0
    redis_stops: int = 0
    redis_stop_s: float = 30.0
    resets: int = 0
    zombies: int = 0
    """Those that brought something late."""
    mongo_outages: int = 0
    mongo_away_s: float = 60.0
    seed: int = 1
    store: str = ""
    limit_s: float = 60.0
    busy: float = 0.45
    """Share of the slots' time that the load asks for; deaths take about as much again."""
    stretch: float = 1.0
    """Factor on how long jobs take."""
    empty_limit_s: float = EMPTY_LIMIT_S
    calm_share: float = CALM_SHARE
    """Of the workers' kills. Each waits for the crew to be complete and idle: it measures recovery, and takes some seconds."""


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
    """What the databases' own check found, and errors in the nodes' logs."""
    shared: SharedFigures | None = None
    """Of nodes that share a queue."""

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
    """Raises: DidNotStart, NotInstalled, Missing, AssertionError of the load; the folder keeps the histories and the nodes' logs."""
    draw = random.Random(plan.seed)
    servers = Servers(folder, has_mongo=plan.records == "mongo") if plan.queue == "redis" else None
    setting = {"seed": plan.seed, "store": plan.store, "busy": plan.busy, "stretch": plan.stretch}
    with Stage(folder, servers=servers, node_count=plan.nodes, **setting) as stage:  # type: ignore[arg-type]
        with contextlib.closing(Nemesis(stage, draw, plan.calm_share)) as nemesis:
            stage.start_load()
            nemesis.rest(WARM_UP_S)
            began = time.monotonic()
            _haunt(plan, nemesis, draw, began + plan.limit_s)
            faults_s = time.monotonic() - began
            nemesis.until_standing(plan.nodes)
            stage.stop_load()
            empty_s = _until_empty(stage, nemesis, plan.empty_limit_s)
        with contextlib.closing(Recorder(stage.histories / "scan.jsonl", "scan")) as recorder:
            listed = _scan(stage, recorder)
        codes = [node.stop() for node in stage.nodes]
        kept = ids_in_mongo(servers.mongo.uri, DATABASE) if servers is not None and servers.mongo is not None else None
    if any(codes):
        nemesis.toll.complaints.append(f"the last nodes ended with the exit codes {codes} though they were idle")
    history = load([folder / "h"])
    shared = measure_shared(history.ops, listed, kept) if servers is not None else None
    return Outcome(
        plan, judge(history), nemesis.toll, measure(history.ops), faults_s, empty_s, list(_damage(stage, nemesis.toll)), shared
    )


# ── the faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _haunt(plan: Plan, nemesis: Nemesis, draw: random.Random, deadline: float) -> None:
    """Deeds in random order, in the proportions of what is left to do."""
    toll, pauses = nemesis.toll, Pauses(nemesis)
    outages = Outages(nemesis, nemesis.stage.servers) if nemesis.stage.servers is not None else None
    done: Counter[str] = Counter()

    def kill_worker() -> None:
        nemesis.kill_worker()
        nemesis.rest(draw.uniform(*WORKER_PAUSE_S))

    deeds: dict[str, tuple[int, Callable[[], None]]] = {
        "worker": (plan.kills, kill_worker),
        "node": (plan.node_kills, nemesis.kill_node),
        "drain": (plan.drains, nemesis.drain),
        "other": (plan.others, pauses.any),
        "clock": (plan.clock_jumps, pauses.jump_clock),
        "zombie": (plan.zombies + plan.zombies // ZOMBIES_UNSEEN, pauses.make_zombie),
    }
    if outages is not None:
        deeds |= {
            REDIS_KILL: (plan.redis_kills, outages.kill_redis),
            REDIS_STOP: (plan.redis_stops, lambda: outages.stop_redis(plan.redis_stop_s)),
            RESET: (plan.resets, outages.reset_connections),
            MONGO: (plan.mongo_outages, lambda: outages.take_mongo_away(plan.mongo_away_s)),
        }
    while time.monotonic() < deadline:
        counted = {"worker": toll.started["worker"], "node": toll.started["node"], "zombie": toll.zombies}
        lefts = [max(0, wanted - counted.get(name, done[name])) for name, (wanted, _) in deeds.items()]
        if not any(lefts):
            return
        (name,) = draw.choices(list(deeds), lefts)
        deeds[name][1]()
        done[name] += 1
        nemesis.mend()


# ── after them ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _until_empty(stage: Stage, nemesis: Nemesis, limit_s: float) -> float:
    """Seconds."""
    began = time.monotonic()
    with Client(*stage.addresses, timeout=CALL_LIMIT_S) as client:
        with contextlib.suppress(ZjpError):
            client.resume("side")
        while True:
            stats = client.stats()
            if not live_count(stats) and not stats["backlog"]["count"]:
                return time.monotonic() - began
            if time.monotonic() - began > limit_s:
                nemesis.toll.complaints.append(f"after {limit_s:g} s without faults {live_count(stats)} jobs are left: {stats['queues']}")
                return limit_s
            nemesis.rest(LOOK_S)


def live_count(stats: dict[str, Any]) -> int:
    return sum(queue[state] for queue in stats["queues"] for state in ("pending", "scheduled", "retrying", "running"))


def _scan(stage: Stage, recorder: Recorder) -> Counter[str]:
    """The final lines, and the sums of the store and of the metrics. Returns how often each id was listed."""
    totals = {"done": 0, "dead": 0, "cancelled": 0}
    listed: Counter[str] = Counter()
    with Client(*stage.addresses, timeout=CALL_LIMIT_S) as client:
        since = time.monotonic_ns()
        for fields in _finals(stage, client):
            listed[fields["job"]] += 1
            if fields["val"] in totals:
                totals[fields["val"]] += 1
            recorder.write("final", "ok", **fields)
        stats = client.stats()
    live = by_state(stats)
    metrics = {**live, **gauges(stats)}
    recorder.write("scan", "ok", **live, **totals, t0=since, drained=True, metrics=metrics)
    return listed


def _finals(stage: Stage, client: Client) -> Iterator[dict[str, Any]]:
    mongo = stage.servers.mongo if stage.servers is not None else None
    if mongo is None:
        return map(_final_fields, client.jobs())
    return (final_fields(record, key_of(record)) for record in records_in_mongo(mongo.uri, DATABASE))


def by_state(stats: dict[str, Any]) -> dict[str, int]:
    """Jobs that are not finished, in the words of scan lines."""
    queues = stats["queues"]
    return {
        "ready": sum(queue["pending"] for queue in queues),
        "delayed": sum(queue["scheduled"] + queue["retrying"] for queue in queues),
        "leased": sum(queue["running"] for queue in queues),
    }


def gauges(stats: dict[str, Any]) -> dict[str, int]:
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


def _damage(stage: Stage, toll: Toll) -> Iterator[str]:
    """What SQLite's own check says of the files, once nobody has them; what a node itself called an error, in any of its lives."""
    for node in stage.nodes:
        for line in node.log_text().splitlines():
            is_error = line.startswith("Traceback") or '"level": "error"' in line or '"level":"error"' in line
            if is_error and not (toll.failed_starts and "node.not_started" in line):
                yield f"{node.log_path.relative_to(stage.folder)}: {line[:300]}"
    if stage.servers is not None:
        return
    for name in DATABASES:
        with contextlib.closing(sqlite3.connect(stage.nodes[0].data_dir / name)) as db:
            answer = [row[0] for row in db.execute("PRAGMA integrity_check")]
        if answer != ["ok"]:
            yield f"{name}: {answer[:3]}"
