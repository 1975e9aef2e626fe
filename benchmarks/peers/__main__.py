"""`python -m benchmarks.peers [--peers a,b] [--quick] [--rounds N] [--out FOLDER]`: zjp and its peers, same work, same minutes.

Round by round every peer has its turn, so that what else the machine does falls on all. A table on stdout; peers.json and peers.svg in
FOLDER. A peer that cannot be installed or does not get through is said to be skipped, with the reason, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from ..plot import ladders
from . import crash, results, rounds
from .installing import Missing, install, version
from .peer import PEERS, Peer, named
from .redis_server import server_version
from .session import Session, TookTooLong

ROUNDS, LATENCY_JOBS, CRASH_LIMIT_S = 3, 200, 30.0
QUICK_DIVISOR, QUICK_LATENCY_JOBS = 20, 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help=f"some of {','.join(peer.name for peer in PEERS)}")
    parser.add_argument("--quick", action="store_true", help="few jobs, one round: shows that it works, not how fast")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/peers"))
    chosen = parser.parse_args()
    try:
        peers = named(chosen.peers)
    except ValueError as fault:
        parser.error(str(fault))
    report = run_all(peers, rounds_count=1 if chosen.quick else chosen.rounds, quick=chosen.quick)
    print("\n" + results.table(report["peers"], report["crash_limit_s"]))
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "peers.json").write_text(json.dumps(report, indent=1) + "\n")
    (chosen.out / "peers.svg").write_text(picture(report["peers"]))
    print(f"\nwritten: {chosen.out / 'peers.json'}, {chosen.out / 'peers.svg'}")
    return 0 if any("skipped" not in figures for figures in report["peers"].values()) else 1


def run_all(peers: list[Peer], *, rounds_count: int, quick: bool) -> dict[str, Any]:
    found = {peer.name: prepared(peer) for peer in peers}
    done: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
    for number in range(rounds_count):
        for peer in peers:
            figures = found[peer.name]
            if "skipped" not in figures:
                try:
                    done[peer.name].append(one(peer, figures, is_first=number == 0, quick=quick))
                except (TookTooLong, RuntimeError) as fault:
                    figures["skipped"] = " ".join([str(fault), *getattr(fault, "__notes__", [])])
                told(peer, figures, done[peer.name], number)
    for peer in peers:
        found[peer.name] |= results.spread(done[peer.name])
    return {
        "machine": {
            "cpus": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "redis": server_version() if any(peer.uses_redis for peer in peers) else None,
        "at": time.time(),
        "rounds": rounds_count,
        "crash_limit_s": CRASH_LIMIT_S,
        "peers": found,
        "drain_times": {ours: results.against(found, ours, "drain_per_s") for ours in found if ours.startswith("zjp")},
        "both_times": {ours: results.against(found, ours, "both_per_s") for ours in found if ours.startswith("zjp")},
    }


def prepared(peer: Peer) -> dict[str, Any]:
    figures: dict[str, Any] = {"label": peer.label, "version": version(peer)}
    try:
        install(peer)
    except Missing as fault:
        figures["skipped"] = str(fault)
        print(f"{peer.label}: skipped, {fault}", flush=True)
    return figures


def one(peer: Peer, figures: dict[str, Any], *, is_first: bool, quick: bool) -> dict[str, float]:
    """One round of one peer; in the first one also its latency and its crash, on fresh processes each."""
    jobs = peer.jobs.scaled(QUICK_DIVISOR) if quick else peer.jobs
    with Session(peer) as session:
        if is_first:
            figures |= rounds.latency(session, QUICK_LATENCY_JOBS if quick else LATENCY_JOBS)
        round_figures = rounds.one_round(session, jobs)
    if is_first:
        with Session(peer) as session:
            figures["crashes"] = [{"jobs": crash.JOBS, **crash.kill_a_worker(session, CRASH_LIMIT_S)}]
    return round_figures


def told(peer: Peer, figures: dict[str, Any], done: list[dict[str, float]], number: int) -> None:
    if "skipped" in figures:
        print(f"{peer.label}: skipped, {figures['skipped']}", flush=True)
        return
    shown = "  ".join(
        f"{name} {value:,.1f}" for name, value in done[-1].items() if name.endswith(("per_s", "total_us"))
    )
    print(f"round {number + 1}  {peer.label:18s} {shown}", flush=True)
    if number == 0:
        print(
            f"         p50 {figures['p50_ms']:.2f} ms, p99 {figures['p99_ms']:.2f} ms; crash {figures['crashes'][0]}",
            flush=True,
        )


def picture(peers: dict[str, Any]) -> str:
    """Rates and costs, on a logarithmic scale: they lie two orders apart."""
    ran = [figures for figures in peers.values() if "drain_per_s" in figures]
    panels = (
        ("Drain of a full queue, jobs/s", "drain_per_s"),
        ("Producer and workers at once, jobs/s", "both_per_s"),
        ("CPU of one job, producer to worker, microseconds", "both_total_us"),
    )
    return ladders([(title, [(figures["label"], figures[name]) for figures in ran]) for title, name in panels])


if __name__ == "__main__":
    sys.exit(main())
