"""How sure a measured figure is: intervals that hold the true one in 95 of 100 cases. No tables, no other packages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, lgamma, log, sqrt
from statistics import fmean, stdev
from typing import NamedTuple

Z = 1.959964


class Estimate(NamedTuple):
    value: float
    low: float
    high: float


def mean(values: Sequence[float]) -> Estimate:
    """Normal approximation: for hundreds of values and more."""
    middle = fmean(values)
    half = Z * stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0
    return Estimate(middle, middle - half, middle + half)


def quantile(values: Sequence[float], share: float) -> Estimate:
    """By order statistics: no shape is assumed. Where there are too few values the bound is the extreme one."""
    ordered, count = sorted(values), len(values)
    half = Z * sqrt(count * share * (1 - share))
    places = (share * count, share * count - half, share * count + half)
    return Estimate(*(ordered[min(count - 1, max(0, int(place)))] for place in places))


def proportion(hits: int, count: int) -> Estimate:
    """Wilson's interval: right at 0 hits too."""
    share, z2 = hits / count, Z * Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z / (1 + z2 / count) * sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return Estimate(share, max(0.0, middle - half), middle + half)


def rate(events: int, exposure: float) -> Estimate:
    """Events of a Poisson process per unit of exposure, exact (Garwood)."""
    low = _solve(lambda x: 1 - _at_most(events - 1, x), 0.025, events) if events else 0.0
    high = _solve(lambda x: 1 - _at_most(events, x), 0.975, events + 1)
    return Estimate(events / exposure, low / exposure, high / exposure)


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the line of least squares through (x, y)."""
    x0, y0 = fmean(x for x, _ in points), fmean(y for _, y in points)
    return sum((x - x0) * (y - y0) for x, y in points) / sum((x - x0) ** 2 for x, _ in points)


def _at_most(count: int, mean: float) -> float:
    """P(Poisson(mean) <= count)."""
    return sum(exp(k * log(mean) - mean - lgamma(k + 1)) for k in range(count + 1)) if mean > 0 else 1.0


def _solve(rising: Callable[[float], float], level: float, near: float) -> float:
    """Where `rising` reaches `level`, by halving."""
    low, high = 0.0, 4.0 * near + 20
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < level else (low, middle)
    return (low + high) / 2
