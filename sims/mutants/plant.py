"""How a wrong history is made: take a right one, find a place for the bug, change the lines. The tools and the list of all mutants."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from ..lines import Final, Line
from ..reference import SHAPES, from_outside, simulate

Ops = list[Line]
OneLine = TypeVar("OneLine", bound=Line)
Mutation = Callable[[Ops], Ops]

SEEDS_MAX = 200
"""Histories looked at for a place; a mutant that finds none in so many is of no use."""


class NoPlace(Exception):
    """This history has no place for the bug."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """`check` must catch it; `also` may speak up as well, since one bug can break several promises; no other may."""

    name: str
    check: str
    also: frozenset[str]
    shape: str
    is_outside: bool
    mutate: Mutation

    def histories(self, count: int) -> list[tuple[int, Ops, Ops]]:
        """(seed, right history, wrong history) for the first `count` seeds that have a place for it."""
        found: list[tuple[int, Ops, Ops]] = []
        for seed in range(SEEDS_MAX):
            right = simulate(SHAPES[self.shape], seed)
            right = from_outside(right) if self.is_outside else right
            try:
                wrong = sorted(self.mutate(list(right)), key=lambda line: line.t)
            except NoPlace:
                continue
            found.append((seed, right, wrong))
            if len(found) == count:
                break
        return found


MUTANTS: list[Mutant] = []


def plant(check: str, shape: str, *, also: str = "", outside: bool = False) -> Callable[[Mutation], Mutation]:
    """Put a mutation on the list; its name is its sentence. `outside`: into a history without the store's lines."""

    def enlist(mutate: Mutation) -> Mutation:
        name = f"{check} {mutate.__name__.replace('_', ' ')}"
        MUTANTS.append(Mutant(name, check, frozenset(also.split()), shape, outside, mutate))
        return mutate

    return enlist


def every(
    ops: Iterable[Line], kind: type[OneLine], accepts: Callable[[OneLine], bool] = lambda _: True
) -> list[OneLine]:
    return [op for op in ops if isinstance(op, kind) and accepts(op)]


def first(ops: Iterable[Line], kind: type[OneLine], accepts: Callable[[OneLine], bool] = lambda _: True) -> OneLine:
    """Raises: NoPlace."""
    for op in ops:
        if isinstance(op, kind) and accepts(op):
            return op
    raise NoPlace


def edited(line: OneLine, **changes: Any) -> OneLine:
    return msgspec.structs.replace(line, **changes)


def edit(ops: Ops, target: Line, **changes: Any) -> Ops:
    """The history with one line changed."""
    return [edited(op, **changes) if op is target else op for op in ops]


def edit_job(ops: Ops, job: str, kind: type[Line], **changes: Any) -> Ops:
    return [edited(op, **changes) if isinstance(op, kind) and job_of(op) == job else op for op in ops]


def drop(ops: Ops, rejects: Callable[[Line], bool]) -> Ops:
    return [op for op in ops if not rejects(op)]


def job_of(line: Line) -> str:
    return getattr(line, "job", "")


def final_of(ops: Ops, job: str) -> Final:
    return first(ops, Final, lambda final: final.job == job)
