"""What a Raft leader knows of those that follow it, for one term: progress, rounds, the check of its quorum, a hand-over.

Each broadcast is a round. A follower's answer repeats the round, and what a majority has answered is worth the time at which that round was
*sent*: however late the answers come, they say no more than that the majority followed then. `lease` is that time. It serves only to step
down in time; what the leader does is safe by the store's fence, not by a clock.

Non-voters that were met get everything too, and count for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..wire.peers import Append, AppendReply, TimeoutNow
from .core import Config, Effects, Send, Time
from .raft_log import Log


@dataclass(slots=True)
class Follower:
    """`match`: known to be the same up to there. `next`: the first entry to send. `round`: the newest one answered."""

    next: int
    is_voter: bool
    match: int = 0
    round: int = 0


class Leading:
    """Made when the term is won, before its no-op is appended. `lease`: when the votes were asked for, the first proof of a majority.
    `tail_batch`: the batch with the no-op."""

    def __init__(self, config: Config, log: Log, term: int, quorum: int, lease: Time, tail_batch: int) -> None:
        self._timeout = config.timeout
        self._interval = config.interval
        self._log = log
        self._term = term
        self._quorum = quorum
        self._round = 0
        self._lease_round = 0
        self._sent_at: list[Time] = []
        """Of the rounds after `_lease_round`: no more than fit into one timeout."""
        self._followers: dict[str, Follower] = {}
        self._voters: list[Follower] = []
        self._own_match = 0
        self._tail_batch = tail_batch
        self.lease = lease
        self.beat_at: Time = 0
        self.heir = ""
        """To whom it hands over; empty: it does not."""
        self.heir_until: Time = 0

    def add(self, names: Iterable[str], *, is_voter: bool) -> None:
        for name in names:
            if name not in self._followers:
                self._followers[name] = Follower(self._log.last_index + 1, is_voter)
        self._voters = [follower for follower in self._followers.values() if follower.is_voter]

    def wake(self, office: Time | None) -> Time:
        """The first of what it waits for. After every step, so without detours."""
        wake = self.beat_at
        if self._voters and self.lease + self._timeout < wake:
            wake = self.lease + self._timeout
        if self.heir and self.heir_until < wake:
            wake = self.heir_until
        return office if office is not None and office < wake else wake

    def is_lost(self, now: Time) -> bool:
        """No majority answered what was sent in the last timeout."""
        return bool(self._voters) and now >= self.lease + self._timeout

    def shift(self, lag: Time) -> None:
        """This process stood still: nobody could be heard."""
        self.lease += lag
        self.heir_until += lag

    def forget(self, learner: str) -> None:
        """The connection to a non-voter is gone; it is added again when it is back."""
        self._followers.pop(learner, None)

    # ── sending ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def beat(self, now: Time, out: Effects) -> None:
        """A new round, to everyone; and the heir is asked again, for the first word may be lost."""
        self._round += 1
        self._sent_at.append(now)
        self.beat_at = now + self._interval
        append, following = None, -1
        for name, follower in self._followers.items():
            if append is None or follower.next != following:
                append, following = self._append(follower), follower.next
            out.send.append(Send(name, append))
        self._call_heir(out)

    def _append(self, follower: Follower) -> Append:
        """More, or something earlier, for one of them goes within the current round, which began no later than now."""
        prev = follower.next - 1
        entries = self._log.entries_from(follower.next)
        return Append(self._term, prev, self._log.term_at(prev), self._log.commit, self._round, entries)

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_reply(self, src: str, reply: AppendReply, out: Effects) -> None:
        """Of this term, for the caller has looked."""
        follower = self._followers.get(src)
        if follower is None or reply.round > self._round:
            return
        self._renew(follower, reply.round)
        is_moved = self._accept(follower, reply.match) if reply.is_ok else self._reject(follower, reply)
        if is_moved and follower.next <= self._log.last_index:
            out.send.append(Send(src, self._append(follower)))
        if is_moved and src == self.heir:
            self._call_heir(out)

    def on_persisted(self, number: int) -> None:
        if number >= self._tail_batch and not self._own_match:
            self._own_match = self._log.last_index
            self._advance_commit()

    def _renew(self, follower: Follower, number: int) -> None:
        """Answers to earlier rounds than its newest tell nothing new."""
        if number <= follower.round:
            return
        follower.round = number
        if follower.is_voter and number > self._lease_round and 1 + self._answered(number) >= self._quorum:
            self.lease = self._sent_at[number - self._lease_round - 1]
            del self._sent_at[: number - self._lease_round]
            self._lease_round = number

    def _answered(self, number: int) -> int:
        return sum(follower.round >= number for follower in self._voters)

    def _accept(self, follower: Follower, match: int) -> bool:
        """Whether it has got further."""
        if not follower.match < match <= self._log.last_index:
            return False
        follower.match, follower.next = match, match + 1
        if follower.is_voter:
            self._advance_commit()
        return True

    def _reject(self, follower: Follower, reply: AppendReply) -> bool:
        """Look for the agreement further back; whether there is a further back. A voter that lost its disk begins again at 1."""
        if reply.round < follower.round:
            return False
        found = self._log.last_at_or_below(reply.hint_index, reply.hint_term)
        before = follower.next
        follower.next = max(1, min(found + 1, before - 1))
        follower.match = min(follower.match, follower.next - 1)
        return follower.next < before

    def _advance_commit(self) -> None:
        """What a majority has on its disks, if the own term is reached: an earlier term's entry is not safe by numbers (5.4.2)."""
        matches = sorted((self._own_match, *(follower.match for follower in self._voters)), reverse=True)
        index = matches[self._quorum - 1]
        if self._log.term_at(index) == self._term:
            self._log.commit_to(index)

    # ── handing over ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def hand_over(self, now: Time, to: str, out: Effects) -> None:
        """To a voter that has the whole log, or as soon as it has it. Given up after a timeout. Source: 3.10."""
        to = to or self._best_heir()
        follower = self._followers.get(to)
        if follower is not None and follower.is_voter:
            self.heir, self.heir_until = to, now + self._timeout
            self._call_heir(out)

    def _best_heir(self) -> str:
        """The voter that has most of the log, and of those the one heard last; empty: there is none."""
        voters = [
            (follower.match, follower.round, name) for name, follower in self._followers.items() if follower.is_voter
        ]
        return max(voters, key=lambda row: row[:2])[2] if voters else ""

    def _call_heir(self, out: Effects) -> None:
        if self.heir and self._followers[self.heir].match == self._log.last_index:
            out.send.append(Send(self.heir, TimeoutNow(self._term)))
