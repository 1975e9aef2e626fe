"""What stands behind a client here: users as nodes keep them, and nothing else. The client in front of it is the real one.

Anything but users, notes and events is answered as when no node is there (503), so a route that lets somebody in can be told from one that
does not, without a node.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from zjp import passwords
from zjp.api.auth.door import TokenDoor, ring_of
from zjp.api.desk import Desk
from zjp.client.asyncio import AsyncClient
from zjp.client.calls import OWN_VOICE, Outcome, Voice
from zjp.config import Settings
from zjp.errors import NodeUnreachable, WrongState, ZjpError
from zjp.job import JobSpec
from zjp.tokens import Claims
from zjp.wire import messages as m
from zjp.wire.desk import AskEvents, AskUsers, Events, Note, PutUser, RemoveUser, SeenEvent, User, Users

SECRET = "k9Qw3vJx7Lp0Zt5Rb8Ym2Nc6Hd4Fg1Sa-one"
OTHER_SECRET = "t5Rb8Ym2Nc6Hd4Fg1Sak9Qw3vJx7Lp0Z-two"
NOW = 1_800_000_000.0
PASSWORD = "a quite long sentence"


@dataclass
class Clock:
    """Monotonic and Unix seconds; moves when it is told to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return NOW - 1000.0 + self.now


@dataclass
class People:
    """An AsyncDoor. `asked`: how often each kind of request came; `voices`: who spoke, for all but looks at users."""

    users: dict[str, User] = field(default_factory=dict)
    events: list[SeenEvent] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    voices: list[tuple[Voice, m.Request]] = field(default_factory=list)
    is_away: bool = False
    has_no_events: bool = False

    def add(self, name: str, role: str, password: str | None = PASSWORD, **more: Any) -> User:
        kept = more.pop("hash", None) or (_hash_of(password) if password is not None else "")
        self.users[name] = User(name, role, kept, version=1, **more)
        return self.users[name]

    def make_ids(self, count: int) -> list[bytes]:
        return [bytes([number]) * 16 for number in range(count)]

    async def ask(self, request: m.Request, within_s: float) -> Outcome:
        return told(self.answer(request, OWN_VOICE))

    async def gather(self, spec: JobSpec, within_s: float) -> Outcome:
        raise NodeUnreachable("no node here")

    def speaking_for(self, voice: Voice) -> Speaking:
        return Speaking(self, voice)

    def close(self) -> None:
        pass

    def answer(self, request: m.Request, voice: Voice) -> Outcome:
        self.asked[type(request).__name__] += 1
        if self.is_away:
            return NodeUnreachable("no node here")
        if isinstance(request, AskUsers):
            return Users([user for name, user in sorted(self.users.items()) if request.name in ("", name)])
        self.voices.append((voice, request))
        try:
            return self._changed(request, voice)
        except ZjpError as fault:
            return fault

    def _changed(self, request: m.Request, voice: Voice) -> Outcome:
        if isinstance(request, PutUser):
            return Users([self._put(request.user)])
        if isinstance(request, RemoveUser):
            self._check_admin_left(without=request.name)
            return m.Done(int(self.users.pop(request.name, None) is not None))
        if isinstance(request, Note):
            data = msgspec.msgpack.encode({"origin": request.origin})
            number = len(self.events).to_bytes(16, "big")
            self.events.insert(
                0, SeenEvent(number, int(NOW * 1000), "audit", "n1", request.what, request.subject, voice.user, data)
            )
            return m.Done(0)
        if isinstance(request, AskEvents) and not self.has_no_events:
            return Events(self.events[: request.limit], b"")
        return NodeUnreachable("no node here")

    def _put(self, user: User) -> User:
        held = self.users.get(user.name)
        if user.version != (held.version if held else 0):
            raise WrongState("another version is there")
        if held is None:
            stored = msgspec.structs.replace(user, version=1, created_ms=1, changed_ms=1)
        else:
            if user.role != "admin":
                self._check_admin_left(without=user.name)
            kept = user.hash or held.hash
            epoch = held.epoch + (kept != held.hash or user.role != held.role)
            stored = msgspec.structs.replace(user, hash=kept, epoch=epoch, version=held.version + 1)
        self.users[user.name] = stored
        return stored

    def _check_admin_left(self, *, without: str) -> None:
        held = self.users.get(without)
        if held is not None and held.role == "admin" and sum(user.role == "admin" for user in self.users.values()) == 1:
            raise WrongState("the last admin stays")


class Speaking(People):
    """The same, for a user."""

    def __init__(self, people: People, voice: Voice) -> None:
        self._people, self._voice = people, voice

    async def ask(self, request: m.Request, within_s: float) -> Outcome:
        return told(self._people.answer(request, self._voice))


def told(outcome: Outcome) -> Outcome:
    """As what lies behind a client tells it. Raises: ZjpError."""
    if isinstance(outcome, ZjpError):
        raise outcome
    return outcome


_HASHES: dict[str, str] = {}


def _hash_of(password: str) -> str:
    """One for all users with that password: making it takes its time."""
    if password not in _HASHES:
        _HASHES[password] = passwords.make(password)
    return _HASHES[password]


def settings_of(**given: Any) -> Settings:
    return Settings(**{"auth_enabled": "true", "jwt_secret": SECRET, **given})


class House:
    """A desk with a door and its people."""

    def __init__(self, people: People, clock: Clock, **given: Any) -> None:
        self.people, self.clock = people, clock
        self.settings = settings_of(**given)
        self.client = AsyncClient(_door=people)
        self.door = TokenDoor(self.settings, self.client, ring_of(self.settings), clock=clock, wall=clock.wall)
        self.desk = Desk(self.settings, self.client, self.door, speaks_for_others=True)

    def token(
        self,
        name: str = "ann",
        role: str = "user",
        epoch: int = 1,
        *,
        life_s: float = 3600,
        csrf: str = "",
        jti: str = "t1",
    ) -> str:
        now = int(self.clock.wall())
        return self.door.ring.sign(Claims(name, role, epoch, jti, now, now + int(life_s), csrf))
