"""What a member sends at rest, against the number of members: messages and bytes a period. Flat, or gossip would not scale."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log10

from sims.election.cluster import Cluster
from sims.election.network import Quality
from sims.election.node import Node
from zjp.election.core import Happened
from zjp.wire.codec import encode_peer
from zjp.wire.greeting import PeerEnvelope
from zjp.wire.messages import PROTOCOL_VERSION
from zjp.wire.peers import PeerMessage

from . import published as known
from .chart import BLUE, GREEN, ORANGE, RED, SLATE, Axis, Line, Panel, Point, draw
from .crowd import NEAR, PERIOD, Setting, settle
from .ear import Ear
from .intervals import Estimate, mean, slope
from .result import FIRST_SEED, Result, Row, Scale, Verdict

CLUSTER_NAME = "production"
FRAME_BYTES = 35
"""What CURVE and ZMTP add to a short frame: header 2, command name 8, nonce 8, flags 1, authenticator 16."""
SYNC_PERIODS, SYNC_MEMBERS = 30, 32
FIRST_SYNCS = 2 * SYNC_PERIODS
"""All have compared their tables once by then; the next time comes a whole span later."""
ROUND_PERIODS = SYNC_PERIODS + 1
"""In which all that started within one period compare their tables for the first time, and again a span later."""
BURST = "tables, in the periods of a round"
QUIET_FROM = 27
"""By then a thousand have passed on who came and who leads; the first tables come later."""
WHOLE_SPANS = 100
"""Members up to which whole spans are run."""
STORM_PERIODS = 20
MESSAGES, BYTES = "messages", "bytes"
SLOPE_LIMIT = 0.05
MESSAGES_LIMIT, BYTES_LIMIT = 0.1, 400
STORM_MESSAGES, STORM_BYTES = 20, 1400


@dataclass(slots=True)
class Meter:
    """Counts what leaves: tables, and all else. By member: messages and bytes. `largest`: body of one that is no table."""

    count: int
    largest: int = 0
    rest: list[list[int]] = field(default_factory=list)
    tables: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rest = [[0, 0] for _ in range(self.count)]
        self.tables = [[0, 0] for _ in range(self.count)]

    def sends(self, node: Node, to: str, message: PeerMessage) -> None:
        envelope = PeerEnvelope(PROTOCOL_VERSION, CLUSTER_NAME, node.name, node.boot, 100_000, to)
        frames = encode_peer(envelope, message)
        counts = (self.tables if hasattr(message, "table") else self.rest)[node.index]
        counts[0] += 1
        counts[1] += sum(len(frame) + FRAME_BYTES for frame in frames)
        if counts is self.rest[node.index]:
            self.largest = max(self.largest, len(frames[-1]))

    def per_period(self, place: int, periods: int, tables_every: int) -> list[float]:
        """Of each member. `place`: 0 messages, 1 bytes. `tables_every`: the tables that were counted are those of so many periods."""
        return [
            rest[place] / periods + tables[place] / tables_every
            for rest, tables in zip(self.rest, self.tables, strict=True)
        ]


def curve(scale: Scale) -> Result:
    result = Result(
        "load",
        "Load at rest against the number of members",
        f"gossip as in the curve before; nothing fails. Bytes: frames of the real codec and {FRAME_BYTES} for CURVE and ZMTP on each, "
        f"without TCP's headers. Averages over whole spans between two comparisons of tables ({SYNC_PERIODS} periods, above "
        f"{SYNC_MEMBERS} members longer in proportion): up to {WHOLE_SPANS} members run for {scale.load_periods} periods or more, above "
        f"counted for {FIRST_SYNCS + 1 - QUIET_FROM} periods with one round of tables, and the tables spread over the span",
        str(FIRST_SEED),
    )
    for count in scale.sizes:
        _measure(result, count, scale)
    _storm(result, 100 if len(scale.sizes) > 2 else 10)
    _judge(result)
    result.pictures["election-load.svg"] = _draw(result)
    return result


def _quiet(node: Node, happened: Happened) -> None: ...


def _span(count: int) -> int:
    return SYNC_PERIODS * max(SYNC_MEMBERS, count) // SYNC_MEMBERS


def _measure(result: Result, count: int, scale: Scale) -> None:
    """All compare their tables in periods 30 to 61 for the first time, then a span later, and so on: of a large crowd it is enough to count
    one round of tables and the rest of those periods."""
    span = _span(count)
    cluster = settle(Setting(count, FIRST_SEED), _quiet)
    if count > WHOLE_SPANS:
        cluster.run(QUIET_FROM * PERIOD)
        until = FIRST_SYNCS + 1
        periods, tables_every = until - QUIET_FROM, span
    else:
        cluster.run((FIRST_SYNCS + 1) * PERIOD)
        periods = tables_every = span * max(1, -(-scale.load_periods // span))
        until = FIRST_SYNCS + 1 + periods
    meter = _listen(cluster, count)
    cluster.run(until * PERIOD)
    result.events += cluster.steps
    messages, octets = (mean(meter.per_period(place, periods, tables_every)) for place in (0, 1))
    tables = mean([each[0] / tables_every for each in meter.tables])
    result.rows += [
        Row(MESSAGES, count, "a member and period", messages, known.SWIM_MESSAGES, count),
        Row(BYTES, count, "a member and period", octets, None, count),
        Row("tables", count, "a member and period", tables, None, count),
    ]
    if count > WHOLE_SPANS:
        burst = mean([each[1] / ROUND_PERIODS for each in meter.tables])
        result.rows.append(Row(BURST, count, "bytes a member and period", burst, None, count))


def _listen(cluster: Cluster, count: int) -> Meter:
    meter, ear = Meter(count), cluster.watch
    assert isinstance(ear, Ear)
    ear.on_send = meter.sends
    return meter


def _storm(result: Result, count: int) -> None:
    """A quarter of the messages is lost for twenty periods: everybody suspects somebody."""
    cluster = settle(Setting(count, FIRST_SEED, Quality(NEAR.low, NEAR.spread, 0.25)), _quiet)
    meter = _listen(cluster, count)
    cluster.run(cluster.now + STORM_PERIODS * PERIOD)
    result.events += cluster.steps
    messages = mean([each[0] / STORM_PERIODS for each in meter.rest])
    result.rows += [
        Row("storm: messages", count, "a member and period", messages, None, count),
        Row("storm: largest body", count, "bytes", Estimate(meter.largest, meter.largest, meter.largest), None, count),
    ]


def _judge(result: Result) -> None:
    for of, unit in ((MESSAGES, "messages"), (BYTES, "bytes")):
        rows = [row for row in result.rows if row.of == of]
        rise = _rise(result, of)
        text = (
            f"{unit} of a member and period: slope over N = {rows[0].x:g} to {rows[-1].x:g} at most {SLOPE_LIMIT:.0%}"
        )
        seen = ", ".join(f"{row.measured.value:.4g} at {row.x:g}" for row in rows)
        result.verdicts.append(Verdict(text, f"{rise:+.1%}: {seen}", abs(rise) <= SLOPE_LIMIT))
    messages = [row.measured.value for row in result.rows if row.of == MESSAGES]
    result.verdicts.append(
        Verdict(
            f"{known.SWIM_MESSAGES} +- {MESSAGES_LIMIT} messages",
            f"{min(messages):.3f} to {max(messages):.3f}",
            all(abs(number - known.SWIM_MESSAGES) <= MESSAGES_LIMIT for number in messages),
        )
    )
    most = max(row.measured.value for row in result.rows if row.of == BYTES)
    result.verdicts.append(Verdict(f"at most {BYTES_LIMIT} bytes", f"{most:.0f} at most", most <= BYTES_LIMIT))
    storm = next(row for row in result.rows if row.of == "storm: messages")
    largest = next(row for row in result.rows if row.of == "storm: largest body")
    result.verdicts.append(
        Verdict(
            f"a quarter of the messages lost: {STORM_MESSAGES} messages at most, none above {STORM_BYTES} bytes",
            f"{storm.measured.value:.1f} of N = {storm.x:g}; {largest.measured.value:.0f} bytes, envelope and frames' overhead not counted",
            storm.measured.value <= STORM_MESSAGES and largest.measured.value <= STORM_BYTES,
        )
    )
    result.explain(
        "SWIM's own two messages are one ping sent and one answered. The rest are the tables that two members compare, which SWIM has not: "
        f"two in {SYNC_PERIODS} periods up to {SYNC_MEMBERS} members, more seldom above, so that messages fall towards 2.0 as N grows."
    )
    result.explain(
        "Bytes are not flat at the small end: a table of three rows costs little, one of 32 and more about the same in each period, for it "
        "grows with N as it becomes rarer. Names grow by a letter per power of ten, too."
    )
    bursts = [row for row in result.rows if row.of == BURST]
    if bursts:
        result.explain(
            "The rounds of tables stay together where all started together: the first comes 30 to 60 periods after the start, whatever the "
            "number of members, the next a span later. In those periods the tables alone are "
            + ", ".join(f"{row.measured.value:,.0f} bytes of a member and period at {row.x:g}" for row in bursts)
            + "; the averages above spread them."
        )
    result.explain(
        "ScaleCube's figures are not at rest but of its dissemination test, a round each 300 ms; they fall from 821 to 582 bytes a "
        "second. Ours are by a period of 0.5 s and drawn doubled."
    )


def _rise(result: Result, of: str) -> float:
    """Of the fitted line from the smallest to the largest, as a share of what it is at the smallest."""
    rows = [row for row in result.rows if row.of == of]
    points = [(log10(row.x), row.measured.value) for row in rows]
    per_decade = slope(points)
    middle = sum(y for _, y in points) / len(points)
    at_first = middle - per_decade * (sum(x for x, _ in points) / len(points) - points[0][0])
    return per_decade * (points[-1][0] - points[0][0]) / at_first


def _draw(result: Result) -> str:
    size = Axis("members", 2.5, 1200, (3, 10, 32, 100, 316, 1000), "log")
    messages = Axis("messages of a member and period", 0, 3, (0, 0.5, 1, 1.5, 2, 2.5, 3))
    octets = Axis("bytes of a member and second", 0, 1200, (0, 200, 400, 600, 800, 1000, 1200))
    per_second = 1e9 / PERIOD
    counted = [row for row in result.rows if row.of == MESSAGES]
    weighed = [row for row in result.rows if row.of == BYTES]
    ends = (counted[0].x, counted[-1].x)
    left = [
        Line("messages", BLUE, [Point(row.x, *row.measured) for row in counted]),
        Line(
            "SWIM: one ping, one answer",
            SLATE,
            [Point(x, known.SWIM_MESSAGES) for x in ends],
            is_published=True,
            has_marks=False,
        ),
    ]
    right = [
        Line(
            "bytes, with CURVE",
            ORANGE,
            [Point(row.x, *(number * per_second for number in row.measured)) for row in weighed],
        ),
        Line(
            "limit: 400 a period",
            RED,
            [Point(x, BYTES_LIMIT * per_second) for x in ends],
            is_published=True,
            has_marks=False,
        ),
        Line(
            "ScaleCube, measured", GREEN, [Point(x, y) for x, y in known.SCALECUBE_BYTES_S.items()], is_published=True
        ),
    ]
    panels = [Panel("messages", size, messages, left), Panel("bytes", size, octets, right)]
    return draw("Load at rest, against the number of members", panels, "Bars: 95 % intervals over the members.")
