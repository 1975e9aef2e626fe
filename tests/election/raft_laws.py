"""Raft's invariants over a whole bench: told of every step, it raises at the first that breaks one. Source: Raft, figure 3."""

from __future__ import annotations

from typing import cast

from tests.election.bench import Bench
from zjp.election.core import Effects, Event, Kind, Persisted, Recv
from zjp.election.raft import Raft
from zjp.wire.peers import Append, TermVote, VoteReply


class Laws:
    """`committed`: index -> term, of all that any node ever held committed."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.leaders: dict[int, str] = {}
        self.votes: dict[tuple[str, int], str] = {}
        self.committed: dict[int, int] = {}
        self._commits: dict[tuple[str, int], int] = {}
        bench.on_event = self.check

    def check(self, name: str, event: Event, effects: Effects) -> None:
        node = self._bench.nodes[name]
        core = cast(Raft, node.core)
        if isinstance(event, Recv) and isinstance(event.message, VoteReply) and event.message.is_granted:
            self._is_one_vote(event.src, event.message.term, name)
        if isinstance(event, Persisted):
            for record in node.disk:
                if isinstance(record, TermVote) and record.vote:
                    self._is_one_vote(name, record.term, record.vote)
        for happened in effects.happened:
            if happened.kind is Kind.LEADER_ELECTED:
                self._is_one_leader(happened.node, happened.epoch)
                self._has_all_committed(name, happened.node, core)
        for send in effects.send:
            if isinstance(send.message, Append):
                self._is_one_leader(name, send.message.term)
        self._agrees(name, (name, node.config.boot), core)

    def _is_one_vote(self, name: str, term: int, candidate: str) -> None:
        assert self.votes.setdefault((name, term), candidate) == candidate, f"R6: {name} votes twice in {term}"

    def _is_one_leader(self, name: str, term: int) -> None:
        assert self.leaders.setdefault(term, name) == name, f"R1, R9: {name} and {self.leaders[term]} lead in {term}"

    def _has_all_committed(self, name: str, leader: str, core: Raft) -> None:
        missing = {index for index, term in self.committed.items() if not core.log.has(index, term)}
        assert name != leader or not missing, f"R4: leader {leader} lacks {missing}"

    def _agrees(self, name: str, life: tuple[str, int], core: Raft) -> None:
        log = core.log
        assert self._commits.get(life, 0) <= log.commit <= log.last_index, f"R7: {name}"
        self._commits[life] = log.commit
        for index in range(1, log.commit + 1):
            assert self.committed.setdefault(index, log.term_at(index)) == log.term_at(index), f"R5: {name} at {index}"
        for other in self._bench.nodes.values():
            if other.core is not None and other.core is not core:
                self._matches(log_of(core), log_of(cast(Raft, other.core)))

    def _matches(self, mine: list[int], theirs: list[int]) -> None:
        """R3: where two logs have an entry of one term, all before it is the same."""
        for index in range(min(len(mine), len(theirs)), 0, -1):
            if mine[index - 1] == theirs[index - 1]:
                assert mine[:index] == theirs[:index], f"R3: {mine} and {theirs}"
                return


def log_of(core: Raft) -> list[int]:
    return [core.log.term_at(index) for index in range(1, core.log.last_index + 1)]
