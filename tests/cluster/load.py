"""Jobs that go on while leaders come and go: those acknowledged must complete, whatever happened meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from tests.cluster.stage import Stage
from zjp import Job
from zjp.errors import ZjpError

BATCH = 10
EVERY_S = 0.5
COMPLETE_S = 60.0


class Load:
    """`with Load(stage) as load`, then `lost`. What was not acknowledged does not count."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._jobs: list[str] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self.refused_count = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    @property
    def count(self) -> int:
        return len(self._jobs)

    def lost(self, look: Callable[[Job], Job] = lambda job: job.wait(timeout=COMPLETE_S)) -> list[str]:
        """Ids of acknowledged jobs that did not complete."""
        lost = []
        with self._stage.client(timeout=COMPLETE_S) as client:
            for job_id in self._jobs:
                try:
                    is_done = look(client.get(job_id)).status == "completed"
                except (ZjpError, TimeoutError):
                    is_done = False
                if not is_done:
                    lost.append(job_id)
        return lost

    def _run(self) -> None:
        with self._stage.client() as client:
            while not self._end.wait(EVERY_S):
                try:
                    self._jobs += [job.id for job in client.submit_many([("noop", {})] * BATCH)]
                except (ZjpError, TimeoutError):
                    self.refused_count += 1
