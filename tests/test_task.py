"""Functions as tasks: which parameter is the context, which payloads fit, what options are taken, and the words each refusal uses."""

from __future__ import annotations

import decimal
import functools
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zjp
from tests.wire.build import PATIENT
from zjp.errors import InvalidJob
from zjp.retry import RetryPolicy
from zjp.task import (
    OPTION_NAMES,
    Context,
    Definition,
    Discard,
    PayloadMismatch,
    Registry,
    Retry,
    Snooze,
    TaskOptions,
    refuse_unknown,
    task_options,
)

if TYPE_CHECKING:
    import zjp.task as only_for_checkers

pytestmark = pytest.mark.covers("main-path:4", "app:context", "app:mismatch")


def plain(recipient: str, subject: str) -> Any:
    return recipient, subject


def defaults(recipient: str, subject: str = "hi", *, copies: int = 1) -> Any:
    return recipient, subject, copies


def anything(recipient: str, **rest: Any) -> Any:
    return recipient, rest


def nothing() -> Any:
    return "nothing"


async def coroutine(recipient: str) -> Any:
    return recipient


def with_ctx(ctx, recipient: str) -> Any:  # type: ignore[no-untyped-def]
    return ctx, recipient


def with_context(job: Context, recipient: str) -> Any:
    return job, recipient


def with_dotted(job: zjp.Context, recipient: str) -> Any:
    return job, recipient


def with_quotes(job: "Context", recipient: str) -> Any:  # noqa: UP037
    return job, recipient


def with_context_by_position(ctx, /, recipient: str) -> Any:  # type: ignore[no-untyped-def]
    return ctx, recipient


def with_context_and_anything(ctx: Context, **rest: Any) -> Any:
    return ctx, rest


Renamed = Context


def with_another_name(job: Renamed, recipient: str) -> Any:
    return job, recipient


def with_name_for_checkers_only(job: only_for_checkers.Context, recipient: str) -> Any:
    return job, recipient


@functools.wraps(with_context)
def wrapped(*args: Any, **kwargs: Any) -> Any:
    return with_context(*args, **kwargs)


def context() -> Context:
    def ignore(progress: Mapping[str, Any]) -> None: ...

    return Context(
        job_id="j",
        type="t",
        queue="q",
        attempt=1,
        fence=7,
        deadline=0.0,
        log=None,
        report=ignore,
        cancelled=lambda: False,
    )


# ── the context ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "function",
    [
        with_ctx,
        with_context,
        with_dotted,
        with_quotes,
        with_context_by_position,
        with_another_name,
        with_name_for_checkers_only,
        wrapped,
    ],
)
def test_context_is_passed_first_and_is_no_part_of_the_payload(function: Callable[..., Any]) -> None:
    task, given_context = Definition("t", function), context()
    assert task.takes_context
    assert list(task.signature.parameters) == ["recipient"]
    assert task.call(given_context, {"recipient": "a"}) == (given_context, "a")


def test_annotation_that_is_no_text_is_known_as_well() -> None:
    def function(job: Any) -> Any:
        return job

    function.__annotations__["job"] = Context
    assert Definition("t", function).takes_context


@pytest.mark.parametrize("function", [plain, defaults, anything, nothing, coroutine])
def test_function_without_context_gets_none(function: Callable[..., Any]) -> None:
    assert not Definition("t", function).takes_context


def test_ctx_annotated_as_something_else_is_a_payload_parameter() -> None:
    def function(ctx: int) -> int:
        return ctx

    task = Definition("t", function)
    assert not task.takes_context
    assert task.call(context(), {"ctx": 5}) == 5


def test_another_class_of_the_name_context_is_a_payload_parameter() -> None:
    def function(job: decimal.Context) -> Any:
        return job

    assert not Definition("t", function).takes_context


def test_keywords_named_ctx_are_no_context() -> None:
    def function(**ctx: Any) -> Any:
        return ctx

    assert Definition("t", function).call(context(), {"a": 1}) == {"a": 1}


def context_second(recipient: str, job: Context) -> None: ...


def context_by_keyword(*, job: Context) -> None: ...


def context_twice(ctx, job: Context) -> None: ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize("function", [context_second, context_by_keyword, context_twice])
def test_context_anywhere_but_first_is_refused_by_name(function: Callable[..., Any]) -> None:
    with pytest.raises(
        TypeError, match="task 't': parameter 'job' is a Context; make it the first, positional parameter"
    ):
        Definition("t", function)


# ── payloads ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

FITTING: list[tuple[Callable[..., Any], dict[str, Any], Any]] = [
    (plain, {"recipient": "a", "subject": "s"}, ("a", "s")),
    (plain, {"subject": "s", "recipient": "a"}, ("a", "s")),
    (defaults, {"recipient": "a"}, ("a", "hi", 1)),
    (defaults, {"recipient": "a", "copies": 3}, ("a", "hi", 3)),
    (anything, {"recipient": "a", "x": 1, "rest": 2}, ("a", {"x": 1, "rest": 2})),
    (anything, {"recipient": "a", "": 1}, ("a", {"": 1})),
    (nothing, {}, "nothing"),
]


