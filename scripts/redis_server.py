"""A private redis-server for tests and benchmarks: own folder, own port and socket, gone with its parent.

    python -m scripts.redis_server [--clock] [NAME VALUE ...]      prints the URL, runs until stopped
    python -m scripts.redis_server appendonly yes appendfsync everysec

`NAME VALUE` are lines of redis.conf. With `--clock` its wall clock is what `set_clock` says (see wall_clock.c), so that tests let time
pass; that needs a C compiler.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import mmap
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import hiredis

START_S = 10.0
STOP_S = 5.0
PR_SET_PDEATHSIG = 1
SPLIT = {"save", "replicaof", "client-output-buffer-limit"}
"""Options of several words, which are arguments of their own (before Redis 7)."""
SHIM = Path(__file__).with_name("wall_clock.c")


class NotInstalled(Exception):
    """redis-server or what the clock needs is missing on this machine."""


def find_server() -> str:
    """Raises: NotInstalled."""
    found = shutil.which("redis-server")
    if found is None:
        raise NotInstalled("redis-server is not installed; on Debian: apt-get install redis-server")
    return found


def build_shim(folder: Path) -> Path:
    """Raises: NotInstalled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NotInstalled("no C compiler for the clock of the test server; on Debian: apt-get install gcc libc6-dev")
    built = folder / "wall_clock.so"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", built, SHIM], check=True, timeout=60)
    return built


class RedisServer:
    """`start`, then `url` or `unix_url`; `kill` and `start` again keep what was persisted. `stop` at the end."""

    def __init__(
        self, *, options: Mapping[str, str] | None = None, has_clock: bool = False, folder: Path | None = None,
        arguments: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """`arguments`: in front of the options, such as a configuration file and --sentinel."""
        self._owned = None if folder is not None else tempfile.TemporaryDirectory(prefix="redis-")
        self.folder = folder if folder is not None else Path(self._owned.name)  # type: ignore[union-attr]
        self.options = {} if arguments else {"save": "", "appendonly": "no"} | dict(options or {})
        self._arguments = arguments
        self.port = _free_port()
        self.socket = str(self.folder / "redis.sock")
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = dict(os.environ)
        self._clock: mmap.mmap | None = None
        if has_clock:
            self._prepare_clock()

    def _prepare_clock(self) -> None:
        path = self.folder / "clock"
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._clock = mmap.mmap(file.fileno(), 8)
        self._environment |= {"LD_PRELOAD": str(build_shim(self.folder)), "WALL_CLOCK_FILE": str(path)}

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def set_clock(self, unix_ms: int) -> None:
        """Of a server that runs. Returns once it tells this time: Valkey 9 counts on from the time it read last, for up to 1 ms.
        Raises: OSError, TimeoutError."""
        assert self._clock is not None, "made without has_clock"
        self._clock[:8] = (unix_ms * 1000).to_bytes(8, "little")
        deadline = time.monotonic() + START_S
        while self._told_ms() != unix_ms:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server does not tell the time {unix_ms} ms that was set")

    def _told_ms(self) -> int:
        _, _, seconds, _, microseconds, _ = self.send(b"TIME").split(b"\r\n")
        return int(seconds) * 1000 + int(microseconds) // 1000

    def start(self) -> None:
        """Returns once it answers. Raises: NotInstalled, TimeoutError."""
        server = find_server()
        arguments = [server, *self._arguments, "--bind", "127.0.0.1", "--port", str(self.port)]
        arguments += ["--unixsocket", self.socket, "--dir", str(self.folder)]
        for name, value in self.options.items():
            arguments += [f"--{name}", *(value.split(" ") if name in SPLIT else [value])]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, preexec_fn=_die_with_parent
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop(keep_folder=True)
                raise TimeoutError(f"redis-server did not start:\n{(self.folder / 'redis.log').read_text()[-2000:]}")
            self._process.poll()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.005)

    def _answers(self) -> bool:
        try:
            return self.send(b"PING")[:5] in (b"+PONG", b"-NOAU")
        except OSError:
            return False

    def send(self, *command: bytes) -> bytes:
        """One command on a connection of its own; the reply as it comes. For the few things that tests ask of the server itself."""
        with socket.socket(socket.AF_UNIX) as talk:
            talk.settimeout(5.0)
            talk.connect(self.socket)
            talk.sendall(b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in command))
            told, whole = b"", hiredis.Reader()
            while whole.gets() is False and (more := talk.recv(1 << 16)):  # before Redis 7 one reply may come in several pieces
                told += more
                whole.feed(more)
            return told

    def kill(self) -> None:
        """As a crash: no farewell, nothing flushed."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_S)

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self, *, keep_folder: bool = False) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_S)
        self._process = None
        if not keep_folder and self._owned is not None:
            if self._clock is not None:
                self._clock.close()
                self._clock = None
            self._owned.cleanup()


DURABLE = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}
"""What benchmarks measure with: an append-only file synced each second, no snapshots, nothing evicted."""


def version() -> str:
    """Raises: NotInstalled."""
    told = subprocess.run([find_server(), "--version"], capture_output=True, text=True, check=True).stdout
    return next(word.removeprefix("v=") for word in told.split() if word.startswith("v="))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def running(*, options: Mapping[str, str] | None = None, has_clock: bool = False) -> Iterator[RedisServer]:
    server = RedisServer(options=options, has_clock=has_clock)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a private redis-server until stopped")
    parser.add_argument("--clock", action="store_true", help="with a wall clock that can be set")
    parser.add_argument("options", nargs="*", metavar="NAME VALUE")
    asked = parser.parse_args()
    options = dict(zip(asked.options[::2], asked.options[1::2], strict=True))
    with running(options=options, has_clock=asked.clock) as server, contextlib.suppress(KeyboardInterrupt):
        print(server.url, flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.pause()


if __name__ == "__main__":
    main()
