"""Whether a planted bug is caught: by one of its invariants, on a seed on which the right core passes."""

from __future__ import annotations

from dataclasses import dataclass

from .fuzz import cases, fuzz
from .planted import Planted
from .run import Case, run


@dataclass(frozen=True, slots=True)
class Proof:
    """`shown`: the invariant that caught it."""

    bug: Planted
    is_caught: bool
    text: str
    shown: str = ""


def prove_kept(bug: Planted) -> Proof:
    """On the seed that is written down."""
    outcome = run(Case(bug.algorithm, bug.nodes, bug.seed, bug.profile, planted=bug.name))
    if outcome.invariant not in bug.invariants:
        return Proof(
            bug,
            False,
            f"seed {bug.seed} {bug.profile}: {outcome.invariant or 'nothing'} broke; {outcome.text}".rstrip("; "),
        )
    right = run(Case(bug.algorithm, bug.nodes, bug.seed, bug.profile))
    if not right.is_well:
        return Proof(
            bug, False, f"seed {bug.seed} {bug.profile}: the right core breaks {right.invariant} too; {right.text}"
        )
    text = f"{outcome.invariant} at {outcome.at / 1e9:.1f} s, seed {bug.seed} {bug.profile}"
    return Proof(bug, True, text, outcome.invariant)


def search(bug: Planted, seeds: int, workers: int) -> Proof:
    """The first of `seeds` that catches it: in the bug's own profile, then in all of them in turn."""
    other = ""
    for profile in dict.fromkeys((bug.profile, "mix")):
        todo = cases(bug.algorithm, range(seeds), nodes=bug.nodes, profile=profile, planted=bug.name)
        for result in fuzz(todo, workers):
            case = result.case
            if (
                result.invariant in bug.invariants
                and run(Case(bug.algorithm, bug.nodes, case.seed, case.profile)).is_well
            ):
                return Proof(
                    bug,
                    True,
                    f"{result.invariant} at {result.at / 1e9:.1f} s, seed {case.seed} {case.profile}: {result.text}",
                    result.invariant,
                )
            if result.invariant and not other:
                other = f" (seed {case.seed} {case.profile}: {result.invariant}, {result.text})"
    return Proof(bug, False, f"{seeds} seeds{other}")
