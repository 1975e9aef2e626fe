"""The error tree: codes that can cross the wire and come back, and the exit codes of the contract."""

from __future__ import annotations

import inspect

import pytest

from zjp import errors
from zjp.errors import BY_CODE, JobFailed, OutcomeUnknown, Unavailable, ZjpError

CLASSES = [member for _, member in inspect.getmembers(errors, inspect.isclass) if issubclass(member, ZjpError)]


def test_every_error_has_a_code_of_its_own_and_is_found_by_it() -> None:
    concrete = [cls for cls in CLASSES if "code" in vars(cls)]
    assert len({cls.code for cls in concrete}) == len(concrete)
    assert all(BY_CODE[cls.code] is cls for cls in concrete)


@pytest.mark.covers("main-path:2")
@pytest.mark.parametrize("cls", CLASSES)
def test_error_has_the_exit_code_and_status_of_a_known_kind(cls: type[ZjpError]) -> None:
    assert cls.exit_code in (1, 69, 77, 78)
    assert 400 <= cls.http_status < 600


@pytest.mark.parametrize("cls", CLASSES)
def test_only_what_may_succeed_later_is_retryable(cls: type[ZjpError]) -> None:
    assert cls.retryable == issubclass(cls, (Unavailable, OutcomeUnknown))


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls is not JobFailed])
def test_error_made_from_its_code_keeps_its_message(cls: type[ZjpError]) -> None:
    if "code" in vars(cls):
        assert str(BY_CODE[cls.code]("the queue is full")) == "the queue is full"


def test_outcome_unknown_is_also_a_time_out() -> None:
    assert issubclass(OutcomeUnknown, TimeoutError)


def test_job_failed_says_the_type_and_the_message_of_the_task_error() -> None:
    failed = JobFailed("ValueError", "no such user", "Traceback ...")
    assert str(failed) == "ValueError: no such user"
    assert str(JobFailed("MemoryError", "")) == "MemoryError"
    assert failed.traceback == "Traceback ..."


def test_tree_in_the_docstring_names_every_class() -> None:
    assert errors.__doc__ is not None
    assert [cls.__name__ for cls in CLASSES if cls.__name__ not in errors.__doc__] == []
