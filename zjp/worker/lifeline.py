"""A worker process must not outlive its node, nor may anything its tasks started: at the node's death the whole process group dies.

The process's stdin is the reading end of a pipe whose only writing end is in the node: end of file means that the node is gone.
Two ways lead from there to SIGKILL for the group:

    the kernel itself   O_ASYNC with F_SETSIG on the pipe: no code of ours needs to run, so a task that holds the interpreter's
                        lock in C cannot stand in the way (Linux)
    a thread            reads the pipe; works on every Unix

PR_SET_PDEATHSIG is only what is left where the first cannot be had: it kills this process alone, and it may come before the node's
end of the pipe is closed; then nobody would be left to receive the group's signal, and what the tasks started would live on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading

_PR_SET_PDEATHSIG = 1


def hold(parent_pid: int) -> None:
    """Take stdin as life line; tasks find /dev/null there instead. Does not return when the node is gone already."""
    line = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    _ask_kernel(line)
    threading.Thread(target=_watch, args=(line,), name="lifeline", daemon=True).start()
    if os.getppid() != parent_pid:  # it died before all this was in place
        _kill_group()


def _ask_kernel(line: int) -> None:
    if not hasattr(fcntl, "F_SETSIG"):
        return
    try:
        fcntl.fcntl(line, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(line, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(line, fcntl.F_SETFL, fcntl.fcntl(line, fcntl.F_GETFL) | os.O_ASYNC)
    except OSError:
        with contextlib.suppress(OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _watch(line: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(line, 4096):
            pass
    _kill_group()


def _kill_group() -> None:
    if os.getpgrp() == os.getpid():  # never a group that others belong to
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
