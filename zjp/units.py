"""Durations and sizes as people write them: `250ms`, `5m`, `64KiB`.

Lives here because settings, task options, the client and the command line all take them. Internally a duration is always
seconds (float, names end in `_s`) and a size is always bytes (int, names end in `_bytes`); text exists only at the edges.

Everything raises `ValueError` with what is wrong and what is accepted; the caller adds which field it was. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
"""Unit -> seconds, smallest first."""

SIZES = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
"""Unit -> bytes."""

DURATION_ACCEPTED = "a duration such as 250ms, 5s, 2m, 1h, 7d (a bare number is seconds)"
SIZE_ACCEPTED = "a size such as 512B, 64KiB, 1MiB, 2GiB (a bare number is bytes)"

DURATION_MAX_S = 100 * 365 * 86400.0
"""A hundred years: beyond it sums with Unix times lose the milliseconds, and nobody means it."""

_NUMBER_AND_UNIT = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([A-Za-z]*)", re.ASCII)
_SIZES_FOLDED = {unit.lower(): factor for unit, factor in SIZES.items()}


def parse_duration_s(value: str | float) -> float:
    """`"5m"` -> 300.0; numbers are seconds already."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{value!r} is not {DURATION_ACCEPTED}")
    duration_s = _duration_of_text(value) if isinstance(value, str) else value
    if not 0 <= duration_s <= DURATION_MAX_S:  # also false for nan; before float(), which takes no number of any size
        raise ValueError(f"{value!r:.100} is not between 0 and 100 years; accepted: {DURATION_ACCEPTED}")
    return float(duration_s)


def parse_size_bytes(value: str | int) -> int:
    """`"64KiB"` -> 65536; numbers are bytes already. The unit's case does not matter."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{value!r} is not {SIZE_ACCEPTED}")
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"{value} is negative; accepted: {SIZE_ACCEPTED}")
        return value
    number, factor = _split(value, _SIZES_FOLDED, accepted=SIZE_ACCEPTED)
    return round(number * factor)


def show_duration(duration_s: float) -> str:
    """The shortest text for it, to the nanosecond: 90.0 -> `90s`, 3600.0 -> `1h`."""
    if duration_s == 0:
        return "0s"
    for unit, factor in reversed(DURATIONS.items()):
        count = duration_s / factor
        if count.is_integer() and count * factor == duration_s:
            return f"{int(count)}{unit}"
    return f"{duration_s:.9f}".rstrip("0").rstrip(".") + "s"


def show_size(size_bytes: int) -> str:
    """The shortest text that parses back to the same size: 65536 -> `64KiB`."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % SIZES[unit] == 0:
            return f"{size_bytes // SIZES[unit]}{unit}"
    return str(size_bytes)


def _duration_of_text(text: str) -> float:
    number, factor = _split(text, DURATIONS, accepted=DURATION_ACCEPTED)
    return number * factor if factor >= 1 else number / round(1 / factor)  # 250 * 0.001 is not 0.25


def _split(text: str, units: Mapping[str, float], *, accepted: str) -> tuple[float, float]:
    match = _NUMBER_AND_UNIT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not {accepted}")
    unit = match[2].lower()
    if unit and unit not in units:
        raise ValueError(f"{text!r} has an unknown unit; accepted: {accepted}")
    return float(match[1]), units[unit] if unit else 1.0
