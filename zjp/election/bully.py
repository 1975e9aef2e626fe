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

**When the highest cannot win.** A higher node refuses a lower one's claim, and claims itself. But a link may work one way, or the higher
may hear too few. So this is done once: a node that has waited or claimed in vain since it last had a coordinator asks nobody, minds no
Answer, and grants whomever it may. From there on the random waits decide, as in Raft.

**Coming back.** A node that ranks above the coordinator follows it for the hold-down, ten timeouts; a silence or another coordinator
begins the count anew. Then it asks those above itself and claims while the old one leads on; voters grant that if they too have followed
this coordinator so long. The old one leads until it hears of the new: one change, and no time without a leader. One that is not stable
for ten timeouts changes nothing.

**Handing over.** Transfer: Resign(epoch, to); `to` claims at once and the others, the old one too, wait for it (the answer time, then they
elect). A user who hands over to a lower node sees it lead for the hold-down; then the highest takes over again, unless its priority is
lower by then. Leave does the same and adds Resign(0), the good-bye that followers say as well.

**Two voters, the store as the witness.** A majority of two is both, so alone neither could replace the other. The store is the third
vote. One that has its own grant and no word from the other seeks the office without being elected; the store gives it only when the
installed leadership has ended, by its renewals' running out or by resigning. Why that is safe, and does not flip:

    - At most one is in office: there is one office, and its epochs only rise. At most one leads by the store, too: who holds the office
      counts its end from when it *asked*, the store from when it answered, so the holder stops first (as far as clocks run alike).
    - A coordinator whose peer is gone leads on as long as either counts: the peer answered a round sent within a timeout, or the store
      keeps the office. It steps down when a renewal is refused, or when the peer is silent for a timeout and the store for lead_for.
    - Two that are cut off from each other both seek. One is installed and renews; the other is refused each time and keeps asking, with
      an epoch above the installed one that it has promised to itself. It gets in only after the first has failed to renew for lead_for,
      or has resigned; then the first one's renewal is refused. So each change needs a holder that the store lost: no flipping.
    - When they hear each other again the seeker hears a Beat, follows, and seeks no more. If the seeker speaks first its claim is
      refused, for the holder leads. So the one in office stays, and a higher one takes over after the hold-down by the usual claim.
    - One epoch, one coordinator: who leads in e by the store has promised e to itself, so no majority of two can grant e to the other.

**Other sizes.** One voter leads at once. A node that is no voter follows and is never counted; the coordinator beats for it too.

**Not covered.** A voter whose folder was emptied has forgotten its promises, and could help a second coordinator into one epoch; the store
accepts only one of them. Epochs more than EPOCH_JUMP_MAX above are not believed, except the store's.

Why a node did something is one of these words: start, silence, retry, asked, bullied, resigned, transfer, hold_down, store (an election
began); rejected, no_quorum, no_coordinator, no_such_target (failed); silence, resigned, quorum, higher_epoch, handover, store, transfer,
left (a leader was lost); elected, witness, back (a leader is known).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from ..wire.peers import Answer, Beat, BeatAck, Claim, Coordinator, Elect, Grant, PeerMessage, Resign, Stored
from .ballot import Ballot
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
from .office import Office, Turn
from .roster import Roster
from .rounds import Rounds

HOLD_DOWN = 10
"""Timeouts for which a returning higher node must have followed one coordinator before it takes over."""
HOLD_DOWN_SLACK = 1
"""Timeouts by which a voter's count of the hold-down may lag: clocks do not run alike, beats arrive at different times."""
ANSWER_PERCENT = 30
"""Of the timeout: how long to wait for an Answer, or for whom the leadership was handed to. 150 ms of 500."""
TAKEOVER_RETRY = 2
"""Timeouts after a takeover that found no majority."""


