"""How long until a crashed member is suspected, and until all know it dead, for 3 to 1,000 members; nothing is lost."""

from __future__ import annotations

from math import ceil, log, log10
from statistics import fmean

from sims.election.cluster import Cluster
from sims.election.node import Node
from zjp.election.core import Happened

from . import published as known
from .chart import BLUE, GREEN, ORANGE, RED, SLATE, Axis, Line, Panel, Point, draw
from .crowd import PERIOD, Setting, Spread, in_periods, settle
from .intervals import mean, quantile
from .result import FIRST_SEED, LARGE, Result, Row, Scale, Verdict

GIVEN_UP = 200 * PERIOD
APART = 3 * PERIOD
"""Between one crash that all know of and the next, and up to a period more."""
ROUND = PERIOD // 5
"""One round of gossip."""
SUSPECTED, KNOWN, SPREAD, TOLD = (
    "first suspicion",
    "known dead by all",
    "first to last holds it dead",
    "first to last suspects it",
)
SPREAD_LIMIT = 0.6
FANOUT = 3
"""Members told in a round."""
DETECTION_LIMIT = 2.2
ONE_CLUSTER = 10
"""Of so many members at least: crashes follow one another in one cluster, up to a tenth of it, else each has its own."""


def dead_within(count: int) -> float:
    return 2.5 + 4 * max(1.0, log10(count))


def curve(scale: Scale) -> Result:
    result = Result(
        "swim",
        "Membership: detection and dissemination against the number of members",
        f"gossip, a period of {PERIOD / 1e6:.0f} ms, suspicions of four periods x max(1, log10 N) at least, gossip each fifth of a period "
        "to three; 0.2 to 0.8 ms one way, nothing is lost; a member that does not lead crashes at a random moment, and no connection "
        "tells of it",
        f"from {FIRST_SEED} on, for each size",
    )
    for count in scale.sizes:
        crashes = scale.crashes if count < LARGE else scale.crashes_large
        spreads = _crash_many(count, crashes, result)
        _add(result, count, spreads)
    _judge(result, scale)
    result.pictures["election-swim.svg"] = _draw(result, scale)
    return result


