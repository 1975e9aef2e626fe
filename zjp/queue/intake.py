"""The loop's side of a submit: who may be a repeat, who is known, what is put into the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence, Set
from itertools import repeat

from ..errors import InvalidJob
from ..job import JobSpec
from .browsing import find_specs
from .finished import find_finished, is_noted
from .firing import FireOperation
from .journal import Journal
from .layout import QUEUES_MAX
from .reader import Reader
from .sessions import Sessions
from .state import State
from .store import Document, DocumentKind, FinishedLookup, Fired, SubmitKind, Submitted
from .submitting import IdTaken, Requests, SubmitOperation, check_same, split_repeats
from .window import Level


class Intake:
    def __init__(
        self, state: State, journal: Journal, reader: Reader, *, sessions: Sessions, finished: FinishedLookup,
        now_s: Callable[[], float], wall_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._state, self._journal, self._reader = state, journal, reader
        self._sessions, self._finished = sessions, finished
        self._now, self._wall_ms = now_s, wall_ms
        self._requests = Requests()

    async def submit(self, specs: Sequence[JobSpec]) -> list[Submitted]:
        suspects, tops = self._sessions.judge(specs, self._wall_ms())
        try:
            return await self._submit(specs, suspects, tops)
        except IdTaken:
            return await self._submit(specs, range(len(specs)), tops)

    async def _submit(self, specs: Sequence[JobSpec], suspects: Sequence[int], tops: Mapping[bytes, bytes]) -> list[Submitted]:
        number, _ = self._requests.begin(specs)
        try:
            answers: dict[int, Submitted] = {}
            repeats: dict[int, int] = {}
            if suspects:
                suspects, repeats = split_repeats(specs, suspects)
                answers = await self._recognise(specs, suspects, number)
            if len(answers) + len(repeats) == len(specs):
                self._requests.end(number)
                done = None
            else:
                done = self._put_submit(number, specs, answers.keys() | repeats.keys(), tops)
        except BaseException:
            self._requests.end(number)
            raise
        others = await done if done is not None else {}
        if not (answers or repeats or others):
            return list(map(Submitted, [spec.id for spec in specs], repeat(SubmitKind.CREATED)))
        for index, spec in enumerate(specs):
            if index not in answers and index not in repeats:
                answers[index] = others.get(spec.id) or Submitted(spec.id, SubmitKind.CREATED)
        for index, first in repeats.items():
            was = answers[first]
            answers[index] = Submitted(was.id, SubmitKind.EXISTED) if was.kind is SubmitKind.CREATED else was
        return [answers[index] for index in range(len(specs))]

    async def _recognise(self, specs: Sequence[JobSpec], suspects: Sequence[int], number: int) -> dict[int, Submitted]:
        """index -> answer of those that are known. Looked for in the order in which a job moves. Raises: JobConflict."""
        ids = {specs[index].id for index in suspects}
        await self._requests.wait_for_earlier(number, ids)
        known = dict(await self._reader.run(lambda db: find_specs(db, list(ids))))
        if ids - known.keys():
            await self._journal.hear()  # what left the file in a commit that the loop has not heard of reaches the outbox
        for job_id in ids - known.keys():
            if (item := self._state.outbox.get(job_id)) is not None:
                known[job_id] = item.record.job.spec
        if missing := {specs[index].id: specs[index] for index in suspects if specs[index].id not in known}:
            found, away = await find_finished(self._finished, missing)
            if away is not None and not all(map(is_noted, missing.values())):
                raise away
            known.update(found)
        return {index: check_same(specs[index], known[specs[index].id]) for index in suspects if specs[index].id in known}

    def _put_submit(
        self, number: int, specs: Sequence[JobSpec], known: Set[int], tops: Mapping[bytes, bytes]
    ) -> asyncio.Future[Mapping[bytes, Submitted]]:
        now_ms = self._wall_ms()
        new = [spec for index, spec in enumerate(specs) if index not in known] if known else specs
        operation = SubmitOperation(self._state, self._requests, number, now_ms, self._now())
        operation.sessions = tops
        self._plan(operation, new)
        return self._journal.put(operation)

    def _plan(self, operation: SubmitOperation, specs: Sequence[JobSpec]) -> None:
        """Raises: InvalidJob."""
        operation.plan(specs, lambda queue, priority: level_for(self._state, queue, priority))

    async def fire(self, lead: tuple[str, int], kind: DocumentKind, document: Document, specs: Sequence[JobSpec]) -> Fired:
        """`lead`: owner and epoch."""
        number, _ = self._requests.begin(specs)
        try:
            operation = FireOperation(
                self._state, self._requests, number, self._wall_ms(), self._now(), lead=lead, kind=kind, document=document
            )
            self._plan(operation, specs)
            operation.remember()
            done = self._journal.put(operation)
        except BaseException:
            self._requests.end(number)
            raise
        fired: Fired = await done
        return fired


def level_for(state: State, queue: str, priority: int) -> Level:
    """Raises: InvalidJob."""
    level = state.level(queue, priority)
    if level is None:
        raise InvalidJob(f"queue {queue!r} is one more than the limit of {QUEUES_MAX}; what comes from data belongs into the payload")
    return level
