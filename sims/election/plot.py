"""A run as a picture: one self-contained SVG. From top to bottom:

    leaderless   red where nobody is in office
    a lane per node   coloured by role, the epoch where it leads; white: down; hatched: paused; marks for crash, wipe and other faults of it
    cuts and weather  a bar per fault that is not of one node: splits, one-way cuts, loss, the store away
    tokens       the installed epoch as a step line; ticks: duties taken; crosses: installs and duties refused

A dashed line says where the faults stop. When an invariant broke, a black line says where.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from zjp.election.core import SECOND, Role

from .faults import Fault
from .run import Outcome
from .trace import Broken, Mark, State, Trace

WIDTH, LEFT, RIGHT = 1200, 90, 20
LANE, GAP = 34, 8
BAR = 13
TOKENS = 70
COLOURS = {Role.LEADER: "#2a6fb0", Role.CANDIDATE: "#e8a33d", Role.FOLLOWER: "#d5dde5", Role.LEARNER: "#b9a3d0"}
RED, INK, GREY = "#c8372d", "#222", "#777"
OF_ONE_NODE = (
    "crash",
    "stray",
    "moot",
    "wipe",
    "pause",
    "leave",
    "slow-disk",
    "slow-node",
    "clock-rate",
    "clock-step",
    "transfer",
)
SIGNS = {
    "crash": "✕",
    "stray": "?",
    "moot": "·",
    "wipe": "∅",
    "pause": "‖",
    "leave": "↓",
    "slow-disk": "◍",
    "slow-node": "…",
    "clock-rate": "◷",
    "clock-step": "»",
    "transfer": "⇄",
}
MEANING = (
    ("✕", "crash"),
    ("?", "stray word"),
    ("·", "moot event"),
    ("∅", "folder emptied"),
    ("‖", "pause"),
    ("↓", "stop"),
    ("◍", "slow disk"),
    ("…", "slow net"),
    ("◷", "clock rate"),
    ("»", "clock jump"),
    ("⇄", "hand over"),
)


class Span:
    """From `since` to `until` of one node: a piece of its lane."""

    __slots__ = ("since", "state", "until")

    def __init__(self, since: int, until: int, state: State) -> None:
        self.since, self.until, self.state = since, until, state


def draw_svg(outcome: Outcome) -> str:
    return "\n".join(_Picture(outcome).parts()) + "\n"


class _Picture:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome, self.trace = outcome, outcome.trace
        self.end = max(outcome.at, 1)
        self.names = self.trace.names
        self.lanes = _lanes(self.trace, self.end)
        self.bars = [
            (line.fault, line)
            for line in self.trace.lines
            if isinstance(line, Broken) and line.begins and line.fault.kind not in OF_ONE_NODE
        ]
        self.rows = _rows([fault for fault, _ in self.bars])
        self.top_of_lanes = 84
        self.top_of_bars = self.top_of_lanes + len(self.names) * (LANE + GAP) + 14
        self.top_of_tokens = self.top_of_bars + (max(self.rows, default=-1) + 1) * (BAR + 3) + 16
        self.bottom = self.top_of_tokens + TOKENS
        self.height = self.bottom + 84

    def x(self, at: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(at, self.end) / self.end

    def parts(self) -> Iterator[str]:
        box = f'viewBox="0 0 {WIDTH} {self.height}"'
        yield f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="11" fill="{INK}">'
        yield _PATTERNS
        yield f'<rect width="{WIDTH}" height="{self.height}" fill="#fff"/>'
        yield from self._title()
        yield from self._axis()
        yield from self._leaderless()
        for node in range(len(self.names)):
            yield from self._lane(node)
        yield from self._node_faults()
        yield from self._bars()
        yield from self._tokens()
        yield from self._moments()
        yield from self._legend()
        yield "</svg>"

    def _title(self) -> Iterator[str]:
        case = self.outcome.case
        planted = f", planted bug {case.planted}" if case.planted else ""
        yield _text(
            LEFT,
            20,
            f"{case.algorithm}, {case.nodes} nodes, seed {case.seed}, profile {case.profile}{planted}",
            size=15,
            weight="bold",
        )
        verdict = (
            f"{self.outcome.invariant} at {self.outcome.at / SECOND:.3f} s: {self.outcome.text}"
            if self.outcome.invariant
            else "all invariants held"
        )
        yield _text(LEFT, 38, verdict[:190], fill=RED if self.outcome.invariant else GREY)

    def _axis(self) -> Iterator[str]:
        step = next(step for step in (1, 2, 5, 10, 20, 60, 600) if self.end / SECOND / step <= 16)
        for second in range(0, self.end // SECOND + 1, step):
            x = self.x(second * SECOND)
            yield f'<line x1="{x:.1f}" y1="50" x2="{x:.1f}" y2="{self.bottom}" stroke="#eee"/>'
            yield _text(x, self.bottom + 14, f"{second} s", anchor="middle", fill=GREY)

    def _leaderless(self) -> Iterator[str]:
        yield _text(LEFT - 8, 67, "no leader", anchor="end")
        yield f'<rect x="{LEFT}" y="58" width="{WIDTH - LEFT - RIGHT}" height="10" fill="#eef2f5"/>'
        for since, until in _leaderless(self.lanes, self.end):
            yield _rect(self.x(since), 58, self.x(until) - self.x(since), 10, RED)

    def _lane(self, node: int) -> Iterator[str]:
        top = self._top(node)
        yield _text(LEFT - 8, top + LANE / 2 + 4, self.names[node], anchor="end", size=13)
        yield f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" height="{LANE}" fill="#fff" stroke="#ddd"/>'
        for span in self.lanes[node]:
            yield from self._span(span, top)

    def _span(self, span: Span, top: int) -> Iterator[str]:
        state = span.state
        if state.role is None:
            return
        left, width = self.x(span.since), self.x(span.until) - self.x(span.since)
        what = f"{state.text()} from {span.since / SECOND:.3f} to {span.until / SECOND:.3f} s"
        yield _rect(left, top, max(width, 0.6), LANE, COLOURS[state.role], what)
        if state.role is Role.LEADER and not state.is_in_office:
            yield _rect(left, top, max(width, 0.6), 7, "#9cc3e6")
        if state.is_paused:
            yield _rect(left, top, width, LANE, "url(#paused)")
        if width > 9 * len(str(state.epoch)) and state.role is Role.LEADER:
            yield _text(left + width / 2, top + LANE / 2 + 5, str(state.epoch), anchor="middle", fill="#fff", size=13)

    def _node_faults(self) -> Iterator[str]:
        for line in self.trace.lines:
            if isinstance(line, Broken) and line.begins and line.fault.kind in OF_ONE_NODE:
                for node in line.nodes:
                    yield self._sign(line, node)

    def _sign(self, line: Broken, node: int) -> str:
        sign = _text(self.x(line.at), self._top(node) + 5, SIGNS[line.fault.kind], anchor="middle", size=13, fill=RED)
        return f"<g><title>{escape(line.fault.text(self.names))}</title>{sign}</g>"

    def _bars(self) -> Iterator[str]:
        if self.bars:
            yield _text(LEFT - 8, self.top_of_bars + 10, "cuts, net", anchor="end")
        for (fault, line), row in zip(self.bars, self.rows, strict=True):
            left, top = self.x(fault.at), self.top_of_bars + row * (BAR + 3)
            until = min(fault.until, self.trace.healed_at or fault.until)
            width = max(self.x(until) - left, 1)
            fill = "url(#oneway)" if fault.kind == "one-way" else "#dadada"
            yield _rect(left, top, width, BAR, fill, fault.text(self.names))
            words = [
                fault.kind,
                fault.word if fault.kind == "one-way" else "",
                *(self.names[node] for node in line.nodes),
            ]
            label = " ".join(filter(None, words))
            if width > 5.5 * len(label) + 6:
                if fault.kind == "one-way":
                    yield _rect(left + 2, top + 1, 5.2 * len(label) + 4, BAR - 2, "#fff")
                yield _text(left + 4, top + 10, label, size=10)

    def _tokens(self) -> Iterator[str]:
        marks = [line for line in self.trace.lines if isinstance(line, Mark)]
        top_epoch = max((mark.epoch for mark in marks), default=1) or 1
        yield _text(LEFT - 8, self.top_of_tokens + 12, "token", anchor="end")
        yield _text(LEFT - 8, self.top_of_tokens + 26, f"up to {top_epoch}", anchor="end", fill=GREY, size=10)
        yield f'<rect x="{LEFT}" y="{self.top_of_tokens}" width="{WIDTH - LEFT - RIGHT}" height="{TOKENS}" fill="none" stroke="#ddd"/>'

        def y(epoch: int) -> float:
            return self.bottom - 6 - (TOKENS - 14) * min(epoch, top_epoch) / top_epoch

        path, last = f"M{LEFT:.1f},{y(0):.1f}", 0
        for mark in marks:
            if mark.kind == "installed":
                path += f"L{self.x(mark.at):.1f},{y(last):.1f}L{self.x(mark.at):.1f},{y(mark.epoch):.1f}"
                last = mark.epoch
        yield f'<path d="{path}L{self.x(self.end):.1f},{y(last):.1f}" fill="none" stroke="{COLOURS[Role.LEADER]}" stroke-width="1.6"/>'
        yield from (self._token_mark(mark, y(mark.epoch)) for mark in marks if mark.kind != "installed")

    def _token_mark(self, mark: Mark, y: float) -> str:
        x = self.x(mark.at)
        if mark.kind == "duty":
            ends = f'y1="{self.bottom - 5}" x2="{x:.1f}" y2="{self.bottom}"'
            return f'<line x1="{x:.1f}" {ends} stroke="{COLOURS[Role.LEADER]}" stroke-width="0.7"/>'
        what = f"{self.names[mark.node]}: {'install' if mark.kind == 'refused' else 'duty'} with token {mark.epoch} refused"
        cross = f'<path d="M{x - 3:.1f},{y - 3:.1f}l6,6m0,-6l-6,6" stroke="{RED}" stroke-width="1.4"/>'
        return f"<g><title>{what}</title>{cross}</g>"

    def _moments(self) -> Iterator[str]:
        if self.trace.healed_at:
            x = self.x(self.trace.healed_at)
            yield f'<line x1="{x:.1f}" y1="46" x2="{x:.1f}" y2="{self.bottom}" stroke="{GREY}" stroke-dasharray="5 4"/>'
            yield _text(x + 4, 53, "healed", fill=GREY)
        if self.outcome.invariant:
            x = self.x(self.outcome.at)
            yield f'<line x1="{x:.1f}" y1="46" x2="{x:.1f}" y2="{self.bottom}" stroke="#000" stroke-width="2"/>'
            yield _text(x - 4, 53, self.outcome.invariant, anchor="end", weight="bold")

    def _legend(self) -> Iterator[str]:
        y, x = self.bottom + 38, float(LEFT)
        for role in Role:
            yield _rect(x, y - 10, 14, 12, COLOURS[role])
            yield _text(x + 18, y, role.value)
            x += 24 + 7 * len(role.value) + 10
        for fill, text in (
            ("#9cc3e6", "leads, not in office yet"),
            ("url(#paused)", "paused"),
            (RED, "nobody in office"),
            ("#dadada", "cut, loss"),
            ("url(#oneway)", "one-way cut"),
        ):
            yield _rect(x, y - 10, 14, 12, COLOURS[Role.FOLLOWER])
            yield _rect(x, y - 10, 14, 12, fill)
            yield _text(x + 18, y, text)
            x += 24 + 6 * len(text) + 10
        x = float(LEFT)
        for sign, text in MEANING:
            yield _text(x, y + 22, sign, fill=RED, size=13)
            yield _text(x + 16, y + 22, text)
            x += 22 + 6.2 * len(text) + 10
        yield _text(x, y + 22, "× refused token   | duty done (bottom of the token strip)", fill=GREY)

    def _top(self, node: int) -> int:
        return self.top_of_lanes + node * (LANE + GAP)


def _lanes(trace: Trace, end: int) -> list[list[Span]]:
    lanes: list[list[Span]] = [[] for _ in trace.names]
    for line in trace.lines:
        if isinstance(line, State):
            lane = lanes[line.node]
            if lane:
                lane[-1].until = line.at
            lane.append(Span(line.at, end, line))
    return [[span for span in lane if span.until > span.since] for lane in lanes]


def _leaderless(lanes: list[list[Span]], end: int) -> list[tuple[int, int]]:
    """Where no lane has a span in office."""
    offices = sorted(
        (span.since, span.until)
        for lane in lanes
        for span in lane
        if span.state.is_in_office and not span.state.is_paused
    )
    gaps, at = [], 0
    for since, until in offices:
        if since > at:
            gaps.append((at, since))
        at = max(at, until)
    return [*gaps, (at, end)] if at < end else gaps


def _rows(faults: list[Fault]) -> list[int]:
    """The lowest row that is free for each bar, in order of time."""
    ends: list[int] = []
    rows = []
    for fault in faults:
        row = next((row for row, end in enumerate(ends) if end < fault.at), len(ends))
        if row == len(ends):
            ends.append(0)
        ends[row] = fault.until
        rows.append(row)
    return rows


def _rect(x: float, y: float, width: float, height: float, fill: str, title: str = "") -> str:
    shape = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"'
    return f"{shape}><title>{escape(title)}</title></rect>" if title else shape + "/>"


def _text(x: float, y: float, text: str, *, anchor: str = "", fill: str = "", size: int = 0, weight: str = "") -> str:
    named = {"text-anchor": anchor, "fill": fill, "font-size": str(size or ""), "font-weight": weight}
    attributes = "".join(f' {name}="{value}"' for name, value in named.items() if value)
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'


_PATTERNS = (
    '<defs><pattern id="paused" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="3" height="6" fill="#fff" fill-opacity="0.75"/></pattern>'
    '<pattern id="oneway" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" fill="#eee"/><rect width="2.4" height="6" fill="#999"/></pattern></defs>'
)
