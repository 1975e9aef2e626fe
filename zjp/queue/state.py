"""What the loop's thread knows of the queue. Nobody else touches it, and it changes only after the file did.

The exceptions are claims and withdrawals: a job that is taken out of the window is out at once, and comes back if it must.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ..job import Record, StoredJob
from .layout import PRIORITY_BITS, QUEUES_MAX, ROW_BITS, level_number, queue_number
from .outbox import Outbox
from .reruns import Reruns
from .window import Entry, Level, Queue, Window

encode_job = msgspec.msgpack.Encoder().encode
decode_job = msgspec.msgpack.Decoder(StoredJob).decode

COUNTER_BITS = 32


class OpenClaim:
    """`held`: id -> row; negative (~row) while its outcome is being written. `open_count`: those not negative."""

    __slots__ = ("claimed_ms", "fence", "held", "open_count")

    def __init__(self, fence: int, held: dict[bytes, int], claimed_ms: int) -> None:
        self.fence = fence
        self.held = held
        self.open_count = len(held)
        self.claimed_ms = claimed_ms


class Lapsed(msgspec.Struct, frozen=True):
    """A job whose lease was lost, on its way back."""

    fence: int
    claimed_ms: int
    id: bytes
    row: int


class State:
    def __init__(self, starvation_s: float) -> None:
        self.window = Window(starvation_s)
        self.outbox = Outbox()
        self.claims: dict[int, OpenClaim] = {}
        self.lapsed: list[Lapsed] = []
        self.lapsing: set[int] = set()
        """Rows of lapsed jobs until they are back."""
        self.cancelling: set[bytes] = set()
        self.progress: dict[bytes, bytes] = {}
        self.requeued: set[bytes] = set()
        """Ids that live again while the outbox still has an older run of them."""
        self.reruns = Reruns()
        self.next_due_ms: int | None = None
        self.strict_to: dict[int, int] = {}
        """Level -> row up to which claims are written before they are handed out."""
        self.version = 1
        self.next_fence = 0
        self._queue_top = 0
        self.became_ready = False
        self.became_final: list[bytes] = []

    def level(self, queue_name: str, priority: int) -> Level | None:
        """Made when it is new. None: there are too many queues."""
        queue = self.queue(queue_name)
        if queue is None:
            return None
        for level in queue.levels:
            if level.priority == priority:
                return level
        level = Level(queue, priority, level_number(queue.number, priority))
        queue.levels.append(level)
        queue.levels.sort(key=lambda level: -level.priority)
        self.window.levels[level.number] = level
        return level

    def queue(self, name: str) -> Queue | None:
        queues = self.window.queues
        queue = queues.get(name)
        if queue is None and len(queues) < QUEUES_MAX:
            queue = queues[name] = Queue(name, self._queue_top + 1)
            self._queue_top += 1
        return queue

    def load_queue(self, number: int, name: str, is_paused: bool) -> None:
        queue = self.window.queues[name] = Queue(name, number)
        queue.is_paused = is_paused
        self._queue_top = max(self._queue_top, number)
        queue.is_stored = True

    def load_level(self, number: int) -> Level:
        name = next(queue.name for queue in self.window.queues.values() if queue.number == queue_number(number))
        level = self.level(name, number & ((1 << PRIORITY_BITS) - 1))
        assert level is not None
        return level

    def find_claim(self, job_id: bytes) -> OpenClaim | None:
        for claim in self.claims.values():
            if job_id in claim.held:
                return claim
        return None

    def is_running(self, job_id: bytes) -> bool:
        """Claimed, and no outcome of it is being written."""
        claim = self.find_claim(job_id)
        return claim is not None and claim.held[job_id] >= 0

    def count_running(self, rows: list[int], by: int) -> None:
        """Add `by` per row to what is running in the rows' queues."""
        if rows and min(rows) >> ROW_BITS == max(rows) >> ROW_BITS:
            self.window.levels[rows[0] >> ROW_BITS].queue.running += by * len(rows)
        else:
            for row in rows:
                self.window.levels[row >> ROW_BITS].queue.running += by

    def count_later(self, level_number: int, is_retry: bool, by: int) -> None:
        level = self.window.levels[level_number]
        level.later += by
        if is_retry:
            level.queue.retrying += by
        else:
            level.queue.scheduled += by

    def finish(self, outbox_row: int, records: Sequence[Record], datas: Sequence[bytes]) -> None:
        """These jobs are final, and stored in the outbox."""
        ids = [record.job.spec.id for record in records]
        self.became_final += ids
        if self.requeued:
            again = self.requeued.intersection(ids)
            self.requeued -= again
            self.outbox.drop(again)
        self.outbox.add(outbox_row, records, datas)

    def give_back(self, entries: Iterable[Entry], now: float) -> None:
        """Jobs that are claimed no more, to the front of their levels."""
        for row, job in entries:
            self.window.levels[row >> ROW_BITS].give_back(((row, job),), now)
            self.became_ready = True

    def note_due(self, due_ms: int) -> None:
        if self.next_due_ms is None or due_ms < self.next_due_ms:
            self.next_due_ms = due_ms

    def lapse_all(self) -> None:
        """Every claim is void from now on, except for jobs whose outcome is being written already."""
        for fence in list(self.claims):
            claim = self.claims[fence]
            open_ids = {job_id: row for job_id, row in claim.held.items() if row >= 0}
            self.lapsed += [Lapsed(fence, claim.claimed_ms, job_id, row) for job_id, row in open_ids.items()]
            self.lapsing.update(open_ids.values())
            self.count_running(list(open_ids.values()), -1)
            claim.held = {job_id: row for job_id, row in claim.held.items() if row < 0}
            claim.open_count = 0
            if not claim.held:
                del self.claims[fence]
