"""The ready jobs that are held in memory, and which of them are claimed next. Pure.

A *level* is one priority of one queue. On disk its jobs are rows whose numbers rise in the order they became ready; in memory it is a
window on that order:

    rows ─►   claimed | returned | ready ............ | tail | on disk only ...........
                                                cursor ▲              stored ▲

`returned` are jobs handed back: their rows are below all that were never claimed, because claims take from the head, so "front of the
level" and "order of rows" are the same thing and a job that comes back keeps its row.

Why no row is in the window twice and none is skipped. Row numbers are reserved in the loop in the same tick in which the operation that
writes them joins the journal, and the journal commits and is applied first in, first out. So rows of a level are committed in rising
order, and `add` sees them in rising order. `stored` is the highest row applied, `cursor` the highest row that memory has seen. They are
equal when the window reaches the end of the level; only then `add` puts jobs into memory. Otherwise they stay on disk and a read of the
rows in (cursor, until], with `until` = `stored` when the read began, brings them in: all these rows were committed before, none can be
added later, and whatever was added since lies above `until`. It waits in `tail` and follows directly when the read got as far as `until`.
A read that hit its limit drops the tail: those rows are on disk and above the new cursor.

A job is taken out by its row (cancel): `withdraw` makes it unclaimable at once, wherever it is; `forget` is called when its row is gone
from disk. Rows withdrawn are skipped when they come up, in memory or in a read that began before.

Queues share claims by smooth weighted round robin; a level that starves gets one job in AGED_SLOT.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

from ..job import StoredJob
from .layout import ROW_BITS

WINDOW_MAX = 20_000
"""Ready jobs of one level in memory: about 12 MB of small jobs, 100 ms of work at full speed; a read of the next rows takes 10 ms."""
WINDOW_BYTES_MAX = 16 << 20
WINDOW_LOW = 5_000
"""Below this the next rows are read."""
AGED_SLOT = 16

Entry = tuple[int, StoredJob]


class Level:
    """One priority of one queue. `number` is in the high bits of its rows."""

    __slots__ = (
        "cursor",
        "data_bytes",
        "gone",
        "is_reading",
        "later",
        "next_row",
        "number",
        "priority",
        "purged_to",
        "queue",
        "reading_until",
        "ready",
        "returned",
        "served_at",
        "stored",
        "tail",
        "waiting",
        "withdrawn",
    )

    def __init__(self, queue: Queue, priority: int, number: int) -> None:
        self.queue = queue
        self.priority = priority
        self.number = number
        self.ready: deque[Entry] = deque()
        self.returned: list[Entry] = []
        self.tail: list[Entry] | None = None
        self.withdrawn: set[int] = set()
        self.gone: list[int] = []
        self.waiting = 0
        self.later = 0
        """Delayed jobs that will become ready here."""
        self.data_bytes = 0
        self.cursor = self.stored = number << ROW_BITS
        self.next_row = self.stored + 1
        self.purged_to = 0
        self.is_reading = False
        self.reading_until = 0
        self.served_at = 0.0

    @property
    def first_row(self) -> int:
        """Below all rows of this level."""
        return self.number << ROW_BITS

    def reserve(self, count: int) -> int:
        """The first of `count` new rows. The operation that writes them must join the journal in the same tick."""
        first = self.next_row
        self.next_row = first + count
        return first

    def add(self, entries: Sequence[Entry], data_bytes: int, now: float) -> None:
        """Rows that were just committed, rising."""
        if not entries:
            return
        self._count(len(entries), now)
        is_end = self.cursor == self.stored
        self.stored = entries[-1][0]
        if self.stored <= self.purged_to:
            self.cursor = self.stored
        elif is_end and len(self.ready) + len(entries) <= WINDOW_MAX and self.data_bytes + data_bytes <= WINDOW_BYTES_MAX:
            self.ready.extend(entries)
            self.data_bytes += data_bytes
            self.cursor = self.stored
        elif self.tail is not None:
            self._add_tail(entries, data_bytes)

    def _add_tail(self, entries: Sequence[Entry], data_bytes: int) -> None:
        assert self.tail is not None
        if len(self.tail) + len(entries) > WINDOW_LOW or data_bytes > WINDOW_BYTES_MAX // 16:
            self.tail = None
        else:
            self.tail.extend(entries)

    def give_back(self, entries: Iterable[Entry], now: float) -> None:
        """Jobs that were claimed, to the front, in the order of their rows."""
        for row, job in entries:
            if row in self.withdrawn:
                self.withdrawn.discard(row)
            else:
                heappush(self.returned, (row, job))
                self._count(1, now)

    def _count(self, added: int, now: float) -> None:
        if not self.waiting:
            self.served_at = now
        self.waiting += added

    def withdraw(self, row: int, *, is_waiting: bool = True) -> bool:
        """Make a ready job unclaimable. `is_waiting` False: it is on its way back and not counted. False: done before."""
        if row in self.withdrawn:
            return False
        self.withdrawn.add(row)
        if is_waiting:
            self.waiting -= 1
        return True

    def forget(self, row: int, *, was_waiting: bool = True) -> None:
        """A withdrawn job's row is gone from disk. `was_waiting` False: it had been gone already when it was withdrawn."""
        if not was_waiting:
            self.waiting += 1
        if row > self.cursor and self.is_reading:
            self.gone.append(row)
        elif row > self.cursor:
            self.withdrawn.discard(row)
        elif row <= self.purged_to:  # memory was emptied below here: only a job handed back since can still hold this row
            self.returned = [entry for entry in self.returned if entry[0] != row]
            heapify(self.returned)
            self.withdrawn.discard(row)

    def take(self, count: int, now: float) -> list[Entry]:
        """Up to `count` from the front, as far as memory holds them."""
        taken: list[Entry] = []
        while self.returned and len(taken) < count:
            entry = heappop(self.returned)
            if not self._is_withdrawn(entry):
                taken.append(entry)
        taken += self._take_ready(count - len(taken))
        if taken:
            self.waiting -= len(taken)
            self.served_at = now
        return taken

    def _take_ready(self, count: int) -> list[Entry]:
        held = len(self.ready)
        pop = self.ready.popleft
        if not self.withdrawn:
            taken = [pop() for _ in range(min(count, held))]
        else:
            taken = []
            while self.ready and len(taken) < count:
                entry = pop()
                if not self._is_withdrawn(entry):
                    taken.append(entry)
        if held:  # every job is counted at the mean size: exact at the ends, and no len() per job
            self.data_bytes = self.data_bytes * len(self.ready) // held
        return taken

    def _is_withdrawn(self, entry: Entry) -> bool:
        if entry[0] not in self.withdrawn:
            return False
        self.withdrawn.discard(entry[0])
        return True

    @property
    def in_memory(self) -> int:
        """Upper bound of what `take` would give."""
        return min(self.waiting, len(self.ready) + len(self.returned))

    @property
    def needs_rows(self) -> bool:
        return (
            self.cursor < self.stored
            and not self.is_reading
            and len(self.ready) < WINDOW_LOW
            and self.data_bytes < WINDOW_BYTES_MAX // 2
        )

    def begin_read(self) -> tuple[int, int]:
        """(after, until): read these rows in order, then call `end_read`."""
        self.is_reading = True
        self.reading_until = self.stored
        self.tail = []
        return self.cursor, self.stored

    def end_read(self, entries: Sequence[Entry], data_bytes: int, *, is_all: bool) -> None:
        """`is_all`: the read got as far as `until`; else it stopped behind its last entry."""
        self.is_reading = False
        withdrawn = self.withdrawn
        for entry in entries:
            if entry[0] in withdrawn:
                withdrawn.discard(entry[0])
            elif entry[0] > self.purged_to:
                self.ready.append(entry)
        self.data_bytes += data_bytes
        self.cursor = max(self.cursor, self.reading_until if is_all else entries[-1][0])
        if is_all and self.tail is not None:
            self.ready.extend(self.tail)
            self.cursor = self.stored
        self.tail = None
        self._forget_gone()

    def abandon_read(self) -> None:
        """The read failed; the next one asks for the same rows."""
        self.is_reading = False
        self.tail = None
        self._forget_gone()

    def _forget_gone(self) -> None:
        self.withdrawn.difference_update(row for row in self.gone if row > self.cursor or row <= self.purged_to)
        self.gone.clear()

    def purge(self) -> int:
        """Let go of every job that waits here or is being submitted; what is claimed may still come back. Returns the highest row:
        the caller deletes the unclaimed rows up to it, and counts them off `waiting` as they go."""
        self.purged_to = self.next_row - 1
        self.withdrawn.difference_update(row for row, _ in (*self.ready, *self.returned))
        self.ready.clear()
        self.returned.clear()
        self.data_bytes = 0
        self.cursor = self.stored
        if self.tail is not None:
            self.tail = []
        return self.purged_to

    def head(self) -> StoredJob | None:
        """The job that would be claimed first, when memory holds it."""
        while self.returned and self._is_withdrawn(self.returned[0]):
            heappop(self.returned)
        if self.returned:
            return self.returned[0][1]
        while self.ready and self._is_withdrawn(self.ready[0]):
            self.ready.popleft()
        return self.ready[0][1] if self.ready else None


