"""What a Raft node must not forget: term, vote, log, and what it was taught. Changes are collected and leave as one batch a step. Batches
become durable in order, so whoever waits for one waits for all before it too.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..wire.peers import Append, AppendReply, LogTail, Stored, Taught, TermVote
from .core import Batch, Effects
from .raft_log import Log, is_sound


class Promises:
    """`term` never falls, and `vote` changes only from nobody to somebody while the term is the same: `move` alone writes them."""

    def __init__(self) -> None:
        self.term = 0
        self.vote = ""
        self.taught: int | None = None
        """None: never had to be taught. Else votes are given in higher terms only."""
        self.log = Log()
        self._number = 0
        self._records: list[Stored] = []

    def load(self, records: Sequence[Stored]) -> bool:
        """Whether there were any of Raft's; those of another algorithm are no promises of this one."""
        mine = [record for record in records if isinstance(record, (TermVote, LogTail, Taught))]
        for record in mine:
            self._load(record)
        # A log is as old as its last entry, whatever else was lost.
        if self.log.last_term > self.term:
            self.term, self.vote = self.log.last_term, ""
        return bool(mine)

    def _load(self, record: TermVote | LogTail | Taught) -> None:
        if isinstance(record, LogTail):
            self.log.load(record)
        elif isinstance(record, Taught):
            self.taught = max(record.term, self.taught or 0)
            if record.term > self.term:
                self.term, self.vote = record.term, ""
        elif record.term > self.term or (record.term == self.term and not self.vote):
            self.term, self.vote = record.term, record.vote

    def all(self) -> list[Stored]:
        """The fewest records that `load` needs."""
        taught = [] if self.taught is None else [Taught(self.taught)]
        return [*taught, *([TermVote(self.term, self.vote)] if self.term else []), *self.log.tails()]

    # ── changes ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def move(self, term: int, vote: str) -> None:
        """A higher term, or the vote in this one."""
        assert term > self.term or (term == self.term and not self.vote), (term, self.term, self.vote)
        self.term, self.vote = term, vote
        record = TermVote(term, vote)
        if self._records and isinstance(self._records[-1], TermVote):
            self._records[-1] = record
        else:
            self._records.append(record)

    def learn(self, term: int) -> None:
        self.taught = term
        if term > self.term:
            self.term, self.vote = term, ""
        self._records.append(Taught(term))

    def append(self) -> None:
        """The no-op of a new leader."""
        self._records.append(self.log.append(self.term))

    def take(self, message: Append) -> AppendReply | None:
        """Of the leader of this term. Nothing is cut but at a real conflict, and never what is committed. None: no leader says this."""
        log, prev, entries = self.log, message.prev_index, message.entries
        if not entries and prev == log.last_index == log.commit and message.prev_term == log.last_term:
            # A heartbeat to one that has everything, as nearly all are.
            return AppendReply(self.term, message.round, True, prev)
        if not log.has(prev, message.prev_term):
            hint = log.last_at_or_below(prev, message.prev_term)
            return AppendReply(self.term, message.round, False, 0, hint, log.term_at(hint))
        if entries:
            if not is_sound(prev, message.prev_term, entries, self.term):
                return None
            new = entries[log.first_new(entries) :]
            if new and new[0].index <= log.commit:
                return None
            if new:
                self._records.append(log.merge(new))
        match = prev + len(entries)
        log.commit_to(min(message.commit, match))
        return AppendReply(self.term, message.round, True, match)

    # ── the disk ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def next_batch(self) -> int:
        """The number of the batch that takes what is changed now."""
        return self._number + 1

    def flush(self, out: Effects) -> None:
        if self._records:
            self._number += 1
            out.persist = Batch(self._number, tuple(self._records))
            self._records = []
