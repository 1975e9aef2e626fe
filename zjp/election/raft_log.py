"""Raft's log: entries 1, 2, 3 ... in memory, and the rules about what fits. Source: Raft 5.3, 5.4.

It holds only the no-op of each term that had a leader, so it is kept whole: a thousand elections are some kilobytes. Truncation happens
at a real conflict only, never because a message is shorter than the log: a late copy of an old message must not undo anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..wire.peers import ENTRIES_MAX, Entry, LogTail


class Log:
    """`last_index` and `last_term` are 0 while it is empty. `commit` never falls and is not on disk: a leader tells it again."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self.last_index = 0
        self.last_term = 0
        self.commit = 0

    def term_at(self, index: int) -> int:
        """0 before the first entry, -1 behind the last one: it equals no term."""
        if index > self.last_index:
            return -1
        return self._entries[index - 1].term if index else 0

    def has(self, index: int, term: int) -> bool:
        return self.term_at(index) == term

    def is_covered_by(self, last_index: int, last_term: int) -> bool:
        """A log that ends so is at least as up to date as this one. Source: Raft 5.4.1."""
        return last_term > self.last_term or (last_term == self.last_term and last_index >= self.last_index)

    def entries_from(self, index: int) -> list[Entry]:
        return self._entries[index - 1 : index - 1 + ENTRIES_MAX] if index <= self.last_index else []

    def last_at_or_below(self, index: int, term: int) -> int:
        """The highest index <= `index` whose term is <= `term`: where two logs may still agree."""
        index = min(index, self.last_index)
        while index and self._entries[index - 1].term > term:
            index -= 1
        return index

    def append(self, term: int) -> LogTail:
        """The no-op of a new leader."""
        return self._replace(self.last_index, [Entry(self.last_index + 1, term)])

    def first_new(self, entries: Sequence[Entry]) -> int:
        """Position of the first entry that is not here with the same term; len(entries): nothing is new."""
        for position, entry in enumerate(entries):
            if not self.has(entry.index, entry.term):
                return position
        return len(entries)

    def merge(self, entries: Sequence[Entry]) -> LogTail:
        """From the first of these on the log is these; the one before the first is here."""
        return self._replace(entries[0].index - 1, list(entries))

    def commit_to(self, index: int) -> None:
        self.commit = max(self.commit, min(index, self.last_index))

    def load(self, tail: LogTail) -> None:
        """Raises: ValueError when records are missing."""
        after = tail.entries[0].index - 1 if tail.entries else tail.after
        if after > self.last_index:
            raise ValueError(
                f"the election log on disk ends at {self.last_index} and goes on after {after}: records are lost; "
                "empty the node's folder, then it joins as a new voter does"
            )
        self._replace(after, tail.entries)

    def tails(self) -> list[LogTail]:
        """The records that make this log."""
        return [LogTail(0, list(self._entries))] if self._entries else []

    def _replace(self, after: int, entries: list[Entry]) -> LogTail:
        del self._entries[after:]
        self._entries += entries
        self.last_index = len(self._entries)
        self.last_term = self._entries[-1].term if self._entries else 0
        return LogTail(after, entries)


def is_sound(prev_index: int, prev_term: int, entries: Sequence[Entry], term: int) -> bool:
    """The message's entries follow one another, in terms that never fall and never pass the sender's."""
    if prev_term > term or (not prev_index and prev_term):
        return False
    for entry in entries:
        prev_index += 1
        if entry.index != prev_index or not max(prev_term, 1) <= entry.term <= term:
            return False
        prev_term = entry.term
    return True
