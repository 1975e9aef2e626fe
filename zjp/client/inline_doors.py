"""How clients speak with the node of `app.testing()`: a door for each kind, and how what it yields is awaited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from contextlib import closing
from typing import Any, TypeVar

from ..job import JobSpec
from ..wire import messages as m
from .calls import Outcome, Voice
from .inline import InlineNode, Raised, Steps

T = TypeVar("T")


class InlineDoor:
    """What a Client speaks through inside `app.testing()`."""

    def __init__(self, node: InlineNode) -> None:
        self._node = node
        self.make_ids = node.make_ids

    def ask(self, request: m.Request, within_s: float) -> Outcome:
        if isinstance(request, m.Wait):
            self._node.refuse_deadlock(request.ids, _blocked_threads())
        return _drive(self._node.answer(request))

    def gather(self, spec: JobSpec, within_s: float) -> Outcome:
        return self.ask(m.Submit([spec]), within_s)

    def close(self) -> None:
        """Nothing is held open."""


class AsyncInlineDoor:
    """What an AsyncClient speaks through inside `app.testing()`."""

    def __init__(self, node: InlineNode) -> None:
        self._node = node
        self.make_ids = node.make_ids

    async def ask(self, request: m.Request, within_s: float) -> Outcome:
        value = None
        with closing(self._node.answer(request)) as steps:
            while True:
                try:
                    awaitable = steps.send(value)
                except StopIteration as end:
                    reply: m.Reply = end.value
                    return reply
                value = await _ended(awaitable)

    def gather(self, spec: JobSpec, within_s: float) -> Awaitable[Outcome]:
        return self.ask(m.Submit([spec]), within_s)

    def speaking_for(self, voice: Voice) -> AsyncInlineDoor:
        """Everybody may do everything here."""
        return self

    def close(self) -> None:
        """Nothing is held open."""


def _drive(steps: Steps[T]) -> T:
    """Run what is yielded, each in a loop of its own."""
    value: Any = None
    with closing(steps):
        while True:
            try:
                awaitable = steps.send(value)
            except StopIteration as end:
                done: T = end.value
                return done
            value = _run_apart(awaitable)


async def _ended(awaitable: Awaitable[Any]) -> Any:
    """What came of it: the value, or what was Raised. Raises only what was meant for the submit itself: its own cancellation."""
    try:
        return await awaitable
    except GeneratorExit:
        raise
    except BaseException as fault:
        caller = asyncio.current_task()
        if isinstance(fault, asyncio.CancelledError) and caller is not None and caller.cancelling():
            raise
        return Raised(fault)


def _run_apart(awaitable: Awaitable[Any]) -> Any:
    """In a loop of its own; in a thread of its own where this one runs a loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(_ended(awaitable))
    box: list[Any] = []
    caller = threading.get_ident()

    def run() -> None:
        me = threading.get_ident()
        _blocked_by[me] = caller
        try:
            box.append(asyncio.run(_ended(awaitable)))
        finally:
            del _blocked_by[me]

    thread = threading.Thread(target=run, name="zjp-inline")
    thread.start()
    thread.join()
    return box[0]


_blocked_by: dict[int, int] = {}
"""Of a thread that runs apart: the one that waits for it to end."""


def _blocked_threads() -> set[int]:
    """This one and those that wait for it: none of them goes on while this one blocks."""
    thread: int | None = threading.get_ident()
    found: set[int] = set()
    while thread is not None:
        found.add(thread)
        thread = _blocked_by.get(thread)
    return found
