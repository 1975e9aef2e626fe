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

from scripts import redis_server

from ..plot import ladders
from . import crash, results, rounds
from .installing import Missing, install, version
from .peer import PEERS, Peer, named
from .session import Session, TookTooLong

ROUNDS, LATENCY_JOBS, CRASH_LIMIT_S = 3, 200, 30.0
QUICK_DIVISOR, QUICK_LATENCY_JOBS = 20, 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", help=f"some of {','.join(peer.name for peer in PEERS)}")
    parser.add_argument("--quick", action="store_true", help="few jobs, one round: shows that it works, not how fast")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--no-crash", action="store_true", help="leave out the kill, which is watched for up to 30 s a peer"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/peers"))
    chosen = parser.parse_args()
    try:
        peers = named(chosen.peers)
    except ValueError as fault:
        parser.error(str(fault))
    rounds_count = 1 if chosen.quick else chosen.rounds
    report = run_all(peers, rounds_count=rounds_count, quick=chosen.quick, kills=not chosen.no_crash)
    print("\n" + results.table(report["peers"], report["crash_limit_s"]))
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "peers.json").write_text(json.dumps(report, indent=1) + "\n")
    (chosen.out / "peers.svg").write_text(picture(report["peers"]))
    print(f"\nwritten: {chosen.out / 'peers.json'}, {chosen.out / 'peers.svg'}")
    return 0 if any("skipped" not in figures for figures in report["peers"].values()) else 1


def run_all(peers: list[Peer], *, rounds_count: int, quick: bool, kills: bool = True) -> dict[str, Any]:
    """Ctrl-C ends the measuring; what was measured by then is reported."""
    found = {peer.name: prepared(peer) for peer in peers}
    done: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
    try:
        for _ in range(rounds_count):
            for peer in peers:
                if "skipped" not in found[peer.name]:
                    measure(peer, found[peer.name], done[peer.name], quick=quick, kills=kills)
    except KeyboardInterrupt:
        print("interrupted: what follows is what was measured so far", flush=True)
    for peer in peers:
        found[peer.name] |= results.spread(done[peer.name])
    return {
        "machine": {
            "cpus": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        "redis": redis_server.version() if any(peer.uses_redis for peer in peers) else None,
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


def measure(peer: Peer, figures: dict[str, Any], done: list[dict[str, float]], *, quick: bool, kills: bool) -> None:
    """One round of one peer, into `done`; in its first one also its latency and a kill, into `figures`."""
    jobs = peer.jobs.scaled(QUICK_DIVISOR) if quick else peer.jobs
    is_first = not done
    try:
        with Session(peer) as session:
            if is_first:
                figures |= rounds.latency(session, QUICK_LATENCY_JOBS if quick else LATENCY_JOBS)
            done.append(rounds.one_round(session, jobs))
        if is_first and kills:
            with Session(peer) as session:
                figures["crashes"] = [{"jobs": crash.JOBS, **crash.kill_a_worker(session, CRASH_LIMIT_S)}]
    except (TookTooLong, RuntimeError) as fault:
        figures["skipped"] = " ".join([str(fault), *getattr(fault, "__notes__", [])])
    told(peer, figures, done)


def told(peer: Peer, figures: dict[str, Any], done: list[dict[str, float]]) -> None:
    if "skipped" in figures:
        print(f"{peer.label}: skipped, {figures['skipped']}", flush=True)
        return
    shown = "  ".join(
        f"{name} {value:,.1f}" for name, value in done[-1].items() if name.endswith(("per_s", "total_us"))
    )
    print(f"round {len(done)}  {peer.label:18s} {shown}", flush=True)
    if len(done) == 1:
        crashes = "".join(f"; kill {kill}" for kill in figures.get("crashes", []))
        print(f"         p50 {figures['p50_ms']:.2f} ms, p99 {figures['p99_ms']:.2f} ms{crashes}", flush=True)


def picture(peers: dict[str, Any]) -> str:
    """Rates and costs, on a logarithmic scale: they lie two orders apart."""
    ran = [figures for figures in peers.values() if "drain_per_s" in figures]
    panels = (
        ("Drain of a full queue, jobs/s", "drain_per_s"),
        ("Producer and workers at once, jobs/s", "both_per_s"),
        ("CPU of one job, producer to worker, microseconds", "both_total_us"),
    )
    return ladders([(f"{title} (logarithmic)", [(figures["label"], figures[name]) for figures in ran]) for title, name in panels])


if __name__ == "__main__":
    sys.exit(main())
