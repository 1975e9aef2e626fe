"""The runs that requeues made of late, so that who looked before one of them was made does not make the same run again. Pure.

Only in memory: who looked is of this process, and ends with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from .store import RERUNS_KEPT, Overtaken


class Reruns:
    def __init__(self, kept_max: int = RERUNS_KEPT) -> None:
        self.mark = 0
        """Rises with each run made."""
        self._kept_max = kept_max
        self._made: dict[tuple[bytes, int], int] = {}
        """(id, run) -> its mark, lowest first."""
        self._forgotten = 0
        """The highest mark of those that are not kept any more."""

    def add(self, runs: Iterable[tuple[bytes, int]]) -> None:
        for made in runs:
            self.mark += 1
            self._made.pop(made, None)
            self._made[made] = self.mark
        while len(self._made) > self._kept_max:
            self._forgotten = self._made.pop(next(iter(self._made)))

    def check(self, since: int) -> None:
        """Raises: Overtaken."""
        if since < self._forgotten:
            raise Overtaken

    def was_made(self, job_id: bytes, run: int, since: int) -> bool:
        return self._made.get((job_id, run), 0) > since
