"""Processes by number, kin and end: what a nemesis must know of whom it hits. Linux only (procfs, pidfd).

A pid is used again after some ten thousand processes, which is less than a long run makes. The process number is the pid and the tick at
which the process started: it stands for one process for ever, in file names and in histories.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time

TICK_BITS = 22
"""More than any pid has."""


def number_of(pid: int) -> int:
    """Raises: ProcessLookupError."""
    return _number(pid, _stat(pid))


def pid_of(number: int) -> int:
    return number & ((1 << TICK_BITS) - 1)


def is_alive(number: int) -> bool:
    """A zombie is dead."""
    pid = pid_of(number)
    try:
        fields = _stat(pid)
    except ProcessLookupError:
        return False
    return _number(pid, fields) == number and fields[0] not in ("Z", "X")


def cpu_s_of(pid: int) -> float:
    """Processor time that it has used, 0.0 when it is gone."""
    try:
        fields = _stat(pid)
    except ProcessLookupError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> list[int]:
    """Numbers of its living children, in no order."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(ProcessLookupError):
                fields = _stat(int(name))
                if int(fields[1]) == pid and fields[0] not in ("Z", "X"):
                    found.append(_number(int(name), fields))
    return found


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on. The name before it may hold anything, also brackets."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        raise ProcessLookupError(f"there is no process {pid}") from None


def _number(pid: int, fields: list[str]) -> int:
    return int(fields[19]) << TICK_BITS | pid


class Grip:
    """Holds on to one process, so that a signal can only reach that one, and its end can be waited for. Raises: ProcessLookupError."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._fd = os.pidfd_open(pid_of(number))
        if not is_alive(number):
            self.close()
            raise ProcessLookupError(f"process {pid_of(number)} is gone")

    def send(self, signal_number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._fd, signal_number)

    def wait(self, limit_s: float) -> bool:
        """Whether it has ended by then."""
        return bool(select.select([self._fd], [], [], max(0.0, limit_s))[0])

    def close(self) -> None:
        os.close(self._fd)


def grips_on(numbers: list[int]) -> list[Grip]:
    """Of those that are alive."""
    held = []
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            held.append(Grip(number))
    return held


def until_all_ended(grips: list[Grip], limit_s: float) -> float | None:
    """Seconds until the last had ended, None when one outlived the limit. Closes the grips."""
    began = time.monotonic()
    try:
        for grip in grips:
            if not grip.wait(began + limit_s - time.monotonic()):
                return None
        return time.monotonic() - began
    finally:
        for grip in grips:
            grip.close()
