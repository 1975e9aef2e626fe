"""What a Grafana dashboard is made of, as plain data: one row per panel. How it becomes JSON: grafana_dashboards.py.

Figures of the common queues and records are told by every node alike, so they are joined by `max`; what each node counts by itself is
added up. `$job` is Prometheus' job, one per cluster; `$__rate_interval` is Grafana's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

IN_JOB = 'job="$job"'
RATE = "$__rate_interval"


class Kind(Enum):
    STAT = "stat"
    LINES = "lines"
    STACK = "stack"
    HEAT = "heat"
    STATES = "states"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class Query:
    """`legend` with `{{label}}`; empty: Grafana's own."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """`unit`: a word of Grafana's. `bad_from`: from this value on a stat is red, below it is green; `bad_below` the other way round.
    `width`: of 24 columns."""

    title: str
    kind: Kind
    queries: tuple[Query, ...]
    about: str
    unit: str = "short"
    width: int = 12
    bad_from: float | None = None
    bad_below: float | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """`variables`: further ones, each a label to choose values of, with the metric that has it."""

    name: str
    title: str
    about: str
    panels: tuple[Panel, ...]
    variables: tuple[tuple[str, str], ...] = ()


def per_second(name: str, by: str = "", more: str = "") -> str:
    """The rate of a counter, added up."""
    added = f"sum by ({by})" if by else "sum"
    return f"{added} (rate({name}{{{IN_JOB}{more}}}[{RATE}]))"


def quantile(share: float, name: str, by: str = "", more: str = "") -> str:
    kept = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({kept}) (rate({name}_bucket{{{IN_JOB}{more}}}[{RATE}])))"


def stat(
    title: str,
    expr: str,
    about: str,
    unit: str = "short",
    *,
    bad_from: float | None = None,
    bad_below: float | None = None,
) -> Panel:
    return Panel(title, Kind.STAT, (Query(expr),), about, unit, 4, bad_from, bad_below)
