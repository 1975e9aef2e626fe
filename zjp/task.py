"""What a task is: a function under a name, with its options; how a payload becomes its arguments; what it may raise. Pure.

Here is no queue and no socket: `client/app.py` adds submitting, `worker/` adds running. Payloads are maps of the function's parameter
names to plain data. A function whose first parameter is annotated `Context` (or `Context | None`), or is an unannotated `ctx`, gets the
Context there; that parameter is not part of the payload.
"""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, ForwardRef, Union, get_args, get_origin

from .job import RETRIES_MAX, TYPE_CHARS_MAX, Options, check_name, check_options, check_queue
from .retry import RetryPolicy
from .units import parse_duration_s, show_duration


class Retry(Exception):
    """Raised by a task: run this job again, after `delay` ("5s", seconds) or the policy's own delay. Spends one retry."""

    def __init__(self, delay: str | float | None = None, reason: str = "") -> None:
        super().__init__(reason or "the task asked for a retry")
        self.delay_s = None if delay is None else parse_duration_s(delay)


class Snooze(Exception):
    """Raised by a task: not now, run this job again after `delay`. Spends nothing."""

    def __init__(self, delay: str | float, reason: str = "") -> None:
        super().__init__(reason or "the task asked to be run later")
        self.delay_s = parse_duration_s(delay)


class Discard(Exception):
    """Raised by a task: this job can never succeed; it fails at once, without a retry."""


class SoftTimeout(Exception):
    """Raised inside a `def` task when its soft limit has passed; an `async def` task is cancelled instead."""


class PayloadMismatch(TypeError):
    """The payload does not fit the function: fails the job for good."""


PROGRESS_BYTES_MAX = 4 << 10
"""Packed. It is kept in memory of the nodes, beside each job that runs."""


def check_progress(packed: bytes) -> bytes:
    """Raises: ValueError."""
    if len(packed) > PROGRESS_BYTES_MAX:
        raise ValueError(f"the progress is {len(packed)} bytes, the limit is {PROGRESS_BYTES_MAX}; shorten the note")
    return packed


class Context:
    """What a running task knows of its job.

    `attempt` counts from 1 and rises with each failure; `fence` is the number of the claim: it rises with every claim of the job and never
    repeats, so a sink that refuses lower numbers gets each effect once. `deadline` is Unix seconds of the hard limit. `log` is a
    standard logger whose records name the job.
    """

    __slots__ = (
        "_cancelled",
        "_report",
        "attempt",
        "deadline",
        "fence",
        "job_id",
        "log",
        "node_id",
        "queue",
        "tags",
        "type",
        "worker_id",
    )

    def __init__(
        self,
        *,
        job_id: str,
        type: str,
        queue: str,
        attempt: int,
        fence: int,
        deadline: float,
        log: Any,
        report: Callable[[Mapping[str, Any]], None],
        cancelled: Callable[[], bool],
        tags: tuple[str, ...] = (),
        node_id: str = "",
        worker_id: str = "",
    ) -> None:
        self.job_id, self.type, self.queue, self.tags = job_id, type, queue, tags
        self.attempt, self.fence, self.deadline, self.log = attempt, fence, deadline, log
        self.node_id, self.worker_id = node_id, worker_id
        self._report, self._cancelled = report, cancelled

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Show how far the job is; readers see the latest within about a second. Refused silently once the fence is dead.

        Raises: ValueError (more than PROGRESS_BYTES_MAX), TypeError (no plain data).
        """
        self._report({"done": done, "total": total, "note": note})

    @property
    def cancelled(self) -> bool:
        """Whether someone asked to cancel this job: stop soon, it is killed after CANCEL_GRACE."""
        return self._cancelled()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """Options of a task, all optional; None leaves the choice to the job, then to the node's settings."""

    queue: str = "default"
    priority: int = 5
    max_retries: int | None = None
    timeout_s: float | None = None
    soft_timeout_s: float | None = None
    retry: RetryPolicy | None = None
    tags: tuple[str, ...] = ()


TIMEOUT_MIN_S = 0.001
"""The wire counts whole milliseconds."""

OPTION_NAMES = ("queue", "priority", "max_retries", "timeout", "soft_timeout", "retry", "tags")
"""What `@app.task` accepts."""


