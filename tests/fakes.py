"""Tasks for tests: such that take time, fail, misbehave, or tell what they see. Run by real worker processes.

`app` has all of them; `plain` only `def` tasks, so that a process with one slot runs them inline; `broken` has none.
Tests wait for files that these tasks make, or hold a task until the test makes one; only here is slept.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import hashlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zjp.task import Context, Definition, Discard, Registry, Retry, Snooze, SoftTimeout, task_options

POLL_S = 0.002
CODE_MAX_S = 60.0
"""No fake runs longer, even when its test forgets it."""

app = Registry()
plain = Registry()
broken = Registry()


def task(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        definition = Definition(function.__name__, function, task_options(options))
        app.add(definition)
        if not definition.is_async:
            plain.add(definition)
        return function

    return register


def started(path: str) -> Path:
    """The file that `hold_until` and others make when they begin."""
    return Path(f"{path}.started")


def started_pids(path: str) -> list[int]:
    """Of the processes that began to hold, so far. A file is there before its first line is."""
    try:
        return [int(line) for line in started(path).read_text().splitlines()]
    except FileNotFoundError:
        return []


@task()
def noop() -> None:
    pass


@task()
def echo(value: Any) -> Any:
    return value


@task()
def add(a: int, b: int = 1) -> int:
    return a + b


@task()
def hold_until(path: str) -> str:
    """Until the test makes the file `path`; says so in `path`.started first."""
    _append(started(path), f"{os.getpid()}\n")
    _wait_for(path)
    return "released"


@task()
def burn_ms(ms: float) -> float:
    """Use the processor for so long."""
    end = time.perf_counter() + ms / 1000
    while time.perf_counter() < end:
        pass
    return ms


@task()
def rest_ms(ms: float) -> float:
    time.sleep(ms / 1000)
    return ms


@task()
def count_run(path: str) -> int:
    """Append a line to `path`: how often a job really ran."""
    _append(Path(path), "ran\n")
    return os.getpid()


@task()
def fail(text: str = "it went wrong") -> None:
    raise ValueError(text)


@task(max_retries=0)
def fail_once_only() -> None:
    raise KeyError("no retries here")


@task()
def leave(kind: str) -> None:
    raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "base": BaseException("odd")}[kind]


@task()
def fail_unprintably() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    raise Unprintable


@task()
def fail_at_length(chars: int, depth: int) -> None:
    if depth % 2:
        fail_at_length(chars, depth - 1)  # in turn with the line below: equal lines one after the other would be folded
    if depth:
        fail_at_length(chars, depth - 1)
    raise ValueError("x" * chars)


@task()
def ask_retry(delay: float | None = None) -> None:
    raise Retry(delay, reason="not yet")


@task()
def ask_snooze(delay: float) -> None:
    raise Snooze(delay)


@task()
def ask_discard() -> None:
    raise Discard("never")


@task()
def exit_process(code: int) -> None:
    os._exit(code)


@task()
def segfault() -> None:
    ctypes.string_at(0)


@task()
def segfault_once(path: str) -> str:
    """Dies at the first run only."""
    if not Path(path).exists():
        Path(path).touch()
        ctypes.string_at(0)
    return "survived"


@task()
def hang_in_c(path: str = "") -> None:
    """Inside one C call that runs no Python code for many minutes and lets other threads run."""
    if path:
        started(path).touch()
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2_000_000_000)


@task()
def hang_with_lock(path: str = "") -> None:
    """Inside one C call that lets no other thread run either."""
    if path:
        started(path).touch()
    sum(range(10**12))


@task()
def loop_for_ever() -> None:
    end = time.monotonic() + CODE_MAX_S
    while time.monotonic() < end:
        pass


@task()
def clean_up_at_limit() -> str:
    """Uses its soft time-out to end well."""
    try:
        loop_for_ever()
    except SoftTimeout:
        return "cleaned up"
    return "ran out"


@task()
def print_bytes(count: int) -> int:
    chunk = "x" * 65535 + "\n"
    for _ in range(count // len(chunk)):
        sys.stdout.write(chunk)
    sys.stdout.flush()
    return count


@task()
def return_object() -> object:
    return {"deep": [object()]}


@task()
def return_int_keys() -> dict[int, str]:
    return {1: "one"}


@task()
def return_bytes(count: int) -> bytes:
    return bytes(count)


_kept: list[bytearray] = []


@task()
def leak(count: int) -> int:
    _kept.append(bytearray(b"x" * count))
    return os.getpid()


@task()
def hold_memory(path: str, count: int) -> str:
    """`hold_until` with so many bytes."""
    block = bytearray(b"x" * count)
    return hold_until(path) if block else ""


@task()
def start_grandchild(path: str) -> None:
    """Start a program that would outlive us, tell its pid, then hold."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(path).with_suffix(".tmp").write_text(str(child.pid))
    Path(path).with_suffix(".tmp").rename(path)
    _wait_for(f"{path}.never")


