"""Charts as self-contained SVG: a panel has two axes, curves (measured: filled, with intervals) and published points (hollow, dashed).

A picture is a row of panels under one title; its legend is below. Hold the pointer over a point for its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from math import log10

INK, GREY, GRID = "#1b1f24", "#6b7480", "#e6e9ed"
BLUE, ORANGE, GREEN, RED, SLATE = "#2f6db3", "#d9822b", "#3b8a5a", "#c25450", "#444c56"
PANEL_WIDTH, PANEL_HEIGHT = 440, 300
LEFT, RIGHT, TOP, FOOT = 62, 22, 66, 44
LEGEND_ROW, LEGEND_COLUMN = 20, 290


class Point(tuple[float, float, float, float]):
    """x, y, low, high: the interval of y, or of x where the line is sideways."""

    __slots__ = ()

    def __new__(cls, x: float, y: float, low: float | None = None, high: float | None = None) -> Point:
        return super().__new__(cls, (x, y, y if low is None else low, y if high is None else high))


@dataclass(frozen=True, slots=True)
class Line:
    """`is_published`: drawn hollow and dashed. `is_joined`: with a line through the points. `has_marks`: with the points.
    `is_sideways`: intervals are of x, and it has no place of its own in the legend."""

    name: str
    colour: str
    points: Sequence[Point]
    is_published: bool = False
    is_joined: bool = True
    has_marks: bool = True
    is_sideways: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """`scale`: linear, log, or nines (1 - y on a log scale, upwards)."""

    text: str
    low: float
    high: float
    ticks: Sequence[float]
    scale: str = "linear"
    show: Callable[[float], str] = lambda value: f"{value:,.10g}"

    def place(self, value: float) -> float:
        """0 to 1 within the axis, outside of it beyond."""
        low, high, at = (self._warped(number) for number in (self.low, self.high, value))
        return (at - low) / (high - low)

    def _warped(self, value: float) -> float:
        if self.scale == "log":
            return log10(max(value, 1e-12))
        return -log10(max(1 - value, 1e-12)) if self.scale == "nines" else value


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    x: Axis
    y: Axis
    lines: Sequence[Line] = field(default_factory=tuple)


def draw(title: str, panels: Sequence[Panel], note: str = "") -> str:
    return "\n".join(_picture(title, panels, note)) + "\n"


def _picture(title: str, panels: Sequence[Panel], note: str) -> Iterator[str]:
    width = PANEL_WIDTH * len(panels)
    legend = [
        line for line in {line.name: line for panel in panels for line in panel.lines}.values() if not line.is_sideways
    ]
    columns = max(1, width // LEGEND_COLUMN)
    rows = -(-len(legend) // columns)
    height = TOP + PANEL_HEIGHT + FOOT + rows * LEGEND_ROW + (30 if note else 12)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" '
        f'fill="{INK}" role="img">'
    )
    yield f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    yield _text(16, 26, title, size=15, weight="bold")
    for number, panel in enumerate(panels):
        yield from _panel(panel, number * PANEL_WIDTH)
    for number, line in enumerate(legend):
        yield from _key(
            line,
            20 + number % columns * (width // columns),
            TOP + PANEL_HEIGHT + FOOT + 16 + number // columns * LEGEND_ROW,
        )
    if note:
        yield _text(16, height - 10, note, fill=GREY, size=11)
    yield "</svg>"


def _panel(panel: Panel, left: float) -> Iterator[str]:
    x0, x1, y0, y1 = left + LEFT, left + PANEL_WIDTH - RIGHT, TOP + PANEL_HEIGHT, TOP
    yield _text(x0, TOP - 12, panel.title, size=13)

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = (min(1.0, max(0.0, axis.place(value))) for axis, value in ((panel.x, x), (panel.y, y)))
        return x0 + (x1 - x0) * across, y0 - (y0 - y1) * up

    for tick in panel.x.ticks:
        x = at(tick, panel.y.low)[0]
        yield f'<line x1="{x:.1f}" y1="{y1}" x2="{x:.1f}" y2="{y0}" stroke="{GRID}"/>'
        yield _text(x, y0 + 16, panel.x.show(tick), anchor="middle", fill=GREY)
    for tick in panel.y.ticks:
        y = at(panel.x.low, tick)[1]
        yield f'<line x1="{x0}" y1="{y:.1f}" x2="{x1}" y2="{y:.1f}" stroke="{GRID}"/>'
        yield _text(x0 - 6, y + 4, panel.y.show(tick), anchor="end", fill=GREY)
    yield f'<path d="M{x0},{y1}V{y0}H{x1}" fill="none" stroke="{GREY}"/>'
    yield _text((x0 + x1) / 2, y0 + 34, panel.x.text, anchor="middle")
    middle = (y0 + y1) / 2
    yield f'<g transform="rotate(-90 {left + 14} {middle})">{_text(left + 14, middle, panel.y.text, anchor="middle")}</g>'
    for line in panel.lines:
        yield from _line(line, at)


def _line(line: Line, at: Callable[[float, float], tuple[float, float]]) -> Iterator[str]:
    places = [at(point[0], point[1]) for point in line.points]
    if line.is_joined and len(places) > 1:
        path = "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in places)
        yield f'<path d="{path}" fill="none" stroke="{line.colour}" stroke-width="1.6"{_dashes(line)}/>'
    for point, (x, y) in zip(line.points, places, strict=True):
        if point[3] > point[2]:
            yield f'<path d="{_bar(line, point, at)}" stroke="{line.colour}" fill="none"/>'
        if line.has_marks:
            told = f"{line.name}: {point[0]:.6g}, {point[1]:.4g}" + (
                f" ({point[2]:.4g} to {point[3]:.4g})" if point[3] > point[2] else ""
            )
            yield f"<g><title>{escape(told)}</title>{_mark(line, x, y)}</g>"


def _bar(line: Line, point: Point, at: Callable[[float, float], tuple[float, float]]) -> str:
    if line.is_sideways:
        (low, y), (high, _) = at(point[2], point[1]), at(point[3], point[1])
        return f"M{low:.1f},{y:.1f}H{high:.1f}m0,-4v8M{low:.1f},{y - 4:.1f}v8"
    (x, low), (_, high) = at(point[0], point[2]), at(point[0], point[3])
    return f"M{x:.1f},{low:.1f}V{high:.1f}m-3,0h6M{x - 3:.1f},{low:.1f}h6"


def _key(line: Line, x: float, y: float) -> Iterator[str]:
    if line.is_joined:
        yield f'<path d="M{x},{y - 4}h26" stroke="{line.colour}" stroke-width="1.6"{_dashes(line)}/>'
    if line.has_marks:
        yield _mark(line, x + 13, y - 4)
    yield _text(x + 34, y, line.name)


def _mark(line: Line, x: float, y: float) -> str:
    fill, radius = ("#ffffff", 4.0) if line.is_published else (line.colour, 3.0)
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}" stroke="{line.colour}" stroke-width="1.4"/>'


def _dashes(line: Line) -> str:
    return ' stroke-dasharray="5 4"' if line.is_published else ""


def _text(x: float, y: float, text: str, *, anchor: str = "", fill: str = "", size: int = 0, weight: str = "") -> str:
    named = {"text-anchor": anchor, "fill": fill, "font-size": str(size or ""), "font-weight": weight}
    attributes = "".join(f' {name}="{value}"' for name, value in named.items() if value)
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'
