"""What is known of one job, as both clients show it: `Job` and `AsyncJob` add what they can do with it.

Times are Unix seconds, None where it has not happened. Payload, result and progress are unpacked when they are asked for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..errors import JobCancelled, JobFailed
from ..job import JobFault, JobState, JobView, format_id
from ..job_json import job_json
from ..wire.messages import Durability, SubmitKind
from .packing import unpack


class JobAttempt(NamedTuple):
    """One run of a job. `outcome`: completed, failed, retried, snoozed, crashed, lost, timeout, cancelled."""

    number: int
    fence: int
    node_id: str
    worker_id: str
    started_at: float | None
    ended_at: float | None
    outcome: str
    error: JobFault | None


class JobFacts:
    """`kind` and `level` tell what the submit did; both are None for a job that was looked up."""

    __slots__ = ("_id", "_type", "_view", "kind", "level")
    _id: bytes
    _type: str
    kind: SubmitKind | None
    level: Durability | None
    _view: JobView | None

    def _known(self) -> JobView:
        """The latest view; how to get one when there is none is up to the heirs."""
        raise NotImplementedError

    @property
    def id(self) -> str:
        return format_id(self._id)

    @property
    def id_bytes(self) -> bytes:
        return self._id

    @property
    def type(self) -> str:
        """As asked for until it is looked at: the holder of a unique key may be of another."""
        return self._type if self._type and self._view is None else self._known().type

    @property
    def existed(self) -> bool:
        """Whether the submit found the job there already: same id, idempotency key or unique key."""
        return self.kind in (SubmitKind.EXISTED, SubmitKind.UNIQUE)

    @property
    def status(self) -> JobState:
        """As of the last look."""
        return self._known().status

    @property
    def is_final(self) -> bool:
        return self._view is not None and self._view.status.is_final

    @property
    def result(self) -> Any:
        """What the task returned. Raises: JobFailed, JobCancelled, TimeoutError (not finished as of the last look)."""
        view = self._known()
        if view.status is JobState.COMPLETED:
            return unpack(view.result, f"the result of job {self.id}") if view.result else None
        if view.status is JobState.FAILED:
            error = view.error or JobFault("Unknown")
            raise JobFailed(error.type, error.message, error.traceback)
        if view.status is JobState.CANCELLED:
            raise JobCancelled(f"job {self.id} ({view.type}) was cancelled")
        raise TimeoutError(
            f"job {self.id} ({view.type}) is {view.status.value}, it has no result yet; wait() for it first"
        )

    @property
    def error(self) -> JobFault | None:
        """Why it failed: `.type`, `.message`, `.traceback`."""
        return self._known().error

    @property
    def payload(self) -> dict[str, Any]:
        payload: dict[str, Any] = unpack(self._known().payload, f"the payload of job {self.id}")
        return payload

    @property
    def progress(self) -> dict[str, Any] | None:
        """The task's latest `done`, `total`, `note`."""
        packed = self._known().progress
        return unpack(packed, f"the progress of job {self.id}") if packed else None

    @property
    def attempts(self) -> list[JobAttempt]:
        return [
            JobAttempt(
                number,
                one.fence,
                one.node,
                one.worker,
                _seconds(one.started_ms),
                _seconds(one.ended_ms),
                one.outcome,
                one.error,
            )
            for number, one in enumerate(self._known().attempts, 1)
        ]

    @property
    def queue(self) -> str:
        return self._known().queue

    @property
    def priority(self) -> int:
        return self._known().priority

    @property
    def max_retries(self) -> int | None:
        """None: the task's own, else the node's setting."""
        return self._known().max_retries

    @property
    def retry_count(self) -> int:
        return self._known().retries

    @property
    def crash_count(self) -> int:
        return self._known().crashes

    @property
    def run(self) -> int:
        """Rises when a finished job is run again."""
        return self._known().run

    @property
    def tags(self) -> tuple[str, ...]:
        return self._known().tags

    @property
    def unique_key(self) -> str:
        return self._known().unique_key

    @property
    def timeout(self) -> float | None:
        """Seconds one attempt may take; None: the task's own, else the node's setting."""
        timeout_ms = self._known().timeout_ms
        return None if timeout_ms is None else timeout_ms / 1000

    @property
    def node_id(self) -> str:
        return self._known().node

    @property
    def worker_id(self) -> str:
        return self._known().worker

    @property
    def created_at(self) -> float | None:
        return _seconds(self._known().created_ms)

    @property
    def scheduled_at(self) -> float | None:
        return _seconds(self._known().due_ms)

    @property
    def started_at(self) -> float | None:
        return _seconds(self._known().started_ms)

    @property
    def completed_at(self) -> float | None:
        return _seconds(self._known().finished_ms)

    def as_dict(self) -> dict[str, Any]:
        """All of it, as the HTTP API shows a job: its names, times and durations as text, the nearest thing to what JSON cannot say."""
        return job_json(self._known())

    def __repr__(self) -> str:
        state = f" {self._view.status.value}" if self._view is not None else ""
        kind = f" {self.kind.value}" if self.existed and self.kind is not None else ""
        return f"<{type(self).__name__} {self.id} {self._type if self._view is None else self._view.type}{state}{kind}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobFacts) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)


def _seconds(ms: int) -> float | None:
    return ms / 1000 if ms else None
