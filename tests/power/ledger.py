"""What the outside was told before the power went: the ledger that a machine has to answer for when it is back.

    acknowledged   the submit of this job was answered, at that moment
    told           somebody was told how this job ended
    open           a request whose answer never came: its jobs may be there, all of them or none

Every entry is also a line of a history on another file system (sims/history.py), so the run can be looked at afterwards. Moments are
CLOCK_MONOTONIC in ns, taken after the answer came: what is in the ledger before the cut was in the asker's hands before the cut.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sims.history import Recorder


@dataclass(frozen=True, slots=True)
class Told:
    at_ns: int
    outcome: str
    """State and result. Tasks return something new in each run, so two runs never have one outcome."""


@dataclass(frozen=True, slots=True)
class Account:
    """What the ledger said at the cut."""

    acknowledged: Mapping[str, int]
    told: Mapping[str, Told]
    open: Sequence[Sequence[str]]
    since_ns: int = 0
    """What is older was told before the last cut, and is kept since."""

    @property
    def jobs(self) -> list[str]:
        return [*self.acknowledged, *(job for ids in self.open for job in ids)]


class Ledger:
    """Written by all askers; read when they have ended."""

    def __init__(self, path: Path) -> None:
        self._recorder = Recorder(path, path.stem)
        self._lock = threading.Lock()
        self.acknowledged: dict[str, int] = {}
        self.told: dict[str, Told] = {}
        self.open: list[list[str]] = []
        self._since_ns = 0
        self.repeatable: list[Sequence[Any]] = []
        """Requests whose ids the asker made: they may be said again."""

    def close(self) -> None:
        self._recorder.close()

    def asks(self, ids: Sequence[str]) -> None:
        """Before a request leaves; an asker that does not know the ids yet has nothing to say."""
        self._write("submit", "invoke", ids)

    def acknowledges(self, ids: Sequence[str]) -> None:
        now = self._write("submit", "ok", ids)
        with self._lock:
            for job in ids:
                self.acknowledged.setdefault(job, now)

    def leaves_open(self, ids: Sequence[str]) -> None:
        self._write("submit", "info", ids)
        with self._lock:
            self.open.append(list(ids))

    def tells(self, outcomes: Mapping[str, str]) -> None:
        now = self._write("seen", "ok", outcomes, val="done")
        with self._lock:
            for job, outcome in outcomes.items():
                self.told.setdefault(job, Told(now, outcome))

    def cuts(self, cut_ns: int) -> None:
        self._recorder.write("fault", "ok", t=cut_ns, t1=time.monotonic_ns(), kind="power", val="cut")

    def account(self) -> Account:
        return Account(dict(self.acknowledged), dict(self.told), list(self.open), self._since_ns)

    def starts_over(self, outcomes: Mapping[str, str]) -> None:
        """After a cut was judged and all work is done: `outcomes` is what there is, and has to be there after the next cut too."""
        self.acknowledged = {job: at_ns for job, at_ns in self.acknowledged.items() if job in outcomes}
        self.told.clear()
        self.open.clear()
        self.tells({job: outcome for job, outcome in outcomes.items() if job in self.acknowledged})
        self._since_ns = time.monotonic_ns()

    def _write(self, f: str, type: Any, jobs: Iterable[str], **fields: Any) -> int:
        now = time.monotonic_ns()
        self._recorder.append([self._recorder.line(f, type, t=now, job=job, **fields) for job in jobs])
        return now
