"""Many waiting jobs: what submitting and claiming cost with 10^4 to 10^6 of them waiting, and how much memory and disk they take."""

from __future__ import annotations

import statistics
import time

from zjp import Client

from .running import Running, cpu_s, finished_count, rss_bytes
from .whole_path import submit_all, until_recorded

PROBE, PROBES = 40_000, 5
"""Jobs of one measurement, and measurements of each level, whose median counts."""


def flatness(node: Running, levels: list[int], probe: int = PROBE) -> list[dict[str, float]]:
    """For each number of waiting jobs: CPU us of the node per submitted job, and CPU us of node and workers per job claimed, run and
    recorded, both measured over `probe` jobs on top of the others. At the end all are purged; the last row has the time per job."""
    rows = []
    with Client(node.address) as client:
        client.pause("default")
        waiting = 0
        for level in levels:
            submit_all(node.address, jobs=level - waiting, batch=500, task="noop")
            waiting = level
            probes = [_probe(node, client, level, probe) for _ in range(PROBES)]
            rows.append({name: statistics.median(row[name] for row in probes) for name in probes[0]})
        began = time.monotonic()
        purged = client.purge("default")
        rows[-1]["purge_us"] = (time.monotonic() - began) / purged * 1e6
    return rows


def _probe(node: Running, client: Client, waiting: int, probe: int) -> dict[str, float]:
    before = cpu_s(node.pid)
    submit_all(node.address, jobs=probe, batch=100, task="noop")
    submit_us = (cpu_s(node.pid) - before) / probe * 1e6
    rss = rss_bytes(node.pid)
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
        "submit_node_us": submit_us,
        "run_us": run_us,
        "node_rss_mib": rss / 2**20,
        "disk_bytes_per_job": disk / (waiting + probe),
    }
