"""Whom a Bully node knows to lead, in which epoch, since when, and when it last heard of it. Pure.

A node follows the coordinator of the highest epoch that it knows to be led, whatever epochs it has promised above: a promise is a chance,
a coordinator is a fact. So a claim that fails deposes nobody.
"""

from __future__ import annotations

from enum import Enum

from .core import Time


class News(Enum):
    """What a word of a coordinator is to this node."""

    SAME = "same"
    NEW = "new"
    """Follow it."""
    OLD = "old"
    """A higher epoch is known: tell it."""
    LATE = "late"
    """A copy of what was heard, from before a resignation, or another's in an epoch that has a leader: no matter."""


class Reign:
    """`leader` empty: nobody, as far as is known. `epoch`: the highest known to be led, or to have been."""

    def __init__(self, timeout: Time) -> None:
        self._timeout = timeout
        self.leader = ""
        self.epoch = 0
        self.ended = 0
        """Words of this epoch and below are late ones: its leader resigned, or was this node."""
        self.heard_at: Time = 0
        self.silence_at: Time = 0
        """When it is held dead."""
        self.since: Time = 0
        """When this node began to follow, or to lead."""
        self._round = -1
        """The highest round heard in this epoch: a copy that comes late is no sign of life."""

    def news(self, src: str, epoch: int, round: int) -> News:
        if epoch == self.epoch and src == self.leader:
            return News.SAME
        if epoch < self.epoch:
            return News.OLD
        is_late = epoch <= self.ended or (epoch == self.epoch and (self.leader != "" or round <= self._round))
        return News.LATE if is_late else News.NEW

    def begin(self, now: Time, leader: str, epoch: int) -> None:
        self._round = self._round if epoch == self.epoch else -1
        self.leader, self.epoch, self.since = leader, epoch, now

    def hear(self, now: Time, round: int, patience: Time) -> None:
        if round > self._round:
            self._round = round
            self.heard_at = now
            self.silence_at = now + patience

    def end(self, *, is_over: bool) -> None:
        """`is_over`: for good, in this epoch; else it may come back."""
        self.leader = ""
        if is_over:
            self.ended = self.epoch

    def learn(self, epoch: int) -> None:
        """Somebody leads in this epoch, or did. Only without a leader."""
        if epoch > self.epoch:
            self.epoch, self._round = epoch, -1

    def is_heard(self, now: Time) -> bool:
        return self.leader != "" and now < self.heard_at + self._timeout

    def stall(self, now: Time, lag: Time) -> None:
        """Nothing was heard because this process did not listen; nor did it see anything that was stable."""
        self.heard_at = min(now, self.heard_at + lag)
        self.since = min(now, self.since + lag)
        self.silence_at = min(self.silence_at + lag, max(self.silence_at, now + self._timeout))


def earliest(*times: Time | None) -> Time | None:
    """None: there is nothing to wait for."""
    found = None
    for time in times:
        if time is not None and (found is None or time < found):
            found = time
    return found
