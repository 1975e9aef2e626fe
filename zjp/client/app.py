"""`App`: the tasks of an application, and the clients that submit them.

    app = App()

    @app.task("email", max_retries=5, timeout="30s")
    def send_email(ctx, recipient: str, subject: str): ...

    send_email.submit(recipient="a@example.com", subject="hi")

A node loads the same object (`--app module:app`) and reads `app.tasks`. Clients are made when the first job is submitted: one per process,
and one per event loop; what they are connected to comes from `address`, else from the settings CLIENT_ADDRESS and CLUSTER_NAME, with
the keys that CLIENT_KEY_FILE and CLIENT_SERVER_KEY name.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, overload

from ..errors import ConfigError
from ..task import Context, Definition, Registry, task_options
from .asyncio import AsyncClient
from .blocking import Client
from .inline import InlineNode
from .inline_doors import AsyncInlineDoor, InlineDoor
from .tasks import BoundTask, ContextTask, Task, TaskDecorator, TaskSettings

P = ParamSpec("P")
R = TypeVar("R")


class App(Registry):
    """`name` is for people. `client`: what to submit with; made from `address` or the settings when not given. Async clients are made with
    the arguments of the client that was given: they go to the same nodes."""

    def __init__(self, name: str | None = None, *, client: Client | None = None, address: str | None = None) -> None:
        super().__init__()
        self.name = name or "app"
        self._address = () if address is None else (address,)
        self._client, self._is_own = client, False
        self._async_clients: dict[asyncio.AbstractEventLoop, AsyncClient] = {}
        self._inline: InlineNode | None = None
        self._lock = threading.RLock()
        """Held for a moment, and never while a client is made: a signal handler may submit in the midst of that."""

    def __repr__(self) -> str:
        return f"<App {self.name}: {len(self.tasks)} tasks>"

    # ── tasks ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> ContextTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(self, name: str | None = None, /, **options: Unpack[TaskSettings]) -> TaskDecorator: ...
    def task(self, given: Any = None, /, **options: Any) -> Any:
        """`@app.task`, `@app.task("name")`, `@app.task("name", max_retries=5, timeout="30s", queue="mail")`.

        The name is the job type; without one it is the function's. Raises: TypeError (unknown option, with the nearest name),
        ValueError, InvalidJob.
        """
        if callable(given):
            return self._register(given, None, options)
        if given is not None and not isinstance(given, str):
            raise TypeError(f"the task's name is {given!r}, it must be text")
        task_options(options)  # wrong options are told where they stand, not where the function is

        def decorate(function: Callable[..., Any]) -> object:
            return self._register(function, given, options)

        return decorate

    def _register(self, function: Callable[..., Any], name: str | None, options: dict[str, Any]) -> object:
        if isinstance(function, Task | ContextTask):  # one function under two names, or in two applications
            function = function.definition.function
        definition = Definition(function.__name__ if name is None else name, function, task_options(options))
        self.add(definition)
        if definition.takes_context:
            return ContextTask[..., Any](self, definition)
        return Task[..., Any](self, definition)

    # ── clients ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def client(self) -> Client:
        if self._inline is not None:
            return Client(_door=InlineDoor(self._inline))
        found = self._client
        return self._make_client() if found is None else found

    @client.setter
    def client(self, client: Client) -> None:
        self.close()
        self._client, self._is_own = client, False

    def _make_client(self) -> Client:
        """Of several that threads or signal handlers make at the same time, the first one stays."""
        made = Client(*self._address)
        with self._lock:
            if self._client is None:
                self._client, self._is_own = made, True
                atexit.register(self.close)
            stays = self._client
        if stays is not made:
            made.close()
        return stays

    @property
    def async_client(self) -> AsyncClient:
        """The running loop's own."""
        if self._inline is not None:
            return AsyncClient(_door=AsyncInlineDoor(self._inline))
        loop = asyncio.get_running_loop()
        client = self._async_clients.get(loop)
        if client is None:
            client = self._make_async_client()
            with self._lock:  # other threads have loops of their own
                self._forget_closed_loops()
                self._async_clients[loop] = client
            atexit.register(client.close)
        return client

    def _make_async_client(self) -> AsyncClient:
        """To where the client goes that was given, if one was."""
        if self._client is None or self._is_own:
            return AsyncClient(*self._address)
        made_of = getattr(self._client, "made_of", None)
        if made_of is None:
            raise ConfigError(
                f"the app's client is {self._client!r:.200}, which does not tell where it goes, so there is no async client to the "
                "same nodes; give the app address= instead, or submit with an AsyncClient of your own"
            )
        addresses, options = made_of
        return AsyncClient(*addresses, **options)

    def _forget_closed_loops(self) -> None:
        for loop in [loop for loop in self._async_clients if loop.is_closed()]:
            client = self._async_clients.pop(loop)
            client.close()
            atexit.unregister(client.close)

    def close(self) -> None:
        """Close the clients that the app made. The next submit makes new ones."""
        with self._lock:
            own, others = self._client if self._is_own else None, list(self._async_clients.values())
            if own is not None:
                self._client = None
                atexit.unregister(self.close)
            self._async_clients.clear()
        for client in (own, *others):
            if client is not None:
                client.close()
        for other in others:
            atexit.unregister(other.close)

    # ── testing ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def testing(self, *, max_retries: int = 3) -> Iterator[InlineNode]:
        """Run submitted jobs at once, here, without a node.

        Delays are not waited for, and retries follow at once; everything else is as with a node: arguments are checked, payloads and
        results packed and held to the default limits, repeats recognised, unique keys held, retries counted, and jobs answer as usual, also
        while they run. Whatever a task raises fails its attempt, SystemExit as well. Limits of time are told (`ctx.deadline`) and not
        kept, and a wait that blocks the very thread that runs its job raises TimeoutError at once. What was submitted is listed:

            with app.testing() as test:
                job = send_email.submit(recipient="a@example.com", subject="hi")
                assert job.result is None
                assert test.submitted[0].payload == {"recipient": "a@example.com", "subject": "hi"}

        `max_retries` is what MAX_RETRIES would be.
        """
        before, self._inline = self._inline, InlineNode(self.tasks, max_retries)
        try:
            yield self._inline
        finally:
            self._inline = before


__all__ = ["App", "BoundTask", "ContextTask", "Task"]
