"""Names that are not members now: to be asked again and again, or once because the mesh has just met them.

Were only members ever contacted, the halves of a cluster that was cut for long would never find each other again. So the first names from
the settings, and all who were held dead, stay here until they are members; who left is forgotten, unless it is one of the first names.
"""

from __future__ import annotations

from collections.abc import Iterable

CONTACTS_MAX = 4096


class Contacts:
    """Both in order of arrival; nobody twice."""

    def __init__(self, me: str, first: Iterable[str]) -> None:
        self._first = tuple(name for name in first if name != me)
        self._absent = dict.fromkeys(self._first)
        self._met: dict[str, None] = {}

    def on_present(self, name: str) -> None:
        self._absent.pop(name, None)
        self._met.pop(name, None)

    def on_gone(self, name: str, has_left: bool) -> None:
        if (not has_left or name in self._first) and len(self._absent) < CONTACTS_MAX:
            self._absent[name] = None

    def on_met(self, name: str) -> None:
        if len(self._met) < CONTACTS_MAX:
            self._met[name] = None

    def absent(self) -> str | None:
        """The one that was not asked for longest."""
        name = next(iter(self._absent), None)
        if name is not None:
            del self._absent[name]
            self._absent[name] = None
        return name

    def met(self, count: int) -> list[str]:
        """They are taken off the list."""
        names = [name for _, name in zip(range(count), self._met, strict=False)]
        for name in names:
            del self._met[name]
        return names

    @property
    def has_met(self) -> bool:
        return bool(self._met)
