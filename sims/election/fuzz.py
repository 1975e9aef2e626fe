"""Many runs, one process per core. What comes back of a run is small; a failing one is run again by whoever wants to see it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import NamedTuple

from .faults import MIX
from .run import Case, run


class Result(NamedTuple):
    case: Case
    invariant: str
    text: str
    at: int
    steps: int


def cases(algorithm: str, seeds: range, *, nodes: int = 0, profile: str = "mix", planted: str = "") -> list[Case]:
    """`nodes` 0: by seed, see `_size`. `mix`: the profiles in turn."""
    return [
        Case(
            algorithm,
            nodes or _size(algorithm, seed),
            seed,
            MIX[seed % len(MIX)] if profile == "mix" else profile,
            planted=planted,
        )
        for seed in seeds
    ]


def _size(algorithm: str, seed: int) -> int:
    """3, 5 and now and then 7; seldom one alone, two, or, with Gossip, so many that it draws some at random and does not look at all."""
    seldom = {37: 2, 38: 1, 39: 20 if algorithm == "gossip" else 7}
    return seldom.get(seed % 40) or (5, 3, 5, 7, 5)[seed % 5]


def fuzz(todo: list[Case], workers: int) -> Iterator[Result]:
    """In the order of `todo`, however many workers there are."""
    if workers <= 1:
        yield from map(_run, todo)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(_run, todo, chunksize=4)


def _run(case: Case) -> Result:
    outcome = run(case)
    return Result(case, outcome.invariant, outcome.text, outcome.at, outcome.steps)
