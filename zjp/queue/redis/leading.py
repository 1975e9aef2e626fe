"""The steps that only the leader may do in Redis: each script asks first whether its epoch is the installed one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ...job import JobSpec
from ..layout import QUEUES_MAX
from ..store import Document, DocumentKind, Fired, Lead, Reaped, SubmitKind, Submitted, outbox_full
from .intake import excess_queue, single_arguments

KINDS = {b"e": SubmitKind.EXISTED, b"u": SubmitKind.UNIQUE}


class Leading:
    """`ask`: the store's. `note`: told of each answer's outbox and whether jobs were stored; `tell`: of ids that are final."""

    def __init__(
        self, ask: Callable[[str, list[Any], str], Awaitable[Any]], *, limits: tuple[int, int], note: Callable[[int, int, bool], None],
        tell: Callable[[Sequence[bytes]], None],
    ) -> None:  # fmt: skip
        self._ask, self._limits, self._note, self._tell = ask, limits, note, tell

    async def fire(
        self, owner: str, epoch: int, kind: DocumentKind, document: Document, jobs: Sequence[JobSpec]
    ) -> Fired:
        arguments: list[Any] = [
            owner, epoch, kind.value, document.name, document.version, document.data, *self._limits, QUEUES_MAX, len(jobs),
        ]  # fmt: skip
        for spec in jobs:
            arguments += single_arguments(spec)
        answer, *rest = await self._ask("fire", arguments, "other")
        if answer == b"fenced":
            return Fired(0, _lead(rest))
        if answer == b"stale":
            return Fired(0)
        if answer == b"full":
            self._note(rest[0], rest[1], False)
            raise outbox_full(rest[0], rest[1], self._limits)
        if answer == b"queues":
            raise excess_queue(rest[0])
        version, count, data_bytes, *found = rest
        self._note(count, data_bytes, bool(jobs))
        others = tuple(Submitted(found[at + 2], KINDS[found[at + 1]]) for at in range(0, len(found), 3))
        return Fired(version, None, others)

    async def reap_dead(self, owner: str, epoch: int, life: bytes, silent_ms: int, lease_ms: int, limit: int) -> Reaped:
        answer, *rest = await self._ask("reap_dead", [owner, epoch, life, silent_ms, lease_ms, limit], "renew")
        if answer == b"fenced":
            return Reaped(False, 0, _lead(rest))
        was_reaped, jobs, ended, count, data_bytes = rest
        self._note(count, data_bytes, bool(jobs))
        self._tell(ended)
        return Reaped(bool(was_reaped), jobs)


def _lead(rest: Sequence[Any]) -> Lead:
    epoch, owner, left_ms = rest
    return Lead(epoch, owner.decode(), left_ms / 1000)
