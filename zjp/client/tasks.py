"""Tasks as applications see them: called like the function, submitted like a call of it.

`Task[P]` and `ContextTask[P]` carry the function's parameters (without the context), so type checkers hold `task.submit(...)` to them. They
differ only in being called: one takes what is submitted, the other the context first. `task.options(...)` gives a `BoundTask`, which
submits with those options.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypedDict, TypeVar, Unpack, overload

from ..retry import RetryPolicy
from ..task import Context, Definition, refuse_unknown
from .options import OPTION_NAMES, JobRequest, SubmitOptions, tags_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .asyncio import AsyncClient, AsyncJob
    from .blocking import Client, Job

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class TaskSettings(TypedDict, total=False):
    """What `@app.task` accepts; task.OPTION_NAMES is the same list for the running program."""

    queue: str
    priority: int
    max_retries: int | None
    timeout: float | str | None
    soft_timeout: float | str | None
    retry: RetryPolicy | None
    tags: Iterable[str]


class Clients(Protocol):
    """Where tasks get what they submit with: the App."""

    @property
    def client(self) -> Client: ...
    @property
    def async_client(self) -> AsyncClient: ...


class Submitter(Generic[P]):
    """Submits one task, with options. Every method takes what the function takes, a parameter `self` as well; options go through
    `options(...)`."""

    def __init__(self, app: Clients, definition: Definition, options: SubmitOptions) -> None:
        self.app, self.definition, self._options = app, definition, options

    @property
    def name(self) -> str:
        """The job type."""
        return self.definition.name

    def submit(self, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        """Returns once the job is durable. Raises: TypeError as the call would, and what Client.submit raises."""
        payload = self.definition.payload_of(args, kwargs)
        return self.app.client.submit(self.definition.name, payload, **self._options)

    async def submit_async(self, /, *args: P.args, **kwargs: P.kwargs) -> AsyncJob:
        """`submit` for coroutines."""
        payload = self.definition.payload_of(args, kwargs)
        return await self.app.async_client.submit(self.definition.name, payload, **self._options)

    delay = submit
    send = submit

    def request(self, /, *args: P.args, **kwargs: P.kwargs) -> JobRequest:
        """The job of this call, not yet submitted: for `Client.submit_many`."""
        return JobRequest(self.definition.name, self.definition.payload_of(args, kwargs), self._options)

    def submit_many(self, payloads: Iterable[Mapping[str, Any]]) -> list[Job]:
        """One job per payload (a map of the function's parameters), in batches."""
        name, payload_of = self.definition.name, self.definition.payload_of
        return self.app.client.submit_many(((name, payload_of((), payload)) for payload in payloads), **self._options)

    async def submit_many_async(self, payloads: Iterable[Mapping[str, Any]]) -> list[AsyncJob]:
        name, payload_of = self.definition.name, self.definition.payload_of
        pairs = ((name, payload_of((), payload)) for payload in payloads)
        return await self.app.async_client.submit_many(pairs, **self._options)

    def options(self, **options: Unpack[SubmitOptions]) -> BoundTask[P]:
        """The same task with these options for its jobs: `task.options(delay="5m").submit(...)`. Raises: TypeError (unknown option),
        InvalidJob (tags)."""
        refuse_unknown("option", options, OPTION_NAMES)
        if options.get("tags") is not None:
            options["tags"] = tags_of(options["tags"])  # for every job: an iterator would have them for the first alone
        return BoundTask(self.app, self.definition, {**self._options, **options})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.definition.name}>"


class BoundTask(Submitter[P]):
    """A task with options for its jobs."""


class Task(Submitter[P], Generic[P, R_co]):
    """A function under a name. Calling it runs it here and now; `submit` has a worker run it."""

    def __init__(self, app: Clients, definition: Definition) -> None:
        super().__init__(app, definition, _of_task(definition))
        # Not its attributes: one of the name of ours would take its place.
        functools.update_wrapper(self, definition.function, updated=())

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        result: R_co = self.definition.function(*args, **kwargs)
        return result


class ContextTask(Submitter[P], Generic[P, R_co]):
    """A task whose function takes the Context first. It is not part of what is submitted."""

    def __init__(self, app: Clients, definition: Definition) -> None:
        super().__init__(app, definition, _of_task(definition))
        # Not its attributes: one of the name of ours would take its place.
        functools.update_wrapper(self, definition.function, updated=())

    def __call__(self, ctx: Context, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        result: R_co = self.definition.function(ctx, *args, **kwargs)
        return result


class TaskDecorator(Protocol):
    """What `@app.task("name", ...)` gives."""

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> ContextTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


def _of_task(definition: Definition) -> SubmitOptions:
    """What the task says about its jobs. Retries and limits are left to the worker, which knows them."""
    own, options = definition.options, SubmitOptions()
    if own.queue != "default":
        options["queue"] = own.queue
    if own.priority != 5:
        options["priority"] = own.priority
    if own.tags:
        options["tags"] = own.tags
    return options
