"""The leader's step in SQLite: its document changes and its jobs are stored in one operation, or neither.

A submit with two questions before it. What it was given is put together anew at each try, since the journal may write it twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..job import StoredJob
from . import standing
from .database import AMONG, Database, among
from .state import State
from .store import Document, DocumentKind, Fired, SubmitKind, Submitted
from .submitting import Requests, SubmitOperation


class FireOperation(SubmitOperation):
    """Value: Fired. Call `plan` before `Journal.put`, and `remember` after that."""

    def __init__(
        self, state: State, requests: Requests, number: int, now_ms: int, now: float, *, lead: tuple[str, int], kind: DocumentKind,
        document: Document,
    ) -> None:  # fmt: skip
        """`lead`: owner and epoch of who asks."""
        super().__init__(state, requests, number, now_ms, now)
        self.lead, self.kind, self.document = lead, kind, document
        self.fired = Fired(0)

    def remember(self) -> None:
        self._groups, self._jobs, self._delayed = self.groups, [list(group.jobs) for group in self.groups], self.delayed

    def write(self, db: Database) -> None:
        self.groups, self.delayed, self.sizes, self.others = [], [], [], {}
        installed = standing.read_lead(db, self.now_ms)
        if not installed.is_of(*self.lead):
            self.fired = Fired(0, installed)
            return
        document = self.document
        version = standing.put_document(db, self.kind, document.name, document.data, document.version)
        self.fired = Fired(version)
        if version:
            self._write_all(db)
            self.fired = Fired(version, None, tuple(self.others.values()))

    def _write_all(self, db: Database) -> None:
        self.groups, self.delayed = self._groups, self._delayed
        for group, jobs in zip(self._groups, self._jobs, strict=True):
            group.jobs = list(jobs)
        self.others = _live(db, [job for jobs in self._jobs for job in jobs])
        for spec in self.keyed:
            if spec.id not in self.others:
                self._check_keys(db, spec)
        self._write_queues(db)
        self._write_jobs(db)

    def apply(self) -> Fired:  # type: ignore[override]
        if self.groups or self.delayed:
            super().apply()
        else:  # nothing became ready
            self.requests.end(self.number)
        return self.fired


def _live(db: Database, jobs: Sequence[StoredJob]) -> dict[bytes, Submitted]:
    """Those whose id stands in the file already."""
    parameters = among([job.spec.id for job in jobs])
    found = {
        job_id
        for table in ("jobs", "later")
        for (job_id,) in db.execute(f"SELECT id FROM {table} WHERE id {AMONG}", parameters)
    }
    return {job_id: Submitted(job_id, SubmitKind.EXISTED) for job_id in found}
