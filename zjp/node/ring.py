"""The last events that an election core was fed, with their times: what it needs to be run again elsewhere.

    leadership ──(now, event)──► ring ──on USR1, or when we broke──► DATA_DIR/election-ring.msgpack ──► python -m sims replay --ring FILE

A core is a function of its configuration, its records at the start, its random numbers and its events, so these give the same transitions
again, as long as the ring holds all of its life (`is_whole`). Once older events have been pushed out, a replay begins in the middle with
what the disk said at the start: it then shows what the node heard, and what a node that was started just then would have made of it.

What peers said stands in the file, so it names nodes and addresses, and no keys, jobs or payloads.
"""

from __future__ import annotations

import os
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import msgspec

from ..election.core import Config, Event, Leave, Met, Persisted, Recv, Stall, StoreReply, Time, Transfer, Wake
from ..wire.peers import Stored

EVENTS_MAX = 10_000
"""Some minutes of a cluster of three, and about a megabyte in the file."""
FILE = "election-ring.msgpack"
KINDS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (Recv, Wake, Persisted, StoreReply, Met, Stall, Transfer, Leave)
}


class Recording(msgspec.Struct, frozen=True):
    """What the file holds. `events`: time, kind and the event itself, oldest first."""

    algorithm: str
    config: Config
    seed: int
    started_at: Time
    records: Sequence[Stored]
    is_whole: bool
    events: Sequence[tuple[Time, str, msgspec.Raw]]

    def fed(self) -> Iterator[tuple[Time, Event]]:
        """Raises: ValueError on an event that this version does not know."""
        for now, name, data in self.events:
            if name not in KINDS:
                raise ValueError(f"event {name!r} is unknown to this version")
            yield now, msgspec.msgpack.decode(data, type=KINDS[name])


class Ring:
    """`uniform`: the random numbers that the core must be made with."""

    def __init__(self, algorithm: str, config: Config, path: Path, *, seed: int | None = None, events_max: int = EVENTS_MAX) -> None:
        self._algorithm, self._config, self._path = algorithm, config, path
        self._seed = secrets.randbits(63) if seed is None else seed
        self.uniform = Random(self._seed).random
        self._started_at: Time = 0
        self._records: Sequence[Stored] = ()
        self._events: deque[tuple[Time, Event]] = deque(maxlen=events_max)
        self._count = 0

    def started(self, now: Time, records: Sequence[Stored]) -> None:
        self._started_at, self._records = now, tuple(records)

    def fed(self, now: Time, happened: Event) -> None:
        """Kept as it is: it is encoded only when somebody asks."""
        self._events.append((now, happened))
        self._count += 1

    def recording(self) -> bytes:
        encode = msgspec.msgpack.encode
        events = [(now, type(one).__name__, msgspec.Raw(encode(one))) for now, one in self._events]
        return encode(
            Recording(
                self._algorithm, self._config, self._seed, self._started_at, self._records, self._count == len(events), events
            )
        )

    def dump(self) -> Path:
        """In place of the one before. Raises: OSError."""
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(self.recording())
        os.replace(fresh, self._path)
        return self._path


def read_recording(path: Path) -> Recording:
    """Raises: OSError, msgspec.ValidationError, msgspec.DecodeError."""
    return msgspec.msgpack.decode(path.read_bytes(), type=Recording)
