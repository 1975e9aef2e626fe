"""The headline as a picture: where the CPU time of one job goes, as an SVG that needs no library to make or show."""

from __future__ import annotations

from html import escape
from typing import Any

PARTS = (("producer", "#8fb8de"), ("node", "#2f6db3"), ("workers", "#f2a541"))
WIDTH, ROW, LEFT = 760, 46, 230


def bars(report: dict[str, Any]) -> str:
    """One stacked bar per whole-path measurement: CPU us per job by process, with jobs/s beside it."""
    rows = [(name, figures) for name, figures in report.items() if isinstance(figures, dict) and "total_us" in figures]
    most = max((figures["total_us"]["median"] for _, figures in rows), default=1.0)
    height = 70 + ROW * len(rows)
    body = [_text(16, 26, "CPU time of one job, microseconds (median)", 15, "bold")]
    body += [_legend(index, name, colour) for index, (name, colour) in enumerate(PARTS)]
    for index, (name, figures) in enumerate(rows):
        body += _row(70 + index * ROW, name, figures, (WIDTH - LEFT - 150) / most)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" role="img">'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>{"".join(body)}</svg>\n'
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
