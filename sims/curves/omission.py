"""Links that are missing while every node still hears a majority or is heard by one: stable with pre-vote, endless elections without.

The profile `omission` of the fuzzer: first two nodes do not hear each other for 15 s, often the leader and another; then two halves hear
each other only through one node, for 19 s. Whoever leads three timeouts after the links went must lead until they are back.
"""

from __future__ import annotations

from dataclasses import dataclass

from sims.election.invariants.raft import RaftWatch
from sims.election.invariants.watch import Violation
from sims.election.node import Node
from sims.election.run import Case, run
from sims.election.trace import Said
from zjp.wire.peers import PeerMessage

from .chart import BLUE, RED, Axis, Line, Panel, Point, draw
from .elections import NO_PRE_VOTE
from .intervals import Estimate, mean, proportion
from .result import FIRST_SEED, Result, Row, Scale, Verdict

NODES = 5
WITH, WITHOUT = "with pre-vote", "without pre-vote"


class Lenient(RaftWatch):
    """Does not ask for pre-votes (R10), and keeps to the rest."""

    def leaves(self, node: Node, to: str, message: PeerMessage) -> None:
        try:
            super().leaves(node, to, message)
        except Violation as fault:
            if fault.invariant != "R10":
                raise


@dataclass(frozen=True, slots=True)
class Seen:
    """`elections`: terms in which somebody was elected. `broke`: the invariant, empty: none."""

    broke: str
    elections: int
    seconds: float
    steps: int


def look(seed: int, planted: str) -> Seen:
    outcome = run(Case("raft", NODES, seed, "omission", planted=planted), watched_by=Lenient)
    elected = [
        line for line in outcome.trace.lines if isinstance(line, Said) and line.text.startswith("leader_elected ")
    ]
    own = {line.text.split()[1] for line in elected if len(line.text.split()) == 2}
    return Seen(outcome.invariant, len(own), outcome.at / 1e9, outcome.steps)


def curve(scale: Scale) -> Result:
    result = Result(
        "omission",
        "Missing links, with pre-vote and without",
        "five Raft nodes, timeout 500 ms; seconds 3 to 18: two nodes do not hear each other; seconds 21 to 40: two halves hear each other "
        "only through one node. Checked: a leader within three timeouts, none lost while the links are missing (RL1), and all of R1 to R9",
        f"{FIRST_SEED} to {FIRST_SEED + scale.omission_seeds - 1}",
    )
    for of, planted in ((WITH, ""), (WITHOUT, NO_PRE_VOTE)):
        seen = [look(FIRST_SEED + number, planted) for number in range(scale.omission_seeds)]
        broke = [one for one in seen if one.broke]
        result.events += sum(one.steps for one in seen)
        held = [one.seconds for one in broke]
        result.rows += [
            Row(
                of,
                NODES,
                "runs that break RL1",
                proportion(sum(one.broke == "RL1" for one in seen), len(seen)),
                None,
                len(seen),
            ),
            Row(
                of,
                NODES,
                "runs that break something else",
                proportion(sum(one.broke not in ("", "RL1") for one in seen), len(seen)),
                None,
                len(seen),
            ),
            Row(
                of,
                NODES,
                "elections won until the run ends",
                mean([float(one.elections) for one in seen]),
                None,
                len(seen),
            ),
        ]
        if held:
            result.rows.append(Row(of, NODES, "seconds until it breaks", mean(held), None, len(held)))
    _judge(result)
    result.pictures["election-omission.svg"] = _draw(result)
    return result


def _judge(result: Result) -> None:
    with_, without = (result.find(of, "runs that break RL1") for of in (WITH, WITHOUT))
    other = result.find(WITH, "runs that break something else")
    result.verdicts += [
        Verdict(
            f"with pre-vote: stable in all {with_.count} runs",
            f"{round(with_.measured.value * with_.count)} of {with_.count} break RL1, {round(other.measured.value * other.count)} another "
            f"invariant; at most {with_.measured.high:.1%} would, at 95 %",
            with_.measured.value == other.measured.value == 0,
        ),
        Verdict(
            "without pre-vote the same runs fail",
            f"{round(without.measured.value * without.count)} of {without.count} break RL1 ({without.measured.low:.0%} to "
            f"{without.measured.high:.0%})",
            without.measured.value > 0,
        ),
    ]
    broken = [row for row in result.rows if (row.of, row.what) == (WITHOUT, "seconds until it breaks")]
    if broken:
        when = broken[0].measured
        result.explain(
            f"Without pre-vote they break at second {when.value:.2f} ({when.low:.2f} to {when.high:.2f}), when the first links come back: "
            "the node that did not hear the leader has campaigned in ever higher terms, from which stickiness kept the others, and its "
            "next words depose the leader. A run ends there, so that what the second topology would do without pre-vote is not seen."
        )


def _draw(result: Result) -> str:
    x = Axis("", 0, 3, (1, 2), show=lambda place: (WITH, WITHOUT)[round(place) - 1])
    y = Axis("runs in which the leader is lost", 0, 1, (0, 0.25, 0.5, 0.75, 1), show=lambda share: f"{share:.0%}")
    lines = []
    for place, (of, colour) in enumerate(((WITH, BLUE), (WITHOUT, RED))):
        row = result.find(of, "runs that break RL1")
        lines.append(Line(of, colour, [Point(1 + place, *_plain(row.measured))], is_joined=False))
    return draw("Missing links: leaders lost", [Panel("five Raft nodes", x, y, lines)], "Bars: 95 % intervals.")


def _plain(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high