@pytest.mark.parametrize(("function", "payload", "result"), FITTING)
def test_payload_that_fits_calls_the_function(
    function: Callable[..., Any], payload: dict[str, Any], result: Any
) -> None:
    assert Definition("t", function).call(context(), payload) == result


MISFITS: list[tuple[Callable[..., Any], dict[Any, Any], str]] = [
    (plain, {"recipient": "a"}, "missing a required argument: 'subject'"),
    (plain, {"recipient": "a", "subject": "s", "cc": "b"}, "got an unexpected keyword argument 'cc'"),
    (plain, {}, "missing a required argument: 'recipient'"),
    (nothing, {"a": 1}, "got an unexpected keyword argument 'a'"),
    (defaults, {"subject": "s"}, "missing a required argument: 'recipient'"),
    (anything, {"x": 1}, "missing a required argument: 'recipient'"),
    (anything, {"recipient": "a", b"x": 1}, "keywords must be strings"),
    (with_ctx, {"ctx": 1, "recipient": "a"}, "got an unexpected keyword argument 'ctx'"),
    (with_context_and_anything, {"ctx": 1}, "got an unexpected keyword argument 'ctx'"),
    (coroutine, {"to": "a"}, "missing a required argument: 'recipient'"),
]


@pytest.mark.parametrize(("function", "payload", "text"), MISFITS)
def test_payload_that_does_not_fit_is_a_mismatch_that_shows_the_signature(
    function: Callable[..., Any], payload: dict[Any, Any], text: str
) -> None:
    task = Definition("mail", function)
    with pytest.raises(PayloadMismatch, match=re.escape(text)) as refused:
        task.call(context(), payload)
    assert str(refused.value).startswith(f"the payload does not fit mail{task.signature}: ")


def test_type_error_of_the_function_itself_is_no_mismatch() -> None:
    def function(a: Any) -> Any:
        return len(a)

    with pytest.raises(TypeError, match="has no len") as raised:
        Definition("t", function).call(context(), {"a": 1})
    assert not isinstance(raised.value, PayloadMismatch)


@PATIENT
@given(
    st.dictionaries(st.sampled_from(["recipient", "subject", "copies", "cc", "ctx"]), st.integers(), max_size=5),
    st.sampled_from([plain, defaults, anything, nothing, with_ctx, with_context_and_anything]),
)
def test_check_agrees_with_the_call(payload: dict[str, int], function: Callable[..., Any]) -> None:
    """Whatever `check_payload` lets through, Python lets through; what it refuses, Python refuses."""
    task = Definition("t", function)
    try:
        function(*([context()] if task.takes_context else []), **payload)
        fits = True
    except TypeError:
        fits = False
    try:
        task.check_payload(payload)
        assert fits
    except PayloadMismatch:
        assert not fits


def test_coroutine_function_is_known_and_gives_a_coroutine() -> None:
    task = Definition("t", coroutine)
    assert task.is_async
    assert not Definition("t", plain).is_async
    running = task.call(context(), {"recipient": "a"})
    with pytest.raises(StopIteration) as ended:
        running.send(None)
    assert ended.value.value == "a"


def by_position(a: int, /) -> None: ...


def by_position_after_context(ctx, a: int, /) -> None: ...  # type: ignore[no-untyped-def]


def any_number(*a: int) -> None: ...


@pytest.mark.parametrize("function", [by_position, by_position_after_context, any_number])
def test_parameter_that_cannot_be_named_is_refused_when_the_task_is_defined(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="task 't': parameter 'a' is positional only; payloads are passed by name"):
        Definition("t", function)


@pytest.mark.parametrize(
    ("name", "text"), [("", "task name has 0 characters"), ("a b", "holds spaces"), ("x" * 129, "1 to 128")]
)
def test_task_name_is_checked(name: str, text: str) -> None:
    with pytest.raises(InvalidJob, match=text):
        Definition(name, plain)


# ── payload of a call ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_call_arguments_become_a_payload_by_name() -> None:
    assert Definition("t", plain).payload_of(("a", "s"), {}) == {"recipient": "a", "subject": "s"}
    assert Definition("t", plain).payload_of(("a",), {"subject": "s"}) == {"recipient": "a", "subject": "s"}
    assert Definition("t", with_ctx).payload_of(("a",), {}) == {"recipient": "a"}
    assert Definition("t", defaults).payload_of(("a",), {}) == {"recipient": "a"}
    assert Definition("t", anything).payload_of(("a",), {"x": 1, "rest": 2}) == {"recipient": "a", "x": 1, "rest": 2}


def test_call_that_does_not_fit_is_refused_as_the_call_itself_would_be() -> None:
    with pytest.raises(TypeError, match=r"task 't'\(recipient: 'str', subject: 'str'\) -> 'Any': missing a required"):
        Definition("t", plain).payload_of(("a",), {})


@PATIENT
@given(st.sampled_from([plain, defaults, anything]), st.dictionaries(st.sampled_from("abc"), st.integers()))
def test_payload_of_a_call_always_fits(function: Callable[..., Any], extra: dict[str, int]) -> None:
    task = Definition("t", function)
    task.check_payload(
        task.payload_of(("r", "s") if function is not anything else ("r",), extra if function is anything else {})
    )


