"""What stands beside the jobs in SQLite: the leadership, users, schedules. Small, rare, decided inside the writer's transactions.

The leadership's end is by the wall clock, as due times are; with one node on the file nobody else can want it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .database import Database, put_fact, read_fact
from .journal import Operation
from .store import Beside, Document, DocumentKind, Lead


class Decision(Operation):
    """One step that reads and writes; what `decide` returned for the commit that held is the value."""

    def __init__(self, decide: Callable[[Database], Any]) -> None:
        self.decide = decide
        self.value: Any = None

    def write(self, db: Database) -> None:
        self.value = self.decide(db)

    def apply(self) -> Any:
        return self.value


def claim_lead(db: Database, owner: str, epoch: int, until_ms: int, *, now_ms: int, is_elected: bool) -> Lead:
    row = db.execute("SELECT epoch, owner, until_ms FROM lead").fetchone() or (0, "", 0)
    has_ended = row[2] <= now_ms or row[1] == owner or is_elected
    if epoch > row[0] and has_ended:
        row = (epoch, owner, until_ms)
        db.execute("INSERT OR REPLACE INTO lead VALUES(1, ?, ?, ?)", row)
    return Lead(row[0], row[1], max(0, row[2] - now_ms) / 1000)


def read_lead(db: Database, now_ms: int) -> Lead:
    epoch, owner, until_ms = db.execute("SELECT epoch, owner, until_ms FROM lead").fetchone() or (0, "", 0)
    return Lead(epoch, owner, max(0, until_ms - now_ms) / 1000)


def set_lead_end(db: Database, owner: str, epoch: int, until_ms: int) -> bool:
    return db.execute("UPDATE lead SET until_ms = ? WHERE owner = ? AND epoch = ?", (until_ms, owner, epoch)).rowcount == 1


def read_documents(db: Database, kind: DocumentKind) -> list[Document]:
    rows = db.execute("SELECT name, data, version FROM documents WHERE kind = ? ORDER BY name", (kind.value,))
    return [Document(*row) for row in rows]


def put_document(db: Database, kind: DocumentKind, name: str, data: bytes, version: int, *, beside: Beside | None = None) -> int:
    if not _stands(db, kind, beside):
        return 0
    if not version:
        version = read_fact(db, _removed(kind))
        done = db.execute("INSERT OR IGNORE INTO documents VALUES(?, ?, ?, ?)", (kind.value, name, data, version + 1))
    else:
        change = "UPDATE documents SET data = ?, version = version + 1 WHERE kind = ? AND name = ? AND version = ?"
        done = db.execute(change, (data, kind.value, name, version))
    return version + 1 if done.rowcount == 1 else 0


def remove_document(db: Database, kind: DocumentKind, name: str, version: int, *, beside: Beside | None = None) -> bool:
    if not _stands(db, kind, beside):
        return False
    done = db.execute("DELETE FROM documents WHERE kind = ? AND name = ? AND version = ?", (kind.value, name, version)).rowcount == 1
    if done:
        put_fact(db, _removed(kind), max(version, read_fact(db, _removed(kind))))
    return done


def _removed(kind: DocumentKind) -> str:
    """The highest version of those that were removed. New ones begin above it: whoever knows the former one of the same name must see that
    this is another."""
    return f"removed:{kind.value}"


def _stands(db: Database, kind: DocumentKind, beside: Beside | None) -> bool:
    if beside is None:
        return True
    found = db.execute("SELECT 1 FROM documents WHERE kind = ? AND name = ? AND version = ?", (kind.value, *beside))
    return found.fetchone() is not None
