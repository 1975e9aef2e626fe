"""Many waiting jobs: what submitting and claiming cost with 10^4 to 10^6 of them waiting, and how much memory and disk they take.

    python -m benchmarks.waiting --queue redis --levels 10000 100000 1000000 10000000
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from itertools import islice

from zjp import Client

from .running import Running, cpu_s, finished_count, rss_bytes, running_node, running_on_redis
from .whole_path import submit_all, until_recorded

PURGE_LIMIT_S = 600.0
PROBE, PROBES = 40_000, 5
"""Jobs of one measurement, and measurements of each level, whose median counts."""


def flatness(node: Running, levels: Sequence[int], probe: int = PROBE) -> Iterator[dict[str, float]]:
    """For each number of waiting jobs: CPU us of the node (and Redis) per submitted job, and CPU us of node, workers (and Redis) per job
    claimed, run and recorded, both measured over `probe` jobs on top of the others. At the end all are purged, which has a row too."""
    with Client(node.address) as client:
        client.pause("default")
        waiting = 0
        for level in levels:
            submit_all(node.address, jobs=level - waiting, batch=500, task="noop")
            waiting = level
            probes = [_probe(node, client, level, probe) for _ in range(PROBES)]
            yield {name: statistics.median(row[name] for row in probes) for name in probes[0]}
    with Client(node.address, timeout=PURGE_LIMIT_S) as client:
        began = time.monotonic()
        purged = client.purge("default")
        yield {"purged": purged, "purge_us": (time.monotonic() - began) / purged * 1e6}


def _probe(node: Running, client: Client, waiting: int, probe: int) -> dict[str, float]:
    before = _cpu_s(node)
    submit_all(node.address, jobs=probe, batch=100, task="noop")
    submit_us = (_cpu_s(node) - before) / probe * 1e6
    rss = rss_bytes(node.pid)
    redis_rss = rss_bytes(node.redis_pid) if node.redis_pid else 0
    disk = sum(path.stat().st_size for path in node.data_dir.glob("zjp.db*"))
    target = finished_count(client.stats()) + probe
    used = node.cpu()
    client.resume("default")
    while finished_count(client.stats()) < target:
        time.sleep(0.02)
    client.pause("default")
    done = finished_count(client.stats()) - target + probe
    until_recorded(node, target)
    after = node.cpu()
    run_us = sum(after[name] - used[name] for name in after) / done * 1e6
    if done > probe:
        submit_all(node.address, jobs=done - probe, batch=500, task="noop")
    return {
        "waiting": waiting,
        "submit_us": submit_us,
        "run_us": run_us,
        "node_rss_mib": rss / 2**20,
        "disk_bytes_per_job": disk / (waiting + probe),
        "redis_rss_bytes_per_job": redis_rss / (waiting + probe),
    }


def _cpu_s(node: Running) -> float:
    return cpu_s(node.pid) + (cpu_s(node.redis_pid) if node.redis_pid else 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queue", choices=("sqlite", "redis"), default="sqlite")
    parser.add_argument("--levels", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    chosen = parser.parse_args()
    running = running_on_redis if chosen.queue == "redis" else running_node
    with running(worker_processes="2", worker_count="2") as node:
        for row in islice(flatness(node, chosen.levels), len(chosen.levels)):  # to purge ten millions takes half an hour
            print("  ".join(f"{name} {value:,.1f}" for name, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
