"""What a check is: an id, a sentence that must be true, the kinds of lines it needs, and the function that finds what contradicts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import msgspec

from .case import Casebook

Finder = Callable[[Casebook], Iterator[str]]
"""Yields one sentence for each violation, naming job, fences and times."""

EXAMPLES_MAX = 10
"""Violations shown for each check; all are counted."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check said. `reason`: why it was not applicable, or what it could not look at."""

    id: str
    name: str
    sentence: str
    is_checked: bool
    reason: str = ""
    violations: int = 0
    examples: list[str] = []


@dataclass(frozen=True, slots=True)
class Check:
    """`needs`: without lines of these kinds it is not applicable. `also`: kind of line -> what is not judged without it."""

    id: str
    name: str
    sentence: str
    find: Finder
    needs: tuple[str, ...]
    also: dict[str, str]
    needs_fifo: bool = False

    def judge(self, book: Casebook) -> Finding:
        missing = [kind for kind in self.needs if kind not in book.kinds]
        if missing:
            return self._finding(is_checked=False, reason=f"no {' and no '.join(missing)} lines in the history")
        if self.needs_fifo and not book.is_fifo:
            return self._finding(is_checked=False, reason="the workload line does not say fifo")
        found = self.find(book)
        examples = list(islice(found, EXAMPLES_MAX))
        rest = sum(1 for _ in found)
        not_judged = [what for kind, what in self.also.items() if kind not in book.kinds]
        return self._finding(
            is_checked=True, reason="; ".join(not_judged), violations=len(examples) + rest, examples=examples
        )

    def _finding(
        self, *, is_checked: bool, reason: str, violations: int = 0, examples: list[str] | None = None
    ) -> Finding:
        return Finding(
            id=self.id,
            name=self.name,
            sentence=self.sentence,
            is_checked=is_checked,
            reason=reason,
            violations=violations,
            examples=examples or [],
        )


def check(
    id: str,
    name: str,
    sentence: str,
    *,
    needs: tuple[str, ...],
    also: dict[str, str] | None = None,
    needs_fifo: bool = False,
) -> Callable[[Finder], Check]:
    """Make a finder a check."""
    return lambda find: Check(id, name, sentence, find, needs, also or {}, needs_fifo)