class Queue:
    """Its levels, what is counted, and its place in the round robin."""

    __slots__ = ("current", "is_paused", "is_stored", "levels", "name", "number", "retrying", "running", "scheduled", "turn")

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.levels: list[Level] = []
        """Highest priority first."""
        self.is_paused = False
        self.is_stored = False
        self.scheduled = 0
        self.retrying = 0
        self.running = 0
        self.current = 0
        self.turn = 0
        """Jobs claimed since a starving level was last asked, up to AGED_SLOT - 1."""

    @property
    def pending(self) -> int:
        return sum(level.waiting for level in self.levels)

    @property
    def in_memory(self) -> int:
        return sum(level.in_memory for level in self.levels)

    def oldest_ms(self, now_ms: int) -> int:
        """Age of the oldest ready job since it became ready, as far as memory holds the heads of the levels."""
        heads = [head for level in self.levels if level.waiting and (head := level.head()) is not None]
        return max((now_ms - max(job.created_ms, job.due_ms) for job in heads), default=0)

    def take(self, count: int, now: float, starvation_s: float) -> Iterator[tuple[Level, list[Entry]]]:
        while count > 0:
            starving = self._starving(now, starvation_s)
            burst = count if starving is None else min(count, AGED_SLOT - 1 - self.turn)
            got = 0
            for level in self.levels:
                if got < burst and level.waiting and (entries := level.take(burst - got, now)):
                    got += len(entries)
                    yield level, entries
            self.turn = min(AGED_SLOT - 1, self.turn + got)
            count -= got
            if starving is None:
                return
            if count > 0 and self.turn == AGED_SLOT - 1 and (entries := starving.take(1, now)):
                self.turn = 0
                count -= 1
                yield starving, entries
            elif got == 0:
                return

    def _starving(self, now: float, starvation_s: float) -> Level | None:
        """The level below the first one that has waited longest beyond the limit."""
        full = [level for level in self.levels if level.waiting]
        late = [level for level in full[1:] if now - level.served_at >= starvation_s and level.in_memory]
        return min(late, key=lambda level: level.served_at, default=None)