# ── options ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_options_are_read_with_durations_as_people_write_them() -> None:
    policy = RetryPolicy("fixed", base_s=5)
    made = task_options(
        {
            "queue": "mail",
            "priority": 9,
            "max_retries": 0,
            "timeout": "2m",
            "soft_timeout": 1.5,
            "retry": policy,
            "tags": ["a", "b"],
        }
    )
    assert made == TaskOptions(
        queue="mail", priority=9, max_retries=0, timeout_s=120.0, soft_timeout_s=1.5, retry=policy, tags=("a", "b")
    )


def test_no_options_leave_every_choice_to_the_node() -> None:
    assert task_options({}) == TaskOptions()
    assert task_options(dict.fromkeys(OPTION_NAMES)) == TaskOptions()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("max_retry", "unknown task option 'max_retry'; did you mean 'max_retries'?"),
        ("time_out", "unknown task option 'time_out'; did you mean 'timeout'?"),
        ("prio", "unknown task option 'prio'; did you mean 'priority'?"),
        ("xyz", "unknown task option 'xyz'; known: queue, priority, max_retries, timeout, soft_timeout, retry, tags"),
    ],
)
def test_unknown_option_is_refused_with_the_nearest_name(name: str, text: str) -> None:
    with pytest.raises(TypeError, match=re.escape(text)):
        task_options({name: 1})


def test_refuse_unknown_lets_known_names_through() -> None:
    refuse_unknown("setting", {"a": 1}, ("a", "b"))


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"priority": 0}, ValueError, "priority is 0, it must be a whole number, 1 to 10"),
        ({"priority": 11}, ValueError, "priority is 11, it must be a whole number, 1 to 10"),
        ({"priority": "high"}, ValueError, "priority is 'high', it must be a whole number, 1 to 10"),
        ({"max_retries": -1}, ValueError, "max_retries is -1, it must be a whole number, 0 to 1000"),
        ({"max_retries": 1001}, ValueError, "max_retries is 1001"),
        ({"max_retries": True}, ValueError, "max_retries is True"),
        ({"timeout": "5 parsecs"}, ValueError, "'5 parsecs' has an unknown unit"),
        ({"timeout": 0}, ValueError, "timeout is 0, it must be at least 1ms; leave it out for the node's own"),
        ({"soft_timeout": "0s"}, ValueError, "soft_timeout is '0s', it must be at least 1ms"),
        ({"retry": "fixed"}, TypeError, "retry is 'fixed', it must be a RetryPolicy"),
        ({"tags": "urgent"}, TypeError, "tags is the text 'urgent', it must be a list; write tags=['urgent']"),
        ({"tags": ["a b"]}, InvalidJob, "tag 'a b' holds spaces"),
        ({"tags": [None]}, InvalidJob, "tag is None of type NoneType, it must be text of 1 to 64 characters"),
        ({"tags": 5}, TypeError, "tags is 5 of type int, it must be a list, such as tags=['nightly']"),
        ({"tags": ["t"] * 17}, InvalidJob, "there are 17 tags, the limit is 16"),
        ({"queue": "a,b"}, InvalidJob, "queue 'a,b' cannot be named in QUEUES"),
        ({"queue": ""}, InvalidJob, "queue has 0 characters, it must have 1 to 64"),
    ],
)
def test_option_out_of_range_is_refused(options: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=re.escape(text)):
        task_options(options)


# ── what a task raises, and where tasks are kept ─────────────────────────────────────────────────────────────────────────────────────


def test_retry_and_snooze_take_durations_as_people_write_them() -> None:
    assert Retry().delay_s is None
    assert Retry("5s", "busy").delay_s == 5.0
    assert Snooze(0.25).delay_s == 0.25
    assert str(Retry("5s", "busy")) == "busy"
    assert str(Snooze("1h")) == "the task asked to be run later"
    assert str(Discard("never")) == "never"
    with pytest.raises(ValueError, match="250ms, 5s, 2m, 1h"):
        Snooze("later")


def test_progress_reaches_the_report_as_plain_data() -> None:
    seen: list[Mapping[str, Any]] = []
    made = Context(
        job_id="j",
        type="t",
        queue="q",
        attempt=1,
        fence=7,
        deadline=0.0,
        log=None,
        report=seen.append,
        cancelled=lambda: True,
    )
    made.progress(1, 4, "reading")
    made.progress(2)
    assert seen == [{"done": 1, "total": 4, "note": "reading"}, {"done": 2, "total": None, "note": ""}]
    assert made.cancelled


def test_registry_refuses_a_name_that_is_taken_and_takes_the_same_function_again() -> None:
    registry = Registry()
    registry.add(Definition("t", plain))
    registry.add(Definition("t", plain))
    with pytest.raises(ValueError, match=r"task name 't' is taken by <function plain.*; give this one another name"):
        registry.add(Definition("t", nothing))
    assert list(registry.tasks) == ["t"]