def _crash_many(count: int, crashes: int, result: Result) -> list[Spread]:
    each = max(1, count // ONE_CLUSTER)
    spreads: list[Spread] = []
    while len(spreads) < crashes:
        spreads += _crash_some(count, FIRST_SEED + len(spreads), min(each, crashes - len(spreads)), result)
    return spreads


def _crash_some(count: int, seed: int, crashes: int, result: Result) -> list[Spread]:
    """One after another, in one cluster."""
    spreads: list[Spread] = []

    def hear(node: Node, happened: Happened) -> None:
        if spreads:
            spreads[-1].hears(cluster.now, node, happened)

    cluster = settle(Setting(count, seed), hear)
    draw = cluster.stream("store").random
    for _ in range(crashes):
        cluster.run(cluster.now + int((1 + draw()) * APART))
        victim = _victim(cluster, draw())
        spreads.append(Spread(victim.name, cluster.now))
        cluster.crash(victim, is_silent=True)
        alive = sum(node.is_up for node in cluster.nodes)
        until = cluster.now + GIVEN_UP
        while len(spreads[-1].dead) < alive and cluster.now < until:
            cluster.run(cluster.now + PERIOD // 10)
        assert len(spreads[-1].dead) == alive, f"seed {seed}: not all know in {in_periods(GIVEN_UP):.0f} periods"
    result.events += cluster.steps
    return spreads


def _victim(cluster: Cluster, share: float) -> Node:
    """Not the best ranked, who leads."""
    alive = [node for node in cluster.nodes[:-1] if node.is_up]
    return alive[int(share * len(alive))]


def _add(result: Result, count: int, spreads: list[Spread]) -> None:
    first = [in_periods(min(spread.suspected.values()) - spread.at) for spread in spreads]
    last = [in_periods(max(spread.dead.values()) - spread.at) for spread in spreads]
    between = [in_periods(max(spread.dead.values()) - min(spread.dead.values())) for spread in spreads]
    told = [in_periods(max(spread.suspected.values()) - min(spread.suspected.values())) for spread in spreads]
    taken = len(spreads)
    result.rows += [
        Row(SUSPECTED, count, "mean periods", mean(first), known.SWIM_DETECTION_PERIODS, taken),
        Row(SUSPECTED, count, "longest, periods", quantile(first, 1.0), 2 * count - 1, taken),
        Row(KNOWN, count, "median periods", quantile(last, 0.5), dead_within(count), taken),
        Row(SPREAD, count, "mean periods", mean(between), None, taken),
        Row(TOLD, count, "mean periods", mean(told), None, taken),
    ]


def _judge(result: Result, scale: Scale) -> None:
    first = [row for row in result.rows if (row.of, row.what) == (SUSPECTED, "mean periods")]
    worst = max(first, key=lambda row: row.measured.value)
    result.verdicts.append(
        Verdict(
            f"first suspicion after {DETECTION_LIMIT} periods at most, in the mean, N = {scale.sizes[0]} to {scale.sizes[-1]} "
            f"(the paper: {known.SWIM_DETECTION_PERIODS:.2f} until it is probed)",
            f"{min(row.measured.value for row in first):.2f} to {worst.measured.value:.2f}, the most at N = {worst.x:g}",
            worst.measured.value <= DETECTION_LIMIT,
        )
    )
    longest = [row for row in result.rows if row.what == "longest, periods"]
    result.verdicts.append(
        Verdict(
            "first suspicion within 2 N - 1 periods, always, and the period that the probe takes",
            ", ".join(f"{row.measured.value:.1f} at {row.x:g}" for row in longest),
            all(row.measured.value <= 2 * row.x - 1 + 1 for row in longest),
        )
    )
    medians = [row for row in result.rows if row.of == KNOWN]
    late = [row for row in medians if row.measured.value > (row.published or 0)]
    result.verdicts.append(
        Verdict(
            "known dead by all after 2.5 + 4 max(1, log10 N) periods at most, in the median",
            ", ".join(f"{row.measured.value:.1f} (limit {row.published:.1f}) at {row.x:g}" for row in medians),
            not late,
        )
    )
    spread = [row for row in result.rows if row.of == SPREAD]
    result.verdicts.append(
        Verdict(
            f"first to last node that holds it dead: {SPREAD_LIMIT} periods at most, in the mean",
            ", ".join(f"{row.measured.value:.2f} at {row.x:g}" for row in spread),
            all(row.measured.value <= SPREAD_LIMIT for row in spread),
        )
    )
    largest = max(row.x for row in spread)
    rounds = result.find(TOLD, "mean periods", largest).measured.value * PERIOD / ROUND
    scalecube = [ms / known.SCALECUBE_GOSSIP_MS for ms in known.SCALECUBE_DISSEMINATION_MS.values()]
    result.explain(
        "A dead member is suspected when a probe of it has failed, one period after the probe began: the paper counts until the probe. "
        "With each member probed in turn, not at random, the worst is bounded; the mean is nearly the same."
    )
    first_mean, last_median, spread_mean = (
        result.find(of, what, largest).measured.value
        for of, what in ((SUSPECTED, "mean periods"), (KNOWN, "median periods"), (SPREAD, "mean periods"))
    )
    lasting = 4 * max(1.0, log10(largest))
    result.explain(
        f"Known dead by all, N = {largest:g}: {first_mean:.1f} periods until it is suspected, {lasting:.1f} of suspicion and "
        f"{spread_mean:.1f} from the first to the last make up the {last_median:.1f}. The limit leaves 2.5 for the first and the third, "
        "which is enough up to some hundred members."
    )
    rounds_least = ceil(log(largest, 1 + FANOUT))
    result.explain(
        f"Dissemination: gossip goes to three members each fifth of a period, so after r rounds about 4^r know at the most. {largest:g} "
        f"members need {rounds_least} rounds, {rounds_least / 5:.1f} periods, at the best, unless own suspicions end at the same time; "
        f"{SPREAD_LIMIT} was an estimate. Telling more members, or more often, would buy it with messages."
    )
    result.explain(
        f"A suspicion reaches everybody in {rounds:.1f} rounds of gossip of N = {largest:g}; ScaleCube's averages are {min(scalecube):.1f} "
        f"to {max(scalecube):.1f} rounds of its own (mean {fmean(scalecube):.1f}) for an update of the membership, with 1 % loss, to three "
        "members a round as here. What its clock starts with is not said there."
    )


def _draw(result: Result, scale: Scale) -> str:
    size = Axis("members", 2.5, 1200, (3, 10, 32, 100, 316, 1000), "log")
    first = Axis("periods from the crash", 0, 4, (0, 1, 2, 3, 4))
    whole = Axis("periods from the crash", 0, 20, (0, 5, 10, 15, 20))
    spread = Axis("periods from the first to the last node", 0, 2, (0, 0.5, 1, 1.5, 2))
    sizes = [number for number in (3, 5, 10, 20, 32, 50, 100, 200, 316, 600, 1000) if number <= max(scale.sizes)]

    def ours(of: str, what: str, colour: str) -> Line:
        return Line(
            f"{of}, {what.split()[0]}",
            colour,
            [Point(row.x, *row.measured) for row in result.rows if (row.of, row.what) == (of, what)],
        )

    detected = [
        ours(SUSPECTED, "mean periods", BLUE),
        Line(f"SWIM: {known.SWIM_DETECTION_PERIODS:.2f} until it is probed", SLATE,
             [Point(number, known.SWIM_DETECTION_PERIODS) for number in sizes], is_published=True, has_marks=False),
        Line("ScaleCube, measured", GREEN,
             [Point(number, ms / known.SCALECUBE_PING_MS) for number, ms in known.SCALECUBE_DETECTION_MS.items()], is_published=True),
    ]  # fmt: skip
    dead = [
        ours(KNOWN, "median periods", ORANGE),
        Line(
            "limit: 2.5 + 4 max(1, log10 N)",
            RED,
            [Point(number, dead_within(number)) for number in sizes],
            is_published=True,
            has_marks=False,
        ),
    ]
    rounds = [
        ours(SPREAD, "mean periods", ORANGE),
        ours(TOLD, "mean periods", BLUE),
        Line("limit: 0.6", RED, [Point(number, SPREAD_LIMIT) for number in sizes], is_published=True, has_marks=False),
    ]
    panels = [
        Panel("until anybody suspects it", size, first, detected),
        Panel("until all hold it dead", size, whole, dead),
        Panel("dissemination", size, spread, rounds),
    ]
    return draw("A member crashes: detection and dissemination", panels, "Bars: 95 % intervals.")
