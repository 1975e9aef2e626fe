"""Gossip: the best ranked of those that are there leads. Membership by SWIM (swim.py), the rank by (priority, id), the last word by the
store.

    follower ──I am the best, 2 P long, of a quorum──► candidate ──the store installed my epoch──► leader
        ▲      and nobody who is well leads               │                                          │
        └──────────── another is better ──────────────────┘◄── quorum gone · fenced · a better one for the hold-down · asked to

Views differ for moments, so two may hold themselves the best. The store decides: it installs an epoch without votes only when the former
one has expired there or was resigned. A candidate asks each `interval`, until it is installed or another becomes better in its eyes.

Safety does not rest on views or clocks: each duty carries the epoch, and the store refuses all but the installed one. An epoch is written
down (EpochSeen) before it is sought. Quorum is the majority of `expected`, alive and unsuspected in the own view; a leader that loses it
is out of office in that step, and resigns when it has not come back within one period. Total silence for `timeout` counts as its loss
too, and so does that none of its probes is answered: one that hears everybody and is heard by nobody would keep the office in the store.

A better one that joins leads only after HOLD_DOWN, in which the leader saw it well all the time: then the leader resigns, naming nobody,
and the better one is everybody's choice already. If it does not take over (it may not reach the store), the others try in the order of
their rank, and do not step back for it again within PASSED_OVER. Transfer: the leader tells the lowest priority of itself, resigns when
another has become the choice, and says its own priority again HOLD_DOWN later, or after it was told last that it `is_unfit`; after one more
HOLD_DOWN it may be back. Rank decides who is next, so `to` can only be the best of the others: a transfer to anyone else is refused, as
that one would not be chosen. Nothing happens when nobody else may lead. One that leaves resigns at once, and the next best need not wait
for 2 P.

Fail-over: with N members, P = interval, L = lead_for, D = time until the dead leader is suspected, G = time until the best one hears of it

    no leader for at most  max(D + G + 2 P, L) + P + one answer of the store            (no messages lost, the store answers)
    D <= 2 P when the mesh tells of the lost connection, else 1.6 P + P on average and (2 N - 1) P + P at worst; G about 0.6 P

With the defaults (P = 500 ms, L = timeout = 2 s): 2 s to 3 s on average, at worst 4.8 s of three nodes. A suspicion is enough to choose
another: its own span (at least `timeout`) decides when a member counts as dead, not who leads. `lead_for` below `timeout` gains nothing,
above it the store is what one waits for; it must be longer than some renewals, of which there is one each P. A leader that resigns or
leaves is followed within P. With `expected` = 1 nobody is waited for: the first question goes to the store at once.

why of leader_lost: higher_epoch, resigned, fenced, quorum, outranked, transfer, leave, dead. Of election_failed: outranked, quorum,
fenced; of a transfer that is refused: no_such_target (none that may lead), outranked. Of member_refuted, member_joined: word, ack; of
member_dead: unanswered (here), told.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..wire.peers import Ack, PingPeer, Stored, Sync, SyncReply
from ..wire.peers import Gossip as Gossiped
from .core import (
    EPOCH_MAX,
    SECOND,
    Config,
    Deed,
    Effects,
    Event,
    Happened,
    Health,
    Kind,
    Leave,
    Met,
    Persisted,
    Recv,
    Role,
    Stall,
    StoreReply,
    Time,
    Transfer,
    Uniform,
    View,
    Wake,
)
from .heard import Heard
from .membership.journal import Journal
from .membership.roster import GONE
from .office import Office, Turn
from .swim import MESSAGES, Swim

HOLD_DOWN: Time = 10 * SECOND
"""Shorter: a node that restarts again and again takes the leadership each time. Longer: the preferred one leads later."""
STABLE_PERIODS = 2
"""So long the choice must not have changed: most of what is on its way has then arrived."""
TRANSFER_PERIODS = 3
"""One more than STABLE_PERIODS, so that all see the next one as stable when the leader resigns."""
PASSED_OVER: Time = 30 * HOLD_DOWN
"""Each further chance of one that does not lead costs a time without a leader."""
SILENT_PERIODS = 4
"""A candidate that is the best waits so much longer than HOLD_DOWN for the leader's stepping back before it asks all the same."""
NEVER: Time = 1 << 62
PRIORITY_LOWEST = -(1 << 31)
TELLING = (PingPeer, Ack, Gossiped, Sync, SyncReply)


