"""What stands in for a standard stream that whoever started this program has closed."""

from __future__ import annotations

import os
import sys


def stand_in_for_closed() -> None:
    """Open /dev/null in the place of stdin, stdout and stderr where they are closed. Call it first, before anything is opened.

    Python has None for such a stream, at which a log, a prompt or a library fails; and the next file that is opened would get its
    number, into which the processes that are started, or a crash, then write."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            file = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: the one in question
            os.set_inheritable(file, True)
            setattr(sys, name, os.fdopen(file, mode, encoding="utf-8", closefd=False))
