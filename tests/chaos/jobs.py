"""What jobs a chaos run is made of: the modes of the one task, how often each comes, how long it takes, what it may be submitted with.

Pure: a seeded `random.Random` in, plain values out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

SLOTS = 4
"""Of every node under test, however it spreads them over processes: the load is sized by it."""



@dataclass(frozen=True, slots=True)
class Mode:
    """`share` of 1,000 jobs; `ms`: range of the work. `has_effect`: asks the sink. `is_cancelled`: the load cancels it soon."""

    name: str
    share: int
    ms: tuple[float, float]
    has_effect: bool = True
    is_cancelled: bool = False


MODES = (
    Mode("plain", 330, (0.0, 4.0)),
    Mode("plain", 440, (5.0, 40.0)),
    Mode("plain", 25, (100.0, 250.0)),
    Mode("flaky", 70, (1.0, 10.0)),  # the first attempt raises
    Mode("late", 45, (1.0, 10.0)),  # the first attempt raises after its effect
    Mode("fail", 30, (1.0, 5.0), has_effect=False),
    Mode("discard", 20, (1.0, 5.0), has_effect=False),
    Mode("snooze", 20, (1.0, 5.0)),  # once
    Mode("heed", 13, (1.0, 5.0), is_cancelled=True),  # until it is told to stop, or HEED_S
    Mode("hang", 3, (1.0, 5.0), has_effect=False, is_cancelled=True),  # until it is killed: by its time-out, or as cancelled
    Mode("exit", 4, (1.0, 5.0), has_effect=False),  # takes its process down, each time
)

HEED_S = 0.4
HANG_S = 10.0
HANG_LIMIT_S = 0.5
"""The hard time-out of a job that hangs."""

_SHARES = [mode.share for mode in MODES]

MEAN_MS = sum(mode.share * (sum(mode.ms) / 2) for mode in MODES) / sum(_SHARES) + 2.0
"""Of one job, with what surrounds it: what the load's rate is reckoned by."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One job as it will be submitted. `options`: of `Client.submit`, without id and keys."""

    key: str
    type: str
    payload: dict[str, Any]
    options: dict[str, Any]
    delay_ms: int
    is_cancelled: bool

    @property
    def max_retries(self) -> int:
        """-1: not said, so the node's setting holds."""
        return int(self.options.get("max_retries", -1))


def make_wish(draw: random.Random, key: str, stretch: float = 1.0) -> Wish:
    """`stretch`: factor on how long the job takes."""
    (mode,) = draw.choices(MODES, _SHARES)
    payload: dict[str, Any] = {"key": key, "mode": mode.name, "ms": round(draw.uniform(*mode.ms) * stretch, 2)}
    if mode.has_effect:
        payload["ek"] = f"e-{key}"
    if draw.random() < 0.2:
        payload["burns"] = True
    options: dict[str, Any] = {"priority": draw.choice((1, 5, 5, 5, 5, 8, 10)), "queue": draw.choice(("default", "default", "side"))}
    retries = draw.choice((0, 1, 2, 3, 3, 3, None))
    if retries is not None:
        options["max_retries"] = retries
    delay_ms = draw.randrange(1, 1000) if draw.random() < 0.1 else 0
    if delay_ms:
        options["delay"] = delay_ms / 1000
    if mode.name == "hang":
        options["timeout"] = HANG_LIMIT_S
    kind = "work" if draw.random() < 0.65 else "flow"
    return Wish(key, kind, payload, options, delay_ms, mode.is_cancelled and draw.random() < 0.7)
