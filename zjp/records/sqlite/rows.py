"""How a record becomes a row, and a filter becomes SQL. Pure.

Types, queues and tags stand in the columns and in `seen` as 31-bit checksums: nothing must be interned, and nothing grows with the
names that producers invent. So what a query finds is compared with the filter itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from zlib import crc32

from ...job import JobFilter, JobState
from ..store import RecordItem

COLUMNS = ("row", "id", "type", "queue", "state", "created_ms", "finished_ms", "tags", "data")
WIDTH = len(COLUMNS)
BLOCK_ROWS = 1024
"""More: fewer rows in `seen`, but more rows scanned to find a rare one."""
ROW_END = 1 << 62
"""Above every row."""

_QUEUE, _TAG, _STATE = 1 << 32, 2 << 32, 3 << 32
"""Which kind of word a number in `seen` stands for; a type has none of these bits."""
_STATES = {JobState.COMPLETED: 0, JobState.FAILED: 1, JobState.CANCELLED: 2}
_NO_STATE = len(_STATES)


def flatten(items: Sequence[RecordItem], row: int) -> tuple[list[Any], set[int]]:
    """The values of all rows, one row after the other, from number `row` on; and the words that occur in them."""
    flat: list[Any] = []
    words: set[int] = set()
    completed = JobState.COMPLETED
    task = queue = ""
    task_sum = queue_sum = 0
    for item in items:
        record = item.record
        job = record.job
        spec = job.spec
        if spec.type != task:
            task, task_sum = spec.type, _checksum(spec.type)
        if spec.queue != queue:
            queue, queue_sum = spec.queue, _checksum(spec.queue)
        # Hashing a member of an Enum runs Python code: not for the state that nearly all have.
        state = 0 if record.state is completed else _STATES[record.state]
        tags = ""
        if spec.options is not None and spec.options.tags:
            tags = f" {' '.join(spec.options.tags)} "
            words.update(_TAG | _checksum(tag) for tag in spec.options.tags)
        # sqlite3 looks for an adapter of every value that is not exactly int, float, str or bytearray, and finds none for bytes and None:
        # as those, a row of three of them costs 4.2 us instead of 2.2.
        flat += (
            row,
            bytearray(spec.id),
            task_sum,
            queue_sum,
            state,
            job.created_ms,
            record.finished_ms,
            tags,
            bytearray(item.data),
        )
        row += 1
    words.update(flat[2::WIDTH])
    words.update(_QUEUE | queue for queue in set(flat[3::WIDTH]))
    words.update(_STATE | state for state in set(flat[4::WIDTH]))
    return flat, words


class Block:
    """The block that rows go into now."""

    def __init__(self, first: int) -> None:
        self.first = self.last = first
        self.rows = 0
        self.created_min = self.finished_min = 1 << 62
        self.created_max = 0
        self._words: set[int] = set()
        self._unwritten: set[int] = set()

    def add(self, flat: list[Any], words: set[int]) -> None:
        self.last = flat[-WIDTH]
        self.rows += len(flat) // WIDTH
        created = flat[5::WIDTH]
        self.created_min = min(self.created_min, *created)
        self.created_max = max(self.created_max, *created)
        self.finished_min = min(self.finished_min, *flat[6::WIDTH])
        self._unwritten |= words - self._words
        self._words |= words

    def take_unwritten(self) -> set[int]:
        """The words that are not in `seen` yet."""
        unwritten, self._unwritten = self._unwritten, set()
        return unwritten


@lru_cache(maxsize=64)
def insert_sql(row_count: int) -> str:
    one = f"({', '.join('?' * WIDTH)})"
    return f"INSERT INTO records({', '.join(COLUMNS)}) VALUES {', '.join([one] * row_count)}"


@lru_cache(maxsize=64)
def select_sql(columns: str, id_count: int) -> str:
    return f"SELECT {columns} FROM records WHERE id IN ({', '.join('?' * id_count)})"


def blocks_sql(wanted: JobFilter, below: int) -> tuple[str, list[int]]:
    """(first, last, rows) of the blocks that may hold what is wanted in a row under `below`, newest first."""
    sql, values = "SELECT first, last, rows FROM blocks WHERE first < ?", [below]
    for word in _words(wanted):
        sql += " AND EXISTS(SELECT 1 FROM seen WHERE seen.first = blocks.first AND word = ?)"
        values.append(word)
    if wanted.created_after_ms:
        sql += " AND created_max >= ?"
        values.append(wanted.created_after_ms)
    if wanted.created_before_ms:
        sql += " AND created_min < ?"
        values.append(wanted.created_before_ms)
    return sql + " ORDER BY first DESC", values


def rows_sql(wanted: JobFilter, first: int, last: int) -> tuple[str, list[int | str]]:
    """(row, data) of what is wanted in rows `first` to `last`, newest first."""
    sql = "SELECT row, data FROM records WHERE row BETWEEN ? AND ?"
    values: list[int | str] = [first, last]
    for condition, value in _conditions(wanted):
        sql += f" AND {condition}"
        values.append(value)
    return sql + " ORDER BY row DESC", values


def _words(wanted: JobFilter) -> list[int]:
    words = []
    if wanted.type:
        words.append(_checksum(wanted.type))
    if wanted.queue:
        words.append(_QUEUE | _checksum(wanted.queue))
    if wanted.tag:
        words.append(_TAG | _checksum(wanted.tag))
    if wanted.state is not None:
        words.append(_STATE | _STATES.get(wanted.state, _NO_STATE))
    return words


def _conditions(wanted: JobFilter) -> list[tuple[str, int | str]]:
    conditions: list[tuple[str, int | str]] = []
    if wanted.type:
        conditions.append(("type = ?", _checksum(wanted.type)))
    if wanted.queue:
        conditions.append(("queue = ?", _checksum(wanted.queue)))
    if wanted.tag:  # tags hold no spaces
        conditions.append(("instr(tags, ?)", f" {wanted.tag} "))
    if wanted.state is not None:
        conditions.append(("state = ?", _STATES.get(wanted.state, _NO_STATE)))
    if wanted.created_after_ms:
        conditions.append(("created_ms >= ?", wanted.created_after_ms))
    if wanted.created_before_ms:
        conditions.append(("created_ms < ?", wanted.created_before_ms))
    return conditions


@lru_cache(maxsize=4096)
def _checksum(name: str) -> int:
    """31 bits, which SQLite stores in 4 bytes."""
    return crc32(name.encode()) & 0x7FFFFFFF
