"""One Raft core alone: a test says what it hears, and sees what it answers. Its disk is instant unless it is held."""

from __future__ import annotations

from collections.abc import Sequence

from zjp.election.core import (
    MS,
    SECOND,
    Config,
    Effects,
    Event,
    Happened,
    Installed,
    Kind,
    Persisted,
    Recv,
    Send,
    StoreOp,
    StoreReply,
    Time,
    Wake,
)
from zjp.election.raft import Raft
from zjp.wire.peers import (
    Append,
    AppendReply,
    Entry,
    LogTail,
    PeerMessage,
    PreVote,
    PreVoteReply,
    Stored,
    Taught,
    TermVote,
    Vote,
    VoteReply,
)

T: Time = 500 * MS
INTERVAL: Time = 100 * MS


def terms(*numbers: int) -> list[Entry]:
    """The log whose entries have these terms."""
    return [Entry(index, term) for index, term in enumerate(numbers, start=1)]


class Solo:
    """Node `a`, with no wish for luck: its deadlines are T after they are set. `term`, `vote`, `entries`: what is on its disk."""

    def __init__(
        self,
        *,
        voters: str = "abc",
        term: int = 0,
        vote: str = "",
        entries: Sequence[Entry] = (),
        records: Sequence[Stored] | None = None,
        luck: float = 0.0,
    ) -> None:
        self.now: Time = 1000 * SECOND
        self.disk: list[Stored] = (
            [Taught(0), TermVote(term, vote), LogTail(0, list(entries))] if records is None else list(records)
        )
        self.is_held = False
        self.waiting: list[Send] = []
        self.newest = 0
        self.wake: Time | None = None
        self.happened: list[Happened] = []
        self.asked: list[StoreOp] = []
        self.config = Config("a", 1, tuple(voters), len(voters), 0, T, INTERVAL, 2 * SECOND)
        self.core = Raft(self.config, lambda: luck)
        self.said: list[Send] = []
        self._take(self.core.start(self.now, self.disk))

    # ── what a test does ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def hears(self, src: str, message: PeerMessage) -> list[PeerMessage]:
        """What it answers `src`."""
        return [send.message for send in self.does(Recv(src, message)) if send.to == src]

    def does(self, event: Event) -> list[Send]:
        """What it says."""
        self.said = []
        self._take(self.core.step(self.now, event))
        return self.said

    def wakes(self, later: Time | None = None) -> list[Send]:
        """When it wants to, or so much later."""
        self.now = max(self.now, self.wake or 0) if later is None else self.now + later
        return self.does(Wake())

    def persists(self) -> list[Send]:
        """The held disk has synced."""
        self.said, self.waiting = self.waiting, []
        self._take(self.core.step(self.now, Persisted(self.newest)))
        return self.said

    def is_refused(self, epoch: int, owner: str = "x:1") -> list[Send]:
        """The store answers the last question: another is there."""
        return self.does(StoreReply(self.asked[-1], Installed(epoch, owner, 2 * SECOND)))

    def dies(self) -> Solo:
        """Another life on the same disk."""
        return Solo(voters="".join(self.config.voters), records=self.disk)

    # ── how it gets somewhere ────────────────────────────────────────────────────────────────────────────────────────────────────

    def pre_campaigns(self) -> Solo:
        self.wakes()
        return self

    def campaigns(self) -> Solo:
        """It asked all others for votes in its next term."""
        self.pre_campaigns()
        term = self.term
        for voter in self.config.voters[1:]:
            self.hears(voter, PreVoteReply(term, term + 1, True))
            if self.term > term:
                return self
        raise AssertionError("no campaign")

    def leads(self) -> Solo:
        """By the votes of the fewest others."""
        self.campaigns()
        for voter in self.config.voters[1 : len(self.config.voters) // 2 + 1]:
            self.hears(voter, VoteReply(self.term, True))
        assert self.role == "leader"
        return self

    def follows(self, leader: str = "b", term: int = 1) -> Solo:
        self.hears(leader, beat(term, self.core.log.last_index, self.core.log.last_term))
        assert self.core.view().leader == leader
        return self

    # ── what is to be seen ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def term(self) -> int:
        return self.core.view().epoch

    @property
    def role(self) -> str:
        return self.core.view().role.value

    @property
    def terms(self) -> list[int]:
        """Of the log's entries."""
        return [self.core.log.term_at(index) for index in range(1, self.core.log.last_index + 1)]

    def why(self, kind: Kind) -> list[str]:
        return [happened.why for happened in self.happened if happened.kind is kind]

    def _take(self, effects: Effects) -> None:
        self.wake = effects.wake
        self.happened += effects.happened
        self.asked += effects.store
        self.said += effects.send
        if effects.persist is not None:
            self.newest = effects.persist.number
            if not self.is_held:
                self.disk += effects.persist.records
        if self.is_held:
            self.waiting += effects.send_after
            return
        self.said += effects.send_after
        if effects.persist is not None:
            self._take(self.core.step(self.now, Persisted(self.newest)))


def beat(
    term: int,
    prev_index: int = 0,
    prev_term: int = 0,
    *,
    entries: Sequence[Entry] = (),
    commit: int = 0,
    number: int = 1,
) -> Append:
    return Append(term, prev_index, prev_term, commit, number, list(entries))


def ok(term: int, match: int, number: int = 1) -> AppendReply:
    return AppendReply(term, number, True, match)


def of(kind: type, sends: Sequence[Send]) -> list[Send]:
    return [send for send in sends if isinstance(send.message, kind)]


def asks(term: int, last_index: int = 0, last_term: int = 0, *, is_transfer: bool = False) -> Vote:
    return Vote(term, last_index, last_term, is_transfer)


def pre_asks(term: int, last_index: int = 0, last_term: int = 0) -> PreVote:
    return PreVote(term, last_index, last_term)
