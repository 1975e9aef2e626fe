"""What a client submits through when its program traces: the same door, and a span around each request that carries jobs."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from msgspec import structs

from ..job import JobSpec
from ..tracing import Sender, sender
from ..wire.messages import Submit
from .calls import Outcome


class Submits(Protocol):
    """As much of a door as submits need."""

    def ask(self, request: Submit, within_s: float) -> Outcome: ...
    def gather(self, spec: JobSpec, within_s: float) -> Outcome: ...


class AsyncSubmits(Protocol):
    def ask(self, request: Submit, within_s: float) -> Awaitable[Outcome]: ...
    def gather(self, spec: JobSpec, within_s: float) -> Awaitable[Outcome]: ...


def way_out(door: Submits) -> Submits:
    """The door itself where nothing is traced, so that a submit pays nothing."""
    spans = sender()
    return door if spans is None else TracedDoor(door, spans)


def async_way_out(door: AsyncSubmits) -> AsyncSubmits:
    spans = sender()
    return door if spans is None else AsyncTracedDoor(door, spans)


class TracedDoor:
    def __init__(self, door: Submits, spans: Sender) -> None:
        self._door, self._spans = door, spans

    def ask(self, request: Submit, within_s: float) -> Outcome:
        with self._spans.sending(request.jobs) as jobs:
            return self._door.ask(structs.replace(request, jobs=jobs), within_s)

    def gather(self, spec: JobSpec, within_s: float) -> Outcome:
        with self._spans.sending([spec]) as (traced,):
            return self._door.gather(traced, within_s)


class AsyncTracedDoor:
    def __init__(self, door: AsyncSubmits, spans: Sender) -> None:
        self._door, self._spans = door, spans

    async def ask(self, request: Submit, within_s: float) -> Outcome:
        with self._spans.sending(request.jobs) as jobs:
            return await self._door.ask(structs.replace(request, jobs=jobs), within_s)

    async def gather(self, spec: JobSpec, within_s: float) -> Outcome:
        with self._spans.sending([spec]) as (traced,):
            return await self._door.gather(traced, within_s)