def task_options(options: Mapping[str, Any]) -> TaskOptions:
    """The keyword arguments of `@app.task`, checked. Raises: TypeError (unknown name, with the nearest one), ValueError, InvalidJob."""
    refuse_unknown("task option", options, OPTION_NAMES)
    given = {name: value for name, value in options.items() if value is not None}
    for name in ("timeout", "soft_timeout"):
        if name in given:
            given[f"{name}_s"] = _limit_s(name, given.pop(name))
    made = TaskOptions(**{**given, "tags": _tags(given.get("tags", ()))})
    check_queue(made.queue)
    _check_whole("priority", made.priority, 1, 10)
    if made.max_retries is not None:
        _check_whole("max_retries", made.max_retries, 0, RETRIES_MAX)
    if made.retry is not None and not isinstance(made.retry, RetryPolicy):
        raise TypeError(f"retry is {made.retry!r}, it must be a RetryPolicy, such as RetryPolicy('fixed', base_s=5)")
    return made


def _limit_s(name: str, value: str | float) -> float:
    limit_s = parse_duration_s(value)
    if limit_s < TIMEOUT_MIN_S:
        raise ValueError(f"{name} is {value!r}, it must be at least {show_duration(TIMEOUT_MIN_S)}; leave it out for the node's own")
    return limit_s


def _tags(tags: Any) -> tuple[str, ...]:
    if isinstance(tags, str):
        raise TypeError(f"tags is the text {tags!r}, it must be a list; write tags=[{tags!r}]")
    if not isinstance(tags, Iterable):
        raise TypeError(f"tags is {tags!r:.200} of type {type(tags).__name__}, it must be a list, such as tags=['nightly']")
    made = tuple(tags)
    check_options(Options(tags=made))
    return made


def _check_whole(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name} is {value!r}, it must be a whole number, {low} to {high}")


