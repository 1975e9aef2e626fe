"""What this node was handed and has not brought back, by claim. Pure.

The server knows it as well; this is for the day on which another server takes its place that was not told everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


class Held:
    def __init__(self) -> None:
        self._ids: dict[int, set[bytes]] = {}
        self._top = 0

    def __bool__(self) -> bool:
        return bool(self._ids)

    def add(self, fence: int, ids: Iterable[bytes]) -> None:
        if found := set(ids):
            self._ids[fence] = found
            self._top = max(self._top, fence)

    def whole(self, fence: int, ids: Iterable[bytes]) -> int:
        """How many that claim holds, if all of `ids` are among them, else 0."""
        held = self._ids.get(fence)
        return len(held) if held is not None and held.issuperset(ids) else 0

    def remove(self, fence: int, ids: Sequence[bytes]) -> None:
        """Taken or refused: they are not ours any more."""
        if (held := self._ids.get(fence)) is not None:
            held.difference_update(ids)
            if not held:
                del self._ids[fence]

    def clear(self) -> None:
        """The lease was lost."""
        self._ids.clear()

    def arguments(self) -> list[Any]:
        """As keep.lua takes them."""
        found: list[Any] = [self._top]
        for fence, ids in self._ids.items():
            found += (fence, len(ids), *ids)
        return found
