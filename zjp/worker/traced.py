"""The Caller of a process that traces: each attempt in a span of its own. A class apart, so that without tracing nothing is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..job import StoredJob
from ..task import Definition
from ..tracing import Attempts
from ..wire.messages import Result
from .call import Caller
from .settings import ChildSettings


class TracedCaller(Caller):
    def __init__(
        self,
        settings: ChildSettings,
        tasks: Mapping[str, Definition],
        report: Callable[[bytes, dict[str, Any]], None],
        spans: Attempts,
    ) -> None:
        super().__init__(settings, tasks, report)
        self.spans = self._spans = spans

    def call(self, fence: int, job: StoredJob, limited: Callable[[float, Callable[[], Any]], Any]) -> Result:
        running = self._spans.begin(job)
        result = super().call(fence, job, limited)
        self._spans.end(running, result)
        return result
