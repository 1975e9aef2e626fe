"""`python -m benchmarks [--quick] [--out FOLDER]`: every measurement, a table on stdout, results.json and path.svg in FOLDER."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from scripts import redis_server

from . import latency, machine, memory, micro, waiting, whole_path
from .bare_path import bare
from .floor import floor
from .plot import bars
from .running import running_node, running_on_redis

ROUNDS = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer jobs and rounds: shows that it works, not how fast")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    chosen = parser.parse_args()
    report = run_all(quick=chosen.quick)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    (chosen.out / "path.svg").write_text(bars(report))
    print(f"\nwritten: {chosen.out / 'results.json'}, {chosen.out / 'path.svg'}")


def run_all(*, quick: bool) -> dict[str, Any]:
    scale, rounds = (10, 2) if quick else (1, ROUNDS)
    report: dict[str, Any] = {
        "machine": {"cpus": _cpus(), "python": platform.python_version(), "system": platform.platform()},
        "started_at": time.time(),
        "rounds": rounds,
    }
    _put(report, "machine before all", machine.speed())
    for name, flags in (("2 slots", {"worker_count": "2"}), ("10 slots", {"worker_count": "10"})):
        with running_node(worker_processes="2", **flags) as node:
            whole_path.sustained(node, jobs=20_000 // scale, batch=100)
            run = partial(whole_path.sustained, node, jobs=200_000 // scale, batch=100)
            if name != "2 slots":
                _put(report, f"whole path, batches of 100, {name}", whole_path.rounds(run, rounds))
            else:
                _put_beside_bare(report, "", run, partial(bare, jobs=200_000 // scale, batch=100), rounds)
                report["start_s"] = node.start_s
                _put(
                    report,
                    "drain of a full queue",
                    whole_path.rounds(partial(whole_path.drain, node, jobs=100_000 // scale, batch=500), rounds),
                )
                for count in (16, 256):
                    _put(
                        report,
                        f"single submits, {count} coroutines",
                        whole_path.rounds(
                            partial(whole_path.singles, node, jobs=100_000 // scale, coroutines=count), rounds
                        ),
                    )
    if shutil.which("redis-server") is None:
        print("redis-server is not installed: the queue in Redis is left out", flush=True)
    else:
        _measure_redis(report, scale, rounds)
    _put(report, "latency at 20/s: the bare hops", floor(jobs=400 // scale, per_s=20))
    with running_node(worker_processes="2", worker_count="2") as node:
        _put(report, "latency at 20/s", latency.start_latency(node, jobs=400 // scale, per_s=20))
        _put(report, "latency at 1000/s", latency.start_latency(node, jobs=10_000 // scale, per_s=1000))
        _put(report, "idle CPU", latency.idle_cpu(node, seconds=20 / scale))
    with running_node(worker_processes="2", worker_count="2") as node:
        report["waiting"] = list(waiting.flatness(node, [level // scale for level in (10_000, 100_000, 1_000_000)]))
        for row in report["waiting"]:
            print("waiting", _show(row), flush=True)
    _put(report, "micro, ns", micro.nanoseconds())
    _put(report, "machine after all", machine.speed())
    return report


def _measure_redis(report: dict[str, Any], scale: int, rounds: int) -> None:
    """Queue and records in one Redis, AOF everysec."""
    with running_on_redis(worker_processes="2", worker_count="2") as node:
        report["redis"] = redis_server.version()
        whole_path.sustained(node, jobs=20_000 // scale, batch=100)
        run = partial(whole_path.sustained, node, jobs=200_000 // scale, batch=100)
        _put_beside_bare(report, "Redis: ", run, partial(_bare_on_redis, 200_000 // scale), rounds)
        run = partial(whole_path.drain, node, jobs=100_000 // scale, batch=500)
        _put(report, "Redis: drain of a full queue", whole_path.rounds(run, rounds))
        run = partial(whole_path.singles, node, jobs=100_000 // scale, coroutines=256)
        _put(report, "Redis: single submits, 256 coroutines", whole_path.rounds(run, rounds))
    with redis_server.running(options=redis_server.DURABLE) as server:
        _put(report, "Redis: latency at 20/s: the bare hops", floor(jobs=400 // scale, per_s=20, redis_path=str(server.socket)))
    with running_on_redis(worker_processes="2", worker_count="2") as node:
        _put(report, "Redis: latency at 20/s", latency.start_latency(node, jobs=400 // scale, per_s=20))
        _put(report, "Redis: idle CPU", latency.idle_cpu(node, seconds=20 / scale))
    report["memory"] = list(memory.above_payload([level // scale for level in (100_000, 300_000, 1_000_000)]))
    for row in report["memory"]:
        print("Redis: memory, payload of 200 bytes", _show(row), flush=True)


def _bare_on_redis(jobs: int) -> dict[str, float]:
    with redis_server.running(options=redis_server.DURABLE) as server:
        return bare(jobs=jobs, batch=100, redis_path=str(server.socket), redis_pid=server.pid)


def _put_beside_bare(report: dict[str, Any], store: str, run: Any, run_bare: Any, rounds: int) -> None:
    """zjp and the bare hops by turns, and by how much zjp costs more, pair by pair."""
    ours, theirs = whole_path.in_turn(run, run_bare, rounds)
    _put(report, f"{store}whole path, batches of 100{'' if store else ', 2 slots'}", whole_path.spread(ours))
    _put(report, f"{store}the bare hops at full load", whole_path.spread(theirs))
    ratios = [{"total": one["total_us"] / other["total_us"]} for one, other in zip(ours, theirs, strict=True)]
    _put(report, f"{store}CPU of a job, zjp over the bare hops", whole_path.spread(ratios))


def _put(report: dict[str, Any], name: str, figures: dict[str, Any]) -> None:
    report[name] = figures
    print(f"{name}\n  {_show(figures)}", flush=True)


def _show(figures: dict[str, Any]) -> str:
    def one(value: Any) -> str:
        if isinstance(value, dict):
            return f"{value['median']:,.1f} [{value['min']:,.1f}..{value['max']:,.1f}]"
        return f"{value:,.2f}"

    return "\n  ".join(f"{name:22s} {one(value)}" for name, value in figures.items())


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    sys.exit(main())
