"""The worker process: `python -m zjp.worker.process`, started by the pool, never by hand.

    stdin ──settings──► hold the life line, load the application, say Ready ──► inbox (thread) ──deque──► runner ──► outbox ──► node

It loads ZeroMQ, msgpack, msgspec, uvloop, the pure parts of zjp and the user's tasks: no store, no command line, no keys. It
runs tasks until it is told to stop, or dies with its node. Signals that people or service managers send to whole groups of
processes (INT, TERM, HUP) do nothing here: when a worker ends is the node's decision.
"""

from __future__ import annotations

import gc
import importlib
import io
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Mapping

import msgspec
import zmq

from ..fault import bounded
from ..log import configure
from ..task import Definition, Registry
from ..tracing import Attempts, attempts
from ..transport.pump import set_limits
from ..wire.messages import NotReady, Ready
from . import lifeline
from .call import Caller, task_info
from .environment import restore_python_path, tracing_variables
from .inbox import Inbound, Inbox, Runner
from .inline import InlineRunner
from .marks import MarkFile
from .mixed import MixedRunner
from .outbox import Outbox
from .settings import ChildSettings
from .traced import TracedCaller

LINGER_MS = 2_000
"""The last results must reach a node that is busy; a dead one ends this process anyway."""
REASON_CHARS_MAX = 4 << 10
EX_CONFIG = 78


class NoApplication(Exception):
    """The application cannot be loaded. The text is for whoever started the node."""


def main() -> int:
    settings = _read_settings()
    lifeline.hold(settings.parent_pid)
    _stay_deaf()
    _restore(settings)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                line_buffering=True
            )  # what a task prints is seen when it is printed, and not lost with the process
    configure(settings.log_level, settings.log_format)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    outbox_socket, inbox_socket = _socket(context, zmq.PUSH), _socket(context, zmq.PULL)
    outbox_socket.connect(settings.outbox)
    inbox_socket.bind(settings.inbox)
    outbox = Outbox(outbox_socket, settings.worker)
    try:
        tasks = load(settings.app).tasks
    except NoApplication as fault:
        outbox.send(NotReady(settings.worker, bounded(str(fault), REASON_CHARS_MAX)))
        outbox.close()
        context.destroy()
        return EX_CONFIG
    spans = attempts(tracing_variables(), settings.node, settings.worker)
    _work(settings, tasks, inbox_socket, outbox, spans)
    outbox.close()
    context.term()  # waits until the last results have left; the inbox thread closes its own socket when it notices
    if spans is not None:
        spans.flush()
    return 0


def load(app: str) -> Registry:
    """The Registry at "module:attribute". Raises: NoApplication."""
    module_name, _, attribute = app.partition(":")
    try:
        module = importlib.import_module(module_name)
    except BaseException as fault:  # whatever the application's own code raises, SystemExit as well
        raise NoApplication(f"--app {app}: cannot import {module_name!r}: {_where(fault)}") from fault
    found = getattr(module, attribute or "app", None)
    if not isinstance(found, Registry):
        kinds = [name for name, value in vars(module).items() if isinstance(value, Registry)]
        hint = f"; it has {', '.join(kinds)}" if kinds else "; make one with app = App()"
        what = (
            f"has no {attribute!r}"
            if found is None
            else f"has {attribute!r}, which is {type(found).__name__} and no App"
        )
        raise NoApplication(f"--app {app}: module {module_name!r} {what}{hint}")
    if not found.tasks:
        raise NoApplication(f"--app {app}: it has no tasks; decorate a function with @{attribute or 'app'}.task")
    return found


def _work(
    settings: ChildSettings,
    tasks: Mapping[str, Definition],
    socket: zmq.Socket[bytes],
    outbox: Outbox,
    spans: Attempts | None,
) -> None:
    marks = MarkFile.open(settings.marks_path)
    told = settings, tasks, outbox.progress
    caller = Caller(*told) if spans is None else TracedCaller(*told, spans)
    caller.forget = outbox.forget_progress
    inbound: Inbound = deque()
    runner: Runner
    if settings.slots == 1 and not any(task.is_async for task in tasks.values()):
        runner = InlineRunner(inbound, outbox, caller, marks)
    else:
        runner = MixedRunner(inbound, outbox, caller, marks, slots=settings.slots)
    reports_progress = any(task.takes_context for task in tasks.values())
    Inbox(socket, inbound, outbox, runner, cancelled=caller.cancelled, reports_progress=reports_progress).start()
    gc.collect()
    gc.freeze()  # what the application loaded stays: no need to look through it again and again
    outbox.send(Ready(settings.worker, os.getpid(), [task_info(task) for task in tasks.values()]))
    runner.run()


def _read_settings() -> ChildSettings:
    blob_bytes = int.from_bytes(_read_exactly(4), "big")
    return msgspec.msgpack.decode(_read_exactly(blob_bytes), type=ChildSettings)


def _read_exactly(count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            sys.exit(
                "zjp.worker.process is started by a node, and needs its settings on stdin; run: python -m zjp.node --app module:app"
            )
        data += part
    return data


def _stay_deaf() -> None:
    """A handler, not SIG_IGN: that would be inherited by the programs that tasks start. What a task forks (multiprocessing) gets the
    handlers of before: who started it must be able to end it, also in the moment in which it still has ours."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        signal.signal(number, lambda signum, frame: None)
    held = threading.local()

    def hold() -> None:
        held.mask = signal.pthread_sigmask(signal.SIG_BLOCK, before)

    def let_go() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, held.mask)

    def hear_again() -> None:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        let_go()

    os.register_at_fork(before=hold, after_in_parent=let_go, after_in_child=hear_again)


def _restore(settings: ChildSettings) -> None:
    """The path as the application expects it."""
    restore_python_path(settings.python_path)
    if settings.folder not in sys.path:
        sys.path.insert(0, settings.folder)


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    set_limits(socket, linger_ms=LINGER_MS, high_water_mark=0)
    return socket


def _where(fault: BaseException) -> str:
    """The exception and the line of the application that raised it."""
    frames = [frame for frame in traceback.extract_tb(fault.__traceback__) if "importlib" not in frame.filename]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(fault).__name__}: {fault}{place}"


if __name__ == "__main__":
    sys.exit(main())
