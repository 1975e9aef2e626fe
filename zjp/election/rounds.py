"""Rounds of beats: since when a coordinator is known to have been followed by a majority. Pure.

An answer proves that its sender followed when it got the beat, and so after the beat was *sent*; when the answer arrives says nothing. So
an answer renews for as long as it would have from the sending of its round, and one that comes very late renews nothing.
"""

from __future__ import annotations

from .core import Time


class Rounds:
    """`quorum`: of the voters, this node included; `kept`: rounds whose sending is remembered, older answers are too late to count."""

    def __init__(self, quorum: int, kept: int) -> None:
        self._others = quorum - 1
        self._kept = kept
        self._round = 0
        self._sent: dict[int, Time] = {}
        self._acked: dict[str, Time] = {}
        self.quorum_at: Time = 0
        """When the newest round was sent that a majority answered; at first when leading began."""

    def begin(self, now: Time) -> None:
        """Rounds go on rising, so that an answer of a former leadership is none of this one's."""
        self.quorum_at = now
        self._sent.clear()
        self._acked.clear()

    def send(self, now: Time) -> int:
        self._round += 1
        self._sent[self._round] = now
        self._sent.pop(self._round - self._kept, None)
        return self._round

    def ack(self, voter: str, round: int) -> None:
        sent_at = self._sent.get(round)
        if sent_at is None or sent_at <= self._acked.get(voter, -1):
            return
        self._acked[voter] = sent_at
        if len(self._acked) >= self._others:
            nth = sorted(self._acked.values(), reverse=True)[self._others - 1]
            self.quorum_at = max(self.quorum_at, nth)
