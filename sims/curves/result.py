"""What a curve gives back: rows of numbers with their intervals, verdicts, the reason of each difference, pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .intervals import Estimate

FIRST_SEED = 1
ROUND = 4


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is run. `full` is what the report holds, `quick` what the tests run."""

    elections: int
    split_elections: int
    split_elections_other: int
    kills: int
    sizes: tuple[int, ...]
    crashes: int
    crashes_large: int
    load_periods: int
    node_periods: int
    plain_node_periods: int
    lossy_crashes: int
    omission_seeds: int
    covered_seeds: int


FULL = Scale(
    elections=10_000,
    split_elections=10_000,
    split_elections_other=2_000,
    kills=1_000,
    sizes=(3, 5, 10, 32, 100, 316, 1000),
    crashes=100,
    crashes_large=10,
    load_periods=300,
    node_periods=40_000,
    plain_node_periods=5_000,
    lossy_crashes=10,
    omission_seeds=100,
    covered_seeds=40,
)
QUICK = Scale(
    elections=40,
    split_elections=20,
    split_elections_other=10,
    kills=4,
    sizes=(3, 10),
    crashes=6,
    crashes_large=2,
    load_periods=40,
    node_periods=150,
    plain_node_periods=150,
    lossy_crashes=1,
    omission_seeds=1,
    covered_seeds=1,
)
LARGE = 300
"""Members from which on fewer crashes are run."""


@dataclass(frozen=True, slots=True)
class Row:
    """`of`: which line or case it belongs to, `x`: where. `published`: None where nothing was."""

    of: str
    x: float
    what: str
    measured: Estimate
    published: float | None = None
    count: int = 0

    def as_json(self) -> dict[str, object]:
        value, low, high = (round(number, ROUND) for number in self.measured)
        row: dict[str, object] = {
            "of": self.of,
            "x": self.x,
            "what": self.what,
            "value": value,
            "low": low,
            "high": high,
        }
        return row | {
            "published": None if self.published is None else round(self.published, ROUND),
            "count": self.count,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """`text`: what was asked, with the limit; `seen`: what was measured."""

    text: str
    seen: str
    is_met: bool

    def as_json(self) -> dict[str, object]:
        return {"text": self.text, "seen": self.seen, "is_met": self.is_met}


@dataclass(slots=True)
class Result:
    """`name`: of --only. `model`: the network and settings. `reasons`: where it differs from what was published, and why."""

    name: str
    title: str
    model: str
    seeds: str
    rows: list[Row] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    events: int = 0
    pictures: dict[str, str] = field(default_factory=dict)
    """File name -> SVG."""

    def find(self, of: str, what: str, x: float | None = None) -> Row:
        return next(row for row in self.rows if row.of == of and row.what == what and x in (None, row.x))

    def explain(self, reason: str) -> None:
        self.reasons.append(reason)

    def as_json(self) -> dict[str, object]:
        return {
            "title": self.title,
            "model": self.model,
            "seeds": self.seeds,
            "events": self.events,
            "rows": [row.as_json() for row in self.rows],
            "verdicts": [verdict.as_json() for verdict in self.verdicts],
            "reasons": self.reasons,
            "pictures": sorted(self.pictures),
        }


Curve = Callable[[Scale], Result]


def within(value: float, published: float, share: float) -> bool:
    return abs(value - published) <= share * published