class Window:
    """All queues. Numbers, rows and times come from outside."""

    def __init__(self, starvation_s: float) -> None:
        self.starvation_s = starvation_s
        self.queues: dict[str, Queue] = {}
        self.levels: dict[int, Level] = {}

    def take(self, count: int, weights: Mapping[str, int], now: float) -> list[tuple[Level, list[Entry]]]:
        """Up to `count` jobs, as shares of levels in the order in which they should run."""
        active = [
            (queue, weight, held)
            for queue in self.queues.values()
            if not queue.is_paused
            and (weight := weights.get(queue.name, weights.get("*", 0))) > 0 and (held := queue.in_memory)
        ]  # fmt: skip
        if len(active) == 1:
            return list(active[0][0].take(count, now, self.starvation_s))
        taken: list[tuple[Level, list[Entry]]] = []
        for queue, share in _shares(active, count):
            taken += queue.take(share, now, self.starvation_s)
        return taken

    def is_servable(self, weights: Mapping[str, int]) -> bool:
        """Whether a queue of `weights` has ready jobs, in memory or on disk."""
        return any(
            queue.pending
            for queue in self.queues.values()
            if not queue.is_paused and weights.get(queue.name, weights.get("*", 0)) > 0
        )

    def hungry(self) -> list[Level]:
        """Levels whose next rows should be read."""
        return [level for level in self.levels.values() if level.needs_rows]

    def level_of(self, row: int) -> Level:
        return self.levels[row >> ROW_BITS]


def _shares(active: Sequence[tuple[Queue, int, int]], count: int) -> list[tuple[Queue, int]]:
    """Smooth weighted round robin, `count` times; a queue drops out when it has no more. Source: nginx, upstream round robin."""
    shares = {queue.number: 0 for queue, _, _ in active}
    left = list(active)
    while count > 0 and left:
        total = 0
        for queue, weight, _ in left:
            queue.current += weight
            total += weight
        best = max(left, key=lambda entry: entry[0].current)
        queue, _, held = best
        queue.current -= total
        shares[queue.number] += 1
        count -= 1
        if shares[queue.number] == held:
            queue.current = 0
            left.remove(best)
    return [(queue, share) for queue, _, _ in active if (share := shares[queue.number])]


