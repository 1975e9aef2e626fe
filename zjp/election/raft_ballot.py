"""Raft's votes: who may give one and to whom, and the counting of one candidacy. Sources: Raft 5.2, 5.4.1; dissertation 9.6."""

from __future__ import annotations

from ..wire.peers import PreVote, Vote
from .core import Config, Time
from .raft_promises import Promises


class Voters:
    """The fixed set of those who may vote. `others`: without this node, in the order of the settings."""

    def __init__(self, config: Config, promises: Promises) -> None:
        self._promises = promises
        self.names = frozenset(config.voters)
        self.has_me = config.me in self.names
        self.others = tuple(name for name in dict.fromkeys(config.voters) if name != config.me)
        self.quorum = len(self.names) // 2 + 1

    def may_vote(self, term: int) -> bool:
        """Whether a vote or a candidacy of this node in `term` breaks no promise, the forgotten ones included.

        A taught voter has also lost entries that a majority was counted to have. With an even number of voters no majority lacks such an
        entry even then. With an odd number it waits until its log reaches a leader of the taught term or later, whose log had them all;
        the others can elect one without it.
        """
        taught = self._promises.taught or 0
        return self.has_me and term > taught and (len(self.names) % 2 == 0 or self._promises.log.last_term >= taught)

    def would_grant(self, message: PreVote) -> bool:
        return message.term > self._promises.term and self._may_support(message)

    def may_grant(self, src: str, message: Vote) -> bool:
        """In the own term; a repeated question gets the same answer."""
        return self._promises.vote in ("", src) and self._may_support(message)

    def _may_support(self, message: PreVote | Vote) -> bool:
        return self.may_vote(message.term) and self._promises.log.is_covered_by(message.last_index, message.last_term)


class Candidacy:
    """`term`: the one that is sought. `batch`: where the own vote stands, 0 for a pre-vote."""

    def __init__(self, now: Time, term: int, batch: int) -> None:
        self.term = term
        self.batch = batch
        self.is_asked = batch == 0
        """The own vote is durable, and so the others have been asked."""
        self.asked_at = now
        """When that was; until then, when it began."""
        self.grants: set[str] = set()
        self.refusals: set[str] = set()

    @property
    def is_real(self) -> bool:
        return self.batch > 0
