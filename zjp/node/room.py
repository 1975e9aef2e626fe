"""How much fits into one reply: REPLY_BYTES_MAX of what its jobs hold, unless the first alone is larger.

Counted are payload, result, progress and the texts of errors, which is all that can be large; what else a job has is some hundred bytes,
for which the gap between REPLY_BYTES_MAX and MESSAGE_BYTES_MAX has room. A text that is not plain ASCII counts with four bytes a character,
the most that it may have.
"""

from __future__ import annotations

from ..job import JobFault, JobView
from ..wire.messages import REPLY_BYTES_MAX


class Room:
    """What is left of one reply."""

    def __init__(self) -> None:
        self._left_bytes = REPLY_BYTES_MAX
        self._is_empty = True

    def takes(self, view: JobView) -> bool:
        """Whether it fits beside those taken before; then it is taken."""
        size = size_bytes(view)
        if size > self._left_bytes and not self._is_empty:
            return False
        self._left_bytes -= size
        self._is_empty = False
        return True


def size_bytes(view: JobView) -> int:
    size = len(view.payload) + len(view.result) + len(view.progress) + _fault_bytes(view.error)
    for attempt in view.attempts:
        size += _fault_bytes(attempt.error)
    return size


def _fault_bytes(fault: JobFault | None) -> int:
    return 0 if fault is None else _text_bytes(fault.message) + _text_bytes(fault.traceback)


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)