@task()
def describe_context(ctx: Context, marker: str) -> dict[str, Any]:
    return {
        "marker": marker,
        "job_id": ctx.job_id,
        "type": ctx.type,
        "queue": ctx.queue,
        "attempt": ctx.attempt,
        "fence": ctx.fence,
        "seconds_left": ctx.deadline - time.time(),
        "tags": list(ctx.tags),
        "node": ctx.node_id,
        "worker": ctx.worker_id,
        "cancelled": ctx.cancelled,
    }


@task()
def log_at(ctx: Context, level: str, text: str) -> int:
    ctx.log.log(logging.getLevelNamesMapping()[level.upper()], text)
    return os.getpid()


@task()
def report_progress(ctx: Context, steps: int, path: str) -> None:
    for step in range(steps):
        ctx.progress(step + 1, steps, "at it")
    _wait_for(path)


@task()
def report_at_length(ctx: Context, chars: int) -> None:
    ctx.progress(1, note="x" * chars)


@task()
def stop_when_told(ctx: Context, path: str) -> str:
    started(path).touch()
    end = time.monotonic() + CODE_MAX_S
    while not ctx.cancelled and time.monotonic() < end:
        time.sleep(POLL_S)
    return "stopped"


@task()
def list_modules() -> list[str]:
    return sorted(sys.modules)


@task()
def list_environment() -> dict[str, str]:
    return dict(os.environ)


@task()
def read_stdin() -> str:
    return sys.stdin.read()


@task()
async def async_noop() -> None:
    pass


@task()
async def async_echo(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@task()
async def async_hold_until(path: str) -> str:
    _append(started(path), f"{os.getpid()}\n")
    end = time.monotonic() + CODE_MAX_S
    while not os.path.exists(path) and time.monotonic() < end:  # noqa: ASYNC110, ASYNC240 (a file is what another process can make)
        await asyncio.sleep(POLL_S)
    return "released"


def _passed_on(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


def _run_inside(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return asyncio.run(function(*args, **kwargs))

    return call


@task()
@_passed_on
async def decorated_echo(ctx: Context, value: Any) -> Any:
    """Tells whether it runs on the loop that `async def` tasks share."""
    await asyncio.sleep(0)
    return [value, ctx.attempt, threading.current_thread() is threading.main_thread()]


@task()
@_passed_on
async def decorated_fail() -> None:
    await asyncio.sleep(0)
    raise ValueError("it went wrong")


@task()
@_passed_on
async def decorated_hold_until(path: str) -> str:
    started(path).touch()
    await asyncio.Event().wait()
    return "never"


@task()
@_run_inside
async def run_inside_echo(value: Any) -> Any:
    await asyncio.sleep(0)
    return [value, threading.current_thread() is threading.main_thread()]


@task()
async def async_leave() -> None:
    raise SystemExit(3)


@task()
async def async_leave_later() -> None:
    """What it left running raises when the job has long ended."""

    async def stray() -> None:
        await asyncio.sleep(POLL_S)
        raise SystemExit(3)

    _strays.append(asyncio.create_task(stray()))


_strays: list[asyncio.Task[None]] = []


def _append(path: Path, line: str) -> None:
    with open(path, "a") as file:
        file.write(line)


def _wait_for(path: str) -> None:
    end = time.monotonic() + CODE_MAX_S
    while not os.path.exists(path) and time.monotonic() < end:
        time.sleep(POLL_S)
