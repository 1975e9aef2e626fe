"""The standard streams where they are not as they should be: closed by whoever started this program, or taking nothing more."""

from __future__ import annotations

import errno
import os
import sys

UNWRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Where the output goes takes no more: the disk, the quota or the file is full, or the device or terminal is gone."""


def stand_in_for_closed() -> None:
    """Open /dev/null in the place of stdin, stdout and stderr where they are closed. Call it first, before anything is opened.

    Python has None for such a stream, at which a log, a prompt or a library fails; and the next file that is opened would get its
    number, into which the processes that are started, or a crash, then write."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            file = os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: the one in question
            os.set_inheritable(file, True)
            setattr(sys, name, os.fdopen(file, mode, encoding="utf-8", closefd=False))


def unwritten(fault: OSError) -> str:
    """What is told of a `fault` of UNWRITTEN. What stdout could not write goes nowhere from here on."""
    try:
        sys.stdout.flush()
    except OSError:  # so it was stdout: a buffer keeps what it could not write
        forget_stdout()
    return f"{fault.filename or 'the output'} could not be written: {fault.strerror}"


def forget_stdout() -> None:
    """Nobody reads any more: what is still in the buffer goes nowhere, so that the interpreter's last flush is quiet too."""
    if sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())
