"""The demo's producer: one job per file, a part now and the rest later. The file's place decides about priority and delay, so two runs
ask for the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .demo_files import as_payload
from .demo_index import TASK
from .demo_report import Asked

if TYPE_CHECKING:
    from ..client.blocking import Client

PRIORITIES = (10, 5, 1)
DELAYED_ONE_IN = 50
DELAY_MS = 1_000


class Producer:
    """`asked` is what was submitted so far."""

    def __init__(self, client: Client, paths: Sequence[bytes]) -> None:
        self.asked: list[Asked] = []
        self._client, self._paths = client, paths

    def submit(self, count: int | None = None) -> None:
        """The next `count` files; all that are left by default."""
        from ..client.options import JobRequest

        first = len(self.asked)
        payloads = [as_payload(path) for path in self._paths[first : None if count is None else first + count]]
        delays_ms = [DELAY_MS if number % DELAYED_ONE_IN == 0 else 0 for number in range(first, first + len(payloads))]
        jobs = self._client.submit_many(
            JobRequest(TASK, {"path": path}, {"priority": PRIORITIES[number % len(PRIORITIES)], "delay": delay_ms / 1000})
            for number, (path, delay_ms) in enumerate(zip(payloads, delays_ms, strict=True), first)
        )
        asked = zip(jobs, payloads, delays_ms, strict=True)
        self.asked += [Asked(job.id_bytes, path, delay_ms) for job, path, delay_ms in asked]
