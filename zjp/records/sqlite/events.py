"""Events in the records' file: one small table in the order of their places, with an index for their kinds."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from ..events import Event, EventFilter, EventPage, page_of, place_of, span_of, time_place

SCHEMA = """
CREATE TABLE IF NOT EXISTS events(place BLOB PRIMARY KEY, kind TEXT NOT NULL, data BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS events_kind ON events(kind, place);
"""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode


def append_events(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    rows = [(place_of(event), event.kind, _encode(event)) for event in events]
    connection.executemany("INSERT OR IGNORE INTO events(place, kind, data) VALUES(?, ?, ?)", rows)


def list_events(connection: sqlite3.Connection, wanted: EventFilter, cursor: bytes, limit: int) -> EventPage:
    """Raises: InvalidJob."""
    least, below = span_of(wanted, cursor)
    kind, values = ("kind = ? AND ", [wanted.kind]) if wanted.kind else ("", [])
    found = connection.execute(
        f"SELECT data FROM events WHERE {kind}place >= ? AND place < ? ORDER BY place DESC LIMIT ?", [*values, least, below, limit + 1]
    )
    return page_of([_decode(data) for (data,) in found], limit)


def prune_events(connection: sqlite3.Connection, before_ms: int, limit: int) -> int:
    return connection.execute(
        "DELETE FROM events WHERE place IN (SELECT place FROM events WHERE place < ? ORDER BY place LIMIT ?)",
        (time_place(before_ms), limit),
    ).rowcount
