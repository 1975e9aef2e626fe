"""Bully: whoever ranks highest leads; by preference. By safety: whoever a majority granted a new epoch. Pure; core.py says how to drive it.

Garcia-Molina's election (1982) assumes that no message is lost or late and that silence proves death. Here neither is so, and what his
algorithm decides is only *who tries first*: rank = (priority, name). Whether one may lead is decided by grants, one per voter and epoch.

    follows ── silence ──► asking ── no answer ──► claiming ── majority ──► leading ── no quorum, higher epoch, store ──► follows nobody
       ▲                     │ answered               │ two voters, no word           ▲
       │                     ▼                        ▼                               │
       └── a coordinator ─ waiting                 seeking ── the store installs it ──┘

    silence    no Beat for `timeout` and up to an interval of luck. A node that has just started waits as long
    asking     Elect to the voters above that are not held dead; one that lives Answers and holds its own election
    claiming   Claim(epoch) to all voters, said again every interval to those that have not granted it, for a timeout
    granting   Promise(epoch, to) is durable before the Grant leaves, the claimant's own before its Claim. One claimant per epoch, never a
               lower epoch. No grant while a coordinator is heard: one that was cut off disturbs nobody when it returns
    leading    Beat(epoch, round) every interval; what counts is when the answered round was sent. A timeout without a majority: no longer

A grant binds the voter's later grants, not its ears: it follows the coordinator of the highest epoch that it knows to be led, whatever it
has promised above. So claims that fail depose nobody. Whoever speaks for a lower epoch than that is told the higher one (BeatAck).

**Else.** Coming back and the hold-down: judge.py. Handing over: campaign.py. Two voters, of whom the store is the witness: lease.py. A
voter whose folder is empty only follows until it knows what it may have promised in a former life: teaching.py. One voter leads at once.
One that is no voter follows and is never counted. Epochs more than EPOCH_JUMP_MAX above the own are not believed, but those told then.

Why a node did something is one of these words: start, silence, retry, asked, bullied, resigned, transfer, hold_down, store (an election
began); rejected, no_quorum, no_coordinator, no_such_target (failed); silence, resigned, quorum, higher_epoch, handover, store, transfer,
left (a leader was lost); elected, witness, back (a leader is known).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..wire.peers import (
    Answer,
    AskTerm,
    Beat,
    BeatAck,
    Claim,
    Coordinator,
    Elect,
    Grant,
    PeerMessage,
    Resign,
    Stored,
    TellTerm,
)
from .ballot import Ballot
from .campaign import CLAIMS_END, HOLD_DOWN, Campaign, Outcome, Stage
from .core import (
    Config,
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
    Send,
    Stall,
    StoreReply,
    Time,
    Transfer,
    Uniform,
    View,
    Wake,
)
from .judge import Verdict, judge
from .lease import Lease
from .office import Office, Turn
from .reign import News, Reign, earliest
from .roster import Roster
from .teaching import Teaching


class Bully:
    """See the module. Whose campaign rests while it has a leader has a takeover in mind, or none."""

    def __init__(self, config: Config, uniform: Uniform) -> None:
        self._config = config
        self._me = config.me
        self._ballot = Ballot(config.me)
        self._roster = Roster(config)
        self._campaign = Campaign(config, uniform, self._ballot, self._roster)
        self._reign = Reign(config.timeout)
        self._office = Office(config)
        self._lease = Lease(config, self._campaign.quorum, self._office if self._campaign.is_pair else None)
        self._others = self._roster.others
        self._is_voter = False
        self._uniform = uniform
        self._teaching: Teaching | None = None
        self._hold_down = config.timeout * HOLD_DOWN
        self._now: Time = 0
        self._beat_at: Time = 0
        self._is_gone = False
        leads = {Beat: self._on_beat, BeatAck: self._on_beat_ack, Coordinator: self._on_coordinator}
        votes = {Elect: self._on_elect, Answer: self._on_answer, Claim: self._on_claim, Grant: self._on_grant}
        rest = {Resign: self._on_resign, AskTerm: self._on_ask_term, TellTerm: self._on_tell_term}
        self._on_message = leads | votes | rest
        heard = {Recv: self._on_recv, Wake: self._on_wake, Persisted: self._on_persisted, StoreReply: self._on_store}
        told = {Met: self._on_met, Stall: self._on_stall, Transfer: self._on_transfer, Leave: self._on_leave}
        self._on_event = heard | told

    # ── the interface ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, now: Time, records: Sequence[Stored]) -> Effects:
        out = Effects()
        self._now = now
        self._ballot.load(records)
        self._roster.start(now)
        is_voter = self._me in self._config.voters
        self._is_voter = is_voter and (len(records) > 0 or not self._others)
        if self._is_voter and not self._others:
            self._begin(now, "start", out)
        elif self._is_voter:
            self._campaign.rest(now + self._campaign.patience(), "start")
        elif is_voter:
            self._start_learning(now, out)
        return self._closed(out)

    def step(self, now: Time, event: Event) -> Effects:
        out = Effects()
        self._now = now
        if not self._is_gone:
            self._on_event[type(event)](now, event, out)  # type: ignore[operator]
        return self._closed(out)

    def view(self) -> View:
        reign, is_leading = self._reign, self._is_leading
        has_lease = is_leading and self._now < self._lease.end()
        has_quorum = has_lease if is_leading else reign.leader != ""
        is_in_office = has_lease and self._office.is_held
        return View(self._role(), reign.leader, reign.epoch, is_in_office, has_quorum, self._roster.shown())

    def durable(self) -> Sequence[Stored]:
        return self._ballot.records()

    @property
    def _is_leading(self) -> bool:
        return self._reign.leader == self._me

    def _role(self) -> Role:
        if self._is_leading:
            return Role.LEADER
        if not self._is_voter:
            return Role.LEARNER
        return Role.CANDIDATE if self._campaign.is_running and not self._reign.leader else Role.FOLLOWER

    def _closed(self, out: Effects) -> Effects:
        self._ballot.hand_over(out)
        out.wake = self._wake_at()
        return out

    def _wake_at(self) -> Time | None:
        if self._is_gone:
            return None
        campaign, at = self._campaign, None
        if self._reign.leader:
            at = min(self._beat_at, self._lease.stop_at()) if self._is_leading else self._reign.silence_at
        taught_at = None if self._teaching is None else self._teaching.wake
        return earliest(at, campaign.deadline, campaign.repeat_at, self._office.wake, self._roster.wake, taught_at)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_recv(self, now: Time, event: Recv, out: Effects) -> None:
        kind = type(event.message)
        handle = self._on_message.get(kind)
        if handle is None or event.src == self._me:
            return
        if self._roster.hear(now, event.src, out) and self._is_leading:
            self._tell(event.src, out)
        # One that is no voter says good-bye, and nothing else that counts.
        if event.src in self._others or kind is Resign:
            handle(now, event.src, event.message, out)  # type: ignore[operator]

    def _on_wake(self, now: Time, _event: Wake, out: Effects) -> None:
        campaign, reign = self._campaign, self._reign
        self._roster.age(now, out, is_leader=self._is_leading)
        if self._is_leading:
            self._lead_on(now, out)
        elif reign.leader and now >= reign.silence_at:
            self._lose_silent(now, out)
            if self._is_voter:
                self._begin(now, "silence", out)
        elif campaign.deadline is not None and now >= campaign.deadline:
            self._take(now, campaign.on_deadline(now, out), out)
        elif campaign.repeat_at is not None and now >= campaign.repeat_at:
            self._take(now, campaign.repeat(now, out), out)
        self._office.tick(now, out)
        if self._teaching is not None:
            self._learn(now, self._teaching.tick(now, out), out)

    def _on_persisted(self, now: Time, event: Persisted, out: Effects) -> None:
        self._ballot.durable = max(self._ballot.durable, event.number)
        self._take(now, self._campaign.on_persisted(), out)

    def _on_met(self, now: Time, event: Met, out: Effects) -> None:
        if not event.is_up:
            self._roster.suspect(now, event.peer, out)
            return
        if self._roster.meet(now, event.peer, event.priority, out) and self._is_leading:
            self._tell(event.peer, out)
        if self._teaching is not None:
            self._teaching.ask(event.peer, out)
        self._plan_takeover(now)

    def _on_stall(self, now: Time, event: Stall, out: Effects) -> None:
        if event.lag <= 0:
            return
        self._roster.refresh(now)
        if self._is_leading:
            self._lease.stall(now, event.lag, self._campaign.answer_wait)
            self._beat_at = now
            return
        self._reign.stall(now, event.lag)
        self._campaign.stall(now, event.lag)
        if self._reign.leader and self._campaign.stage is Stage.REST:
            self._campaign.deadline = None
            self._plan_takeover(now)

    def _on_transfer(self, now: Time, event: Transfer, out: Effects) -> None:
        if not self._is_leading:
            if event.is_unfit:
                self._campaign.put_off(now)
            return
        to = event.to or self._roster.best()
        if to not in self._others or self._roster.health(to) is not Health.ALIVE:
            out.happened.append(Happened(Kind.ELECTION_FAILED, to, self._reign.epoch, "no_such_target"))
            return
        self._resign(now, "transfer", to, out)
        self._succeed(now, to, out)

    def _on_leave(self, now: Time, _event: Leave, out: Effects) -> None:
        if self._is_leading:
            self._resign(now, "left", self._roster.best(), out)
        self._office.resign(now, out)
        self._say(Resign(0), out)
        self._reign.end(is_over=True)
        self._campaign.rest(None, "left")
        self._is_gone = True

    # ── learning what was promised ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_learning(self, now: Time, out: Effects) -> None:
        is_pair, quorum = self._campaign.is_pair, self._campaign.quorum
        self._teaching = Teaching(now, self._config, self._others, quorum, self._uniform, CLAIMS_END, has_witness=is_pair)
        self._teaching.tick(now, out)
        if is_pair:
            self._office.look(now)

    def _on_ask_term(self, _now: Time, src: str, message: AskTerm, out: Effects) -> None:
        out.send_after.append(Send(src, TellTerm(message.nonce, self._ballot.promised)))

    def _on_tell_term(self, now: Time, src: str, message: TellTerm, out: Effects) -> None:
        if self._teaching is not None:
            self._learn(now, self._teaching.on_told(src, message), out)

    def _learn(self, now: Time, epoch: int | None, out: Effects) -> None:
        """None: not known yet. What was followed meanwhile is written only now: a folder that holds a promise is held for a whole one."""
        if epoch is None:
            return
        self._teaching = None
        self._office.look_away()
        self._ballot.learn(max(epoch, self._reign.epoch))
        if epoch:
            out.happened.append(Happened(Kind.MEMBER_REPLACED, self._me, epoch))
        self._is_voter = True
        self._campaign.rest(None if self._reign.leader else now + self._campaign.patience(), "start")
        self._plan_takeover(now)

    # ── an election ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, now: Time, why: str, out: Effects, *, is_direct: bool = False) -> None:
        outcome = self._campaign.begin(now, self._reign, why, out, is_direct=is_direct)
        self._take(now, outcome, out)

    def _take(self, now: Time, outcome: Outcome, out: Effects) -> None:
        """What came of it."""
        campaign = self._campaign
        if outcome is Outcome.WON:
            self._win(now, "elected", out)
        elif outcome is Outcome.DUE:
            self._begin(now, campaign.why, out)
        elif outcome is Outcome.ALONE:
            campaign.seek(now)
            self._office.seek(now, self._ballot.promised, is_elected=False, out=out)
        elif outcome is Outcome.FAILED:
            self._office.drop()
            campaign.recover(now)

    def _win(self, now: Time, why: str, out: Effects) -> None:
        """`why`: elected, or witness when the store was the second of two."""
        self._ballot.burn()
        epoch = self._ballot.promised
        self._reign.begin(now, self._me, epoch)
        self._campaign.reset()
        self._beat_at = now + self._config.interval
        self._lease.begin(now)
        self._roster.refresh(now)
        out.happened.append(Happened(Kind.LEADER_ELECTED, self._me, epoch, why, now - self._campaign.started_at))
        self._say(Coordinator(epoch, self._config.priority), out)
        if why == "elected":
            self._office.seek(now, epoch, is_elected=True, out=out)

    def _on_elect(self, now: Time, src: str, message: Elect, out: Effects) -> None:
        if not self._ballot.hear(message.max_epoch) or not self._is_voter:
            return
        self._roster.note(src, message.priority)
        self._lose_silent(now, out)
        if self._is_leading:
            self._tell(src, out)
        elif self._roster.outranks(self._me, src):
            self._answer(src, out)
            if self._campaign.stage is Stage.REST and not self._reign.leader and not self._campaign.failures:
                self._begin(now, "asked", out)

    def _on_answer(self, now: Time, src: str, message: Answer, _out: Effects) -> None:
        if not self._ballot.hear(message.max_epoch):
            return
        self._roster.note(src, message.priority)
        if self._campaign.on_answer(src):
            self._office.drop()
            self._campaign.stand_back(now, self._reign)

    def _on_grant(self, now: Time, src: str, message: Grant, out: Effects) -> None:
        if self._ballot.hear(message.promised):
            self._take(now, self._campaign.on_grant(now, src, message, out), out)

    def _on_claim(self, now: Time, src: str, message: Claim, out: Effects) -> None:
        if not self._is_voter or not self._ballot.hear(message.epoch):
            return
        self._roster.note(src, message.priority)
        self._lose_silent(now, out)
        verdict = judge(now, self._config, src, message, self._ballot, self._roster, self._reign, self._campaign)
        if verdict is Verdict.GRANT:
            self._grant(now, src, message.epoch, out)
            return
        if message.epoch or verdict is Verdict.PROMISED:
            self._reply(src, message.epoch, out, is_granted=verdict is Verdict.AGAIN)
        if self._is_leading:
            self._tell(src, out)
        elif verdict is Verdict.BULLY:
            self._answer(src, out)
            if self._campaign.stage is Stage.REST:
                self._begin(now, "bullied", out)

    def _grant(self, now: Time, src: str, epoch: int, out: Effects) -> None:
        self._ballot.promise(epoch, src)
        self._reply(src, epoch, out, is_granted=True)
        if self._is_leading:
            return
        if src == self._reign.leader:
            self._lose(now, "higher_epoch", out)
        if not self._reign.leader or self._campaign.is_running:
            self._office.drop()
            self._campaign.stand_back(now, self._reign)

    def _reply(self, src: str, epoch: int, out: Effects, *, is_granted: bool) -> None:
        """A refusal waits for the disk too: the claimant gives its number up for the promise that it names."""
        out.send_after.append(Send(src, Grant(epoch, is_granted, self._ballot.promised)))

    def _answer(self, src: str, out: Effects) -> None:
        out.send.append(Send(src, Answer(self._config.priority, self._ballot.top)))

    # ── following ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_beat(self, now: Time, src: str, message: Beat, out: Effects) -> None:
        if self._accepts(now, src, message.epoch, message.round, out):
            out.send.append(Send(src, BeatAck(message.epoch, message.round)))

    def _on_coordinator(self, now: Time, src: str, message: Coordinator, out: Effects) -> None:
        if self._accepts(now, src, message.epoch, 0, out):
            self._roster.note(src, message.priority)
            self._plan_takeover(now)

    def _accepts(self, now: Time, src: str, epoch: int, round: int, out: Effects) -> bool:
        """`src` leads in `epoch`; follow it unless this is old news."""
        news = self._reign.news(src, epoch, round)
        if news is not News.SAME and not self._ballot.hear(epoch):
            return False
        if news is News.NEW:
            self._follow(now, src, epoch, out)
        if news in (News.SAME, News.NEW):
            self._reign.hear(now, round, self._campaign.patience())
            return True
        if news is News.OLD:
            out.send.append(Send(src, BeatAck(self._reign.epoch, round)))
        return False

    def _follow(self, now: Time, src: str, epoch: int, out: Effects) -> None:
        reign = self._reign
        if self._is_leading:
            is_planned = (self._ballot.promised, self._ballot.promised_to) == (epoch, src)
            self._step_down(now, "handover" if is_planned else "higher_epoch", out)
        self._office.drop()
        why = "back" if epoch == reign.epoch else "elected"
        reign.begin(now, src, epoch)
        self._campaign.reset()
        if self._teaching is None:
            self._ballot.learn(epoch)
        self._plan_takeover(now)
        out.happened.append(Happened(Kind.LEADER_ELECTED, src, epoch, why))

    def _plan_takeover(self, now: Time) -> None:
        """Only who follows has one to plan. One whose leader's rank is not known asks it when the time has come."""
        reign, campaign = self._reign, self._campaign
        is_free = campaign.stage in (Stage.REST, Stage.ASKING)
        if not self._is_voter or not is_free or reign.leader in ("", self._me):
            return
        if self._roster.outranks(reign.leader, self._me):
            campaign.rest(None, "")
        elif campaign.deadline is None:
            campaign.rest(max(now, reign.since + self._hold_down), "hold_down")

    def _lose(self, now: Time, why: str, out: Effects) -> None:
        out.happened.append(Happened(Kind.LEADER_LOST, self._reign.leader, self._reign.epoch, why))
        self._reign.end(is_over=why != "silence")
        self._campaign.rest(now + self._campaign.patience() if self._is_voter else None, "retry")

    def _lose_silent(self, now: Time, out: Effects) -> None:
        """The coordinator, if it was not heard for a timeout. Another's election ends the luck that may be left."""
        reign = self._reign
        if reign.leader not in ("", self._me) and not reign.is_heard(now):
            self._roster.bury(now, reign.leader, Health.DEAD, out)
            self._lose(now, "silence", out)

    def _on_resign(self, now: Time, src: str, message: Resign, out: Effects) -> None:
        reign, epoch = self._reign, message.epoch
        if not epoch:
            self._roster.bury(now, src, Health.LEFT, out)
        if self._is_leading or src not in self._others or not self._ballot.hear(epoch):
            return
        is_leader = src == reign.leader and epoch in (0, reign.epoch)
        if not is_leader and (epoch < reign.epoch or epoch <= reign.ended or (reign.leader and epoch == reign.epoch)):
            return
        if reign.leader:
            self._lose(now, "resigned", out)
        reign.learn(epoch)
        reign.end(is_over=True)
        if self._is_voter:
            self._succeed(now, message.to, out)

    def _succeed(self, now: Time, to: str, out: Effects) -> None:
        self._office.drop()
        if to == self._me:
            self._begin(now, "transfer", out, is_direct=True)
        elif to in self._others:
            self._campaign.wait(now + self._campaign.answer_wait + self._campaign.luck(self._config.interval), to)
        else:
            self._campaign.rest(now + self._campaign.luck(self._config.interval), "resigned")

    # ── leading ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _lead_on(self, now: Time, out: Effects) -> None:
        if now >= self._lease.stop_at():
            out.happened.append(Happened(Kind.PARTITION_SUSPECTED, self._me, self._reign.epoch, "quorum"))
            self._resign(now, "quorum", "", out)
        elif now >= self._beat_at:
            self._beat_at = now + self._config.interval
            self._say(Beat(self._reign.epoch, self._lease.send(now)), out)

    def _on_beat_ack(self, now: Time, src: str, message: BeatAck, out: Effects) -> None:
        if not self._ballot.hear(message.epoch) or not self._is_leading:
            return
        if message.epoch == self._reign.epoch:
            self._lease.ack(src, message.round)
        elif message.epoch > self._reign.epoch:
            self._step_down(now, "higher_epoch", out)
            self._reign.learn(message.epoch)

    def _resign(self, now: Time, why: str, to: str, out: Effects) -> None:
        self._say(Resign(self._reign.epoch, to), out)
        self._step_down(now, why, out)

    def _step_down(self, now: Time, why: str, out: Effects) -> None:
        self._office.resign(now, out)
        self._lose(now, why, out)

    def _on_store(self, now: Time, event: StoreReply, out: Effects) -> None:
        turn = self._office.on_reply(now, event, out)
        if turn is Turn.LOOKED and self._teaching is not None:
            self._learn(now, self._teaching.on_looked(self._office.floor), out)
        elif turn is Turn.LOST:
            self._ballot.learn(self._office.floor)
            if self._is_leading:
                self._step_down(now, "store", out)
            self._reign.learn(self._office.floor)
            self._begin(now, "store", out, is_direct=True)
        elif self._campaign.stage is Stage.SEEKING and self._office.is_held and now < self._office.until:
            self._win(now, "witness", out)

    def _say(self, message: PeerMessage, out: Effects) -> None:
        out.send += [Send(peer, message) for peer in (*self._others, *self._roster.learners)]

    def _tell(self, peer: str, out: Effects) -> None:
        out.send.append(Send(peer, Coordinator(self._reign.epoch, self._config.priority)))
