"""Measurements as pictures, SVG that needs no library to make or show: where the CPU time of one job goes, and who does how much."""

from __future__ import annotations

import math
from html import escape
from typing import Any

PARTS = (("producer", "#8fb8de"), ("redis", "#c25450"), ("node", "#2f6db3"), ("workers", "#f2a541"))
WIDTH, ROW, RUNG, LEFT = 760, 46, 22, 230
OURS, OTHERS = "#2f6db3", "#b9c3cd"


def bars(report: dict[str, Any]) -> str:
    """One stacked bar per whole-path measurement: CPU us per job by process, with jobs/s beside it."""
    rows = [(name, figures) for name, figures in report.items() if isinstance(figures, dict) and "total_us" in figures]
    most = max((figures["total_us"]["median"] for _, figures in rows), default=1.0)
    height = 70 + ROW * len(rows)
    body = [_text(16, 26, "CPU time of one job, microseconds (median)", 15, "bold")]
    body += [_legend(index, name, colour) for index, (name, colour) in enumerate(PARTS)]
    for index, (name, figures) in enumerate(rows):
        body += _row(70 + index * ROW, name, figures, (WIDTH - LEFT - 150) / most)
    return _picture(height, body)


def ladders(panels: list[tuple[str, list[tuple[str, dict[str, float]]]]]) -> str:
    """Panels of (title, rows of (name, figures)): a bar to the median on a logarithmic scale, a line from the least to the most."""
    body: list[str] = []
    top = 12.0
    for title, rows in panels:
        body.append(_text(16, top + 18, title, 15, "bold"))
        top += 32
        for name, figures in rows:
            body += _rung(top, name, figures, _scale(rows))
            top += RUNG
        top += 14
    return _picture(top, body)


def _scale(rows: list[tuple[str, dict[str, float]]]) -> tuple[float, float]:
    """(power of ten at the left edge, pixels per power of ten)"""
    floor = math.floor(math.log10(min(figures["min"] for _, figures in rows)))
    ceiling = math.log10(max(figures["max"] for _, figures in rows))
    return floor, (WIDTH - LEFT - 110) / max(ceiling - floor, 1.0)


def _rung(top: float, name: str, figures: dict[str, float], scale: tuple[float, float]) -> list[str]:
    floor, per_power = scale
    least, median, most = (LEFT + (math.log10(figures[key]) - floor) * per_power for key in ("min", "median", "max"))
    colour = OURS if name.startswith("zjp") else OTHERS
    return [
        _text(16, top + 13, name, 12, "bold" if colour == OURS else "normal"),
        f'<rect x="{LEFT}" y="{top}" width="{median - LEFT:.1f}" height="16" fill="{colour}"/>',
        f'<rect x="{least:.1f}" y="{top + 7}" width="{max(most - least, 1):.1f}" height="2" fill="#1b1f24"/>',
        _text(max(median, most) + 8, top + 13, f"{figures['median']:,.0f}", 12),
    ]


def _picture(height: float, body: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" font-family="sans-serif" role="img">'
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>{"".join(body)}</svg>\n'
    )


def _row(top: float, name: str, figures: dict[str, Any], per_us: float) -> list[str]:
    parts = [_text(16, top + 17, name, 12)]
    left = float(LEFT)
    for part, colour in PARTS:
        width = figures.get(f"{part}_us", {"median": 0.0})["median"] * per_us
        parts.append(f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="24" fill="{colour}"/>')
        left += width
    total, rate = figures["total_us"]["median"], figures["jobs_per_s"]["median"]
    parts.append(_text(left + 8, top + 17, f"{total:.1f} us · {rate:,.0f} jobs/s", 12, "bold"))
    return parts


def _legend(index: int, name: str, colour: str) -> str:
    x = LEFT + index * 110
    return f'<rect x="{x}" y="40" width="12" height="12" fill="{colour}"/>' + _text(x + 18, 51, name, 12)


def _text(x: float, y: float, text: str, size: int, weight: str = "normal") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="#1b1f24">{escape(text)}</text>'