class Phase(Enum):
    IDLE = "idle"
    """Follows, or waits for its luck before the next election."""
    ASKING = "asking"
    WAITING = "waiting"
    CLAIMING = "claiming"
    SEEKING = "seeking"
    LEADING = "leading"
    GONE = "gone"


class Bully:
    """See the module. With a leader, `_silence_at` runs beside `_deadline`, which is then the takeover's."""

    def __init__(self, config: Config, uniform: Uniform) -> None:
        self._config, self._uniform = config, uniform
        self._me = config.me
        self._ballot = Ballot(config.me)
        self._roster = Roster(config)
        self._office = Office(config)
        self._others = self._roster.others
        self._is_voter = config.me in config.voters
        self._voter_count = len(self._others) + self._is_voter
        self._quorum = self._voter_count // 2 + 1
        self._rounds = Rounds(self._quorum, config.timeout // config.interval + 2)
        self._answer_wait = config.timeout * ANSWER_PERCENT // 100
        self._hold_down = config.timeout * HOLD_DOWN
        self._now: Time = 0
        self._phase = Phase.IDLE
        self._deadline: Time | None = None
        self._leader = ""
        self._led = 0
        """The highest epoch known to be led, or to have been."""
        self._ended = 0
        """Beats up to this epoch are late ones: its leader resigned, or was this node."""
        self._heard_at: Time = 0
        self._silence_at: Time = 0
        self._since: Time = 0
        """When this node began to follow this leader, or to lead."""
        self._failures = 0
        """Waits and claims in vain since there was a leader."""
        self._favoured = ""
        """To whom the last leader handed over."""
        self._started_at: Time = 0
        self._is_planned = self._is_stubborn = False
        self._asked: tuple[str, ...] = ()
        self._claim_batch = 0
        self._granted: set[str] = set()
        self._refused: set[str] = set()
        self._has_word = False
        """Somebody answered this claim, whatever it said."""
        self._repeat_at: Time = 0
        """The next Beat's or Claim's time."""
        self._doubt_until: Time = 0
        self._on_message = {
            Beat: self._on_beat,
            BeatAck: self._on_beat_ack,
            Elect: self._on_elect,
            Answer: self._on_answer,
            Claim: self._on_claim,
            Grant: self._on_grant,
            Coordinator: self._on_coordinator,
            Resign: self._on_resign,
        }
        self._on_event = {
            Recv: self._on_recv,
            Wake: self._on_wake,
            Persisted: self._on_persisted,
            StoreReply: self._on_store,
            Met: self._on_met,
            Stall: self._on_stall,
            Transfer: self._on_transfer,
            Leave: self._on_leave,
        }

    # ── the interface ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, now: Time, records: Sequence[Stored]) -> Effects:
        out = Effects()
        self._now = now
        self._ballot.load(records)
        self._roster.start(now)
        self._started_at = now
        if self._is_voter and not self._others:
            self._campaign(now, "start", out)
        elif self._is_voter:
            self._deadline = now + self._patience()
        return self._closed(out)

    def step(self, now: Time, event: Event) -> Effects:
        out = Effects()
        self._now = now
        if self._phase is not Phase.GONE:
            self._on_event[type(event)](now, event, out)  # type: ignore[operator]
        return self._closed(out)

    def view(self) -> View:
        is_leading = self._phase is Phase.LEADING
        has_lease = is_leading and self._now < self._lease_end()
        return View(
            self._role(),
            self._leader,
            self._led,
            has_lease and self._office.is_held,
            has_lease if is_leading else self._leader != "",
            self._roster.shown(),
        )

    def durable(self) -> Sequence[Stored]:
        return self._ballot.records()

    def _role(self) -> Role:
        if self._phase is Phase.LEADING:
            return Role.LEADER
        if not self._is_voter:
            return Role.LEARNER
        is_running = self._phase in (Phase.ASKING, Phase.CLAIMING, Phase.SEEKING) and not self._leader
        return Role.CANDIDATE if is_running else Role.FOLLOWER

    def _closed(self, out: Effects) -> Effects:
        self._ballot.hand_over(out)
        out.wake = self._wake_at()
        return out

    def _wake_at(self) -> Time | None:
        if self._phase is Phase.GONE:
            return None
        times = [self._deadline, self._office.wake, self._roster.wake]
        if self._phase is Phase.LEADING:
            # Alone there is nothing to lose and nobody to beat for, but suspects to age.
            times += [self._repeat_at] if self._quorum == 1 else [self._repeat_at, self._grace_end()]
        elif self._leader:
            times.append(self._silence_at)
        if self._phase in (Phase.CLAIMING, Phase.SEEKING):
            times.append(self._repeat_at)
        return min((time for time in times if time is not None), default=None)

    # ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_recv(self, now: Time, event: Recv, out: Effects) -> None:
        handle = self._on_message.get(type(event.message))
        if handle is None or event.src == self._me:
            return
        if self._roster.hear(now, event.src, out) and self._phase is Phase.LEADING:
            self._tell(event.src, out)
        if event.src in self._others or type(event.message) is Resign:
            handle(now, event.src, event.message, out)  # type: ignore[operator]

    def _on_wake(self, now: Time, _event: Wake, out: Effects) -> None:
        self._roster.age(now, out, is_leader=self._phase is Phase.LEADING)
        if self._phase is Phase.LEADING:
            self._lead_on(now, out)
        elif self._leader and now >= self._silence_at:
            self._roster.bury(now, self._leader, Health.DEAD, out)
            self._lose(now, "silence", out)
            if self._is_voter:
                self._campaign(now, "silence", out)
        elif self._deadline is not None and now >= self._deadline:
            self._on_deadline(now, out)
        elif self._phase in (Phase.CLAIMING, Phase.SEEKING) and now >= self._repeat_at:
            self._send_claims(now, out)
        self._office.tick(now, out)

    def _on_deadline(self, now: Time, out: Effects) -> None:
        if self._phase is Phase.IDLE:
            why = "hold_down" if self._leader else "retry" if self._failures else "start"
            self._campaign(now, why, out)
        elif self._phase is Phase.ASKING:
            for peer in self._asked:
                self._roster.suspect(now, peer, out)
            self._claim(now, out)
        elif self._phase is Phase.WAITING:
            # Whom the leader chose may be dead; that says nothing against asking those above.
            self._failures += not self._favoured
            self._favoured = ""
            out.happened.append(Happened(Kind.ELECTION_FAILED, self._me, self._led, "no_coordinator"))
            self._campaign(now, "retry", out)
        elif self._is_alone():
            self._seek(now, out)
        else:
            self._fail(now, out)

    def _on_persisted(self, now: Time, event: Persisted, out: Effects) -> None:
        self._ballot.durable = max(self._ballot.durable, event.number)
        if self._phase is Phase.CLAIMING and self._claim_batch <= self._ballot.durable:
            self._grant_myself(now, out)

    def _on_met(self, now: Time, event: Met, out: Effects) -> None:
        if not event.is_up:
            self._roster.suspect(now, event.peer, out)
            return
        if self._roster.meet(now, event.peer, event.priority, out) and self._phase is Phase.LEADING:
            self._tell(event.peer, out)
        self._plan_takeover(now)

    def _on_stall(self, now: Time, event: Stall, out: Effects) -> None:
        """A coordinator's lease is not made longer: the others did not hear *it*. It may ask once more, out of office, before it stops."""
        if event.lag <= 0:
            return
        self._roster.refresh(now)
        self._doubt_until = now + self._answer_wait
        if self._phase is Phase.LEADING:
            return
        self._heard_at = min(now, self._heard_at + event.lag)
        self._since = min(now, self._since + event.lag)
        self._silence_at = min(self._silence_at + event.lag, now + self._config.timeout + self._config.interval)
        if self._deadline is not None:
            self._deadline = min(self._deadline + event.lag, max(self._deadline, now + self._config.timeout))

    def _on_transfer(self, now: Time, event: Transfer, out: Effects) -> None:
        if self._phase is not Phase.LEADING:
            return
        to = event.to or self._roster.best()
        if to not in self._others or self._roster.health(to) is not Health.ALIVE:
            out.happened.append(Happened(Kind.ELECTION_FAILED, to, self._led, "no_such_target"))
            return
        self._resign(now, "transfer", to, out)
        self._wait_for(now, to)

    def _on_leave(self, now: Time, _event: Leave, out: Effects) -> None:
        if self._phase is Phase.LEADING:
            self._resign(now, "left", self._roster.best(), out)
        self._office.resign(now, out)
        self._say(Resign(0), out)
        self._phase, self._leader, self._deadline = Phase.GONE, "", None

    # ── an election ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _campaign(self, now: Time, why: str, out: Effects, *, is_direct: bool = False) -> None:
        """`is_direct`: ask nobody above, mind no Answer. With a living leader this is a takeover."""
        out.happened.append(Happened(Kind.ELECTION_STARTED, self._me, self._led, why))
        self._started_at = now
        self._is_planned = self._leader != ""
        self._is_stubborn = is_direct or self._failures > 0
        self._favoured = ""
        self._asked = () if self._is_stubborn else tuple(self._roster.above())
        if not self._asked:
            self._claim(now, out)
            return
        self._phase, self._deadline = Phase.ASKING, now + self._answer_wait
        elect = Elect(self._config.priority, self._ballot.top)
        out.send += [Send(peer, elect) for peer in self._asked]

    def _claim(self, now: Time, out: Effects) -> None:
        self._granted, self._refused, self._has_word = set(), set(), False
        self._phase = Phase.CLAIMING
        # A pair that hears nothing from the other has somebody else to ask.
        is_pair = self._voter_count == 2 and not self._is_planned
        self._deadline = now + (self._answer_wait if is_pair else self._config.timeout)
        if not self._ballot.claim():
            self._fail(now, out)
            return
        self._claim_batch = self._ballot.newest
        self._send_claims(now, out)
        if self._claim_batch <= self._ballot.durable:
            self._grant_myself(now, out)

    def _send_claims(self, now: Time, out: Effects) -> None:
        claim = Claim(self._ballot.promised, self._config.priority)
        out.send_after += [Send(peer, claim) for peer in self._others if peer not in self._granted]
        self._repeat_at = now + (self._config.timeout if self._phase is Phase.SEEKING else self._config.interval)

    def _grant_myself(self, now: Time, out: Effects) -> None:
        if self._me in self._granted:
            return
        self._granted.add(self._me)
        if len(self._granted) >= self._quorum:
            self._win(now, "elected", out)
        elif self._is_alone() and self._roster.health(self._others[0]) in (Health.DEAD, Health.LEFT):
            self._seek(now, out)

    def _is_alone(self) -> bool:
        """One of two voters, with nothing but its own grant: the store must say."""
        return self._voter_count == 2 and not self._has_word and not self._is_planned and self._me in self._granted

    def _seek(self, now: Time, out: Effects) -> None:
        self._phase, self._deadline = Phase.SEEKING, None
        self._failures += 1
        self._repeat_at = now + self._config.timeout
        self._office.seek(now, self._ballot.promised, is_elected=False, out=out)

    def _fail(self, now: Time, out: Effects) -> None:
        """No majority in time."""
        why = "rejected" if self._refused else "no_quorum"
        out.happened.append(Happened(Kind.ELECTION_FAILED, self._me, self._ballot.promised, why))
        if not self._has_word:
            out.happened.append(Happened(Kind.PARTITION_SUSPECTED, self._me, self._led, why))
        self._phase = Phase.IDLE
        if self._leader:
            self._deadline = now + self._config.timeout * TAKEOVER_RETRY
            return
        self._failures += 1
        self._deadline = now + self._luck(self._config.timeout)

    def _win(self, now: Time, why: str, out: Effects) -> None:
        self._ballot.burn()
        self._leader, self._led, self._since = self._me, self._ballot.promised, now
        self._phase, self._deadline, self._repeat_at = Phase.LEADING, None, now + self._config.interval
        self._failures, self._favoured, self._doubt_until = 0, "", 0
        self._rounds.begin(now)
        self._roster.refresh(now)
        out.happened.append(Happened(Kind.LEADER_ELECTED, self._me, self._led, why, now - self._started_at))
        self._say(Coordinator(self._led, self._config.priority), out)
        if why == "elected":
            self._office.seek(now, self._led, is_elected=True, out=out)

    def _stand_back(self, now: Time) -> None:
        """For one that ranks above, or that was granted an epoch."""
        self._office.drop()
        if self._leader:
            # An own takeover is given up; the other one's begins a new count when it succeeds.
            self._phase, self._deadline = Phase.IDLE, now + self._hold_down
        else:
            self._phase, self._deadline = Phase.WAITING, now + self._patience()

    # ── messages of an election ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_elect(self, now: Time, src: str, message: Elect, out: Effects) -> None:
        if not self._ballot.hear(message.max_epoch) or not self._is_voter:
            return
        self._roster.note(src, message.priority)
        if self._phase is Phase.LEADING:
            self._tell(src, out)
        elif self._roster.outranks(self._me, src):
            out.send.append(Send(src, Answer(self._config.priority, self._ballot.top)))
            if self._phase is Phase.IDLE and not self._leader and not self._failures:
                self._campaign(now, "asked", out)

    def _on_answer(self, now: Time, src: str, message: Answer, _out: Effects) -> None:
        if not self._ballot.hear(message.max_epoch):
            return
        self._roster.note(src, message.priority)
        if (
            self._phase in (Phase.ASKING, Phase.CLAIMING)
            and not self._is_stubborn
            and self._roster.outranks(src, self._me)
        ):
            self._stand_back(now)

    def _on_claim(self, now: Time, src: str, message: Claim, out: Effects) -> None:
        ballot = self._ballot
        if not self._is_voter or not ballot.hear(message.epoch):
            return
        self._roster.note(src, message.priority)
        if (message.epoch, src) == (ballot.promised, ballot.promised_to):
            self._send_grant(src, message.epoch, out)
        elif message.epoch <= ballot.promised or self._is_faithful(now, src):
            self._refuse(src, message.epoch, out)
        elif self._bullies(src):
            self._refuse(src, message.epoch, out)
            out.send.append(Send(src, Answer(self._config.priority, ballot.top)))
            if self._phase is Phase.IDLE:
                self._campaign(now, "bullied", out)
        else:
            self._grant(now, src, message.epoch, out)

    def _is_faithful(self, now: Time, src: str) -> bool:
        """A living coordinator is heard, and `src` may not take over from it."""
        if self._phase is Phase.LEADING:
            is_heard = True
        else:
            is_heard = self._leader not in ("", src) and now < self._heard_at + self._config.timeout
        is_stable = now - self._since >= self._hold_down - self._config.timeout * HOLD_DOWN_SLACK
        return is_heard and not (is_stable and self._roster.outranks(src, self._leader))

    def _bullies(self, src: str) -> bool:
        """This node would rather lead itself, and has not tried in vain."""
        return (
            not self._leader and not self._failures and src != self._favoured and self._roster.outranks(self._me, src)
        )

    def _grant(self, now: Time, src: str, epoch: int, out: Effects) -> None:
        self._ballot.promise(epoch, src)
        self._send_grant(src, epoch, out)
        if self._phase is Phase.LEADING:
            return
        if self._leader and (src == self._leader or now >= self._heard_at + self._config.timeout):
            self._lose(now, "silence" if src != self._leader else "higher_epoch", out)
        if not self._leader or self._phase is not Phase.IDLE:
            self._stand_back(now)

    def _send_grant(self, src: str, epoch: int, out: Effects) -> None:
        out.send_after.append(Send(src, Grant(epoch, True, self._ballot.promised)))

    def _refuse(self, src: str, epoch: int, out: Effects) -> None:
        """What it says of the promise must be durable too: the claimant gives its number up for it."""
        out.send_after.append(Send(src, Grant(epoch, False, self._ballot.promised)))
        if self._phase is Phase.LEADING:
            self._tell(src, out)

    def _on_grant(self, now: Time, src: str, message: Grant, out: Effects) -> None:
        is_mine = self._phase in (Phase.CLAIMING, Phase.SEEKING) and message.epoch == self._ballot.promised
        if not self._ballot.hear(message.promised) or not is_mine:
            return
        self._has_word = True
        if message.is_granted:
            self._granted.add(src)
            if len(self._granted) >= self._quorum:
                self._win(now, "elected", out)
        elif message.promised >= message.epoch:
            self._ballot.burn()
            self._refused.add(src)
            if len(self._refused) > self._voter_count - self._quorum:
                self._claim_higher(now, out)

    def _claim_higher(self, now: Time, out: Effects) -> None:
        """No majority is left for this number. The luck is short, since nobody is known to be missing."""
        out.happened.append(Happened(Kind.ELECTION_FAILED, self._me, self._ballot.promised, "rejected"))
        self._office.drop()
        self._phase, self._deadline = Phase.IDLE, now + 1 + self._luck(self._config.interval)

    # ── following ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_beat(self, now: Time, src: str, message: Beat, out: Effects) -> None:
        if self._accepts(now, src, message.epoch, message.round, out):
            out.send.append(Send(src, BeatAck(self._led, message.round)))

    def _on_coordinator(self, now: Time, src: str, message: Coordinator, out: Effects) -> None:
        if self._accepts(now, src, message.epoch, 0, out):
            self._roster.note(src, message.priority)
            self._plan_takeover(now)

    def _accepts(self, now: Time, src: str, epoch: int, round: int, out: Effects) -> bool:
        """`src` leads in `epoch`; follow it unless this is old news."""
        if epoch == self._led and src == self._leader:
            self._listen(now)
            return True
        if not self._ballot.hear(epoch):
            return False
        if epoch < self._led:
            out.send.append(Send(src, BeatAck(self._led, round)))
            return False
        if epoch <= self._ended or (epoch == self._led and self._leader):
            return False
        self._follow(now, src, epoch, out)
        return True

    def _listen(self, now: Time) -> None:
        self._heard_at = now
        self._silence_at = now + self._patience()

    def _follow(self, now: Time, src: str, epoch: int, out: Effects) -> None:
        if self._phase is Phase.LEADING:
            is_planned = (self._ballot.promised, self._ballot.promised_to) == (epoch, src)
            self._step_down(now, "handover" if is_planned else "higher_epoch", out)
        self._office.drop()
        why = "back" if epoch == self._led else "elected"
        self._leader, self._led, self._since = src, epoch, now
        self._failures, self._favoured = 0, ""
        self._phase, self._deadline = Phase.IDLE, None
        self._ballot.learn(epoch)
        self._listen(now)
        self._plan_takeover(now)
        out.happened.append(Happened(Kind.LEADER_ELECTED, src, epoch, why))

    def _plan_takeover(self, now: Time) -> None:
        """Only who follows has one to plan. One whose leader's rank is not known asks it when the time has come."""
        if not self._leader or self._phase not in (Phase.IDLE, Phase.ASKING) or not self._is_voter:
            return
        if self._roster.outranks(self._leader, self._me):
            self._phase, self._deadline = Phase.IDLE, None
        elif self._deadline is None:
            self._deadline = max(now, self._since + self._hold_down)

    def _lose(self, now: Time, why: str, out: Effects) -> None:
        out.happened.append(Happened(Kind.LEADER_LOST, self._leader, self._led, why))
        self._leader, self._phase = "", Phase.IDLE
        self._deadline = now + self._patience() if self._is_voter else None

    def _on_resign(self, now: Time, src: str, message: Resign, out: Effects) -> None:
        if not message.epoch:
            self._roster.bury(now, src, Health.LEFT, out)
        if src not in self._others or not self._ballot.hear(message.epoch):
            return
        is_leader = src == self._leader and message.epoch in (0, self._led)
        if not is_leader and (message.epoch < self._led or message.epoch <= self._ended or self._leader == self._me):
            return
        self._led = max(self._led, message.epoch)
        self._ended = self._led
        if self._leader:
            self._lose(now, "resigned", out)
        if self._is_voter:
            self._succeed(now, message.to if message.to != src else "", out)

    def _succeed(self, now: Time, to: str, out: Effects) -> None:
        self._office.drop()
        if to == self._me:
            self._campaign(now, "transfer", out, is_direct=True)
        elif to in self._others:
            self._wait_for(now, to)
        else:
            self._phase, self._deadline = Phase.IDLE, now + self._luck(self._config.interval)

    def _wait_for(self, now: Time, to: str) -> None:
        self._favoured = to
        self._phase, self._deadline = Phase.WAITING, now + self._answer_wait + self._luck(self._config.interval)

    # ── leading ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _lead_on(self, now: Time, out: Effects) -> None:
        if now >= self._grace_end():
            out.happened.append(Happened(Kind.PARTITION_SUSPECTED, self._me, self._led, "quorum"))
            self._resign(now, "quorum", "", out)
        elif now >= self._repeat_at:
            self._repeat_at = now + self._config.interval
            self._say(Beat(self._led, self._rounds.send(now)), out)

    def _lease_end(self) -> Time:
        """Until when a majority is known to follow; of two, the store may be the other one."""
        if self._quorum == 1:
            return self._now + 1
        end = self._rounds.quorum_at + self._config.timeout
        return max(end, self._office.until) if self._voter_count == 2 else end

    def _grace_end(self) -> Time:
        return max(self._lease_end(), self._doubt_until)

    def _on_beat_ack(self, now: Time, src: str, message: BeatAck, out: Effects) -> None:
        if not self._ballot.hear(message.epoch) or self._phase is not Phase.LEADING:
            return
        if message.epoch == self._led:
            self._rounds.ack(src, message.round)
        elif message.epoch > self._led:
            self._step_down(now, "higher_epoch", out)
            self._led = message.epoch

    def _resign(self, now: Time, why: str, to: str, out: Effects) -> None:
        self._say(Resign(self._led, to), out)
        self._step_down(now, why, out)

    def _step_down(self, now: Time, why: str, out: Effects) -> None:
        self._office.resign(now, out)
        self._ended = self._led
        self._lose(now, why, out)

    def _on_store(self, now: Time, event: StoreReply, out: Effects) -> None:
        turn = self._office.on_reply(now, event, out)
        if turn is Turn.LOST:
            self._ballot.learn(self._office.floor)
            if self._phase is Phase.LEADING:
                self._step_down(now, "store", out)
            self._led = max(self._led, self._office.floor)
            self._campaign(now, "store", out, is_direct=True)
        elif self._phase is Phase.SEEKING and self._office.is_held and now < self._office.until:
            self._win(now, "witness", out)

    # ── small things ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _say(self, message: PeerMessage, out: Effects) -> None:
        out.send += [Send(peer, message) for peer in (*self._others, *self._roster.learners())]

    def _tell(self, peer: str, out: Effects) -> None:
        out.send.append(Send(peer, Coordinator(self._led, self._config.priority)))

    def _patience(self) -> Time:
        return self._config.timeout + self._luck(self._config.interval)

    def _luck(self, most: Time) -> Time:
        return int(self._uniform() * most)
