"""What a run says: lines for the terminal, Markdown for docs/reports/."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Sequence

import zmq

from tests.cluster import judge
from tests.cluster.deeds import Seen
from tests.cluster.experiment import Outcome

HEAD = ("deed", "times", "p50", "p99", "longest", "gave up after, longest", "refused by the store", "changes", "jobs")


def markdown(outcomes: Sequence[Outcome], command: str, begun: str) -> str:
    lines = [
        "# Real nodes that lose their leader",
        "",
        f"`{command}`",
        "",
        f"{begun}, commit {commit()}, {platform.system()} {platform.release()}, {os.cpu_count()} cores,",
        f"load {os.getloadavg()[0]:.1f} at the end, Python {platform.python_version()},",
        f"pyzmq {zmq.__version__}, libzmq {zmq.zmq_version()}.",
        "",
        "Seconds from the deed until every survivor has the new leader in its log and that leader is in office. The old leader's last",
        "heartbeat was up to one interval earlier (Bully, Raft 0.1 s; Gossip 0.5 s); the limits are checked with that added. Refused: a",
        "duty's write and a renewal, both in a stopped leader's name and epoch, tried when another led; then it went on.",
    ]
    for outcome in outcomes:
        lines += ["", *_section(outcome)]
    return "\n".join(lines) + "\n"


def _section(outcome: Outcome) -> Iterator[str]:
    plan = outcome.plan
    where = "on loopback" if plan.on_loopback else "each in a network namespace"
    yield f"## {plan.algorithm}, {plan.nodes} nodes, {where}, CURVE, one Redis"
    yield ""
    yield from table(outcome.seen)
    yield ""
    yield (
        f"{outcome.lines:,} lines of logs, {outcome.samples:,} changes of the store's lead, {outcome.ticks:,} ticks judged; "
        f"without a leader for {outcome.leaderless_s:.1f} s of {outcome.took_s:.0f} s."
    )
    yield ""
    yield f"**{verdict(outcome)}**"
    for fault in (*outcome.broken, *outcome.missed):
        yield f"- {fault}"


def table(seen: Iterable[Seen]) -> Iterator[str]:
    yield "| " + " | ".join(HEAD) + " |"
    yield "|" + "---|" * len(HEAD)
    for one in seen:
        took = [_seconds(judge.quantile(one.took, share)) for share in (0.5, 0.99, 1.0)]
        refused = f"{one.refused_by_store} of {one.count}" if one.kind == "stop" else ""
        left = _seconds(judge.quantile(one.left, 1.0))
        changes = "" if one.took else str(one.changes)
        yield "| " + " | ".join([one.kind, str(one.count), *took, left, refused, changes, str(one.jobs or "")]) + " |"


def verdict(outcome: Outcome) -> str:
    if outcome.is_good:
        return "All invariants held, all times are within their limits."
    if outcome.broken:
        return f"{len(outcome.broken)} invariants broke."
    return "All invariants held; times are beyond their limits."


def commit() -> str:
    told = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def _seconds(value: float) -> str:
    return "" if value != value else f"{value:.3f}"
