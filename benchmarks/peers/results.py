"""Rounds into figures, figures into a table. Pure."""

from __future__ import annotations

import statistics
from typing import Any

Figures = dict[str, Any]

COLUMNS = (
    ("one by one /s", "singly_per_s"),
    ("16 callers /s", "callers_per_s"),
    ("bulk /s", "many_per_s"),
    ("drain /s", "drain_per_s"),
    ("both /s", "both_per_s"),
    ("drain us", "drain_total_us"),
    ("both us", "both_total_us"),
    ("p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
)


def spread(rounds: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Per figure the median, the least and the most; a figure some rounds lack is taken from the others."""
    names = dict.fromkeys(name for found in rounds for name in found)
    values = {name: [found[name] for found in rounds if name in found] for name in names}
    return {
        name: {"median": statistics.median(each), "min": min(each), "max": max(each)} for name, each in values.items()
    }


def table(peers: dict[str, Figures], limit_s: float) -> str:
    """Markdown: a line for each peer that ran, its reason for each that did not."""
    titles = ["", *(title for title, _ in COLUMNS), "killed ran again", "not ended"]
    lines = [titles, ["---"] * len(titles)]
    for figures in peers.values():
        if "drain_per_s" in figures:
            cells = [_cell(figures.get(name)) for _, name in COLUMNS]
            lines.append(
                [f"{figures['label']} {figures['version']}", *cells, *_crash(figures.get("crashes", []), limit_s)]
            )
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    skipped = [
        f"\n{figures['label']}: skipped, {figures['skipped']}" for figures in peers.values() if "skipped" in figures
    ]
    return text + "".join(skipped)


def _cell(figure: dict[str, float] | float | None) -> str:
    if figure is None:
        return "-"
    value = figure["median"] if isinstance(figure, dict) else figure
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _crash(crashes: list[Figures], limit_s: float) -> list[str]:
    """When the jobs that the killed process was running had started again, the slowest of all kills; and how many jobs never ended."""
    if not crashes:
        return ["-", "-"]
    seconds = [crash["again_s"] for crash in crashes]
    slowest = f"not within {limit_s:.0f} s" if None in seconds else f"{max(seconds):.2f} s"
    return [slowest, ", ".join(f"{crash['not_ended']} of {crash['jobs']}" for crash in crashes)]


def against(peers: dict[str, Figures], ours: str, name: str) -> dict[str, float]:
    """How many times the other's median ours is, of the same run."""
    mine = peers.get(ours, {}).get(name)
    if mine is None:
        return {}
    return {
        peer: mine["median"] / figures[name]["median"]
        for peer, figures in peers.items()
        if name in figures and not peer.startswith("zjp")
    }
