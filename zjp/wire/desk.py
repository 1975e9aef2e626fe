"""What the HTTP door and operators ask of a node beyond jobs: users, events, failures, the feed of what happens, other nodes. Pure.

Requests and replies like those of messages.py, whose unions hold them; the tags are of the same series. Whoever speaks for others (the HTTP
door) says in the envelope for whom: `user` and `role` there count instead of its own, and are what the audit names.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

USERS_MAX = 10_000
EVENTS_MAX = 500
FEED_MAX = 500
GROUPS_MAX = 500
SAMPLES_MAX = 5
NAME_CHARS_MAX = 64


class User(msgspec.Struct, array_like=True, frozen=True):
    """One who may log in. `role`: worker, user or admin. `hash`: argon2id, in its own text form; empty where it is not told. `epoch` rises
    with every change of password or role: tokens carry it, and older ones end. `version` rises with every change; 0: it is new.
    `is_dev`: made by AUTH_DEV_USERS."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
    role: str
    hash: Annotated[str, msgspec.Meta(max_length=512)] = ""
    epoch: int = 1
    created_ms: int = 0
    changed_ms: int = 0
    is_dev: bool = False
    version: int = 0


class AskUsers(msgspec.Struct, array_like=True, frozen=True, tag=24):
    """All, by name; of `name`, if it is given, the one alone. Answered by Users; hashes are told to the HTTP door only."""

    name: str = ""


class PutUser(msgspec.Struct, array_like=True, frozen=True, tag=25):
    """Make or replace; `user.version` is the one that it replaces (0: it is new). An empty hash keeps the one that is there. Answered by
    Users with the one as stored now. Refused (wrong-state) where another version is there, and where it would take away the last admin."""

    user: User


class RemoveUser(msgspec.Struct, array_like=True, frozen=True, tag=26):
    """Answered by Done with 1, or 0 when there is none. The last admin stays (wrong-state)."""

    name: str


class AskEvents(msgspec.Struct, array_like=True, frozen=True, tag=27):
    """Events of the whole cluster as the records have them, newest first; `kind` empty: all. `since_ms` is within, `until_ms` is not;
    0: no bound. Answered by Events."""

    kind: str = ""
    since_ms: int = 0
    until_ms: int = 0
    cursor: bytes = b""
    limit: int = 50


class Note(msgspec.Struct, array_like=True, frozen=True, tag=28):
    """Something for the audit that the HTTP door did by itself, such as a login; the envelope says who. Answered by Done."""

    what: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    subject: Annotated[str, msgspec.Meta(max_length=256)] = ""
    origin: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """The address it came from."""


class AskFailures(msgspec.Struct, array_like=True, frozen=True, tag=29):
    """Failed jobs that finished since then (Unix ms), grouped by type and error; the newest 10,000 at most are looked at. Answered by
    Failures."""

    since_ms: int = 0
    task: str = ""
    queue: str = ""
    limit: int = 50


class AskFeed(msgspec.Struct, array_like=True, frozen=True, tag=30):
    """What happened to jobs on the answering node after the place `after` (0: from now on). Waits up to `timeout_ms` for something.
    Answered by Feed. While nobody has asked for 10 s, nothing is gathered."""

    after: int = 0
    timeout_ms: int = 0


class RemoveJobs(msgspec.Struct, array_like=True, frozen=True, tag=31):
    """Cancel those that are not finished, and remove what the records have of them. Answered by Verdicts: removed, removing (it is being
    cancelled; its record goes when it has ended), unknown. A removed id is not recognised as a repeat any more, unless the
    caller made it, or gave an idempotency key: then it is for a day."""

    ids: Annotated[list[bytes], msgspec.Meta(min_length=1, max_length=1000)]


class AskNode(msgspec.Struct, array_like=True, frozen=True, tag=32):
    """Have another node of the mesh answer: `body` is an encoded AskStats, AskFeed, AskHistory, Ping, DrainNode or Transfer. Answered by
    that node's reply. not-found: no such node; unavailable: it did not answer."""

    node: str
    body: bytes


class Users(msgspec.Struct, array_like=True, frozen=True, tag=46):
    users: Annotated[list[User], msgspec.Meta(max_length=USERS_MAX)]


class SeenEvent(msgspec.Struct, array_like=True, frozen=True):
    """`kind`: audit, election, member, mesh. `what`: a word of that kind. `who`: the user or key that did it, where somebody did. `data`:
    further facts, a map in msgpack."""

    id: bytes
    at_ms: int
    kind: str
    node: str
    what: str
    subject: str
    who: str
    data: bytes


class Events(msgspec.Struct, array_like=True, frozen=True, tag=47):
    """An empty cursor: that was all."""

    events: Annotated[list[SeenEvent], msgspec.Meta(max_length=EVENTS_MAX)]
    cursor: bytes


class FailureGroup(msgspec.Struct, array_like=True, frozen=True):
    """`message`: the newest job's. `ids`: the newest few."""

    type: str
    error: str
    message: str
    count: int
    first_ms: int
    last_ms: int
    ids: Annotated[list[bytes], msgspec.Meta(max_length=SAMPLES_MAX)]


class Failures(msgspec.Struct, array_like=True, frozen=True, tag=48):
    """By count, most first. `is_whole` False: there were more than were looked at."""

    groups: Annotated[list[FailureGroup], msgspec.Meta(max_length=GROUPS_MAX)]
    scanned: int
    is_whole: bool


class Happening(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A job that came into a state on this node: pending (submitted), running, retrying, completed, failed, cancelled."""

    at_ms: int
    id: bytes
    type: str
    queue: str
    state: str


class Feed(msgspec.Struct, array_like=True, frozen=True, tag=49):
    """`place`: ask for what comes after it. `left_out`: so many more happened than are told; a busy node tells a sample."""

    place: int
    happened: Annotated[list[Happening], msgspec.Meta(max_length=FEED_MAX)]
    left_out: int
