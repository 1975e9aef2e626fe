"""From the death of a leader to the next one in office, by each algorithm with its usual settings, on a local net: no published curve, but
what a user asks. The first timeout of s servers, at 1/(s + 1) of the range, is the published part.
"""

from __future__ import annotations

from sims.election.cluster import Cluster
from sims.election.node import Node
from sims.election.shape import Shape
from zjp.election.core import MS, SECOND, Happened, Kind

from .chart import BLUE, GREEN, ORANGE, Axis, Line, Panel, Point, draw
from .ear import Enough, listening, run_until_enough
from .elections import maker
from .intervals import mean, quantile
from .result import FIRST_SEED, Result, Row, Scale, Verdict

NODES = (3, 5)
KILLS_EACH = 25
"""In one cluster; then another begins."""
GIVEN_UP = 120 * SECOND
CALM = 3 * SECOND
"""After the dead one is back, and up to an interval more."""
SETTINGS = {
    "raft": (500 * MS, 100 * MS, 5 * SECOND),
    "bully": (500 * MS, 100 * MS, 5 * SECOND),
    "gossip": (2 * SECOND, 500 * MS, 2 * SECOND),
}
"""Timeout, interval, how long the store keeps a leader: as ELECTION_TIMEOUT and ELECTION_INTERVAL are when nobody sets them."""
COLOURS = {"raft": BLUE, "bully": ORANGE, "gossip": GREEN}
RAFT_LIMITS = {3: (1.3, 2.0, 3.2), 5: (1.15, 1.75, 2.6)}
"""Nodes -> p50, p99, p99.9 in timeouts."""
HOLD_DOWN = 15 * SECOND
"""Bully, Gossip: one that is back and ranks higher leads after this at most; the next kill waits for it."""


def curve(scale: Scale) -> Result:
    result = Result(
        "failover",
        "Fail-over on a local net, from the death of the leader to the next in office",
        "0.2 to 0.8 ms one way, disks 1 to 5 ms, the store 0.2 to 2 ms away; settings as they are when nobody sets them (Raft and Bully: "
        "timeout 500 ms, interval 100 ms; Gossip: 2 s, 500 ms); the leader crashes at a random moment; its connections are reset within "
        "30 ms, of which the mesh tells, as it does when a process dies",
        f"from {FIRST_SEED} on, one for each {KILLS_EACH} kills",
    )
    times = {}
    for algorithm in SETTINGS:
        for nodes in NODES:
            kills = scale.kills if algorithm == "raft" else max(2, scale.kills // 4)
            took = times[algorithm, nodes] = _kill_many(algorithm, nodes, kills, result)
            for what, share in (("p50 ms", 0.5), ("p99 ms", 0.99), ("longest, ms", 1.0)):
                result.rows.append(Row(algorithm, nodes, what, quantile(took, share), None, len(took)))
            result.rows.append(Row(algorithm, nodes, "mean ms", mean(took), None, len(took)))
    _judge(result)
    result.pictures["election-failover.svg"] = _draw(times, scale.kills)
    return result


def _kill_many(algorithm: str, nodes: int, kills: int, result: Result) -> list[float]:
    took: list[float] = []
    while len(took) < kills:
        took += _kill_some(algorithm, nodes, FIRST_SEED + len(took), min(KILLS_EACH, kills - len(took)), result)
    return took


def _kill_some(algorithm: str, nodes: int, seed: int, kills: int, result: Result) -> list[float]:
    leaders: list[Node] = []

    def hear(node: Node, happened: Happened) -> None:
        if happened.kind is Kind.FENCE_INSTALLED:
            leaders.append(node)
            raise Enough

    timeout, interval, lead_for = SETTINGS[algorithm]
    shape = Shape(algorithm, nodes, timeout=timeout, interval=interval, lead_for=lead_for)
    cluster = listening(shape, seed, maker(algorithm), hear)
    for node in cluster.nodes:
        cluster.start(node)
    draw_, took = cluster.stream("disk").random, []
    for _ in range(kills):
        _rest(cluster, cluster.now + CALM + (HOLD_DOWN if algorithm != "raft" else 0) + int(draw_() * interval))
        dead, at = leaders[-1], cluster.now
        assert dead.is_up, f"{dead} is not up, seed {seed}"
        cluster.crash(dead)
        if not run_until_enough(cluster, at + GIVEN_UP):
            raise AssertionError(f"{algorithm}: nobody leads {GIVEN_UP // SECOND} s after a death, seed {seed}")
        took.append((cluster.now - at) / MS)
        cluster.start(dead)
    result.events += cluster.steps
    return took


def _rest(cluster: Cluster, until: int) -> None:
    """Whoever takes office meanwhile."""
    while run_until_enough(cluster, until):
        pass


def _judge(result: Result) -> None:
    timeout = SETTINGS["raft"][0] / MS
    for nodes, limits in RAFT_LIMITS.items():
        for what, limit in zip(("p50 ms", "p99 ms"), limits, strict=False):
            row = result.find("raft", what, nodes)
            result.verdicts.append(
                Verdict(
                    f"raft, {nodes} nodes: {what.split()[0]} at most {limit} timeouts",
                    f"{row.measured.value / timeout:.2f} ({row.measured.low / timeout:.2f} to {row.measured.high / timeout:.2f})",
                    row.measured.value <= limit * timeout,
                )
            )
    reign = {algorithm: result.find(algorithm, "p50 ms", 5).measured.value for algorithm in SETTINGS}
    result.explain(
        "The first of s timers that start together rings at 1 + 1/(s + 1) timeouts in the mean; a leader dies half an interval after its "
        "last heartbeat on average; votes, disks and the store take some ms."
    )
    result.explain(
        f"In the median of five nodes: Raft {reign['raft']:.0f} ms, Bully {reign['bully']:.0f} ms, Gossip {reign['gossip']:.0f} ms. Bully "
        "waits a timeout and little more, for the highest that lives needs no luck; Gossip waits for the former leadership to run out in "
        "the store, as nobody votes."
    )


def _draw(times: dict[tuple[str, int], list[float]], kills: int) -> str:
    x = Axis("ms from the death of the leader to the next in office", 0, 4000, (0, 1000, 2000, 3000, 4000))
    y = Axis("share of the fail-overs that are over", 0, 1, (0, 0.25, 0.5, 0.75, 1), show=lambda share: f"{share:.0%}")
    shares = (0.001, *(number / 50 for number in range(1, 50)), 0.99, 0.999)
    panels = []
    for nodes in NODES:
        lines = []
        for algorithm, colour in COLOURS.items():
            took = times[algorithm, nodes]
            lines.append(
                Line(
                    algorithm, colour, [Point(quantile(took, share).value, share) for share in shares], has_marks=False
                )
            )
            sure = [(share, quantile(took, share)) for share in (0.5, 0.9)]
            points = [Point(ms.value, share, ms.low, ms.high) for share, ms in sure]
            lines.append(Line(algorithm + ", 95 %", colour, points, is_joined=False, is_sideways=True))
        panels.append(Panel(f"{nodes} nodes", x, y, lines))
    return draw(
        "Fail-over on a local net, usual settings",
        panels,
        f"{kills:,} kills with Raft, a quarter with the others. Bars: 95 % intervals of p50 and p90.",
    )
