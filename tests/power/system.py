"""What an experiment needs of a system under power cuts; a node on SQLite is one, a Redis server another."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.power.ledger import Ledger
from zjp.wire.messages import Durability

LOSS_AGE_MAX_S: Mapping[Durability, float | None] = {Durability.DISK: None, Durability.DISK_1S: 1.2}
"""How old an acknowledgement of that level may be that a cut undoes; None: none may be. A store that syncs once a second does so in a
thread that has to wake up and to wait for the disk."""


class DoesNotStart(Exception):
    """After the cut it refuses what it finds on the disk."""


class Asker(Protocol):
    """A thread that asks until `ends`."""

    ends: threading.Event
    failure: BaseException | None

    def start(self) -> None: ...
    def join(self, timeout: float | None = None) -> None: ...
    def is_alive(self) -> bool: ...


class System(Protocol):
    """Its data lie on the disk that is given, all else in the folder that it was made with.

    One round: `start`, `askers`; `strike`, the cut, `die`; the disk comes back; `check`, `start`, `look`, `say_again`, `finish_all`,
    `look`.
    """

    def level(self) -> Durability:
        """What its acknowledgements say they are worth; read from what runs."""

    def start(self, disk: Path) -> None:
        """On whatever the disk holds. Raises: DoesNotStart."""

    def begin(self, disk: Path) -> None:
        """As `start`, but returns while it may still be starting: only to be struck."""

    def askers(self, ledger: Ledger, seed: str) -> Sequence[Asker]:
        """Not started. The ledger is on another disk."""

    def strike(self) -> None:
        """SIGKILL to what answers askers, and nothing else: the disk goes within microseconds after it."""

    def die(self) -> None:
        """Whole, struck or not. Returns when no process of it is left, so nothing holds the disk."""

    def stop(self) -> list[str]:
        """As an operator stops it. Returns what was not as it should be."""

    def check(self, disk: Path) -> list[str]:
        """The stores' own check of their files, changing nothing; while it does not run. Empty: ok."""

    def look(self, jobs: Sequence[str]) -> dict[str, str]:
        """job -> outcome, empty while it has none; those that are not there are left out."""

    def say_again(self, ledger: Ledger) -> list[str]:
        """Requests that may be repeated are repeated. Returns what was not recognised."""

    def finish_all(self, jobs: Sequence[str], limit_s: float) -> None:
        """Raises: TimeoutError."""