class Gossip:
    def __init__(self, config: Config, uniform: Uniform) -> None:
        self._config = config
        self._me = config.me
        self._journal = Journal()
        self._swim = Swim(config, uniform, self._journal)
        self._roster = self._swim.roster
        self._office = Office(config)
        self._heard = Heard(config.me, self._journal)
        self._sought: tuple[int, int] | None = None
        """An epoch that will be asked for once the batch of that number is durable."""
        self._began: Time | None = None
        self._next_try: Time = 0
        self._choice = config.me
        self._choice_since: Time = 0
        self._free_since: Time = 0
        """Since when nobody who is well leads, as far as is known."""
        self._is_free = True
        self._held_since: Time = 0
        self._heard_at: Time = 0
        self._quorate = False
        self._quorum_since: Time = 0
        """Since when there is one, or is none."""
        self._passed_over: tuple[str, Time] = ("", 0)
        """A better one that had its chance and did not lead; until when it gets no other."""
        self._back_at: Time | None = None
        """Until then this node stands back after a transfer."""
        self._is_leaving = False
        self._seen = -1
        """The versions that were last looked at."""
        self._look_at: Time = NEVER
        """When time alone may change who should lead."""

    # ── the interface ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, now: Time, records: Sequence[Stored]) -> Effects:
        out = Effects()
        self._choice_since = self._free_since = self._heard_at = self._quorum_since = now
        self._heard.start(records)
        self._swim.voice.told = self._heard.told
        self._swim.start(now, records, out)
        return self._close(now, out)

    def step(self, now: Time, event: Event) -> Effects:
        out = Effects()
        if isinstance(event, Recv):
            self._on_recv(now, event, out)
        elif isinstance(event, Wake):
            self._swim.on_due(now, out)
            self._office.tick(now, out)
        elif isinstance(event, Persisted):
            self._on_persisted(now, event.number, out)
        elif isinstance(event, StoreReply):
            self._on_reply(now, event, out)
        elif isinstance(event, Met):
            self._swim.on_met(now, event, out)
        elif isinstance(event, Stall):
            self._on_stall(event.lag)
        elif isinstance(event, Transfer):
            self._on_transfer(now, event, out)
        elif isinstance(event, Leave):
            self._on_leave(now, out)
        return self._close(now, out)

    def view(self) -> View:
        leader = self._heard.leader
        is_leading = self._office.is_held and self._quorate
        if leader == self._me and not is_leading:
            leader = ""
        return View(
            self._role(is_leading), leader, self._heard.epoch, is_leading, self._quorate, self._roster.members()
        )

    def durable(self) -> Sequence[Stored]:
        return self._swim.durable(), self._heard.durable()

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_recv(self, now: Time, event: Recv, out: Effects) -> None:
        message = event.message
        if not isinstance(message, MESSAGES) or not self._swim.on_message(now, event.src, message, out):
            return
        self._heard_at = now
        if not self._quorate:
            self._seen = -1
        if isinstance(message, TELLING):
            is_mine = self._office.is_held and self._office.epoch == message.max_epoch
            self._heard.hear(event.src, message.max_epoch, message.leader, is_mine=is_mine, out=out)

    def _on_persisted(self, now: Time, number: int, out: Effects) -> None:
        self._journal.on_persisted(number)
        self._swim.on_durable()
        self._heard.on_durable()
        if self._sought is None or self._journal.durable < self._sought[1]:
            return
        epoch, _ = self._sought
        self._sought = None
        if self._may_seek(now):
            self._office.seek(now, epoch, is_elected=False, out=out)

    def _on_reply(self, now: Time, reply: StoreReply, out: Effects) -> None:
        was_held, epoch = self._office.is_held, self._office.epoch
        turn = self._office.on_reply(now, reply, out)
        if turn is Turn.HELD:
            self._held_since = now
            self._heard.lead(epoch, now - self._began if self._began is not None else 0, out)
            self._began = None
        elif turn is Turn.LOST:
            self._heard.see_installed(self._office.floor)
            self._seen = -1
            if self._heard.leader == self._me:
                self._heard.lose("fenced", out)
            else:
                out.happened.append(Happened(Kind.ELECTION_FAILED, epoch=epoch, why="fenced"))
        elif reply.op.deed is Deed.RESIGN and reply.installed is not None and self._roster.best != self._me:
            # The store is free: the next one need not find out by asking.
            self._tell(self._roster.best, out)
        if self._office.is_held != was_held:
            self._seen = -1

    def _on_stall(self, lag: Time) -> None:
        lag = max(0, lag)
        self._swim.on_stall(lag)
        self._choice_since += lag
        self._free_since += lag
        self._heard_at += lag
        self._quorum_since += lag
        self._seen = -1

    def _on_transfer(self, now: Time, event: Transfer, out: Effects) -> None:
        to = event.to
        if event.is_unfit and self._back_at is not None:
            self._back_at = now + HOLD_DOWN
        if not self._office.is_held or self._is_leaving:
            return
        if to not in ("", self._roster.next_best()):
            why = "outranked" if self._roster.is_fit(to) else "no_such_target"
            out.happened.append(Happened(Kind.ELECTION_FAILED, to, self._office.epoch, why))
            return
        self._back_at = now + HOLD_DOWN
        self._swim.set_priority(now, PRIORITY_LOWEST)
        self._seen = -1

    def _on_leave(self, now: Time, out: Effects) -> None:
        if self._is_leaving:
            return
        self._is_leaving = True
        self._sought = None
        self._resign(now, "leave", out)
        self._retell()
        self._swim.leave(now, out)

    # ── who should lead ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _survey(self, now: Time, out: Effects) -> None:
        """Who should lead, and does it?"""
        self._look_at = NEVER
        if self._is_leaving:
            return
        self._observe(now, out)
        if self._office.is_held:
            self._reign(now, out)
        elif self._office.epoch or self._sought is not None:
            self._stand(now, out)
        elif self._may_seek(now):
            self._begin(now, out)

    def _observe(self, now: Time, out: Effects) -> None:
        if self._back_at is not None and self._is_due(now, self._back_at):
            self._back_at = None
            self._swim.set_priority(now, self._config.priority)
        if self._roster.best != self._choice:
            # The order of those below one that left did not change with it.
            if self._roster.health(self._choice) is not Health.LEFT:
                self._choice_since = now
            self._choice = self._roster.best
        self._observe_leader(now, out)
        self._observe_quorum(now, out)

    def _observe_leader(self, now: Time, out: Effects) -> None:
        leader = self._heard.leader
        if leader != self._me and self._roster.health(leader) in GONE:
            self._heard.lose("dead", out)
        if leader and leader == self._passed_over[0]:
            self._passed_over = ("", 0)
        is_free = leader == self._me or not self._roster.is_fit(leader)
        if is_free != self._is_free:
            self._is_free, self._free_since = is_free, now

    def _observe_quorum(self, now: Time, out: Effects) -> None:
        needs_others = self._config.quorum > 1
        is_quorate = self._roster.fit_count >= self._config.quorum
        if is_quorate and needs_others:
            is_silent = self._is_due(now, self._heard_at + self._config.timeout)
            is_quorate = not is_silent and not self._swim.is_unheard
        if is_quorate != self._quorate:
            self._quorate, self._quorum_since = is_quorate, now
            if not is_quorate:
                out.happened.append(Happened(Kind.PARTITION_SUSPECTED))

    def _may_seek(self, now: Time) -> bool:
        if not self._quorate or self._is_leaving:
            return False
        if self._roster.best == self._me:
            stable = 0 if self._config.expected == 1 else STABLE_PERIODS * self._config.interval
            waits = stable if self._is_free else HOLD_DOWN + SILENT_PERIODS * self._config.interval
            return self._is_due(now, self._choice_since + waits)
        return self._is_free and self._may_stand_in(now)

    def _may_stand_in(self, now: Time) -> bool:
        """The best one had its chance; now the others, one after another."""
        since = max(self._free_since, self._choice_since, self._quorum_since) + HOLD_DOWN
        if not self._is_due(now, since):
            return False
        return self._is_due(now, since + self._roster.position(self._me) * STABLE_PERIODS * self._config.interval)

    def _begin(self, now: Time, out: Effects) -> None:
        if not self._is_due(now, self._next_try):
            return
        self._next_try = now + self._config.interval
        epoch = max(self._office.floor, self._heard.highest) + 1
        if epoch > EPOCH_MAX:
            return
        if self._roster.best != self._me:
            self._passed_over = (self._roster.best, now + PASSED_OVER)
        self._sought = (epoch, self._heard.claim(epoch))
        if self._began is None:
            self._began = now
            out.happened.append(Happened(Kind.ELECTION_STARTED, epoch=epoch))

    def _stand(self, now: Time, out: Effects) -> None:
        """A candidate: as long as it would become one."""
        if self._may_seek(now):
            return
        why = "outranked" if self._quorate else "quorum"
        out.happened.append(Happened(Kind.ELECTION_FAILED, epoch=self._office.epoch, why=why))
        self._resign(now, why, out)

    def _reign(self, now: Time, out: Effects) -> None:
        if self._heard.leader != self._me:
            self._office.drop()
        elif not self._quorate:
            if self._is_due(now, self._quorum_since + self._config.interval):
                self._resign(now, "quorum", out)
        elif self._roster.best != self._me and self._must_yield(now):
            self._passed_over = (self._roster.best, now + PASSED_OVER)
            self._resign(now, "outranked" if self._back_at is None else "transfer", out)

    def _must_yield(self, now: Time) -> bool:
        if self._back_at is not None:
            return self._is_due(now, self._choice_since + TRANSFER_PERIODS * self._config.interval)
        better, until = self._passed_over
        since = max(self._choice_since, self._held_since) + HOLD_DOWN
        return self._is_due(now, max(since, until) if better == self._roster.best else since)

    # ── leaves ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _is_due(self, now: Time, at: Time) -> bool:
        """Asked too early: look again then."""
        if now < at < self._look_at:
            self._look_at = at
        return now >= at

    def _resign(self, now: Time, why: str, out: Effects) -> None:
        self._sought, self._began = None, None
        if self._heard.leader == self._me:
            self._heard.lose(why, out)
        self._office.resign(now, out)

    def _tell(self, name: str, out: Effects) -> None:
        if self._roster.get(name) is not None:
            self._swim.voice.gossip(name, out)

    def _role(self, is_leading: bool) -> Role:
        if is_leading:
            return Role.LEADER
        return Role.CANDIDATE if self._office.epoch or self._sought is not None else Role.FOLLOWER

    def _close(self, now: Time, out: Effects) -> Effects:
        """At the end of each step, so it has to be quick: look only when something has changed that matters, or when time alone may."""
        is_news = self._seen != self._roster.version + self._heard.version
        if is_news or now >= self._look_at or (self._quorate and self._swim.is_unheard):
            self._survey(now, out)
            self._seen = self._roster.version + self._heard.version
            self._retell()
        self._swim.close(now, out)
        self._journal.flush(out)
        wake = self._swim.timers.next()
        if self._office.wake is not None and (wake is None or self._office.wake < wake):
            wake = self._office.wake
        out.wake = self._look_at if wake is None or self._look_at < wake else wake
        if out.wake == NEVER:
            out.wake = None
        return out

    def _retell(self) -> None:
        told = self._heard.told
        if told != self._swim.voice.told:
            self._swim.voice.told = told
            self._swim.spread_news()
