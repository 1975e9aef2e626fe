from __future__ import annotations

import msgspec
import pytest

from zjp.fault import MESSAGE_CHARS_MAX, TRACEBACK_CHARS_MAX, bounded, describe

pytestmark = pytest.mark.covers("main-path:7")


def caught(fault: BaseException) -> BaseException:
    try:
        raise fault
    except BaseException as same:
        return same


def test_a_short_text_stays_as_it_is() -> None:
    assert bounded("short", 100) == "short"


def test_a_long_text_is_cut_in_the_middle_and_says_so() -> None:
    cut = bounded("begin" + "x" * 5000 + "end", 1000)
    assert len(cut) <= 1000
    assert cut.startswith("begin")
    assert cut.endswith("end")
    assert "4008 characters left out" in cut


def test_an_exception_becomes_type_text_and_traceback() -> None:
    fault = describe(caught(ValueError("bad value")))
    assert (fault.type, fault.message) == ("ValueError", "bad value")
    assert "raise fault" in fault.traceback
    assert fault.traceback.endswith("ValueError: bad value\n")


def test_message_and_traceback_are_bounded() -> None:
    fault = describe(caught(ValueError("x" * 1_000_000)))
    assert len(fault.message) <= MESSAGE_CHARS_MAX
    assert len(fault.traceback) <= TRACEBACK_CHARS_MAX


def test_text_that_is_no_valid_unicode_can_be_sent() -> None:
    fault = describe(caught(ValueError("lone \udc80 surrogate")))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(fault))[1] == "lone \\udc80 surrogate"


def test_an_exception_whose_text_raises_is_told_all_the_same() -> None:
    class Mean(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    fault = describe(caught(Mean()))
    assert fault.type == "Mean"
    assert "RuntimeError" in fault.message
