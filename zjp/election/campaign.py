"""One Bully node's way to a majority: asking, claiming, waiting, and its luck in between. Pure. bully.py says when and why.

    rest ── deadline: DUE ──► asking ── nobody answered ──► claiming ── majority: WON
      ▲                 │        │ answered                   ▲  │ deadline: ALONE (two voters) ──► seeking
      │ after a failure │        ▼                            │  │
      │                 │     waiting        FAILED ◄─────────┼──┤
      │                 └─► probing ──── a majority would ────┘  │
      └──────────────────────────────────────────────────────────┘

**When the highest cannot win.** A higher node refuses a lower one's claim, and claims itself. But a link may work one way, or the higher
may hear too few. So this is done once: a node that has waited or claimed in vain since it last had a coordinator asks nobody above, minds
no Answer, and grants whomever it may; before it claims it probes for a majority that would grant. From there on the random
waits decide, as in Raft.

**Handing over.** Transfer: Resign(epoch, to); `to` claims at once and the others, the old one too, wait for it (the answer time, then they
elect). A user who hands over to a lower node sees it lead for the hold-down; then the highest takes over again, unless its priority is
lower by then, or it is told again and again that it is unfit to. Leave does the same and adds Resign(0), the good-bye that followers say
as well.

Probing is Claim(0), which nobody can grant: who would grant the next number answers, and changes nothing. Without it the members of a
minority would claim one number after another, each granted by the rest.

A campaign neither leads nor follows, and knows nothing of the store: it says what came of an event, as an Outcome.
"""

from __future__ import annotations

from enum import Enum

from ..wire.peers import Claim, Elect, Grant
from .ballot import Ballot
from .core import Config, Effects, Happened, Kind, Send, Time, Uniform
from .reign import Reign
from .roster import AWAY, Roster

ANSWER_PERCENT = 30
"""Of the timeout: how long to wait for an Answer, or for whom the leadership was handed to. 150 ms of 500."""
CLAIMS_END = 4
"""Timeouts after which no grant to an earlier claim is counted: a claim ends within one, a slow clock and the network take their time."""
HOLD_DOWN = 10
"""Timeouts for which a returning higher node must have followed one coordinator before it takes over. Lower: it leads sooner again, and
one that comes and goes changes the leader more often."""
TAKEOVER_RETRY = 2
"""Timeouts after a takeover that found no majority."""


class Stage(Enum):
    REST = "rest"
    """The deadline, if any, is when to begin."""
    ASKING = "asking"
    WAITING = "waiting"
    """For the coordinator that another one will be."""
    PROBING = "probing"
    CLAIMING = "claiming"
    SEEKING = "seeking"
    """The store is asked as the witness; the other of the two still may grant."""


class Outcome(Enum):
    NOTHING = "nothing"
    DUE = "due"
    """The time to begin has come."""
    WON = "won"
    ALONE = "alone"
    """One of two, with its own grant and no word from the other."""
    FAILED = "failed"


