"""The HTTP API's process: started by the node, watched, started again when it ends, ended with the node.

    node ──stdin: first a start message, then one per reload──► python -m zjp.api --from-node ──ipc, with the token──► the node's gate

A message is a frame: length in four bytes (big-endian), then a map in msgpack {address, gate, node, settings}. The settings are those of a
few groups, as texts by field name: no password of a store, no key of a node. The pipe is the process's life line too: it closes when
the node dies, however it does. The process leads a session of its own, so a Ctrl-C in the terminal reaches the node alone, which ends it in
order. stdout and stderr are the node's.

The node needs none of it: a process that cannot start (its port is taken) costs an error in the log, and another try after a pause that
doubles to PAUSE_MAX_S. Nothing of the HTTP API runs in the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import msgspec

from ..config import TABLE, Settings
from ..log import event
from ..worker.environment import for_children
from .stats import NodeStats

PROGRAM = (sys.executable, "-P", "-m", "zjp.api", "--from-node")
"""-P: a file in the current folder must not pass for one of zjp's own modules."""
GROUPS = frozenset({"HTTP API", "Metrics", "Logging", "Jobs and limits"})
MORE = frozenset(
    {"CLUSTER_NAME", "CLUSTER_SIZE", "ELECTION_ALGORITHM", "ELECTION_TIMEOUT", "ELECTION_INTERVAL", "NODE_PRIORITY"}
)
"""The API tells how the election is set."""
PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 30.0
PROVED_S = 60.0
"""One that lived so long begins with the short pause again."""
STOP_S = 5.0
LOOK_S = 0.2
"""Where the system tells of no end."""
EX_UNAVAILABLE, EX_CONFIG = 69, 78

log = logging.getLogger(__name__)
_encode = msgspec.msgpack.Encoder().encode


class ApiProcess:
    """`start` once the gate is bound, then `stop`."""

    def __init__(
        self,
        settings: Settings,
        stats: NodeStats,
        *,
        node: str,
        address: str,
        gate: bytes,
        program: Sequence[str] = PROGRAM,
        pause_s: float = PAUSE_MIN_S,
    ) -> None:
        self._settings, self._stats = settings, stats
        self._node, self._address, self._gate = node, address, gate
        self._program, self._pause_min_s = program, pause_s
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the present one."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        self._keeping = asyncio.create_task(self._keep(), name="api")

    def reload(self, settings: Settings) -> None:
        """Tell it; what it cannot change while it runs (ports) counts from its next start on."""
        self._settings = settings
        if self._process is not None:
            self._tell(self._process)

    async def stop(self) -> None:
        """It answers what is under way, within STOP_S; then it is killed."""
        if self._keeping is None:
            return
        self._stopping.set()
        if self._process is None:
            self._keeping.cancel()  # it waits for its next try
        else:
            _signal(self._process, signal.SIGTERM)
        await asyncio.wait({self._keeping}, timeout=STOP_S)
        if self._process is not None:
            event(log, logging.WARNING, "api.killed", reason=f"it had not ended {STOP_S:.0f} s after it was told to")
            _signal(self._process, signal.SIGKILL)
        await asyncio.gather(self._keeping, return_exceptions=True)
        self._keeping = None

    def kill(self) -> None:
        """At once, from wherever."""
        if self._process is not None:
            _signal(self._process, signal.SIGKILL)

    # ── keeping it there ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _keep(self) -> None:
        pause_s = self._pause_min_s
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._live()
            if self._stopping.is_set():
                return
            if time.monotonic() - began >= PROVED_S:
                pause_s = self._pause_min_s
            self._stats.add("zjp_api_ends_total")
            event(log, logging.ERROR, "api.ended", exit_code=code, reason=self._reason(code), again_in_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _live(self) -> int | None:
        """One life of the process; its exit code, None when there was none."""
        try:
            process = _started(self._program)
        except OSError as fault:
            event(
                log, logging.ERROR, "api.not_started", reason=f"{fault.filename or self._program[0]}: {fault.strerror}"
            )
            return None
        self._process = process
        try:
            self._tell(process)
            event(log, logging.INFO, "api.started", pid=process.pid)
            await _end_of(process)
            return process.wait()
        finally:
            if process.poll() is None:  # the task was cancelled
                process.kill()
                process.wait()
            assert process.stdin is not None
            process.stdin.close()
            self._process = None

    def _tell(self, process: subprocess.Popen[bytes]) -> None:
        """A frame fits into the pipe unless the process does not read; then there is no use in it."""
        assert process.stdin is not None
        message = frame(self._address, self._gate, self._node, self._settings)
        try:
            written = os.write(process.stdin.fileno(), message)
        except BlockingIOError:
            written = 0
        except OSError:  # it is gone, which `_end_of` tells
            return
        if written < len(message):
            event(
                log,
                logging.ERROR,
                "api.deaf",
                reason="it does not read what it is told; it is killed, and started again",
            )
            _signal(process, signal.SIGKILL)

    def _reason(self, code: int | None) -> str:
        settings = self._settings
        if code not in (EX_CONFIG, EX_UNAVAILABLE):
            return "the HTTP API's process ended by itself; jobs go on without it"
        ports = f"SERVER_PORT={settings.server_port}"
        if settings.metrics_enabled:
            ports += f", METRICS_PORT={settings.metrics_port}"
        return (
            f"the HTTP API cannot start; what it said stands above. A port that is taken ({ports}): stop the program that has it, or set "
            "another one; API_ENABLED=false does without the API. Jobs go on meanwhile"
        )


def frame(address: str, gate: bytes, node: str, settings: Settings) -> bytes:
    rows = [row for row in TABLE.values() if not row.later and (row.group in GROUPS or row.name in MORE)]
    values = {row.field: (row.kind, getattr(settings, row.field)) for row in rows}
    texts = {field: "none" if value is None else kind.show(value) for field, (kind, value) in values.items()}
    body = _encode({"address": address, "gate": gate, "node": node, "settings": texts})
    return len(body).to_bytes(4, "big") + body


def _started(program: Sequence[str]) -> subprocess.Popen[bytes]:
    """Raises: OSError."""
    process = subprocess.Popen(program, stdin=subprocess.PIPE, env=for_children({}), start_new_session=True)
    assert process.stdin is not None
    os.set_blocking(process.stdin.fileno(), False)
    return process


async def _end_of(process: subprocess.Popen[bytes]) -> None:
    if not hasattr(os, "pidfd_open"):
        while process.poll() is None:  # noqa: ASYNC110 (the system tells nobody)
            await asyncio.sleep(LOOK_S)
        return
    file, loop, ended = os.pidfd_open(process.pid), asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(file, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(file)
        os.close(file)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
