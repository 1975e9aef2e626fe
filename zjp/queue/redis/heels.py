"""A claim on the heels of a submit: an idle node hears of ready jobs when its submit leaves, not again if that claim brought them. Pure.

The claim goes in one packet with the submit where that is about to leave, else over a connection of its own just behind it, so a round trip
is saved, and in a packet a wake-up of the server. (A packet into a connection that has fallen silent costs the claim a call's time, too.)
Nothing relies on it. Every submit has an Early of its own, which one claim at most carries: the first that is begun after the submit left.
Whoever of the two is answered last knows how it went, and tells the node (again) unless the claim has brought the submit's first job. So
for each submit that stored something the node is told after the answer, or the job was already handed to it: no order of events, no
failure of either call leaves it untold.
"""

from __future__ import annotations

from collections.abc import Sequence

from .held import Held


class Early:
    """Of one submit."""

    __slots__ = ("_has_brought", "_is_claiming", "_is_owed", "first_id")

    def __init__(self, first_id: bytes) -> None:
        self.first_id = first_id
        self._is_claiming = self._has_brought = self._is_owed = False

    def began(self) -> None:
        self._is_claiming = True

    def ended(self, has_brought: bool) -> bool:
        self._is_claiming, self._has_brought = False, has_brought
        return self._is_owed and not has_brought

    def answered(self) -> bool:
        self._is_owed = self._is_claiming
        return not self._is_claiming and not self._has_brought


class Heels:
    """`sent` with each submit that leaves an idle node, `claims` with each claim that does; then `answered` and `ended`. `held`: what the
    node has in work. While there is some it is no idle node: what would save no time under load would cost claims there."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._next: Early | None = None
        self._is_worth_it = True
        """The last early claim brought its job, or some claim has brought one since. It does not while the queue is paused, say."""

    def sent(self, first_id: bytes) -> Early | None:
        """Tell the node now, unless this is None."""
        self._next = Early(first_id) if self._is_worth_it and not self._held else None
        return self._next

    def answered(self, early: Early | None) -> bool:
        """Of each submit that stored something. Whether the node must be told."""
        if early is None:
            return True
        if early is self._next:
            self._next = None
        return early.answered()

    def claims(self) -> Early | None:
        early, self._next = self._next, None
        if early is not None:
            early.began()
        return early

    def ended(self, early: Early | None, ids: Sequence[bytes]) -> bool:
        """Of each claim, without ids if it failed. Whether the node must be told."""
        if early is None:
            self._is_worth_it = self._is_worth_it or bool(ids)
            return False
        self._is_worth_it = has_brought = early.first_id in ids
        return early.ended(has_brought)
