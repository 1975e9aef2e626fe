"""Why an attempt failed, as data: class name, text and traceback of what was raised, bounded, and always encodable.

It came out of a task: nothing about it can be trusted, not even that its class has a name. Whatever looking at it raises, SystemExit and
KeyboardInterrupt as well, is the task's code speaking, and ends here.
"""

from __future__ import annotations

import traceback

from .job import JobFault
from .units import show_size

MESSAGE_CHARS_MAX = 2 << 10
TRACEBACK_CHARS_MAX = 16 << 10
TYPE_CHARS_MAX = 200
NAMELESS = "Exception"


def describe(fault: BaseException, *, own_frames: int = 1) -> JobFault:
    """`own_frames`: how many frames of the traceback are the caller's, and say nothing to whoever wrote the task."""
    return JobFault(_type_name(fault), bounded(_text(fault), MESSAGE_CHARS_MAX), _traceback(fault, own_frames))


def result_too_large(size_bytes: int, limit_bytes: int) -> JobFault:
    return JobFault(
        "ResultTooLarge",
        f"the result is {size_bytes} bytes, the limit is {limit_bytes} ({show_size(limit_bytes)}); "
        "store it elsewhere and return a reference, or raise MAX_RESULT",
    )


def bounded(text: str, chars_max: int) -> str:
    """`text`, cut in the middle when it is too long, which it then says; without what cannot be encoded as UTF-8."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= chars_max:
        return text
    gap = f"\n... {len(text) - chars_max} characters left out ...\n"
    kept = max(0, chars_max - len(gap))
    head = kept // 3
    return text[:head] + gap + text[len(text) - (kept - head) :]


def _type_name(fault: BaseException) -> str:
    try:
        return bounded(_plain(type(fault).__name__), TYPE_CHARS_MAX)
    except BaseException:  # a metaclass may answer
        return NAMELESS


def _text(fault: BaseException) -> str:
    try:
        return _plain(str(fault))
    except BaseException as second:
        return f"(its text could not be had: {_type_name(second)})"


def _plain(text: str) -> str:
    """A plain str, where it may be of a class derived from it."""
    return "".join((text,))


def _traceback(fault: BaseException, own_frames: int) -> str:
    try:
        start = fault.__traceback__
        for _ in range(own_frames):
            if start is not None and start.tb_next is not None:
                start = start.tb_next
        return bounded("".join(traceback.format_exception(type(fault), fault, start)), TRACEBACK_CHARS_MAX)
    except BaseException as second:
        return f"(its traceback could not be had: {_type_name(second)})"
