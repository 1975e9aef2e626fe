"""Members that live and are held dead: with a quarter of the messages lost, and with some members slow; ours beside plain SWIM.

A false death is counted once from the moment at which the first member holds a healthy live one dead until nobody does any more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from statistics import median

from sims.election.cluster import MakeCore
from sims.election.network import Quality
from sims.election.node import Node
from zjp.election.core import Happened, Kind

from . import published as known
from .chart import BLUE, ORANGE, RED, SLATE, Axis, Line, Panel, Point, draw
from .crowd import NEAR, PERIOD, Setting, Spread, in_periods, settle
from .elections import maker
from .intervals import Estimate, quantile, rate
from .plain_swim import PlainSwim
from .result import FIRST_SEED, Result, Row, Scale, Verdict

LOSS = 0.25
SIZES = (5, 9, 32)
SLOW_OF = 9
SLOW = (1, 4)
"""Indexes: two of nine."""
PERIODS_EACH = 1_000
"""Of one cluster; then another begins."""
GIVEN_UP = 200 * PERIOD
MILLION = 1e6
DEATHS_LIMIT, SLOW_LIMIT, FEWER_LIMIT, KNOWN_LIMIT = 100, 10, 100, 12
OURS, PLAIN, GOSSIPING = "ours", "plain SWIM", "plain SWIM that gossips"
MAKERS: dict[str, MakeCore] = {OURS: maker("gossip"), PLAIN: PlainSwim, GOSSIPING: partial(PlainSwim, gossips=True)}
LOST, LATE = "a quarter lost", "two of nine slow"


@dataclass(slots=True)
class Ledger:
    """`holders`: subject -> who holds it dead. `episodes`: false deaths; `declared`: by own suspicion, each node counted."""

    count: int
    slow: tuple[int, ...]
    holders: dict[str, set[int]] = field(default_factory=dict)
    episodes: int = 0
    declared: int = 0

    def hears(self, node: Node, happened: Happened) -> None:
        about = happened.node
        if happened.kind is Kind.MEMBER_DEAD:
            holders = self.holders.setdefault(about, set())
            is_healthy = int(about[1:]) not in self.slow
            self.episodes += is_healthy and not holders
            self.declared += is_healthy and happened.why == "unanswered"
            holders.add(node.index)
        elif happened.kind in (Kind.MEMBER_JOINED, Kind.MEMBER_SUSPECT, Kind.MEMBER_REFUTED):
            self.holders.get(about, set()).discard(node.index)


def curve(scale: Scale) -> Result:
    result = Result(
        "false-deaths",
        "Live members held dead, beside plain SWIM",
        f"gossip, a period of {PERIOD / 1e6:.0f} ms, 0.2 to 0.8 ms one way. (1) {LOSS:.0%} of all messages lost, each by itself; (2) two "
        "of nine take each message 0.5 to 2.5 periods late. Plain SWIM: the paper's, with its suspicion of the same shortest length, the "
        "same messages, network and times (`sims/curves/plain_swim.py`); and the same with gossip beside the pings, as ours has it",
        f"from {FIRST_SEED} on, one for each {PERIODS_EACH} periods",
    )
    lossy = Quality(NEAR.low, NEAR.spread, LOSS)
    for of in MAKERS:
        wanted = scale.node_periods if of == OURS else scale.plain_node_periods
        for count in SIZES:
            _count(result, (of, LOST), Setting(count, FIRST_SEED, lossy, MAKERS[of]), wanted)
        _count(result, (of, LATE), Setting(SLOW_OF, FIRST_SEED, NEAR, MAKERS[of], SLOW), wanted)
    for count in SIZES:
        _crash(result, count, lossy, scale.lossy_crashes)
    _judge(result)
    result.pictures["election-false-deaths.svg"] = _draw(result)
    return result


def _count(result: Result, of: tuple[str, str], setting: Setting, wanted: int) -> None:
    done, episodes, declared, seed = 0.0, 0, 0, setting.seed
    healthy = setting.count - len(setting.slow)
    while done < wanted:
        ledger = Ledger(setting.count, setting.slow)
        cluster = settle(Setting(setting.count, seed, setting.quality, setting.make, setting.slow), ledger.hears)
        periods = min(PERIODS_EACH, -(-int(wanted - done) // healthy))
        cluster.run(cluster.now + periods * PERIOD)
        done += healthy * periods
        episodes += ledger.episodes
        declared += ledger.declared
        result.events += cluster.steps
        seed += 1
    name = f"{of[0]}, {of[1]}"
    result.rows.append(
        Row(name, setting.count, "false deaths per million node-periods", _per_million(episodes, done), None, int(done))
    )
    result.rows.append(Row(name, setting.count, "declared, per million", _per_million(declared, done), None, int(done)))


def _per_million(events: int, exposure: float) -> Estimate:
    return rate(events, exposure / MILLION)


def _crash(result: Result, count: int, lossy: Quality, runs: int) -> None:
    took = [_crash_one(result, Setting(count, FIRST_SEED + number, lossy)) for number in range(runs)]
    result.rows.append(
        Row(f"true crash, {LOST}", count, "known by all, median periods", quantile(took, 0.5), None, runs)
    )


def _crash_one(result: Result, setting: Setting) -> float:
    """Periods until all live ones hold it dead at one time."""
    spreads: list[Spread] = []

    def hear(node: Node, happened: Happened) -> None:
        if spreads:
            spreads[0].hears(cluster.now, node, happened)

    cluster = settle(setting, hear)
    uniform = cluster.stream("store").random
    cluster.run(cluster.now + int((3 + uniform()) * PERIOD))
    victim = cluster.nodes[int(uniform() * (setting.count - 1))]
    spreads.append(Spread(victim.name, cluster.now))
    cluster.crash(victim, is_silent=True)
    until = cluster.now + GIVEN_UP
    while len(spreads[0].dead) < setting.count - 1 and cluster.now < until:
        cluster.run(cluster.now + PERIOD // 10)
    result.events += cluster.steps
    return in_periods(cluster.now - spreads[0].at)


def _judge(result: Result) -> None:
    what = "false deaths per million node-periods"
    for count in SIZES:
        ours, plain, gossiping = (result.find(f"{of}, {LOST}", what, count) for of in MAKERS)
        result.verdicts.append(
            Verdict(
                f"{LOST}, N = {count}: {DEATHS_LIMIT} false deaths per million node-periods at most (the upper end of the interval)",
                f"{_shown(ours)} in {ours.count:,} node-periods; plain SWIM {_shown(plain)}, with gossip {_shown(gossiping)}",
                ours.measured.high <= DEATHS_LIMIT,
            )
        )
    ours, plain, gossiping = (result.find(f"{of}, {LATE}", what) for of in MAKERS)
    result.verdicts.append(
        Verdict(
            f"{LATE}: healthy ones held dead {SLOW_LIMIT} times per million node-periods at most",
            f"{_shown(ours)} in {ours.count:,} node-periods",
            ours.measured.value <= SLOW_LIMIT,
        )
    )
    least, most = known.LIFEGUARD_FEWER
    fewer = min(plain.measured.low, gossiping.measured.low) / ours.measured.high
    result.verdicts.append(
        Verdict(
            f"{LATE}: {FEWER_LIMIT} times fewer than plain SWIM (Lifeguard's paper: {least} to {most})",
            f"plain SWIM {_shown(plain)}, with gossip {_shown(gossiping)}: at least {fewer:,.0f} times fewer (the lower of their lower "
            "ends over our upper end)",
            fewer >= FEWER_LIMIT,
        )
    )
    crashes = [row for row in result.rows if row.what == "known by all, median periods"]
    result.verdicts.append(
        Verdict(
            f"{LOST}: a true crash known by all in {KNOWN_LIMIT} periods at most, in the median",
            ", ".join(
                f"{row.measured.value:.1f} ({row.measured.low:.1f} to {row.measured.high:.1f}) at {row.x:g}"
                for row in crashes
            ),
            median(row.measured.value for row in crashes) <= KNOWN_LIMIT
            and all(row.measured.value <= KNOWN_LIMIT for row in crashes),
        )
    )
    result.explain(
        "The wish was a million node-periods of each; how many were run stands beside each figure, and the interval is what they allow. "
        "One false death is an episode: from the first member that holds a live one dead until nobody does."
    )
    result.explain(
        "Lifeguard's paper compares with a SWIM that gossips beside its pings, as most do. Gossip alone makes plain SWIM err some times "
        "less, for a suspect hears sooner what it must refute; the rest is local health, confirmations, and the four rules at the head "
        "of swim.py."
    )


def _shown(row: Row) -> str:
    return f"{row.measured.value:,.0f} ({row.measured.low:,.0f} to {row.measured.high:,.0f})"


DRAWN = (PLAIN, GOSSIPING, OURS)
SHORT = ("SWIM", "with gossip", "ours")
LEAST = 1.0
"""The axis has a logarithm: none at all is drawn here."""


def _draw(result: Result) -> str:
    what = "false deaths per million node-periods"
    deaths = Axis(
        "false deaths per million node-periods",
        LEAST,
        1e6,
        (1, 10, 100, 1e3, 1e4, 1e5, 1e6),
        "log",
        _short,
    )
    size = Axis("members", 4, 40, (5, 9, 32), "log")
    case = Axis("", 0, 4, (1, 2, 3), show=lambda place: SHORT[round(place) - 1])
    left, right = [], []
    for number, (of, colour) in enumerate(zip(DRAWN, (RED, ORANGE, BLUE), strict=True)):
        lost = [result.find(f"{of}, {LOST}", what, count) for count in SIZES]
        left.append(Line(of, colour, [Point(row.x, *_floored(row.measured)) for row in lost], is_published=of != OURS))
        late = result.find(f"{of}, {LATE}", what)
        right.append(
            Line(of, colour, [Point(1 + number, *_floored(late.measured))], is_published=of != OURS, is_joined=False)
        )
    limits = [(left, 4.0, 40.0, DEATHS_LIMIT), (right, 0.0, 4.0, SLOW_LIMIT)]
    for lines, low, high, limit in limits:
        lines.append(Line("limit", SLATE, [Point(low, limit), Point(high, limit)], is_published=True, has_marks=False))
    panels = [
        Panel("a quarter of the messages lost", size, deaths, left),
        Panel("two of nine members slow", case, deaths, right),
    ]
    return draw(
        "Live members held dead",
        panels,
        "Bars: 95 % intervals; a point at the bottom: none was seen, and the bar is what that allows.",
    )


def _short(number: float) -> str:
    return f"{number:g}" if number < 1000 else f"{number / 1000:g}k" if number < MILLION else f"{number / MILLION:g}M"


def _floored(estimate: Estimate) -> tuple[float, float, float]:
    value, low, high = (max(LEAST, number) for number in estimate)
    return value, low, high
