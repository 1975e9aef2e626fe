"""Election times of five servers far apart, one or two of them down: AvailSim's figure, by the real cores."""

from __future__ import annotations

from zjp.election.core import MS

from . import published as known
from .chart import BLUE, GREEN, ORANGE, SLATE, Axis, Line, Panel, Point, draw
from .elections import Election, Terms, elect_many, slower
from .intervals import mean, proportion, quantile
from .result import FIRST_SEED, Result, Row, Scale, Verdict, within

LIMIT = 0.20
DISK_MS = 5
AS_IS, BARE, WITH_DISK = "real core", "real core without pre-vote", "real core, disks of 1 to 5 ms"
SHARES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
SURE = (0.5, 0.9, 0.99, 0.999)
NINES = (0.0, 0.9, 0.99, 0.999)
DOWN = {1: "one down", 2: "two down"}


def curve(scale: Scale) -> Result:
    low, high = known.WAN_ONE_WAY_MS
    result = Result(
        "wan",
        "Raft's fail-over over a wide net, beside AvailSim",
        f"five servers, one or two down; each message {low} to {high} ms one way, timeouts {known.WAN_TIMEOUT_MS} to "
        f"{2 * known.WAN_TIMEOUT_MS} ms; the timers of all start at 0; nothing is lost",
        f"{FIRST_SEED} to {FIRST_SEED + scale.elections - 1} for each case",
    )
    times = {}
    for down in DOWN:
        terms = Terms(down, known.WAN_TIMEOUT_MS * MS, low * MS, (high - low) * MS)
        cases = {
            AS_IS: terms,
            BARE: Terms(down, terms.timeout, terms.low, terms.spread, has_pre_vote=False),
            WITH_DISK: slower(terms, DISK_MS),
        }
        for of, case in cases.items():
            elections = elect_many(case, scale.elections, FIRST_SEED)
            times[of, down] = [election.took / MS for election in elections]
            _add(result, of, down, elections)
    result.pictures["election-wan.svg"] = _draw(times, scale.elections)
    _judge(result)
    return result


def _add(result: Result, of: str, down: int, elections: list[Election]) -> None:
    took = [election.took / MS for election in elections]
    count = len(took)
    result.events += sum(election.steps for election in elections)
    result.rows += [
        Row(of, down, "mean ms", mean(took), known.WAN_MEAN_MS[down], count),
        Row(of, down, "p50 ms", quantile(took, 0.5), known.WAN_DRAWN_MS[down][50], count),
        Row(of, down, "p99 ms", quantile(took, 0.99), known.WAN_DRAWN_MS[down][99], count),
        Row(of, down, "p99.9 ms", quantile(took, 0.999), known.WAN_P999_MS[down], count),
        Row(
            of,
            down,
            "split first terms",
            proportion(sum(election.is_split for election in elections), count),
            None,
            count,
        ),
    ]


def _judge(result: Result) -> None:
    for down, text in DOWN.items():
        for what, unit in (("mean ms", "mean"), ("p99.9 ms", "p99.9")):
            row = result.find(AS_IS, what, down)
            assert row.published is not None
            result.verdicts.append(
                Verdict(
                    f"{text}: {unit} within {LIMIT:.0%} of {row.published:.0f} ms",
                    f"{row.measured.value:.0f} ms ({row.measured.low:.0f} to {row.measured.high:.0f}), "
                    f"{row.measured.value / row.published - 1:+.0%}",
                    within(row.measured.value, row.published, LIMIT),
                )
            )
    ours, bare = (result.find(of, "mean ms", 1).measured.value for of in (AS_IS, BARE))
    two_ours, two_bare = (result.find(of, "mean ms", 2).measured.value for of in (AS_IS, BARE))
    result.explain(
        f"Pre-vote: the real core first asks whether it could win, one more round trip of about 70 ms; AvailSim's algorithm has none. With "
        f"that one line taken out of the core the mean falls by {ours - bare:.0f} ms (one down) and {two_ours - two_bare:.0f} ms (two "
        f"down), to {bare:.0f} and {two_bare:.0f} ms; the points on the published curves are at {known.WAN_DRAWN_MEAN_MS[1]} and "
        f"{known.WAN_DRAWN_MEAN_MS[2]} ms, the text rounds them to {known.WAN_MEAN_MS[1]} and {known.WAN_MEAN_MS[2]}."
    )
    result.explain(
        "Disks: AvailSim writes in no time, and so do the first two rows. A core says nothing that rests on its vote before the vote is "
        "durable, so that disks of 1 to 5 ms add two syncs, the candidate's and the voter's."
    )
    result.explain(
        "Both start all timers at once, which a cluster does not: a leader dies between two heartbeats, half an interval earlier on "
        "average. Real fail-over is by so much shorter; `failover` measures it."
    )
    result.explain(
        "The published p99.9 are round numbers of the text; the drawn curves pass 99.9 % at "
        f"{known.WAN_DRAWN_MS[1][99.9]} and {known.WAN_DRAWN_MS[2][99.9]} ms."
    )


def _draw(times: dict[tuple[str, int], list[float]], count: int) -> str:
    ticks = (0, 500, 1000, 1500, 2000, 2500, 3000)
    x = Axis("ms from the fresh timers to a majority of votes", 300, 3200, ticks[1:])
    tail = Axis("share of elections that are over", 0.0, 0.9993, NINES, "nines", lambda share: f"{share * 100:.4g} %")
    panels = []
    for down, text in DOWN.items():
        drawn = known.WAN_DRAWN_MS[down]
        lines = [
            Line(
                "AvailSim, read off its figure",
                SLATE,
                [Point(ms, share / 100) for share, ms in drawn.items()],
                is_published=True,
            )
        ]
        for of, colour in ((BARE, GREEN), (AS_IS, BLUE), (WITH_DISK, ORANGE)):
            took = times[of, down]
            lines.append(
                Line(of, colour, [Point(quantile(took, share).value, share) for share in SHARES], has_marks=False)
            )
            sure = [(share, quantile(took, share)) for share in SURE]
            points = [Point(ms.value, share, ms.low, ms.high) for share, ms in sure]
            lines.append(Line(of + ", 95 %", colour, points, is_joined=False, is_sideways=True))
        panels.append(Panel(f"five servers, {text}", x, tail, lines))
    return draw(
        f"Raft's elections over a wide net, {count:,} of each",
        panels,
        "Bars: 95 % intervals of p50, p90, p99 and p99.9.",
    )
