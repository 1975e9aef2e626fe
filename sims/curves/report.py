"""The results on disk: one JSON file with all curves, into which each run puts its own, and the text made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

JSON_NAME, TEXT_NAME = "election-curves.json", "election-curves.md"
EPILOGUE = "election-curves-more.md"
"""What was measured beside the curves; goes to the end of the text as it stands."""
COUNT_WORDS = {True: "met", False: "**missed**"}


def save(folder: Path, name: str, result: dict[str, Any], pictures: dict[str, str]) -> None:
    """`folder`: that of the documents; reports and pictures have theirs below."""
    reports, drawn = folder / "reports", folder / "pictures"
    for place in (reports, drawn):
        place.mkdir(parents=True, exist_ok=True)
    for file, picture in pictures.items():
        (drawn / file).write_text(picture)
    path = reports / JSON_NAME
    everything = json.loads(path.read_text()) if path.exists() else {}
    everything[name] = result
    path.write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n")


def write_text(folder: Path, order: tuple[str, ...]) -> None:
    reports = folder / "reports"
    everything = json.loads((reports / JSON_NAME).read_text())
    more = reports / EPILOGUE
    lines = [*_text(everything, [name for name in order if name in everything])]
    if more.exists():
        lines += ["", more.read_text().rstrip()]
    (reports / TEXT_NAME).write_text("\n".join(lines) + "\n")


def _text(everything: dict[str, Any], names: list[str]) -> Iterator[str]:
    yield "# The curves of elections, beside the published ones"
    yield ""
    yield "Written by `python -m sims curves`: the real cores in the simulator, in virtual time; numbers, intervals and seeds are in"
    yield f"[{JSON_NAME}]({JSON_NAME}). Intervals hold the true value in 95 of 100 cases. Where a published figure is met only in part, the"
    yield "reason stands below it."
    yield ""
    yield "| what | command | commit | seeds | duration | counts | verdict |"
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        yield _summary(everything[name])
    for name in names:
        yield from _section(everything[name])


def _summary(curve: dict[str, Any]) -> str:
    met = sum(verdict["is_met"] for verdict in curve["verdicts"])
    missed = len(curve["verdicts"]) - met
    verdict = f"{met} met" + (f", **{missed} missed**" if missed else "")
    counts = f"{curve['events']:,} events"
    took = f"{curve['cpu_s']:,.0f} s of a core, {curve['wall_s']:,.0f} s by the clock"
    return f"| {curve['title']} | `{curve['command']}` | {curve['commit']} | {curve['seeds']} | {took} | {counts} | {verdict} |"


def _section(curve: dict[str, Any]) -> Iterator[str]:
    yield from ("", f"## {curve['title']}", "", f"Model: {curve['model']}.", "")
    for picture in curve["pictures"]:
        yield from (f"![{curve['title']}](../pictures/{picture})", "")
    yield "| asked | measured | |"
    yield "|---|---|---|"
    for verdict in curve["verdicts"]:
        yield f"| {verdict['text']} | {verdict['seen']} | {COUNT_WORDS[verdict['is_met']]} |"
    yield ""
    for reason in curve["reasons"]:
        yield f"- {reason}"
    yield from ("", "<details><summary>All numbers</summary>", "")
    yield "| line | at | what | measured | 95 % | published | of |"
    yield "|---|---|---|---|---|---|---|"
    for row in curve["rows"]:
        published = "" if row["published"] is None else _number(row["published"])
        between = f"{_number(row['low'])} to {_number(row['high'])}"
        yield f"| {row['of']} | {row['x']:g} | {row['what']} | {_number(row['value'])} | {between} | {published} | {row['count']:,} |"
    yield from ("", "</details>")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
