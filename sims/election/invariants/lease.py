"""How long a leader may go on without its quorum: each round it asks all, and what counts is when the answered round was *sent*."""

from __future__ import annotations

ROUNDS_MAX = 256


class Lease:
    """Of one leader in one epoch; times by its own clock. `quorum`: itself included."""

    __slots__ = ("_acked", "_sent", "_since", "_top", "epoch", "quorum")

    def __init__(self, epoch: int, quorum: int, now: int) -> None:
        self.epoch, self.quorum = epoch, quorum
        self._since = now
        self._sent: dict[int, int] = {}
        self._top = -1
        self._acked: dict[str, int] = {}

    def sends(self, round: int, now: int) -> None:
        if round > self._top:
            self._top = round
            self._sent[round] = now
            if len(self._sent) > ROUNDS_MAX:
                del self._sent[next(iter(self._sent))]

    def hears(self, peer: str, round: int) -> None:
        sent = self._sent.get(round)
        if sent is not None and sent > self._acked.get(peer, -1):
            self._acked[peer] = sent

    def stalls(self, lag: int) -> None:
        """What was not heard in that time says nothing."""
        self._since += lag
        for peer in self._acked:
            self._acked[peer] += lag
        for round in self._sent:
            self._sent[round] += lag

    def age(self, now: int) -> int:
        """Since when no majority is known to have followed."""
        if self.quorum == 1:
            return 0
        heard = sorted(self._acked.values(), reverse=True)
        quorum_at = heard[self.quorum - 2] if len(heard) >= self.quorum - 1 else self._since
        return now - max(self._since, quorum_at)
