"""A node whose DATA_DIR is on the disk that loses its power: queue, records and identity, all as in production."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.processes import Grip, children_of, grips_on, number_of, pid_of, until_all_ended
from tests.power.asking import Asker, askers, finish_all, look, say_again
from tests.power.ledger import Ledger
from tests.power.system import DoesNotStart
from tests.system.running import DidNotStart, RunningNode
from zjp.wire.messages import Durability

DIES_WITH_RUN = ("setpriv", "--pdeathsig", "KILL")
"""Also when the run is killed, nothing that holds the disk outlives it."""
END_LIMIT_S = 10.0
REAL, PLANTED = "zjp.node", "tests.power.planted"


class _Node(RunningNode):
    program = REAL

    def _program(self) -> list[str]:
        # What a killed node leaves among the temporary files goes with the run's folder.
        return ["env", f"TMPDIR={self.folder}", *DIES_WITH_RUN, sys.executable, "-m", self.program]


class SQLiteNode:
    """`program`: the module to run, the node itself or the one with a planted bug."""

    def __init__(self, folder: Path, program: str = REAL) -> None:
        self._node = _Node(
            folder, app="tests.power.tasks:app", worker_count=8, worker_processes=2, shutdown_grace="5s", retry_base_delay="100ms"
        )  # fmt: skip
        self._node.program = program
        self._family: list[Grip] = []
        """Its processes: once it is killed, they are nobody's children."""

    def start(self, disk: Path) -> None:
        self._start(data_dir=disk / "data")

    def _start(self, **settings: object) -> None:
        try:
            self._node.start(**settings)
        except DidNotStart as fault:
            raise DoesNotStart(str(fault)) from fault
        self._family = grips_on(_family(self._node.pid))

    def level(self) -> Durability:
        with self._node.client() as client:
            return client.ping().level

    def begin(self, disk: Path) -> None:
        self._begin(data_dir=disk / "data")

    def _begin(self, **settings: object) -> None:
        self._node.launch(**settings)
        self._family = []  # its workers, when it has any by then, end with it

    def askers(self, ledger: Ledger, seed: str) -> list[Asker]:
        return askers(self._node.address, ledger, seed)

    def strike(self) -> None:
        os.kill(self._node.pid, signal.SIGKILL)

    def die(self) -> None:
        for grip in self._family:
            grip.send(signal.SIGKILL)
        self._node.kill()
        family, self._family = self._family, []
        if until_all_ended(family, END_LIMIT_S) is None:
            raise TimeoutError(f"processes of the node outlived their SIGKILL by {END_LIMIT_S:g} s")

    def stop(self) -> list[str]:
        code = self._node.stop()
        return [] if code == 0 else [f"the node had nothing to do, and ended with exit code {code} when told to stop"]

    def check(self, disk: Path) -> list[str]:
        """Of copies: SQLite writes when it opens a file that a crash left."""
        found = []
        with tempfile.TemporaryDirectory(dir=self._node.folder) as aside:
            for path in sorted((disk / "data").glob("*.db*")):
                shutil.copy(path, aside)
            for copy in sorted(Path(aside).glob("*.db")):
                found += [f"{copy.name}: {said}" for said in _integrity(copy) if said != "ok"]
        return found

    def look(self, jobs: Sequence[str]) -> dict[str, str]:
        return look(self._node.address, jobs)

    def say_again(self, ledger: Ledger) -> list[str]:
        return say_again(self._node.address, ledger)

    def finish_all(self, jobs: Sequence[str], limit_s: float) -> None:
        finish_all(self._node.address, jobs, limit_s)


def _integrity(path: Path) -> list[str]:
    try:
        with contextlib.closing(sqlite3.connect(path)) as database:
            return [said for (said,) in database.execute("PRAGMA integrity_check")]
    except sqlite3.DatabaseError as fault:
        return [str(fault)]


def _family(pid: int) -> list[int]:
    """Numbers of a process, its children and theirs."""
    found = [number_of(pid)]
    for number in found:
        found += children_of(pid_of(number))
    return found
