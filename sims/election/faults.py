"""What goes wrong in a run, drawn from its seed before it begins: a list of faults, each with a number, so that any part of it can be run.

A profile says how good the network is and which faults come how often. `nodes` holds indexes; LEADER stands for whoever leads then.
Half of those that name one node name the leader: there is little to break elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from zjp.election.core import MS, SECOND

from .disk import TAILS
from .network import Quality

LEADER = -1
SAFETY_FOR = 40 * SECOND
"""How long faults go on; then the cluster is healed."""
QUIET_FOR = 3 * SECOND
"""No fault begins before."""


@dataclass(frozen=True, slots=True)
class Fault:
    """From `at` until `until` (true time, ns). `amount`, `word`: what the kind makes of them."""

    number: int
    at: int
    until: int
    kind: str
    nodes: tuple[int, ...] = ()
    amount: int = 0
    word: str = ""

    def text(self, names: tuple[str, ...]) -> str:
        whom = "".join(f" {'leader' if node == LEADER else names[node]}" for node in self.nodes)
        return f"#{self.number} {self.kind}{whom}{' ' + self.word if self.word else ''} {(self.until - self.at) / SECOND:.1f} s"


@dataclass(frozen=True, slots=True)
class Profile:
    """`every`: mean time between two faults, 0: none. `kinds`: kind -> weight. `wan`: times are for a wide net."""

    text: str
    quality: Quality
    every: int = 0
    kinds: tuple[tuple[str, int], ...] = ()
    is_wide: bool = False


_CRASHES = (("crash", 6), ("pause", 3), ("leave", 1), ("transfer", 2))
_CUTS = (("split", 4), ("isolate", 3), ("one-way", 3), ("bridge", 1), ("flap", 1), ("long-split", 1), ("ambush", 2))
_REST = (
    ("slow-disk", 1),
    ("clock-rate", 1),
    ("clock-step", 1),
    ("store-away", 2),
    ("store-cut", 2),
    ("spoil", 2),
    ("slow-node", 1),
    ("wipe", 1),
)

PROFILES = {
    "calm": Profile("the leadership is handed over now and then", Quality(200_000, 600_000), 10 * SECOND, (("transfer", 1),)),
    "lan": Profile("a local net; nodes crash and stall", Quality(200_000, 600_000), 3 * SECOND, _CRASHES),
    "cuts": Profile("a local net that falls apart in every way", Quality(200_000, 600_000), 2 * SECOND, (*_CUTS, ("crash", 1))),
    "wan": Profile("30 to 40 ms one way, some of it lost", Quality(30 * MS, 10 * MS, 0.01), 4 * SECOND, (*_CRASHES, *_CUTS), is_wide=True),
    "lossy": Profile(
        "a quarter of the messages is lost, others come twice or late",
        Quality(MS, 20 * MS, 0.25, 0.1, 0.05, 800 * MS),
        5 * SECOND,
        (("crash", 2), ("pause", 1), ("transfer", 1), ("clock-rate", 1)),
    ),
    "disks": Profile(
        "slow disks, crashes that lose or tear what was not synced, emptied folders",
        Quality(200_000, 3 * MS, 0.01),
        1 * SECOND,
        (("crash", 8), ("slow-disk", 4), ("wipe", 3), ("transfer", 1), ("isolate", 1), ("ambush", 3)),
    ),
    "chaos": Profile("all of it", Quality(200_000, 10 * MS, 0.03, 0.03, 0.02, 500 * MS), 1 * SECOND, (*_CRASHES, *_CUTS, *_REST)),
    "strays": Profile(
        "words that nobody of this cluster would say; a guest that does not vote comes and goes",
        Quality(200_000, 3 * MS, 0.01),
        400 * MS,
        (("stray", 16), ("guest", 3), ("crash", 2), ("split", 1), ("wipe", 1), ("transfer", 1), ("leave", 1), ("store-away", 1)),
    ),
    "driver": Profile(
        "events that tell nothing new: early timers, a sync told twice, commands to the wrong node; another cluster's epoch in the store",
        Quality(200_000, 3 * MS, 0.01),
        500 * MS,
        (("moot", 12), ("usurp", 2), ("leave", 3), ("transfer", 2), ("crash", 2), ("wipe", 1), ("guest", 1)),
    ),
    "omission": Profile("two nodes do not hear each other; then two halves only one node", Quality(200_000, 600_000), 0),
}  # fmt: skip
MIX = ("chaos", "lan", "cuts", "disks", "lossy", "wan", "chaos", "calm", "strays")
"""What fuzz runs when no profile is named, in turn by seed. A change here changes what every seed is."""


def draw(seed: int, profile: str, count: int) -> list[Fault]:
    """The whole schedule, by time."""
    if profile == "omission":
        return _omission(seed, count)
    chosen = PROFILES[profile]
    if not chosen.every:
        return []
    rng = random.Random(f"{seed} faults")
    every = int(chosen.every * rng.uniform(0.5, 2))
    kinds, weights = zip(*(_swarm(rng, chosen.kinds)), strict=True)
    faults: list[Fault] = []
    at = QUIET_FOR + int(rng.expovariate(1) * every)
    while at < SAFETY_FOR:
        kind = rng.choices(kinds, weights)[0]
        faults.append(_DRAW[kind](rng, len(faults), at, kind, count))
        at += int(rng.expovariate(1) * every)
    return faults


def _swarm(rng: random.Random, kinds: tuple[tuple[str, int], ...]) -> list[tuple[str, int]]:
    """A run in which some kinds are missing finds what one with all of them hides."""
    chosen = [(kind, weight) for kind, weight in kinds if rng.random() < 0.7]
    return chosen or list(kinds)


def _one(rng: random.Random, count: int) -> tuple[int, ...]:
    return (LEADER,) if rng.random() < 0.5 else (rng.randrange(count),)


def _some(rng: random.Random, count: int) -> tuple[int, ...]:
    return tuple(sorted(rng.sample(range(count), rng.randint(1, max(1, count // 2)))))


def _length(rng: random.Random, low: int, high: int) -> int:
    """Short ones are more likely: they meet what is under way."""
    return low + int((high - low) * rng.random() ** 2)


def _crash(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    until = at + _length(rng, 20 * MS, 12 * SECOND)
    return Fault(number, at, until, kind, _one(rng, count), rng.randrange(2), rng.choice(TAILS))


def _pause(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    return Fault(number, at, at + _length(rng, 50 * MS, 8 * SECOND), kind, _one(rng, count))


def _wipe(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    return Fault(number, at, at + _length(rng, 50 * MS, 5 * SECOND), kind, _one(rng, count))


def _moment(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    return Fault(number, at, at, kind, (rng.randrange(count),), rng.randrange(2))


def _leave(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    return Fault(number, at, at + _length(rng, 500 * MS, 8 * SECOND), kind, _one(rng, count))


def _split(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    return Fault(number, at, at + _length(rng, 300 * MS, 12 * SECOND), kind, _some(rng, count), 0, "both")


def _long_split(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    """Longer than anyone is spoken to who is held dead."""
    return Fault(number, at, at + _length(rng, 18 * SECOND, 30 * SECOND), kind, _some(rng, count), 0, "both")


def _ambush(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    """Whoever is elected next is cut off some moments later: when its first words are on their way."""
    return Fault(
        number,
        at,
        at + _length(rng, SECOND, 6 * SECOND),
        kind,
        (),
        int(rng.random() ** 3 * 60 * MS),
        rng.choice(("both", "out")),
    )


def _isolate(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    return Fault(number, at, at + _length(rng, 300 * MS, 12 * SECOND), kind, _one(rng, count), 0, "both")


def _one_way(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    nodes = _one(rng, count) if rng.random() < 0.6 else _some(rng, count)
    return Fault(number, at, at + _length(rng, 300 * MS, 12 * SECOND), kind, nodes, 0, rng.choice(("out", "in")))


def _bridge(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    """Two halves that hear each other only through one node."""
    return Fault(
        number, at, at + _length(rng, SECOND, 12 * SECOND), kind, (rng.randrange(count),), rng.randrange(1 << 16)
    )


def _stray(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    """`amount`: the seed of the words."""
    return Fault(number, at, at, kind, _one(rng, count), rng.randrange(1 << 30))


def _usurp(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    """`amount`: by how much the epoch is above the installed one."""
    return Fault(number, at, at, kind, (), rng.choice((1, 2, 7, 1000)))


def _guest(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    return Fault(number, at, at + _length(rng, 300 * MS, 12 * SECOND), kind, (), rng.randrange(-5, 100))


def _flap(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    return Fault(number, at, at + _length(rng, SECOND, 10 * SECOND), kind, _one(rng, count), rng.randint(100, 900) * MS)


def _slow_disk(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    return Fault(number, at, at + _length(rng, SECOND, 10 * SECOND), kind, _one(rng, count), rng.randint(20, 700) * MS)


def _clock_rate(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    return Fault(
        number,
        at,
        at + _length(rng, 5 * SECOND, 30 * SECOND),
        kind,
        (rng.randrange(count),),
        rng.randint(500_000, 1_500_000),
    )


def _clock_step(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    return Fault(number, at, at, kind, _one(rng, count), rng.randint(10, 5_000) * MS)


def _store_away(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    return Fault(number, at, at + _length(rng, 300 * MS, 8 * SECOND), kind, (), rng.choice((30, 60, 100)))


def _spoil(rng: random.Random, number: int, at: int, kind: str, count: int) -> Fault:
    return Fault(number, at, at + _length(rng, SECOND, 8 * SECOND), kind, (), rng.choice((10, 25, 50)))


_DRAW: dict[str, Callable[[random.Random, int, int, str, int], Fault]] = {
    "crash": _crash,
    "wipe": _wipe,
    "pause": _pause,
    "leave": _leave,
    "transfer": _moment,
    "split": _split,
    "long-split": _long_split,
    "ambush": _ambush,
    "isolate": _isolate,
    "one-way": _one_way,
    "bridge": _bridge,
    "flap": _flap,
    "stray": _stray,
    "guest": _guest,
    "moot": _stray,
    "usurp": _usurp,
    "slow-disk": _slow_disk,
    "slow-node": _slow_disk,
    "clock-rate": _clock_rate,
    "clock-step": _clock_step,
    "store-away": _store_away,
    "store-cut": _isolate,
    "spoil": _spoil,
}


def _omission(seed: int, count: int) -> list[Fault]:
    """Partial connection: each node hears a majority (itself counted) or not, but never all. Source: the outage of 2020-11-02."""
    rng = random.Random(f"{seed} faults")
    hub = rng.randrange(count)
    cut = rng.randrange(count - 1)
    return [
        Fault(
            0, QUIET_FOR, 18 * SECOND, "pair", ((LEADER, hub) if rng.random() < 0.5 else (hub, (hub + 1 + cut) % count))
        ),
        Fault(1, 21 * SECOND, SAFETY_FOR, "bridge", (hub,), rng.randrange(1 << 16)),
    ]