class Campaign:
    """`deadline`: of the stage; `repeat_at`: when to say the claims again."""

    def __init__(self, config: Config, uniform: Uniform, ballot: Ballot, roster: Roster) -> None:
        self._config, self._uniform = config, uniform
        self._me = config.me
        self._ballot, self._roster = ballot, roster
        self._others = roster.others
        self._voter_count = len(self._others) + (config.me in config.voters)
        self.quorum = self._voter_count // 2 + 1
        self.is_pair = self._voter_count == 2
        self.answer_wait = config.timeout * ANSWER_PERCENT // 100
        self.stage = Stage.REST
        self.deadline: Time | None = None
        self.repeat_at: Time | None = None
        self.why = "start"
        """Why the next one begins, when the deadline comes."""
        self.started_at: Time = 0
        self.failures = 0
        """Waits and claims in vain since there was a leader."""
        self.favoured = ""
        """To whom the last leader handed over."""
        self.is_planned = False
        """A takeover, while the leader leads on."""
        self.is_stubborn = False
        """Asks nobody, minds no Answer."""
        self._asked: list[str] = []
        self._batch = 0
        self._granted: set[str] = set()
        self._refused: set[str] = set()
        self._has_word = False
        """Somebody answered the claim, whatever it said."""

    @property
    def is_running(self) -> bool:
        return self.stage not in (Stage.REST, Stage.WAITING)

    def rest(self, deadline: Time | None, why: str) -> None:
        self._enter(Stage.REST, deadline)
        self.why = why

    def reset(self) -> None:
        """There is a leader."""
        self.failures, self.favoured = 0, ""
        self.rest(None, "")

    def wait(self, deadline: Time, favoured: str = "") -> None:
        self._enter(Stage.WAITING, deadline)
        self.favoured = favoured

    def put_off(self, now: Time) -> None:
        """A takeover that is to come; one that has begun goes on, and an election for want of a leader is none."""
        if self.stage is Stage.REST and self.deadline is not None and self.why == "hold_down":
            self.deadline = now + self._config.timeout * HOLD_DOWN

    def stand_back(self, now: Time, reign: Reign) -> None:
        """For one that ranks above, or that was granted an epoch."""
        if reign.leader:
            # The own takeover is given up; when the other's succeeds, a new count begins anyway.
            self.rest(now + self._config.timeout * HOLD_DOWN, "hold_down")
        else:
            self.wait(now + self.patience(), self.favoured)

    def begin(self, now: Time, reign: Reign, why: str, out: Effects, *, is_direct: bool) -> Outcome:
        """`reign`: the one that is over, or is to be. `is_direct`: the leader or the store asked for it."""
        out.happened.append(Happened(Kind.ELECTION_STARTED, self._me, reign.epoch, why))
        self.started_at, self.favoured, self.is_planned = now, "", reign.leader != ""
        self.is_stubborn = is_direct or self.failures > 0
        if self.failures and not is_direct and self.quorum > 1 and not self.is_pair:
            self._enter(Stage.PROBING, now + self._config.timeout)
            self._reset()
            self._send_claims(now, 0, out)
            return Outcome.NOTHING
        self._asked = [] if self.is_stubborn else self._roster.above()
        if not self._asked:
            return self._claim(now, out)
        self._enter(Stage.ASKING, now + self.answer_wait)
        elect = Elect(self._config.priority, self._ballot.top)
        out.send += [Send(peer, elect) for peer in self._asked]
        return Outcome.NOTHING

    def on_deadline(self, now: Time, out: Effects) -> Outcome:
        if self.stage is Stage.REST:
            return Outcome.DUE
        if self.stage is Stage.WAITING:
            # That the one whom the leader chose did not come says nothing against those above.
            self.failures += not self.favoured
            self.favoured = ""
            out.happened.append(Happened(Kind.ELECTION_FAILED, self._me, self._ballot.top, "no_coordinator"))
            self.why = "retry"
            return Outcome.DUE
        if self.stage is Stage.ASKING:
            for peer in self._asked:
                if self._roster.outranks(peer, self._me):
                    self._roster.suspect(now, peer, out)
            return self._claim(now, out)
        return Outcome.ALONE if self._is_alone() else self.fail(out)

    def repeat(self, now: Time, out: Effects) -> Outcome:
        """A number that somebody promised elsewhere is given up; else the same claim is said to those that have not granted it."""
        if not self._refused or self.stage is not Stage.CLAIMING:
            self._send_claims(now, 0 if self.stage is Stage.PROBING else self._ballot.promised, out)
            return Outcome.NOTHING
        deadline = self.deadline
        outcome = self._claim(now, out)
        self.deadline = deadline
        return outcome

    def on_persisted(self) -> Outcome:
        if self.stage is not Stage.CLAIMING or self._batch > self._ballot.durable:
            return Outcome.NOTHING
        return self._grant_myself()

    def on_answer(self, src: str) -> bool:
        """Whether to stand back for it."""
        self._has_word = True
        is_asking = self.stage in (Stage.ASKING, Stage.CLAIMING) and not self.is_stubborn
        return is_asking and self._roster.outranks(src, self._me)

    def on_grant(self, now: Time, src: str, message: Grant, out: Effects) -> Outcome:
        if self.stage is Stage.PROBING and not message.epoch:
            self._granted.add(src)
            return self._claim(now, out) if len(self._granted) + 1 >= self.quorum else Outcome.NOTHING
        if not self._counts(now) or message.epoch != self._ballot.promised:
            return Outcome.NOTHING
        self._has_word = True
        if message.is_granted:
            self._granted.add(src)
            return Outcome.WON if len(self._granted) >= self.quorum else Outcome.NOTHING
        if message.promised >= message.epoch:
            self._ballot.burn()
            self._refused.add(src)
            return self.fail(out) if self._is_hopeless() else Outcome.NOTHING
        return Outcome.NOTHING

    def seek(self, now: Time) -> None:
        self.failures += 1
        self._enter(Stage.SEEKING, None)
        self.repeat_at = now + self._config.timeout

    def fail(self, out: Effects) -> Outcome:
        why = "rejected" if self._refused else "no_quorum"
        out.happened.append(Happened(Kind.ELECTION_FAILED, self._me, self._ballot.promised, why))
        if not self._has_word and self._others:
            out.happened.append(Happened(Kind.PARTITION_SUSPECTED, self._me, self._ballot.promised, why))
        return Outcome.FAILED

    def recover(self, now: Time) -> None:
        """Rest after a failure. When a majority refused none is missing, and a little luck suffices to come apart."""
        if self._is_hopeless():
            wait = 1 + self.luck(self._config.interval)
        elif self.is_planned:
            wait = self._config.timeout * TAKEOVER_RETRY
        else:
            self.failures += 1
            wait = self._config.interval // 2 + self.luck(self._config.timeout)
        self.rest(now + wait, "hold_down" if self.is_planned else "retry")

    def stall(self, now: Time, lag: Time) -> None:
        if self.deadline is not None and self.stage is not Stage.CLAIMING:
            self.deadline = min(self.deadline + lag, max(self.deadline, now + self._config.timeout))

    def patience(self) -> Time:
        return self._config.timeout + self.luck(self._config.interval)

    def luck(self, most: Time) -> Time:
        return int(self._uniform() * most)

    def _claim(self, now: Time, out: Effects) -> Outcome:
        self._reset()
        # One of two that hears nothing from the other has somebody else to ask.
        is_short = self.is_pair and not self.is_planned
        self._enter(Stage.CLAIMING, now + (self.answer_wait if is_short else self._config.timeout))
        if not self._ballot.claim():
            return self.fail(out)
        self._batch = self._ballot.newest
        self._send_claims(now, self._ballot.promised, out)
        return self._grant_myself() if self._batch <= self._ballot.durable else Outcome.NOTHING

    def _reset(self) -> None:
        self._granted, self._refused, self._has_word = set(), set(), False

    def _send_claims(self, now: Time, epoch: int, out: Effects) -> None:
        claim = Claim(epoch, self._config.priority, self.is_planned)
        out.send_after += [Send(peer, claim) for peer in self._others if peer not in self._granted]
        self.repeat_at = now + (self._config.timeout if self.stage is Stage.SEEKING else self._config.interval)

    def _grant_myself(self) -> Outcome:
        if self._me in self._granted:
            return Outcome.NOTHING
        self._granted.add(self._me)
        if len(self._granted) >= self.quorum:
            return Outcome.WON
        is_known_alone = self._is_alone() and self._roster.health(self._others[0]) in AWAY
        return Outcome.ALONE if is_known_alone else Outcome.NOTHING

    def _is_alone(self) -> bool:
        return self.is_pair and not self._has_word and not self.is_planned and self._me in self._granted

    def _counts(self, now: Time) -> bool:
        """Grants, still. Never after the deadline, even by one that did not run meanwhile: who granted may have been emptied since."""
        is_claiming = self.stage is Stage.CLAIMING and self.deadline is not None and now < self.deadline
        return is_claiming or self.stage is Stage.SEEKING

    def _is_hopeless(self) -> bool:
        return len(self._refused) > self._voter_count - self.quorum

    def _enter(self, stage: Stage, deadline: Time | None) -> None:
        self.stage, self.deadline, self.repeat_at = stage, deadline, None
