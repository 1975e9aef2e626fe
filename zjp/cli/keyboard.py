"""Single keys from a terminal: no Enter, no echo, and the terminal as it was afterwards, however the program ends."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

ENDS = (signal.SIGTERM, signal.SIGHUP)
_LOCAL_FLAGS, _CONTROL_CHARS = 3, 6
"""Places in what tcgetattr gives."""

Wait = Callable[[float], str]
"""Seconds -> the key that was pressed meanwhile, or nothing."""


@contextmanager
def keys() -> Iterator[Wait]:
    """Keys of standard input, when that is a terminal; else only the time passes. Signals that would end the program at once end the block
    first (KeyboardInterrupt). Ctrl-Z does nothing meanwhile: it would leave the terminal as it is."""
    file = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
    before: list[Any] | None = termios.tcgetattr(file) if file is not None else None
    handlers = {number: signal.signal(number, _interrupt) for number in ENDS}
    try:
        if file is not None:
            termios.tcsetattr(file, termios.TCSADRAIN, _without_lines(termios.tcgetattr(file)))
        yield lambda seconds: _wait(file, seconds)
    finally:
        if file is not None and before is not None:
            termios.tcsetattr(file, termios.TCSADRAIN, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _without_lines(mode: list[Any]) -> list[Any]:
    mode[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
    mode[_CONTROL_CHARS][termios.VMIN], mode[_CONTROL_CHARS][termios.VTIME] = 1, 0
    mode[_CONTROL_CHARS][termios.VSUSP] = b"\0"
    return mode


def _wait(file: int | None, seconds: float) -> str:
    ready, _, _ = select.select([] if file is None else [file], [], [], max(0.0, seconds))
    if not ready or file is None:
        return ""
    pressed = os.read(file, 64)
    return pressed[:1].decode(errors="replace") if pressed else "q"  # the terminal is gone


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
