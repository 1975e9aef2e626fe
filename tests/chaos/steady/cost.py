"""What the load costs: processor time of each role over a span without faults, and how busy the machine was with this and all else.

The recording is part of it: each job leaves some nine lines of history and, mostly, an effect at the sink.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.processes import children_of, cpu_s_of, pid_of
from tests.chaos.steady.stage import SteadyStage


@dataclass(frozen=True, slots=True)
class Meter:
    """At one moment: processor seconds by role; of the machine, those used and all that there were."""

    at: float
    roles: dict[str, float]
    busy_s: float
    all_s: float


@dataclass(frozen=True, slots=True)
class Cost:
    """`us_per_job` by role, `cores` that all roles together kept busy, `machine`: share of its time that was used by whomever."""

    us_per_job: dict[str, float]
    cores: float
    machine: float


def read(stage: SteadyStage) -> Meter:
    roles: dict[str, float] = defaultdict(float)
    for role, pid in stage.pids():
        roles[role] += cpu_s_of(pid)
    for node in stage.nodes.values():
        roles["nodes"] += cpu_s_of(node.pid)
        roles["workers"] += sum(cpu_s_of(pid_of(number)) for number in children_of(node.pid))
    ticks = [int(text) for text in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    per_s = os.sysconf("SC_CLK_TCK")
    idle = ticks[3] + ticks[4]
    return Meter(time.monotonic(), roles, (sum(ticks) - idle) / per_s, sum(ticks) / per_s)


def between(first: Meter, last: Meter, rate: float) -> Cost:
    """`rate`: jobs a second meanwhile."""
    seconds = last.at - first.at
    used = {role: last.roles[role] - first.roles[role] for role in last.roles}
    return Cost(
        {role: cpu_s / (rate * seconds) * 1e6 for role, cpu_s in used.items()},
        sum(used.values()) / seconds,
        (last.busy_s - first.busy_s) / max(last.all_s - first.all_s, 1e-9),
    )
