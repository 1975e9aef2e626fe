"""One Gossip core on its own: the test is the network, the disk and the store. Nothing is answered unless the test answers it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from zjp.election.core import (
    MS,
    SECOND,
    Config,
    Effects,
    Event,
    Happened,
    Health,
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
from zjp.election.gossip import Gossip
from zjp.wire import peers
from zjp.wire.peers import Alive, PeerMessage, PingPeer, Rumour, Stored

P = 500 * MS
ME = "m"
M = TypeVar("M", bound=PeerMessage)


class Solo:
    """Is called `m`, priority 0. `sent`, `ops`, `told`: all since they were last cleared. The disk is quick, unless `is_held`."""

    def __init__(
        self,
        *known: str,
        voters: tuple[str, ...] = (),
        expected: int = 3,
        disk: Sequence[Stored] = (),
        boot: int = 1,
        uniform: Callable[[], float] = lambda: 0.0,
        is_held: bool = False,
    ) -> None:
        self.now: Time = 1 * SECOND
        self.sent: list[Send] = []
        self.after: list[Send] = []
        self.ops: list[StoreOp] = []
        self.told: list[Happened] = []
        self.disk = list(disk)
        self.number = 0
        self.is_held = is_held
        self.wake_at: Time | None = None
        config = Config(ME, boot, voters, expected, 0, 4 * P, P, 4 * P)
        self.core = Gossip(config, uniform)
        self._take(self.core.start(self.now, list(disk)))
        self.know(*known)

    # ── what happens to it ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def step(self, event: Event) -> Effects:
        out = self.core.step(self.now, event)
        self._take(out)
        return out

    def hear(self, src: str, message: PeerMessage) -> Effects:
        return self.step(Recv(src, message))

    def rumour(self, *rumours: Rumour, src: str = "a", incarnation: int = 1) -> None:
        """From a member that tells nothing new of itself."""
        self.hear(src, peers.Gossip(incarnation, 0, "", list(rumours)))

    def know(self, *names: str, incarnation: int = 1, priority: int = 0) -> None:
        """Tables of nodes that come, each with nothing but itself in it."""
        for name in names:
            self.hear(name, peers.SyncReply(incarnation, 0, "", [Alive(name, incarnation, priority)]))

    def wake(self) -> None:
        assert self.wake_at is not None
        self.now = max(self.now, self.wake_at)
        self.step(Wake())

    def run(self, span: Time, *answering: str) -> None:
        """Let time pass. Pings to those who are `answering` are answered at once, the others stay silent."""
        end = self.now + span
        seen = len(self.sent)
        while True:
            while seen < len(self.sent):
                send = self.sent[seen]
                seen += 1
                if isinstance(send.message, PingPeer) and send.to in answering:
                    self.answer(send)
            if self.wake_at is None or self.wake_at > end:
                self.now = end
                return
            self.wake()

    def answer(self, ping: Send, incarnation: int = 1) -> None:
        assert isinstance(ping.message, PingPeer)
        self.hear(ping.to, peers.Ack(ping.message.seq, ping.to, incarnation, 0, "", []))

    def suspects(self, name: str) -> None:
        """By its own doing: nobody answers until it has pinged this one in vain."""
        while self.health(name) is not Health.SUSPECT:
            self.wake()

    def persist(self) -> None:
        """All that was written is on the disk now."""
        self.sent += self.after
        self.after.clear()
        self.step(Persisted(self.number))

    def answer_store(self, epoch: int | None = None, owner: str = "", left: Time = 4 * P) -> Effects:
        """The newest question, with what is installed then; without arguments: it was done as asked."""
        op = self.ops[-1]
        return self.step(StoreReply(op, Installed(op.epoch if epoch is None else epoch, owner or op.owner, left)))

    # ── what can be seen ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def health(self, name: str) -> Health | None:
        member = self.core.view().members.get(name)
        return member.health if member else None

    def messages(self, kind: type[M], to: str = "") -> list[M]:
        return [send.message for send in self.sent if isinstance(send.message, kind) and to in ("", send.to)]

    def pings(self, to: str = "") -> list[Send]:
        return [send for send in self.sent if isinstance(send.message, PingPeer) and to in ("", send.to)]

    def kinds(self) -> list[Kind]:
        return [happened.kind for happened in self.told]

    @property
    def incarnation(self) -> int:
        """As a ping is answered with it."""
        self.hear("asker", PingPeer(1, ME, 1, 0, "", []))
        return self.messages(peers.Ack, "asker")[-1].incarnation

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, out: Effects) -> None:
        self.sent += out.send
        self.after += out.send_after
        self.ops += out.store
        self.told += out.happened
        self.wake_at = out.wake
        if out.persist is not None:
            self.number = out.persist.number
            self.disk += out.persist.records
        if not self.is_held and (out.persist is not None or self.after):
            self.persist()
