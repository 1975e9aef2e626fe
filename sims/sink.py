"""The fenced sink: the world outside, which takes each effect once and refuses holders that have lost their job.

A process of its own with its own SQLite file, so that it survives whatever is killed around it, and can be killed itself. Tasks under
test ask it over a unix socket. Its rule is all that fencing needs:

    fence < highest fence seen for the job   -> "stale"       the asker lost the job; it must not act
    the effect key has an accepted effect    -> "duplicate"   an earlier attempt did it; the asker finishes normally
    else                                     -> "ok"          accepted, committed, written to the history

Any call registers its fence. A decision is committed before it is written to the history, and written before it is answered; what a kill
left committed and unwritten is written at the next start, with the time of the decision. A caller that lost the answer asks again.

    python -m sims.sink --socket S --db D --history H [--synchronous FULL|OFF] [--exit-with-stdin]

prints `ready` once it listens. One line of JSON each way: `["job", fence, "effect key"]` -> `"ok"`.
"""

from __future__ import annotations

import argparse
import os
import selectors
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast

import msgspec

from .history import Recorder, load
from .lines import Effect

Answer = Literal["ok", "stale", "duplicate"]

SOCKET_PATH_BYTES_MAX = 107
"""What fits into sockaddr_un."""
REQUEST_BYTES_MAX = 1 << 16
RECONNECT_PAUSE_S = 0.02

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (job TEXT PRIMARY KEY, fence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effect (ek TEXT PRIMARY KEY, job TEXT NOT NULL, fence INTEGER NOT NULL, t INTEGER NOT NULL) WITHOUT ROWID;
"""


class SinkUnavailable(ConnectionError):
    """The sink did not answer within the time given. Whether the effect was accepted is unknown: ask again."""


class Request(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    job: str
    fence: int
    ek: str


# For tasks -----------------------------------------------------------------------------------------------------------------------


class SinkClient:
    """Asks the sink, one connection per thread. Blocks; reconnects and asks again until `timeout_s` has passed."""

    def __init__(self, socket_path: str | Path, timeout_s: float = 10.0) -> None:
        self._path = str(socket_path)
        self._timeout_s = timeout_s
        self._local = threading.local()

    def effect(self, job_id: str, fence: int, effect_key: str) -> Answer:
        """Raises: SinkUnavailable."""
        request = msgspec.json.encode((job_id, fence, effect_key)) + b"\n"
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._ask(request, deadline)
            except (OSError, EOFError) as error:
                self.close()
                if time.monotonic() + RECONNECT_PAUSE_S >= deadline:
                    raise SinkUnavailable(f"no answer from the sink at {self._path} in {self._timeout_s} s") from error
                time.sleep(RECONNECT_PAUSE_S)

    def close(self) -> None:
        """Close this thread's connection; the next call opens another."""
        connection = self._local.__dict__.pop("connection", None)
        if connection is not None:
            connection.close()

    def _ask(self, request: bytes, deadline: float) -> Answer:
        connection = self._connection()
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        connection.sendall(request)
        reply = b""
        while not reply.endswith(b"\n"):
            chunk = connection.recv(256)
            if not chunk:
                raise EOFError("the sink closed the connection")
            reply += chunk
        return cast(Answer, msgspec.json.decode(reply, type=Answer))

    def _connection(self) -> socket.socket:
        connection = self._local.__dict__.get("connection")
        if connection is None:
            connection = socket.socket(socket.AF_UNIX)
            self._local.connection = connection
            connection.settimeout(self._timeout_s)
            connection.connect(self._path)
        return cast(socket.socket, connection)


# The process ---------------------------------------------------------------------------------------------------------------------


class Sink:
    """The decisions, durable in one file. Raises: sqlite3.OperationalError when another process has the file."""

    def __init__(self, db: str | Path, history: str | Path, synchronous: str = "FULL") -> None:
        self._db = sqlite3.connect(db, timeout=1.0, isolation_level=None)
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={synchronous}")
        self._db.executescript(SCHEMA)
        self._recorder = Recorder(history, "sink")
        self._write_forgotten(Path(history))

    def decide(self, requests: Sequence[Request]) -> list[Answer]:
        """One transaction for all that is waiting; in the order given."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            lines = [self._decide_one(request) for request in requests]
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        self._recorder.append(lines)
        return [cast(Answer, line.val or "ok") for line in lines]

    def _decide_one(self, request: Request) -> Effect:
        row = self._db.execute("SELECT fence FROM seen WHERE job = ?", (request.job,)).fetchone()
        t = time.monotonic_ns()
        val = "stale" if row is not None and request.fence < row[0] else ""
        if not val:
            self._db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (request.job, request.fence))
            effect = (request.ek, request.job, request.fence, t)
            is_new = self._db.execute("INSERT OR IGNORE INTO effect VALUES (?, ?, ?, ?)", effect).rowcount
            val = "" if is_new else "duplicate"
        return Effect(
            t=t, p="sink", type="fail" if val else "ok", job=request.job, fence=request.fence, ek=request.ek, val=val
        )

    def _write_forgotten(self, history: Path) -> None:
        written = {op.ek for op in load([history]).ops if isinstance(op, Effect) and op.type == "ok"}
        rows = self._db.execute("SELECT t, job, fence, ek FROM effect ORDER BY t").fetchall()
        forgotten = [
            Effect(t=t, p="sink", type="ok", job=job, fence=fence, ek=ek)
            for t, job, fence, ek in rows
            if ek not in written
        ]
        if forgotten:
            self._recorder.append(forgotten)

    def close(self) -> None:
        self._db.close()
        self._recorder.close()


class SinkServer:
    """One thread, one selector: answers all that has arrived by one transaction."""

    def __init__(self, sink: Sink, socket_path: str) -> None:
        self._sink = sink
        self._path = socket_path
        self._listener = _listen(socket_path)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._buffers: dict[socket.socket, bytes] = {}

    def run(self, *, exit_with_stdin: bool = False) -> None:
        """Until stdin ends, or for ever."""
        if exit_with_stdin:
            self._selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while True:
            asked: list[tuple[socket.socket, Request]] = []
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    asked += self._read(key.fileobj)
                elif not os.read(key.fd, 4096):
                    return
            if asked:
                self._answer(asked)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        self._buffers[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> list[tuple[socket.socket, Request]]:
        try:
            data = connection.recv(REQUEST_BYTES_MAX)
            *whole, rest = (self._buffers[connection] + data).split(b"\n")
            requests = [msgspec.json.decode(line, type=Request) for line in whole]
        except (OSError, msgspec.DecodeError):
            data, rest, requests = b"", b"", []
        if not data or len(rest) > REQUEST_BYTES_MAX:
            self._drop(connection)
            return []
        self._buffers[connection] = rest
        return [(connection, request) for request in requests]

    def _answer(self, asked: list[tuple[socket.socket, Request]]) -> None:
        answers = self._sink.decide([request for _, request in asked])
        for (connection, _), answer in zip(asked, answers, strict=True):
            try:
                connection.send(msgspec.json.encode(answer) + b"\n")
            except OSError:
                # The asker died or stopped reading; it will ask again on another connection.
                self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        if self._buffers.pop(connection, None) is not None:
            self._selector.unregister(connection)
            connection.close()

    def close(self) -> None:
        for connection in list(self._buffers):
            self._drop(connection)
        self._selector.close()
        self._listener.close()
        os.unlink(self._path)


def _listen(path: str) -> socket.socket:
    if len(path.encode()) > SOCKET_PATH_BYTES_MAX:
        raise SystemExit(f"socket path has {len(path.encode())} bytes, the limit is {SOCKET_PATH_BYTES_MAX}: {path}")
    # The database is locked by us: whoever made this socket is dead.
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)
    listener.setblocking(False)
    return listener


def spawn_sink(socket_path: Path, db: Path, history: Path, synchronous: str = "FULL") -> subprocess.Popen[bytes]:
    """Start a sink and wait until it listens. It ends when its stdin is closed, so also when the caller dies."""
    arguments = ["--socket", str(socket_path), "--db", str(db), "--history", str(history), "--synchronous", synchronous]
    command = [sys.executable, "-m", "sims.sink", *arguments, "--exit-with-stdin"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise RuntimeError(f"the sink did not start, exit code {process.wait()}: {' '.join(command)}")
    return process


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sims.sink", description="The fenced sink of an experiment.")
    parser.add_argument("--socket", required=True)
    parser.add_argument("--db", required=True)
    parser.add_argument("--history", required=True)
    parser.add_argument("--synchronous", choices=("FULL", "OFF"), default="FULL")
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when stdin is closed")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        sink = Sink(options.db, options.history, options.synchronous)
    except sqlite3.OperationalError as error:
        print(f"{options.db}: {error}; is another sink running on it?", file=sys.stderr)
        return 1
    server = SinkServer(sink, options.socket)
    print("ready", flush=True)
    try:
        server.run(exit_with_stdin=options.exit_with_stdin)
    finally:
        server.close()
        sink.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