def refuse_unknown(what: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raises: TypeError naming the first unknown key and the nearest known one."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
            raise TypeError(f"unknown {what} {name!r}{hint}")


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A function under a name. `parameters` are the payload's: the context's own is left out."""

    name: str
    function: Callable[..., Any]
    options: TaskOptions = field(default_factory=TaskOptions)
    takes_context: bool = field(init=False)
    is_async: bool = field(init=False)
    """An `async def`, or one behind plain decorators, or an object whose `__call__` is one: it needs a loop."""
    is_decorated: bool = field(init=False)
    """is_async, but a call runs the code of a decorator first. That may run the coroutine itself (asyncio.run) and give its value, which it
    can only in a thread without a loop; or give it to be awaited."""
    signature: inspect.Signature = field(init=False)
    _plain: frozenset[str] | None = field(init=False)
    _context_name: str = field(init=False)

    def __post_init__(self) -> None:
        check_name("task name", self.name, TYPE_CHARS_MAX)
        full = inspect.signature(self.function)
        parameters = list(full.parameters.values())
        namespace = getattr(inspect.unwrap(self.function), "__globals__", {})
        takes_context = bool(parameters) and _is_context(parameters[0], namespace)
        rest = parameters[1:] if takes_context else parameters
        self._check_parameters(rest, namespace)
        put = object.__setattr__
        put(self, "takes_context", takes_context)
        gives_coroutine = _is_coroutine_function(self.function)
        is_decorated = not gives_coroutine and _is_coroutine_function(inspect.unwrap(self.function))
        put(self, "is_async", gives_coroutine or is_decorated)
        put(self, "is_decorated", is_decorated)
        put(self, "signature", full.replace(parameters=rest))
        put(self, "_context_name", parameters[0].name if takes_context else "")
        has_defaults = any(p.default is not p.empty or p.kind is p.VAR_KEYWORD for p in rest)
        put(self, "_plain", None if has_defaults else frozenset(p.name for p in rest))

    def _check_parameters(self, parameters: list[inspect.Parameter], namespace: Mapping[str, Any]) -> None:
        for parameter in parameters:
            if parameter.kind is parameter.VAR_POSITIONAL or parameter.kind is parameter.POSITIONAL_ONLY:
                raise TypeError(
                    f"task {self.name!r}: parameter {parameter.name!r} is positional only; payloads are passed by name, "
                    "make it a named parameter"
                )
            if _names_context(parameter.annotation, namespace):
                raise TypeError(f"task {self.name!r}: parameter {parameter.name!r} is a Context; make it the first, positional parameter")

    def payload_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The payload for a call with these arguments. Raises: TypeError, as the call itself would."""
        if not args and self._plain is not None and kwargs.keys() == self._plain:
            return dict(kwargs)
        try:
            self._refuse_context(kwargs)
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as fault:
            raise TypeError(f"task {self.name!r}{self.signature}: {fault}") from None
        payload = dict(bound.arguments)
        for parameter in self.signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                payload.update(payload.pop(parameter.name, {}))
        return payload

    def check_payload(self, payload: Mapping[str, Any]) -> None:
        """Raises: PayloadMismatch when the function cannot be called with it."""
        if self._plain is not None and payload.keys() == self._plain:
            return
        try:
            self.signature.bind(**payload)
            self._refuse_context(payload)
        except TypeError as fault:
            raise PayloadMismatch(f"the payload does not fit {self.name}{self.signature}: {fault}") from None

    def _refuse_context(self, arguments: Mapping[str, Any]) -> None:
        """The context is nothing that is submitted. Only a function with ** would take its name. Raises: TypeError."""
        if self.takes_context and self._context_name in arguments:
            raise TypeError(f"got an unexpected keyword argument {self._context_name!r}")

    def call(self, context: Context, payload: Mapping[str, Any]) -> Any:
        """Call the function (a coroutine comes back from an `async def`; from a decorated one, perhaps). Raises: PayloadMismatch, and
        whatever the function raises."""
        self.check_payload(payload)
        if self.takes_context:
            return self.function(context, **payload)
        return self.function(**payload)


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(function.__call__)  # type: ignore[operator]


def _is_context(parameter: inspect.Parameter, namespace: Mapping[str, Any]) -> bool:
    if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
        return False
    if parameter.annotation is parameter.empty:
        return parameter.name == "ctx"
    return _names_context(parameter.annotation, namespace)


def _names_context(annotation: Any, namespace: Mapping[str, Any]) -> bool:
    """Context itself, or None, or with notes: `Context | None`, `Optional[Context]`, `Annotated[Context, ...]`.

    Text under `from __future__ import annotations`: looked up where the function was written. A name that is not there was imported for
    type checkers only, and is taken at its word.
    """
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        try:
            return _reads_context(ast.parse(annotation.strip(), mode="eval").body, namespace)
        except SyntaxError:
            return False
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _names_context(parts[0], namespace)
    if origin in (Union, UnionType):
        named = [part for part in parts if part is not type(None)]
        return len(named) == 1 and _names_context(named[0], namespace)
    return annotation is Context


def _reads_context(node: ast.expr, namespace: Mapping[str, Any]) -> bool:
    """The same of an annotation that is text."""
    match node:
        case ast.Constant(value=str(text)):
            return _names_context(text, namespace)
        case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
            return _reads_context(left, namespace)
        case ast.BinOp(left=ast.Constant(value=None), op=ast.BitOr(), right=right):
            return _reads_context(right, namespace)
        case ast.Subscript(value=outer, slice=ast.Tuple(elts=[first, *_])) if _last_name(outer) == "Annotated":
            return _reads_context(first, namespace)
        case ast.Subscript(value=outer, slice=inner) if _last_name(outer) == "Optional":
            return _reads_context(inner, namespace)
        case ast.Subscript(value=outer, slice=ast.Tuple(elts=parts)) if _last_name(outer) == "Union":
            named = [part for part in parts if not (isinstance(part, ast.Constant) and part.value is None)]
            return len(named) == 1 and _reads_context(named[0], namespace)
        case ast.Name() | ast.Attribute():
            return _finds_context(ast.unparse(node), namespace)
    return False


def _last_name(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def _finds_context(dotted: str, namespace: Mapping[str, Any]) -> bool:
    first, *rest = dotted.split(".")
    if first not in namespace:
        return (rest or [first])[-1] == "Context"
    found = namespace[first]
    for name in rest:
        found = getattr(found, name, None)
    return not isinstance(found, str) and _names_context(found, namespace)


class Registry:
    """Tasks by name."""

    def __init__(self) -> None:
        self.tasks: dict[str, Definition] = {}

    def add(self, definition: Definition) -> None:
        held = self.tasks.get(definition.name)
        if held is not None and held.function is not definition.function:
            raise ValueError(f"task name {definition.name!r} is taken by {held.function!r}; give this one another name")
        self.tasks[definition.name] = definition
