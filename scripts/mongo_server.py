"""A private server that speaks MongoDB's wire protocol, for tests: mongo-java-server on a free port of loopback.

    with MongoServer() as server: AsyncMongoClient(server.uri)           in memory
    with MongoServer(file=path) as server: server.kill(); server.start()   on a file that survives; the same port again
    with MongoServer(is_long_lived=True) as server: ...                  for hundreds of thousands of documents
    python -m scripts.mongo_server [FILE]                                until Ctrl-C, or until standard input ends

It is no mongod: it has no replica sets, sessions or transactions and lets nothing expire (docs/mongodb.md says what follows).

The jars are fetched by Maven (from wherever Maven's own settings say) and the class beside this file is compiled, once, into
$XDG_CACHE_HOME/zjp; a change of either makes a new folder there. Java 17 and Maven are needed: `Missing` says how to get them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO

SOURCES = Path(__file__).parent / "mongo_server"
MAIN = "WireServer"
FETCH_LIMIT_S = 300.0
END_LIMIT_S = 10.0
# One compiler and the simplest collector: it starts in half the time, and tests are short. Beyond 100,000 documents a small heap
# is collected all the time, and what the second compiler makes costs a third on a file and less in memory.
JAVA_FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx768m")
LONG_LIVED_FLAGS = ("-XX:+UseSerialGC", "-Xmx4g")


class Missing(Exception):
    """Java or Maven is not there, or Maven cannot fetch. The text says what to do."""


class MongoServer:
    """Started by `start` or as a context manager; ends with this process whatever happens, since it reads a pipe from it."""

    def __init__(self, *, file: Path | None = None, is_long_lived: bool = False) -> None:
        self._file = file
        self._flags = LONG_LIVED_FLAGS if is_long_lived else JAVA_FLAGS
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it listens: on the port it had before, else on a free one. Raises: Missing."""
        command = ["java", *self._flags, "-cp", class_path(), MAIN, str(self.port)]
        if self._file is not None:
            command.append(str(self._file))
        with tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
            said = _stream(self._process.stdout).readline().decode().split()
            if not said:
                self._process.wait()
                log.seek(0)
                raise RuntimeError(
                    f"the Mongo-wire server did not start:\n{log.read()[-2000:].decode(errors='replace')}"
                )
        self.port = int(said[1].rpartition(":")[2])

    def stop(self) -> None:
        """Ends it as it wishes to end. Twice does no harm."""
        process = self._process
        if process is None:
            return
        _stream(process.stdin).close()
        try:
            process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
        self._reap()

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def signal(self, number: int) -> None:
        """SIGSTOP makes it hang, SIGCONT go on."""
        assert self._process is not None, "start() comes first"
        self._process.send_signal(number)

    def _reap(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.wait()
            for stream in (process.stdin, process.stdout):
                _stream(stream).close()

    def __enter__(self) -> MongoServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def class_path() -> str:
    """Fetches and compiles what is not there yet. Raises: Missing."""
    folder = _cache() / f"mongo-server-{_fingerprint()}"
    if not folder.exists():
        _make(folder)
    return os.pathsep.join((str(folder / "classes"), str(folder / "jars" / "*")))


def _make(folder: Path) -> None:
    """In a folder of its own that is then renamed: several test processes may come here at once."""
    missing = [program for program in ("java", "javac", "mvn") if shutil.which(program) is None]
    if missing:
        raise Missing(
            f"{', '.join(missing)} not found; install a JDK 17 and Maven (Debian: apt-get install default-jdk-headless maven)"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        jars, classes = Path(scratch, "jars"), Path(scratch, "classes")
        project = ["-f", str(SOURCES / "pom.xml"), f"-DoutputDirectory={jars}"]
        _run(["mvn", "-B", "-q", *project, "dependency:copy-dependencies"])
        _run(["javac", "-d", str(classes), "-cp", str(jars / "*"), str(SOURCES / f"{MAIN}.java")])
        try:
            os.rename(scratch, folder)
        except OSError:
            if not folder.exists():
                raise
        else:
            os.mkdir(scratch)  # for the temporary folder to remove


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_LIMIT_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        raise Missing(
            f"{command[0]} took longer than {FETCH_LIMIT_S:.0f} s; check that it reaches a repository"
        ) from None
    if done.returncode:
        raise Missing(f"{command[0]} failed:\n{(done.stdout + done.stderr)[-2000:]}")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "zjp")


def _fingerprint() -> str:
    content = b"".join(path.read_bytes() for path in sorted(SOURCES.iterdir()) if path.is_file())
    return hashlib.sha256(content).hexdigest()[:12]


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


def main(arguments: list[str]) -> int:
    try:
        with MongoServer(file=Path(arguments[0]) if arguments else None) as server:
            print(f"listening {server.uri}", flush=True)
            sys.stdin.read()
    except KeyboardInterrupt:
        pass
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 69
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
