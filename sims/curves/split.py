"""How often the first term elects nobody, against the latency as a share of the timeout range: the formula for a fixed latency."""

from __future__ import annotations

from zjp.election.core import MS

from . import published as known
from .chart import BLUE, ORANGE, Axis, Line, Panel, Point, draw
from .elections import SERVERS, Terms, elect_many
from .intervals import proportion
from .result import FIRST_SEED, Result, Row, Scale, Verdict

TIMEOUT = 500 * MS
LATENCIES = (0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
POINT = 0.01
SEEDS_EACH = 100_000
"""Further apart than a point has elections: no two points share a seed."""
DOWN = {1: "one down", 2: "two down"}
CASES = {"": True, " without pre-vote": False}


def curve(scale: Scale) -> Result:
    result = Result(
        "split",
        "Split votes against latency, beside the formula",
        f"five servers; every message takes the same time; timeouts {TIMEOUT // MS} to {2 * TIMEOUT // MS} ms from 0; disks that write in "
        "no time. Split: the first term in which anybody asked for votes had no winner",
        f"from {FIRST_SEED} on, others for each point; the same ones with and without pre-vote",
    )
    for suffix, has_pre_vote in CASES.items():
        for down, text in DOWN.items():
            for place, latency in enumerate(LATENCIES):
                count = (
                    scale.split_elections
                    if latency in known.SPLIT_TEXT and has_pre_vote
                    else scale.split_elections_other
                )
                terms = Terms(down, TIMEOUT, int(latency * TIMEOUT), 0, has_pre_vote=has_pre_vote)
                elections = elect_many(terms, count, FIRST_SEED + place * SEEDS_EACH + down * SEEDS_EACH // 2)
                result.events += sum(election.steps for election in elections)
                share = proportion(sum(election.is_split for election in elections), count)
                formula = known.split_rate(SERVERS, SERVERS - down, latency)
                result.rows.append(Row(text + suffix, latency, "split first terms", share, formula, count))
    _judge(result)
    result.pictures["election-split.svg"] = _draw(result)
    return result


def _judge(result: Result) -> None:
    for latency, rate in known.SPLIT_TEXT.items():
        row = result.find(DOWN[1], "split first terms", latency)
        result.verdicts.append(
            Verdict(
                f"one down, latency {latency:g} of the range: within one point of {rate:.2%}",
                f"{row.measured.value:.2%} ({row.measured.low:.2%} to {row.measured.high:.2%})",
                abs(row.measured.value - rate) <= POINT,
            )
        )
    for text in DOWN.values():
        rows = [row for row in result.rows if row.of == text and row.published is not None]
        worst = max(rows, key=lambda row: abs(row.measured.value - (row.published or 0)))
        misses = sum(not row.measured.low <= (row.published or 0) <= row.measured.high for row in rows)
        result.verdicts.append(
            Verdict(
                f"{text}, all {len(rows)} points: the formula is inside the 95 % interval, but for one of twenty",
                f"{misses} of {len(rows)} outside; the furthest is {worst.measured.value:.2%} where the formula has {worst.published:.2%}",
                misses <= 1,
            )
        )
    result.reasons.append(
        "Pre-vote does not change the rate: who times out within one latency of the first has not yet heard its request for votes, with a "
        "pre-vote before it or without, and then asks in the same term."
    )


def _draw(result: Result) -> str:
    share = Axis("latency, as a share of the timeout range", 0, 0.32, (0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3))
    rate = Axis("first terms without a winner", 0, 0.8, (0, 0.2, 0.4, 0.6, 0.8), show=lambda value: f"{value:.0%}")
    lines = []
    for (down, text), colour in zip(DOWN.items(), (BLUE, ORANGE), strict=True):
        dense = [number / 200 for number in range(1, 64)]
        lines.append(
            Line(
                f"formula, {text}",
                colour,
                [Point(latency, known.split_rate(SERVERS, SERVERS - down, latency)) for latency in dense],
                is_published=True,
                has_marks=False,
            )
        )
        for suffix in CASES:
            rows = [row for row in result.rows if row.of == text + suffix]
            points = [Point(row.x + (0.003 if suffix else 0), *row.measured) for row in rows]
            lines.append(Line(f"real core{suffix}, {text}", colour, points, is_joined=False, is_published=bool(suffix)))
    left = [line for line in lines if "without" not in line.name]
    right = [line for line in lines if "without" in line.name or line.name.startswith("formula")]
    panels = [Panel("the real core", share, rate, left), Panel("the same without pre-vote", share, rate, right)]
    return draw(
        "Split votes of five servers, with a fixed latency",
        panels,
        "Bars: 95 % intervals. Dashed: the published formula.",
    )
