"""Raft's invariants, from what leaves a node, what its disk holds and what it shows. Source: Raft 5.2-5.4, dissertation 9.6.

    R1   one leader per term, elected by a majority of distinct voters    R6   one vote per node and term, for ever
    R2   a leader cuts nothing from its log                             R7   what is called committed is durable on a majority, and of
    R3   two logs that share (index, term) share all before it               the caller's own term when it is the first to say so
    R4   leaders have all that is committed; voters refuse a shorter log   R9   one sender of Append per term
    R5   one entry per committed index                                  R10  no vote or pre-vote while the leader is heard, or by a
    RL3  when all is calm, all have one log, committed up to the entry       leader whom a majority answers; no campaign without a
         of the leader's term; one that was emptied too                      majority of pre-votes or the leader's word
    RL2  a leader without acks of a majority stands down                C4   no term is said that a crash would take back: in answers,
                                                                             refusals, lessons, and in what is asked for

An emptied disk takes its copy of committed entries with it. Those that then are on too few disks to be in every majority are no longer
asked of later leaders (R4): no algorithm could keep them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from zjp.election.core import MS, Effects, Event, Recv, Role, Stall, View, Wake
from zjp.wire.peers import (
    Append,
    AppendReply,
    PeerMessage,
    PreVote,
    PreVoteReply,
    Stored,
    TellTerm,
    TimeoutNow,
    Vote,
    VoteReply,
)

from ..node import Node
from .lease import Lease
from .raft_disk import RaftDisk
from .watch import Recorder, Violation, Watch

LATE = 5 * MS
"""Timers may ring late."""


class RaftWatch(Watch):
    """`said`: what a node has handed to its disk; `safe`: what is on it."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self.on_leave = {
            Append: self._append_leaves,
            AppendReply: self._ack_leaves,
            Vote: self._vote_leaves,
            VoteReply: self._grant_leaves,
            PreVote: self._pre_vote_leaves,
            PreVoteReply: self._term_leaves,
            TellTerm: self._term_leaves,
        }
        self.on_hear = {
            Append: self._hears_append,
            AppendReply: self._hears_ack,
            Vote: self._hears_ask,
            PreVote: self._hears_ask,
            VoteReply: self._hears_grant,
            PreVoteReply: self._hears_pre_grant,
            TimeoutNow: self._hears_call,
        }
        self.said: dict[str, RaftDisk] = {}
        self.safe: dict[str, RaftDisk] = {}
        self._chain: dict[tuple[int, int], tuple[int, bytes]] = {}
        """(index, term) of an entry -> the term before it, and its data."""
        self._committed: list[int] = []
        """Terms of the committed entries, from index 1 on."""
        self._commit_terms: list[int] = []
        """In which term each of them was first said to be committed."""
        self._guarded = 0
        """How many of them later leaders must have."""
        self._were_emptied: set[str] = set()
        self._emptied: list[tuple[str, RaftDisk]] = []
        self._cast: dict[tuple[str, int], str] = {}
        self._durable_votes: set[tuple[str, int, str]] = set()
        self._leads: dict[int, str] = {}
        self._votes: dict[tuple[str, int], set[str]] = {}
        self._pre_votes: dict[tuple[str, int], set[str]] = {}
        self._called: set[tuple[str, int]] = set()
        """(node, term) of a campaign that the leader before told it to begin."""
        self._term_before: dict[str, int] = {}
        """The term of a node before it decided on the last request for its vote."""
        self._heard: dict[str, tuple[int, int, str, int]] = {}
        """Node -> (term, local time, leader, round) of the last Append of its own term."""
        self._leases: dict[str, Lease] = {}

    # ── lives and disks ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def starts(self, node: Node) -> None:
        self.safe.setdefault(node.name, RaftDisk())
        self.said[node.name] = self.safe[node.name].copy()
        self._heard.pop(node.name, None)
        self._leases.pop(node.name, None)
        for key in [key for key in self._pre_votes if key[0] == node.name]:
            del self._pre_votes[key]

    def stops(self, node: Node, survived: Sequence[Stored]) -> None:
        self.synced(node, survived)

    def wiped(self, node: Node) -> None:
        self._were_emptied.add(node.name)
        self._emptied.append((node.name, self.safe[node.name]))
        self.safe[node.name] = RaftDisk()
        while self._guarded and self._holders(self._guarded, self._committed[self._guarded - 1]) < self.quorum:
            self._guarded -= 1

    def hands_over(self, node: Node, records: Sequence[Stored]) -> None:
        said = self.said[node.name]
        leads = self._leads.get(said.term) == node.name and node.view.role is Role.LEADER
        for record in records:
            length = len(said.terms)
            said.take(node.name, record, self._chain)
            if leads and said.kept < length and said.term == node.view.epoch:
                raise Violation("R2", f"{node.name} leads {said.term} and cuts its log from {length} to {said.kept}")

    def synced(self, node: Node, records: Sequence[Stored]) -> None:
        safe = self.safe[node.name]
        for record in records:
            before = safe.terms
            length = len(before)
            safe.take(node.name, record, self._chain)
            if safe.vote:
                self._durable_votes.add((node.name, safe.term, safe.vote))
            if safe.kept < length:
                self._check_cut(node, safe, length)

    def _check_cut(self, node: Node, safe: RaftDisk, length: int) -> None:
        """Committed entries stay; what was acknowledged to the leader of a term stays in that term."""
        for index in range(safe.kept + 1, min(length, self._guarded) + 1):
            if (
                safe.was[index - safe.kept - 1] == self._committed[index - 1]
                and safe.term_at(index) != self._committed[index - 1]
            ):
                raise Violation(
                    "R4", f"{node.name} cuts entry {index}, which is committed in term {self._committed[index - 1]}"
                )
        if safe.acked_term == safe.term and safe.kept < safe.acked:
            same = [safe.term_at(index) for index in range(safe.kept + 1, safe.acked + 1)]
            if same != safe.was[: safe.acked - safe.kept]:
                raise Violation(
                    "R3",
                    f"{node.name} cuts entry {safe.kept + 1}, but acknowledged {safe.acked} to the leader of {safe.term}",
                )

    def rewrites(self, node: Node, records: Sequence[Stored]) -> None:
        again = RaftDisk()
        for record in records:
            again.take(node.name, record, self._chain)
        safe = self.safe[node.name]
        if (again.term, again.vote, again.terms) != (safe.term, safe.vote, safe.terms) or again.taught < safe.taught:
            raise Violation("C3", f"{node.name} rewrites its file and loses something: {again} is not {safe}")

    # ── what leaves ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _vote_leaves(self, node: Node, _: int, to: str, message: Vote) -> None:
        term = message.term
        if (node.name, term, node.name) not in self._durable_votes:
            raise Violation("C4", f"{node.name} asks for votes in {term}, and a crash now would forget its own")
        if self._cast.setdefault((node.name, term), node.name) != node.name:
            raise Violation("R6", f"{node.name} voted for {self._cast[node.name, term]} in {term} and campaigns in it")
        if message.is_transfer and (node.name, term) not in self._called:
            raise Violation("R10", f"{node.name} campaigns in {term} as the leader's heir, and no leader told it to")
        if not message.is_transfer and len(self._pre_votes.get((node.name, term), ())) + 1 < self.quorum:
            raise Violation("R10", f"{node.name} campaigns in {term} without a majority of pre-votes")

    def _pre_vote_leaves(self, node: Node, _: int, to: str, message: PreVote) -> None:
        """It asks for the term after its own."""
        self._says_term(node, to, message, message.term - 1)

    def _term_leaves(self, node: Node, _: int, to: str, message: PreVoteReply | TellTerm) -> None:
        self._says_term(node, to, message, message.term)

    def _says_term(self, node: Node, to: str, message: PeerMessage, term: int) -> None:
        if term > self.safe[node.name].term:
            kind = type(message).__name__
            raise Violation("C4", f"{node.name} says {kind} to {to} in {term}, and a crash now would forget that term")

    def _grant_leaves(self, node: Node, _: int, to: str, message: VoteReply) -> None:
        if not message.is_granted:
            self._says_term(node, to, message, message.term)
            return
        term = message.term
        if self._cast.setdefault((node.name, term), to) != to:
            raise Violation("R6", f"{node.name} votes for {to} in {term}, but voted for {self._cast[node.name, term]}")
        if node.name in self._were_emptied and self.safe[node.name].taught < 0:
            raise Violation(
                "R6",
                f"{node.name} was emptied and votes for {to} in {term} before it was taught what it may have promised",
            )
        if (node.name, term, to) not in self._durable_votes:
            raise Violation("C4", f"{node.name} votes for {to} in {term}, and a crash now would forget it")

    def stepped(self, node: Node, local: int, event: Event | None, out: Effects) -> None:
        """What is granted or asked for is judged when it is decided; it may leave later."""
        if out.send_after and type(asked := out.send_after[0].message) is Vote:
            ends = self.said[node.name].last
            if (asked.last_index, asked.last_term) != ends:
                raise Violation(
                    "R4", f"{node.name} campaigns with {asked.last_index, asked.last_term}, its log ends at {ends}"
                )
        if type(event) is Recv and (type(event.message) is PreVote or type(event.message) is Vote):
            for send in (*out.send, *out.send_after):
                if type(send.message) in (VoteReply, PreVoteReply) and send.message.is_granted:  # type: ignore[union-attr]
                    self._grants(node, local, event)
        super().stepped(node, local, event, out)

    def _grants(self, node: Node, local: int, event: Recv) -> None:
        asked, kind = event.message, type(event.message).__name__
        assert isinstance(asked, PreVote | Vote)
        last_index, last_term = self.said[node.name].last
        if (asked.last_term, asked.last_index) < (last_term, last_index):
            ends = asked.last_index, asked.last_term
            raise Violation(
                "R4",
                f"{node.name} grants a {kind} to {event.src}, whose log ends at {ends}, before {last_index, last_term}",
            )
        lease = self._leases.get(node.name)
        if (
            lease is not None
            and lease.age(local) < node.config.timeout
            and not (isinstance(asked, Vote) and asked.is_transfer)
        ):
            ago = lease.age(local) // MS
            raise Violation(
                "R10",
                f"{node.name} leads {lease.epoch}, a majority followed {ago} ms ago, and it grants {event.src} a {kind}",
            )
        term, at, leader, _ = self._heard.get(node.name, (0, 0, "", 0))
        is_sticky = leader != event.src and not (isinstance(asked, Vote) and asked.is_transfer)
        if (
            is_sticky
            and term
            and term == self._term_before.get(node.name)
            and local - at < node.config.timeout
            and node.view.leader
        ):
            ago = (local - at) // MS
            raise Violation(
                "R10", f"{node.name} grants a {kind} to {event.src} though it heard the leader of {term} {ago} ms ago"
            )

    def _append_leaves(self, node: Node, _: int, to: str, message: Append) -> None:
        term, name = message.term, node.name
        if self._leads.get(term) != name:
            self._leader(node, term, "R9")
        if self.safe[name].term < term:
            raise Violation("C4", f"{name} leads {term}, and a crash now would forget that term")
        said = self.said[name]
        last = message.prev_index + len(message.entries)
        if last > len(said.terms) or message.commit > len(said.terms):
            raise Violation(
                "R7", f"{name} sends up to {last}, committed {message.commit}; its log ends at {len(said.terms)}"
            )
        if message.prev_index and said.terms[message.prev_index - 1] != message.prev_term:
            raise Violation("R3", f"{name} sends another log than it has at {message.prev_index}")
        for entry in message.entries:
            if entry.index > last or said.term_at(entry.index) != entry.term:
                raise Violation("R3", f"{name} sends another log than it has at {entry.index}")
        if message.commit > len(self._committed):
            self._commit(node, message)
        lease = self._leases.get(name)
        if lease is not None and lease.epoch == term:
            lease.sends(message.round, node.clock.read(self.cluster.now))

    def _commit(self, node: Node, message: Append) -> None:
        terms = self.said[node.name].terms
        top = message.commit
        if terms[top - 1] != message.term and self._leads.get(terms[top - 1]) != node.name:
            # A leader that was elected again may have committed it in its own former term, and not have told anyone.
            raise Violation(
                "R7", f"{node.name} leads {message.term} and commits {top}, an entry of {terms[top - 1]}, by counting"
            )
        holders = self._holders(top, terms[top - 1]) + self._lost_holders(top, terms[top - 1])
        if holders < self.quorum:
            raise Violation(
                "R7", f"{node.name} commits {top}, which is durable on {holders} of {self.cluster.shape.count}"
            )
        if terms[: self._guarded] != self._committed[: self._guarded]:
            raise Violation("R5", f"{node.name} commits another entry at or before {self._guarded}")
        self._committed = terms[:top]
        self._commit_terms[self._guarded :] = [message.term] * (top - self._guarded)
        self._guarded = top

    def _holders(self, index: int, term: int) -> int:
        return sum(1 for disk in self.safe.values() if disk.term_at(index) == term)

    def _lost_holders(self, index: int, term: int) -> int:
        """Those that acknowledged it and were emptied since: the leader cannot know."""
        lost = {
            name
            for name, disk in self._emptied
            if disk.term_at(index) == term and self.safe[name].term_at(index) != term
        }
        return len(lost)

    def _ack_leaves(self, node: Node, _: int, to: str, message: AppendReply) -> None:
        safe = self.safe[node.name]
        if message.term > safe.term:
            raise Violation("C4", f"{node.name} answers in {message.term}, and a crash now would forget that term")
        if not message.is_ok or message.term < safe.term:
            return
        if message.match > len(safe.terms):
            raise Violation(
                "C4", f"{node.name} acknowledges {message.match}, and a crash now would leave {len(safe.terms)}"
            )
        leader = self._leases.get(to)
        # One that crashed since may have lost what it had sent.
        leads = leader is not None and leader.epoch == message.term
        if leads and message.match and self.said[to].term_at(message.match) != safe.terms[message.match - 1]:
            raise Violation("R3", f"{node.name} acknowledges {message.match} to {to}, whose entry there is another")
        safe.acked, safe.acked_term = (
            max(message.match, safe.acked if safe.acked_term == message.term else 0),
            message.term,
        )

    # ── what is heard ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _hears_append(self, node: Node, local: int, source: str, message: Append) -> None:
        """A late copy of an older round is no sign of life."""
        term, _, _, number = self._heard.get(node.name, (0, 0, "", 0))
        if message.term >= self.said[node.name].term and (message.term > term or message.round > number):
            self._heard[node.name] = message.term, local, source, message.round

    def _hears_ack(self, node: Node, local: int, source: str, message: AppendReply) -> None:
        lease = self._leases.get(node.name)
        if lease is not None and lease.epoch == message.term:
            lease.hears(source, message.round)

    def _hears_ask(self, node: Node, local: int, source: str, message: Vote | PreVote) -> None:
        self._term_before[node.name] = self.said[node.name].term

    def _hears_grant(self, node: Node, local: int, source: str, message: VoteReply) -> None:
        if message.is_granted:
            self._votes.setdefault((node.name, message.term), set()).add(source)

    def _hears_pre_grant(self, node: Node, local: int, source: str, message: PreVoteReply) -> None:
        if message.is_granted:
            self._pre_votes.setdefault((node.name, message.for_term), set()).add(source)

    def _hears_call(self, node: Node, local: int, source: str, message: TimeoutNow) -> None:
        if self._leads.get(message.term) == source:
            self._called.add((node.name, message.term + 1))

    # ── what it shows ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def is_elected(self, node: Node, epoch: int) -> bool:
        votes = len(self._votes.get((node.name, epoch), ())) + ((node.name, epoch, node.name) in self._durable_votes)
        return votes >= self.quorum and self._leads.get(epoch, node.name) == node.name

    def changes(self, node: Node, local: int, before: View, view: View) -> None:
        if view.role is Role.LEADER:
            self._leader(node, view.epoch, "R1")
            if node.name not in self._leases or self._leases[node.name].epoch != view.epoch:
                self._leases[node.name] = Lease(view.epoch, self.quorum, local)
        else:
            self._leases.pop(node.name, None)

    def _leader(self, node: Node, term: int, name: str) -> None:
        """It says or shows that it leads: first come, checked against its votes and its log."""
        former = self._leads.setdefault(term, node.name)
        if former != node.name:
            raise Violation(name, f"{node.name} leads {term}, and so does {former}")
        votes = self._votes.get((node.name, term), set())
        if len(votes) + 1 < self.quorum or (node.name, term, node.name) not in self._durable_votes:
            raise Violation("R1", f"{node.name} leads {term} by {len(votes)} votes of others")
        # Only later leaders owe an entry: votes of an earlier term may be counted after a later one committed it.
        owed = sum(1 for _ in takewhile(lambda committed_in: committed_in < term, self._commit_terms[: self._guarded]))
        if self.said[node.name].terms[:owed] != self._committed[:owed]:
            raise Violation("R4", f"{node.name} leads {term} without all of the {owed} entries committed before")

    def lags(self, nodes: Sequence[Node]) -> str:
        """RL3, asked when all is calm: why these do not have one log that is committed up to the leader's term; empty: they do."""
        logs = [self.safe[node.name].terms for node in nodes]
        if any(log != logs[0] for log in logs):
            return f"logs of lengths {', '.join(str(len(log)) for log in logs)} are not the same"
        if self.quorum == 1:
            return ""
        is_whole = self._guarded == len(self._committed)
        if not logs[0] or (is_whole and self._committed != logs[0]) or logs[0][-1] != nodes[0].view.epoch:
            return f"{len(self._committed)} of {len(logs[0])} entries are committed, the last one of term {logs[0][-1] if logs[0] else 0}"
        return ""

    def acted(self, node: Node, local: int, event: Event | None, out: Effects) -> None:
        lease = self._leases.get(node.name)
        if lease is None:
            return
        if type(event) is Stall:
            lease.stalls(event.lag)
        elif type(event) is Wake and lease.age(local) > node.config.timeout + node.config.interval + LATE:
            raise Violation(
                "RL2", f"{node.name} leads {lease.epoch}, unanswered by a majority for {lease.age(local) // MS} ms"
            )
