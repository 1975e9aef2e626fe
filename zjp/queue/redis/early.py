"""A claim on the heels of a submit, so that a job that meets an idle node starts one round trip earlier. Pure.

The node is told that jobs are ready when its submit leaves, not when it is answered. Its claim goes over another connection, so it nearly
always comes to the server just behind the submit, and hands out what that stored. Whether it did is told by the ids: only then has the
answer of the submit nothing more to say. In every other case (the claim came first, failed, or was never sent) the node is told once more.
A claim that brings less than was asked for has taken all that was ready, so one id of the submit stands for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Early:
    """Of one submit at a time: `sent`, then `answered` unless it fails. Between them `claims` begins a claim, and `claimed` ends it."""

    def __init__(self) -> None:
        self.is_worth_it = True
        """The last early claim brought its jobs, or a claim has brought some since. It does not while the queue is paused, for example."""
        self._ids: frozenset[bytes] = frozenset()
        self._is_claiming = self._has_claimed = self._is_answered = False

    def sent(self, ids: Iterable[bytes]) -> bool:
        """Of each submit; without ids when the node is not told yet. Whether it has to be told now for the sake of the one before."""
        is_owed = self._is_answered
        self._ids = frozenset(ids)
        self._is_claiming = self._has_claimed = self._is_answered = False
        return is_owed

    def answered(self) -> bool:
        """Whether the node has to be told now that jobs are ready."""
        if self._is_claiming:
            self._is_answered = True  # then `claimed` tells
            return False
        return self._end()

    def claims(self) -> None:
        self._is_claiming = bool(self._ids)

    def claimed(self, ids: Sequence[bytes]) -> bool:
        """Likewise. A claim that failed is ended without ids."""
        was_early, self._is_claiming = self._is_claiming, False
        self._has_claimed = self._has_claimed or (was_early and not self._ids.isdisjoint(ids))
        self.is_worth_it = self._has_claimed if was_early else self.is_worth_it or bool(ids)
        return self._end() if was_early and self._is_answered else False

    def _end(self) -> bool:
        was_claimed = self._has_claimed
        self.sent(())
        return not was_claimed
