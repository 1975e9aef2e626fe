"""Raft, as far as electing a leader goes. Sources: Raft 5; Ongaro's dissertation 3.10, 4.2.3, 6.2, 9.6.

                 silence            pre-votes of a majority        votes of a majority
    follower ──────────► pre-candidate ─────────────► candidate ─────────────► leader
       ▲  ▲                    │ a leader, a higher term    │ the same               │ a higher term, no majority answers (check-quorum),
       │  └────────────────────┴────────────────────────────┘                       │ the store has another (LOST), it leaves
       └────────────────────────────────────────────────────────────────────────────┘
    learner: no voter; or one whose folder was empty and that does not know enough yet (teaching.py)

The log (raft_log.py) holds a no-op for each term that had a leader. It has no other use than to elect by Raft's own rules, whose proofs
speak of it. What a leader knows of the others is in raft_leading.py, who is there in raft_roster.py, what must not be forgotten in
raft_promises.py.

Order of disk and network. Terms, votes and entries change in memory at once; the records of a step are one batch. Everything said that
rests on them travels in `send_after`: all answers, and requests for votes too (they tell how long the log is). A candidate's own vote, and
a leader's own copy of an entry, count when their batch is durable. A leader's Append need not wait: it only tells what to write.

Pre-vote and stickiness: who hears its leader grants nobody anything, and who cannot win never raises its term. So a node that was cut off
comes back without a stir. Two know better: the leader's heir (`is_transfer`), and the leader itself when it asks for votes.

Words of `why`. Leader lost: silent, quorum, higher_term, transfer, left, fence. Election started: timeout, transfer. Election failed:
split (someone refused), no_quorum (too few answered), higher_term, other_leader. Partition suspected: no_quorum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..wire.peers import (
    Append,
    AppendReply,
    AskTerm,
    PreVote,
    PreVoteReply,
    Stored,
    TellTerm,
    TimeoutNow,
    Vote,
    VoteReply,
)
from .core import (
    EPOCH_JUMP_MAX,
    EPOCH_MAX,
    Config,
    Effects,
    Event,
    Happened,
    Kind,
    Leave,
    Met,
    Persisted,
    Recv,
    Role,
    Send,
    Stall,
    StoreReply,
    Time,
    Transfer,
    Uniform,
    View,
    Wake,
)
from .office import Office, Turn
from .raft_ballot import Candidacy, Voters
from .raft_leading import Leading
from .raft_promises import Promises
from .raft_roster import Roster
from .teaching import Teaching

CLAIMS_END = 2
"""Timeouts after which no candidate counts the votes of one candidacy any more."""
LESSONS = (AskTerm, TellTerm)
"""All that a node hears which does not know what it promised."""


class Raft:
    """See core.Core. `_leading` is there while it leads, `_teaching` until it knows what it may have promised. `log` is for checkers."""

    def __init__(self, config: Config, uniform: Uniform) -> None:
        self._config = config
        self._uniform = uniform
        self._me = config.me
        self._timeout = config.timeout
        self._promises = Promises()
        self.log = self._promises.log
        self._voters = Voters(config, self._promises)
        self._leader = ""
        self._heard_at: Time = 0
        """When the leader was heard last, if there is one."""
        self._heard_round = 0
        """The newest of this term's leader: a late copy of an earlier one is no sign of life."""
        self._deadline: Time = 0
        self._candidacy: Candidacy | None = None
        self._leaderless_at: Time | None = None
        self._leading: Leading | None = None
        self._teaching: Teaching | None = None
        self._is_leaving = False
        self._is_suspecting = False
        """A partition has been told of, since the last leader."""
        self._office = Office(config)
        self._roster = Roster(0, config, self._voters.others)
        self._on_event: dict[type, Callable[[Time, Any, Effects], None]] = {
            Recv: self._on_recv,
            Wake: self._on_wake,
            Persisted: self._on_persisted,
            StoreReply: self._on_store_reply,
            Met: self._on_met,
            Stall: self._on_stall,
            Transfer: self._on_transfer,
            Leave: self._on_leave,
        }
        self._on_message: dict[type, Callable[[Time, str, Any, Effects], None]] = {
            PreVote: self._on_pre_vote,
            PreVoteReply: self._on_pre_vote_reply,
            Vote: self._on_vote,
            VoteReply: self._on_vote_reply,
            Append: self._on_append,
            AppendReply: self._on_append_reply,
            TimeoutNow: self._on_timeout_now,
            AskTerm: self._on_ask_term,
            TellTerm: self._on_tell_term,
        }

    # ── the interface ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, now: Time, records: Sequence[Stored]) -> Effects:
        out = Effects()
        had_any = self._promises.load(records)
        self._roster = Roster(now, self._config, self._voters.others)
        self._set_deadline(now)
        if self._voters.has_me and not self._voters.others:
            self._campaign(now, out, is_transfer=False)
        elif self._voters.has_me and not had_any:
            voters = self._voters
            self._teaching = Teaching(now, self._config, voters.others, voters.quorum, self._uniform, CLAIMS_END)
            self._learn(now, self._teaching.tick(now, out), out)
        return self._finish(out)

    def step(self, now: Time, event: Event) -> Effects:
        out = Effects()
        self._on_event[type(event)](now, event, out)
        return self._finish(out)

    def view(self) -> View:
        is_in_office = self._leading is not None and self._office.is_held
        return View(
            self._role(), self._leader, self._promises.term, is_in_office, bool(self._leader), self._roster.members()
        )

    def durable(self) -> Sequence[Stored]:
        return self._promises.all()

    def _role(self) -> Role:
        if self._leading is not None:
            return Role.LEADER
        if self._candidacy is not None:
            return Role.CANDIDATE
        is_learner = self._teaching is not None or not self._voters.may_vote(self._promises.term + 1)
        return Role.LEARNER if is_learner else Role.FOLLOWER

    def _finish(self, out: Effects) -> Effects:
        self._promises.flush(out)
        out.wake = self._wake()
        return out

    def _wake(self) -> Time:
        if self._leading is not None:
            return self._leading.wake(self._office.wake)
        return self._deadline if self._teaching is None else self._teaching.wake

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_recv(self, now: Time, event: Recv, out: Effects) -> None:
        src, message = event.src, event.message
        if src == self._me:
            return
        known = self._roster.known.get(src)
        if known is not None:
            known.heard = now
        handler = self._on_message.get(type(message))
        if handler is not None and (self._teaching is None or type(message) in LESSONS):
            handler(now, src, message, out)

    def _on_wake(self, now: Time, _event: Wake, out: Effects) -> None:
        if self._teaching is not None:
            self._learn(now, self._teaching.tick(now, out), out)
        elif self._leading is not None:
            self._lead(now, self._leading, out)
        elif now >= self._deadline:
            self._on_silence(now, out)

    def _on_persisted(self, now: Time, event: Persisted, out: Effects) -> None:
        if self._leading is not None:
            self._leading.on_persisted(event.number)
        elif (candidacy := self._candidacy) is not None and not candidacy.is_asked and candidacy.batch <= event.number:
            candidacy.asked_at, candidacy.is_asked = now, True
            self._set_deadline(now)
            self._count(now, self._me, True, candidacy, out)

    def _on_met(self, now: Time, event: Met, out: Effects) -> None:
        if event.peer == self._me:
            return
        self._roster.met(now, event)
        self._roster.assess(now, out, is_leader=self._leading is not None)
        if event.is_up and self._teaching is not None:
            self._teaching.ask(event.peer, out)
        if self._leading is not None and event.peer not in self._voters.names:
            if event.is_up:
                self._leading.add((event.peer,), is_voter=False)
            else:
                self._leading.forget(event.peer)

    def _on_stall(self, _now: Time, event: Stall, _out: Effects) -> None:
        """Others may have spoken, and their words wait in the sockets. What *was* heard is not made younger: `_heard_at` stays."""
        self._deadline += event.lag
        self._roster.shift(event.lag)
        if self._leading is not None:
            self._leading.shift(event.lag)

    def _on_transfer(self, now: Time, event: Transfer, out: Effects) -> None:
        if self._leading is not None:
            self._leading.hand_over(now, event.to, out)

    def _on_leave(self, now: Time, _event: Leave, out: Effects) -> None:
        """It campaigns no more, but votes while it can. A leader hands over first, for a timeout at most, and resigns."""
        self._is_leaving = True
        self._candidacy = None
        if self._leading is not None:
            self._leading.hand_over(now, "", out)
            if not self._leading.heir:
                self._step_down(now, "left", out)

    def _on_store_reply(self, now: Time, event: StoreReply, out: Effects) -> None:
        """Refused: what is installed is the term from now on, and the one to lead is above it."""
        if self._office.on_reply(now, event, out) is not Turn.LOST:
            return
        self._step_down(now, "fence", out)
        if self._promises.term < self._office.floor <= EPOCH_MAX:
            self._move(self._office.floor, "")
        self._pre_campaign(now, out)

    # ── learning what was promised ───────────────────────────────────────────────────────────────────────────────────────────────

    def _on_ask_term(self, _now: Time, src: str, message: AskTerm, out: Effects) -> None:
        if src in self._voters.names:
            out.send_after.append(Send(src, TellTerm(message.nonce, self._promises.term)))

    def _on_tell_term(self, now: Time, src: str, message: TellTerm, out: Effects) -> None:
        if self._teaching is not None:
            self._learn(now, self._teaching.on_told(src, message), out)

    def _learn(self, now: Time, term: int | None, out: Effects) -> None:
        if term is None:
            return
        self._teaching = None
        self._promises.learn(term)
        self._set_deadline(now)
        if term:
            out.happened.append(Happened(Kind.MEMBER_REPLACED, self._me, term))

    # ── terms and states ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _set_deadline(self, now: Time) -> None:
        self._deadline = now + self._timeout + int(self._uniform() * self._timeout)

    def _is_current(self, now: Time, src: str, term: int, out: Effects, why: str = "higher_term") -> bool:
        """Adopt a voter's higher term, unless a damaged message pretends it. Whether it is above or at the own term now."""
        if src not in self._voters.names or term > self._promises.term + EPOCH_JUMP_MAX:
            return False
        if term > self._promises.term:
            self._follow_nobody(now, why, out)
            self._move(term, "")
        return term == self._promises.term

    def _move(self, term: int, vote: str) -> None:
        self._promises.move(term, vote)
        self._heard_round = 0

    def _follow_nobody(self, now: Time, why: str, out: Effects) -> None:
        """Whatever it was in this term, it is no more."""
        if self._leading is not None:
            self._step_down(now, "transfer" if self._leading.heir else why, out)
        elif self._leader:
            out.happened.append(Happened(Kind.LEADER_LOST, self._leader, self._promises.term, why))
        elif self._candidacy is not None and self._candidacy.is_real:
            out.happened.append(Happened(Kind.ELECTION_FAILED, self._me, self._promises.term, why))
        self._candidacy, self._leader = None, ""

    def _step_down(self, now: Time, why: str, out: Effects) -> None:
        out.happened.append(Happened(Kind.LEADER_LOST, self._me, self._promises.term, why))
        self._leading, self._leader = None, ""
        self._set_deadline(now)
        if self._is_leaving:
            self._office.resign(now, out)
        else:
            self._office.drop()

    # ── following ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_append(self, now: Time, src: str, message: Append, out: Effects) -> None:
        """Source: 5.3. A stale leader is told so; two leaders in one term there cannot be, and the second one is not heard."""
        if not self._is_current(now, src, message.term, out):
            if src in self._voters.names and message.term < self._promises.term:
                out.send_after.append(Send(src, AppendReply(self._promises.term, message.round, False, 0)))
            return
        if self._leader not in ("", src) or not message.term:
            return
        if message.round > self._heard_round:
            if not self._leader:
                self._follow(now, src, out)
            self._heard_round = message.round
            self._heard_at = now
            self._set_deadline(now)
        reply = self._promises.take(message)
        if reply is not None:
            out.send_after.append(Send(src, reply))

    def _follow(self, now: Time, leader: str, out: Effects) -> None:
        self._follow_nobody(now, "other_leader", out)
        self._leader, self._leaderless_at = leader, None
        self._roster.assess(now, out, is_leader=False)
        out.happened.append(Happened(Kind.LEADER_ELECTED, leader, self._promises.term))

    def _on_timeout_now(self, now: Time, src: str, message: TimeoutNow, out: Effects) -> None:
        """The leader hands over: no pre-vote, for it is not lost."""
        if src == self._leader and message.term == self._promises.term and not self._is_leaving:
            self._campaign(now, out, is_transfer=True)

    # ── electing ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_silence(self, now: Time, out: Effects) -> None:
        """The deadline passed: no leader was heard, or no majority answered."""
        if self._leader:
            out.happened.append(Happened(Kind.LEADER_LOST, self._leader, self._promises.term, "silent"))
        elif self._candidacy is not None:
            if not self._candidacy.is_asked:
                # The disk is slow. Another term would only have to wait for it too.
                self._set_deadline(now)
                return
            self._on_lost_election(self._candidacy, out)
        self._pre_campaign(now, out)
        self._roster.assess(now, out, is_leader=False)

    def _on_lost_election(self, candidacy: Candidacy, out: Effects) -> None:
        if candidacy.is_real:
            why = "split" if candidacy.refusals else "no_quorum"
            out.happened.append(Happened(Kind.ELECTION_FAILED, self._me, candidacy.term, why))
        elif not candidacy.refusals and not self._is_suspecting:
            self._is_suspecting = True
            out.happened.append(Happened(Kind.PARTITION_SUSPECTED, self._me, self._promises.term, "no_quorum"))

    def _pre_campaign(self, now: Time, out: Effects) -> None:
        """Ask whether an election could be won, and forget the leader. Source: 9.6."""
        self._candidacy, self._leader = None, ""
        self._set_deadline(now)
        term = self._promises.term + 1
        if self._is_leaving or term > EPOCH_MAX or not self._voters.may_vote(term):
            return
        if self._leaderless_at is None:
            self._leaderless_at, self._is_suspecting = now, False
        candidacy = self._candidacy = Candidacy(now, term, 0)
        ask = PreVote(term, self.log.last_index, self.log.last_term)
        out.send_after += [Send(name, ask) for name in self._voters.others]
        self._count(now, self._me, True, candidacy, out)

    def _campaign(self, now: Time, out: Effects, *, is_transfer: bool) -> None:
        """The own vote counts when it is durable; the others are asked then too."""
        term = self._promises.term + 1
        if term > EPOCH_MAX or not self._voters.may_vote(term):
            return
        self._candidacy, self._leader = Candidacy(now, term, self._promises.next_batch), ""
        self._set_deadline(now)
        if self._leaderless_at is None:
            self._leaderless_at = now
        self._move(term, self._me)
        out.happened.append(Happened(Kind.ELECTION_STARTED, self._me, term, "transfer" if is_transfer else "timeout"))
        ask = Vote(term, self.log.last_index, self.log.last_term, is_transfer)
        out.send_after += [Send(name, ask) for name in self._voters.others]

    # ── voting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _is_sticky(self, now: Time, src: str) -> bool:
        """Hears a leader that is not the one who asks. Source: 4.2.3."""
        if self._leading is not None:
            return True
        return self._leader not in ("", src) and now < self._heard_at + self._timeout

    def _on_pre_vote(self, now: Time, src: str, message: PreVote, out: Effects) -> None:
        """As a vote would be given, but nothing changes. A refusal carries the own term, so that the one behind catches up."""
        term = self._promises.term
        if src not in self._voters.names or not self._voters.has_me or message.term > term + EPOCH_JUMP_MAX:
            return
        is_granted = self._voters.would_grant(message) and not self._is_sticky(now, src)
        out.send_after.append(Send(src, PreVoteReply(term, message.term, is_granted)))

    def _on_pre_vote_reply(self, now: Time, src: str, message: PreVoteReply, out: Effects) -> None:
        if message.term > self._promises.term:
            self._is_current(now, src, message.term, out)
        elif (
            (candidacy := self._candidacy) is not None and not candidacy.is_real and message.for_term == candidacy.term
        ):
            self._count(now, src, message.is_granted, candidacy, out)

    def _on_vote(self, now: Time, src: str, message: Vote, out: Effects) -> None:
        """Source: 5.2, 5.4.1. One that hears its leader does not even adopt the term (4.2.3)."""
        if src not in self._voters.names or not self._voters.has_me:
            return
        is_heard = message.is_transfer or not self._is_sticky(now, src)
        why = "transfer" if message.is_transfer else "higher_term"
        is_granted = is_heard and self._is_current(now, src, message.term, out, why) and self._voters.may_grant(src, message)
        if is_granted:
            if not self._promises.vote:
                self._promises.move(message.term, src)
            self._set_deadline(now)
        out.send_after.append(Send(src, VoteReply(self._promises.term, is_granted)))

    def _on_vote_reply(self, now: Time, src: str, message: VoteReply, out: Effects) -> None:
        if (
            self._is_current(now, src, message.term, out)
            and (candidacy := self._candidacy) is not None
            and candidacy.is_real
        ):
            self._count(now, src, message.is_granted, candidacy, out)

    def _count(self, now: Time, voter: str, is_granted: bool, candidacy: Candidacy, out: Effects) -> None:
        """Sets of voters' names: doubled answers and strangers count for nothing."""
        if voter not in self._voters.names:
            return
        (candidacy.grants if is_granted else candidacy.refusals).add(voter)
        if len(candidacy.grants) >= self._voters.quorum:
            if candidacy.is_real:
                self._win(now, candidacy, out)
            else:
                self._campaign(now, out, is_transfer=False)

    # ── leading ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _win(self, now: Time, candidacy: Candidacy, out: Effects) -> None:
        """An entry of the own term at once: without one, earlier entries could never be committed (5.4.2)."""
        term = self._promises.term
        leading = Leading(
            self._config, self.log, term, self._voters.quorum, candidacy.asked_at, self._promises.next_batch
        )
        leading.add(self._voters.others, is_voter=True)
        leading.add((name for name, known in self._roster.known.items() if known.is_up), is_voter=False)
        self._promises.append()
        self._candidacy, self._leading, self._leader = None, leading, self._me
        took = now - self._leaderless_at if self._leaderless_at is not None else 0
        self._leaderless_at = None
        self._roster.lead(now)
        out.happened.append(Happened(Kind.LEADER_ELECTED, self._me, term, took=took))
        self._office.seek(now, term, is_elected=True, out=out)
        leading.beat(now, out)

    def _lead(self, now: Time, leading: Leading, out: Effects) -> None:
        if leading.is_lost(now):
            out.happened.append(Happened(Kind.PARTITION_SUSPECTED, self._me, self._promises.term, "no_quorum"))
            self._step_down(now, "quorum", out)
            return
        if leading.heir and now >= leading.heir_until:
            leading.heir = ""
            if self._is_leaving:
                self._step_down(now, "left", out)
                return
        if now >= leading.beat_at:
            leading.beat(now, out)
            self._roster.assess(now, out, is_leader=True)
        self._office.tick(now, out)

    def _on_append_reply(self, now: Time, src: str, message: AppendReply, out: Effects) -> None:
        """Learners are not voters: what they say of terms is nobody's concern."""
        if src in self._voters.names and not self._is_current(now, src, message.term, out):
            return
        if self._leading is not None and message.term == self._promises.term:
            self._leading.on_reply(src, message, out)
