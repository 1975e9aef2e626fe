"""What the records of a Raft node say when they are read from the first to the last: the term, the vote, the log."""

from __future__ import annotations

from zjp.wire.peers import LogTail, Stored, Taught, TermVote

from .watch import Violation


class RaftDisk:
    """`taught`: in which term, -1: never. `terms`: of the entries from index 1 on. `kept`, `was`: how much of the log the last record left,
    and the terms it replaced. `acked`: the highest index acknowledged to the leader of `acked_term`."""

    __slots__ = ("acked", "acked_term", "kept", "taught", "term", "terms", "vote", "was")

    def __init__(self) -> None:
        self.term, self.vote, self.taught = 0, "", -1
        self.terms: list[int] = []
        self.kept = 0
        self.was: list[int] = []
        self.acked = self.acked_term = 0

    def __repr__(self) -> str:
        return f"term {self.term}, vote {self.vote or 'none'}, {len(self.terms)} entries, taught {self.taught}"

    def copy(self) -> RaftDisk:
        again = RaftDisk()
        again.term, again.vote, again.taught, again.terms = self.term, self.vote, self.taught, list(self.terms)
        again.acked, again.acked_term = self.acked, self.acked_term
        return again

    @property
    def last(self) -> tuple[int, int]:
        """(index, term) of the last entry."""
        return (len(self.terms), self.terms[-1]) if self.terms else (0, 0)

    def term_at(self, index: int) -> int:
        return self.terms[index - 1] if 0 < index <= len(self.terms) else 0

    def take(self, name: str, record: Stored, chain: dict[tuple[int, int], tuple[int, bytes]]) -> None:
        self.kept = len(self.terms)
        if type(record) is TermVote:
            self._take_term(name, record)
        elif type(record) is LogTail:
            self._take_tail(name, record, chain)
        elif type(record) is Taught:
            self.taught = max(self.taught, record.term)
            if record.term > self.term:
                self.term, self.vote = record.term, ""

    def _take_term(self, name: str, record: TermVote) -> None:
        if record.term < self.term:
            raise Violation("C3", f"{name} writes term {record.term} after {self.term}")
        if record.term == self.term and self.vote not in ("", record.vote):
            raise Violation("R6", f"{name} voted for {self.vote} in {self.term} and writes {record.vote or 'no vote'}")
        self.term, self.vote = record.term, record.vote

    def _take_tail(self, name: str, record: LogTail, chain: dict[tuple[int, int], tuple[int, bytes]]) -> None:
        self.kept = record.entries[0].index - 1 if record.entries else record.after
        if self.kept > len(self.terms):
            raise Violation("E3", f"{name} writes entries after {self.kept}, its log ends at {len(self.terms)}")
        self.was = self.terms[self.kept :]
        del self.terms[self.kept :]
        before = self.term_at(self.kept)
        for entry in record.entries:
            if entry.index != len(self.terms) + 1:
                raise Violation("E3", f"{name} writes entry {entry.index} at {len(self.terms) + 1}")
            if chain.setdefault((entry.index, entry.term), (before, entry.data)) != (before, entry.data):
                raise Violation(
                    "R3",
                    f"{name} writes entry {entry.index} of {entry.term} after {before}; elsewhere it follows another",
                )
            self.terms.append(entry.term)
            before = entry.term
        if before > self.term:
            # A torn batch may have left the entry and not the term it came with.
            self.term, self.vote = before, ""
