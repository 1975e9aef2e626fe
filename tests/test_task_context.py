"""Functions as tasks that are written in a less usual way: a context that may be None or has notes, and coroutines behind decorators."""

from __future__ import annotations

import asyncio
import decimal
import functools
from collections.abc import Callable
from typing import Annotated, Any, Optional, Union

import pytest

import zjp
from zjp.task import Context, Definition

pytestmark = pytest.mark.covers("main-path:4", "app:context")

Perhaps = Context | None


def with_optional(job: Optional[Context] = None, recipient: str = "") -> Any:  # noqa: UP045
    return job, recipient


def with_context_or_none(job: Context | None = None, recipient: str = "") -> Any:
    return job, recipient


def with_none_or_dotted(job: "None | zjp.Context", recipient: str) -> Any:  # noqa: UP037, RUF036
    return job, recipient


def with_union(job: Union["Context", None], recipient: str) -> Any:  # noqa: UP007, UP037
    return job, recipient


def with_notes(job: Annotated[Context | None, "notes", 7], recipient: str) -> Any:
    return job, recipient


def with_a_name_for_it(job: Perhaps, recipient: str) -> Any:
    return job, recipient


def with_another_class(job: decimal.Context | None, recipient: str) -> Any:
    return job, recipient


def with_context_and_anything(ctx: Context, **rest: Any) -> Any:
    return ctx, rest


def with_ctx(ctx, recipient: str) -> Any:  # type: ignore[no-untyped-def]
    return ctx, recipient


def any_job(job: Any) -> Any:
    return job


async def coroutine(recipient: str) -> Any:
    return recipient


@functools.wraps(coroutine)
def passed_on(*args: Any, **kwargs: Any) -> Any:
    return coroutine(*args, **kwargs)


@functools.wraps(coroutine)
def run_inside(*args: Any, **kwargs: Any) -> Any:
    return asyncio.run(coroutine(*args, **kwargs))


@functools.wraps(any_job)
def decorated(*args: Any, **kwargs: Any) -> Any:
    return any_job(*args, **kwargs)


class Greeter:
    async def __call__(self, recipient: str) -> str:
        return recipient


@pytest.mark.parametrize(
    "function",
    [with_optional, with_context_or_none, with_none_or_dotted, with_union, with_notes, with_a_name_for_it],
)
def test_a_context_that_may_be_none_or_has_notes_is_the_context(function: Callable[..., Any]) -> None:
    task = Definition("t", function)
    assert task.takes_context
    assert list(task.signature.parameters) == ["recipient"]


@pytest.mark.parametrize(
    ("annotation", "takes_context"),
    [
        (Context | None, True),
        (Optional[Context], True),  # noqa: UP045
        (Optional["Context"], True),
        (Annotated[Context, "notes"], True),
        (Context | int, False),
        (list[Context], False),
        ("Context | str", False),
        ("list[Context]", False),
        ("Context or None", False),
        ("not a type (", False),
    ],
)
def test_only_the_context_alone_is_it_whether_as_text_or_not(annotation: Any, takes_context: bool) -> None:
    def function(job: Any) -> Any:
        return job

    function.__annotations__["job"] = annotation
    assert Definition("t", function).takes_context is takes_context


def test_another_class_of_the_name_context_that_may_be_none_is_a_payload_parameter() -> None:
    assert not Definition("t", with_another_class).takes_context


@pytest.mark.parametrize(
    ("function", "kwargs"), [(with_context_and_anything, {"ctx": 1}), (with_ctx, {"ctx": 1, "recipient": "a"})]
)
def test_the_context_cannot_be_submitted(function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"^task 't'.*: got an unexpected keyword argument 'ctx'$"):
        Definition("t", function).payload_of((), kwargs)


@pytest.mark.parametrize(
    ("function", "is_async", "is_decorated"),
    [
        (coroutine, True, False),
        (Greeter(), True, False),
        (passed_on, True, True),
        (run_inside, True, True),
        (any_job, False, False),
        (decorated, False, False),
    ],
)
def test_a_coroutine_function_is_known_behind_its_decorators_and_as_an_object(
    function: Callable[..., Any], is_async: bool, is_decorated: bool
) -> None:
    task = Definition("t", function)
    assert (task.is_async, task.is_decorated) == (is_async, is_decorated)
