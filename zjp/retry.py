"""How long a failed job waits before it runs again.

Pure: the random draw is passed in, so the same arguments give the same delay, in the node, in tests and in simulations.

    fixed         every delay is `base_s`
    exponential   base_s * multiplier ** retry_count, at most max_s

The jitter spreads a delay evenly over +-`jitter_factor` of itself, so that jobs that failed together (a peer went down) do not
come back together. The cap holds after the jitter as well: `max_s` is what operators read as "never longer than". So delays are
cut at max_s / (1 + jitter_factor) before the jitter; were they cut after it, half of all capped jobs would meet at exactly `max_s`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .errors import InvalidJob

DELAY_MAX_S = 366 * 86400.0
"""No policy may ask for more than a year."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The shape of the delays. Whether a retry is left is decided by `max_retries`, not here."""

    kind: Literal["fixed", "exponential"] = "exponential"
    base_s: float = 1.0
    max_s: float = 60.0
    multiplier: float = 2.0
    jitter_factor: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in ("fixed", "exponential"):
            raise InvalidJob(f"retry kind is {self.kind!r}, it must be fixed or exponential")
        _check("base_s", self.base_s, 0, DELAY_MAX_S)
        _check("max_s", self.max_s, 0, DELAY_MAX_S)
        if self.base_s > self.max_s:
            raise InvalidJob(f"retry base_s is {self.base_s}, above max_s {self.max_s}; raise max_s as well")
        _check("multiplier", self.multiplier, 1, 1000)
        _check("jitter_factor", self.jitter_factor, 0, 1)

    def delay_s(self, retry_count: int, uniform: float) -> float:
        """Delay before the next run of a job that was retried `retry_count` times before (0 for the first retry).

        `uniform`: a draw from [0, 1). The result is within 0 and `max_s`, and never falls as `retry_count` rises (same draw).
        """
        max_s, factor = self.max_s, self.jitter_factor
        try:
            delay = self.base_s if self.kind == "fixed" else self.base_s * self.multiplier**retry_count
        except OverflowError:
            delay = max_s
        ceiling = max_s / (1.0 + factor)
        if delay > ceiling:
            delay = ceiling
        delay *= 1.0 + factor * (2.0 * uniform - 1.0)
        return delay if delay < max_s else max_s  # the product may round up


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses nan
        raise InvalidJob(f"retry {name} is {value}, it must be {low:g} to {high:g}")
