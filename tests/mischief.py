"""Tasks whose own code answers where the worker looks at what they raised or returned; others leave the process otherwise than it was.

`app` has all of them; `plain` only `def` tasks, so that a process with one slot runs them inline.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgpack

from zjp.task import Context, Definition, Registry, Snooze, task_options

app = Registry()
plain = Registry()
STEP_S = 0.0005
DESCRIPTORS = 1024
_kept: list[socket.socket] = []
ROOM_BYTES = 40 << 20
"""Of addresses: enough for a few threads, whose stacks are 8 MiB each."""


def task(function: Callable[..., Any]) -> Callable[..., Any]:
    definition = Definition(function.__name__, function, task_options({}))
    app.add(definition)
    if not definition.is_async:
        plain.add(definition)
    return function


@task
def echo(value: Any) -> Any:
    return value


@task
def rest_ms(ms: float) -> None:
    time.sleep(ms / 1000)


@task
async def async_rest_ms(ms: float) -> None:
    await asyncio.sleep(ms / 1000)


@task
async def block_ms(ms: float) -> None:
    """Holds up the whole loop."""
    time.sleep(ms / 1000)  # noqa: ASYNC251


@task
def raise_odd(kind: str) -> None:
    raise ODD[kind]()


@task
async def async_raise_odd(kind: str) -> None:
    raise ODD[kind]()


@task
def return_slow_dict(number: int) -> dict[str, Any]:
    return {"inner": SlowDict({f"{number}-{index}": number for index in range(20)})}


@task
def return_nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@task
def return_timestamp(is_nested: bool) -> Any:
    moment = msgpack.Timestamp(1, 0)
    return {"at": [moment]} if is_nested else moment


@task
def report_note(ctx: Context, kind: str) -> None:
    ctx.progress(1, note={"keys": {1: 2}, "object": object(), "time": msgpack.Timestamp(1, 0), "int": 1 << 70, "map": {"a": [b"b"]}}[kind])  # type: ignore[arg-type]


@task
async def cancel_itself() -> int:
    me = asyncio.current_task()
    assert me is not None
    me.cancel()
    return 5


@task
def haunt(ctx: Context, path: str) -> None:
    """The first attempt leaves a thread that goes on reporting, until there is a file `path`; the next one holds until then."""
    if ctx.attempt > 1:
        ctx.progress(ctx.attempt, note="its own")
        while not os.path.exists(path):
            time.sleep(STEP_S)
        return
    ctx.progress(0, note="ghost")
    threading.Thread(target=_haunt, args=(ctx, path), daemon=True).start()
    raise ValueError("it leaves a ghost")


def _haunt(ctx: Context, path: str) -> None:
    while not os.path.exists(path):
        ctx.progress(0, note="ghost")
        with open(f"{path}.ghost", "a") as file:
            file.write(".")
        time.sleep(STEP_S)


@task
def report_twice(ctx: Context, path: str) -> None:
    """The first attempt; the next one holds until there is a file `path`."""
    if ctx.attempt > 1:
        while not os.path.exists(path):
            time.sleep(STEP_S)
        return
    ctx.progress(1)
    ctx.progress(2)
    raise ValueError("once more")


@task
async def async_haunt(ctx: Context, path: str) -> None:
    await asyncio.to_thread(haunt, ctx, path)


def _passed_on(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


@task
@_passed_on
async def decorated_haunt(ctx: Context, path: str) -> None:
    await asyncio.to_thread(haunt, ctx, path)


@task
def return_bytes_keys() -> dict[bytes, int]:
    return {b"key": 1}


@task
def terminate_own_child() -> int | None:
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join(20)
    return child.exitcode


@task
def disarm_alarm() -> None:
    """As who uses alarms leaves them: with the system's own handler, which ends the process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


@task
def leave_few_threads() -> None:
    """From here on the process can make but a few."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES, resource.RLIM_INFINITY))


@task
def close_all() -> None:
    """Nothing can leave the process any more, its own result neither."""
    os.closerange(0, DESCRIPTORS)


@task
async def async_close_all() -> None:
    os.closerange(0, DESCRIPTORS)


@task
def deafen_all() -> None:
    """Nothing can leave the process any more, and it lives on."""
    near, far = socket.socketpair()  # takes what is written to it, and never has anything to read
    for descriptor in {int(name) for name in os.listdir("/proc/self/fd")} - {far.fileno()}:
        os.dup2(near.fileno(), descriptor)
    _kept.append(far)


@task
def die_in_ms(ms: float) -> None:
    """Returns at once; the process ends later."""
    threading.Thread(target=_die_in_ms, args=(ms,), daemon=True).start()


@task
async def async_die_in_ms(ms: float) -> None:
    threading.Thread(target=_die_in_ms, args=(ms,), daemon=True).start()


@task
def segfault() -> None:
    """Ends the process, as a broken extension does."""
    ctypes.string_at(0)


def _die_in_ms(ms: float) -> None:
    time.sleep(ms / 1000)
    os._exit(1)


class SlowDict(dict[str, Any]):
    """Gives the interpreter away while it is packed, as any class derived from dict may."""

    def items(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        for pair in super().items():
            time.sleep(STEP_S)
            yield pair


class _Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class WithoutName(Exception, metaclass=_Nameless):
    pass


class ExitInText(Exception):
    def __str__(self) -> str:  # noqa: PLE0307
        sys.exit(3)


class InterruptInText(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class OddText(str):
    def isascii(self) -> bool:
        raise RuntimeError


class TextOfAnotherClass(Exception):
    def __str__(self) -> str:
        return OddText("odd")


class LiesAboutItsClass(Exception):
    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise SystemExit(4)


class SnoozeWithoutDelay(Snooze):
    def __init__(self) -> None:
        pass


class SnoozeOfNonsense(Snooze):
    def __init__(self) -> None:
        super().__init__(1)
        self.delay_s = float("nan")


ODD: dict[str, type[BaseException]] = {
    kind.__qualname__: kind
    for kind in (ExitInText, InterruptInText, TextOfAnotherClass, LiesAboutItsClass, SnoozeWithoutDelay, SnoozeOfNonsense)
} | {"WithoutName": WithoutName}
