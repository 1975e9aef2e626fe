"""What `zjp doctor` looks at, one function per thing: each answers what it found and, where that is not well, what to do.

Only looking: nothing is changed, except that a file or socket may be made and removed again. What the application or the
interpreter's libraries do on import is tried in a process of its own.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..config import Settings
from ..errors import ConfigError, Unavailable, ZjpError
from ..wire.messages import Pong
from .show import clean, size

OK, NOTE, WRONG = "ok", "note", "wrong"

PROBE_LIMIT_S = 30.0
SQLITE_LEAST = (3, 38)
"""JSON functions and RETURNING in every build."""
FILES_LEAST = 1024
"""Open files: a node with its databases and some hundred clients."""
DISK_NOTE_FACTOR = 10
SOCKET_PATH_MAX = 60
"""Characters of the temporary folder, so that with a node's own part the 107 of a Unix socket's path are enough."""
CLOCK_JUMP_S = 60.0
CLOCK_LEAST_S = 1_704_067_200.0
"""2024: an earlier clock was never set."""

_SQLITE_PROBE = "import sqlite3; print(sqlite3.sqlite_version)"
_APP_PROBE = """
import sys
from zjp.worker.process import NoApplication, load
try:
    app = load(sys.argv[1])
except NoApplication as fault:
    sys.exit(" ".join(str(fault).split()))
print("tasks:", *sorted(app.tasks))
"""
"""What a worker process does first."""
STORES = ("zjp.db", "records.db")
STORE_BYTES_MAX = 1 << 30
"""A larger file is not looked through: a running node's own log could not be shortened meanwhile, and the doctor is to answer soon."""
STORE_LIMIT_S = 10.0
_STORE_PROBE = """
import sqlite3, sys, time
end = time.monotonic() + float(sys.argv[2])
db = sqlite3.connect(sys.argv[1], uri=True, timeout=1.0)
db.set_progress_handler(lambda: time.monotonic() > end, 10_000)
print(db.execute("PRAGMA quick_check(1)").fetchone()[0])
"""
_PASSING = {
    "interrupted": f"was not looked through within {STORE_LIMIT_S:g} s",
    "database is locked": "is locked just now",
}
"""What says nothing about the file."""


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    state: str
    found: str
    advice: str = ""


def python_version(_: Settings) -> Finding:
    return Finding("python", OK, f"{sys.version.split()[0]} at {sys.executable}")


def data_folder(settings: Settings) -> Finding:
    folder = settings.data_dir
    there = _nearest(folder)
    if not there.is_dir():
        return Finding("data folder", WRONG, f"{there} is not a folder", "set DATA_DIR to a folder")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as fault:
        why = f"cannot write into {there}: {fault.strerror}"
        return Finding("data folder", WRONG, why, "set DATA_DIR to a folder this user may write, or change its owner")
    if there != folder:
        return Finding("data folder", OK, f"{folder} will be made by the first start")
    if folder.stat().st_mode & 0o077:
        why = f"{folder} can be entered by others (mode {folder.stat().st_mode & 0o777:o})"
        return Finding("data folder", NOTE, why, f"chmod 700 {folder}")
    return Finding("data folder", OK, f"{folder} is writable")


def disk_space(settings: Settings) -> Finding:
    free_bytes, reserve_bytes = shutil.disk_usage(_nearest(settings.data_dir)).free, settings.disk_reserve_bytes
    found = f"{size(free_bytes)} free, submits are refused below {size(reserve_bytes)}"
    if free_bytes < reserve_bytes:
        return Finding("disk space", WRONG, found, "free some space, or lower DISK_RESERVE")
    if free_bytes < DISK_NOTE_FACTOR * reserve_bytes:
        return Finding("disk space", NOTE, found, "free some space soon")
    return Finding("disk space", OK, found)


def sqlite_version(_: Settings) -> Finding:
    done = _probe([_SQLITE_PROBE])
    if done.returncode:
        why = f"this Python has no SQLite: {_last_line(done.stderr)}"
        return Finding("sqlite", WRONG, why, "install the package that has it, or another Python")
    version = done.stdout.strip()
    if tuple(int(part) for part in version.split(".")[:2]) < SQLITE_LEAST:
        least = ".".join(map(str, SQLITE_LEAST))
        return Finding("sqlite", WRONG, f"{version}, zjp needs {least}", "use a Python built with a newer SQLite")
    return Finding("sqlite", OK, version)


def stores(settings: Settings) -> Finding:
    """Reads the embedded files as they are, beside a running node as well; writes nothing."""
    told = [_store(settings.data_dir / name) for name in STORES if (settings.data_dir / name).is_file()]
    if not told:
        return Finding("store", OK, "no file yet; the first start makes it")
    worst = max((state for state, _ in told), key=(OK, NOTE, WRONG).index)
    advice = {
        OK: "",
        NOTE: "run this again later; for a large file run: PRAGMA quick_check, on a copy",
        WRONG: f"stop the node, restore the file in {settings.data_dir} from a backup, or move it away to start empty",
    }
    return Finding("store", worst, ", ".join(found for _, found in told), advice[worst])


def _store(path: Path) -> tuple[str, str]:
    """(state, what was found) of one file."""
    size_bytes = path.stat().st_size
    if size_bytes > STORE_BYTES_MAX:
        return NOTE, f"{path.name} ({size(size_bytes)}) was skipped: it is larger than {size(STORE_BYTES_MAX)}"
    journal = path.with_name(f"{path.name}-wal")
    is_open = journal.exists()
    fault = _store_fault(path, is_open)
    if fault and not is_open and journal.exists():  # a node has opened it meanwhile
        fault = _store_fault(path, is_open=True)
    if not fault:
        return OK, f"{path.name} ({size(size_bytes)}) is sound"
    return (NOTE, f"{path.name} {_PASSING[fault]}") if fault in _PASSING else (WRONG, f"{path.name} is damaged: {fault}")


def _store_fault(path: Path, is_open: bool) -> str:
    """Empty: none. A file without a journal is nobody's just now; opened as unchanging it gets none, which would stay behind."""
    try:
        done = _probe([_STORE_PROBE, f"{path.absolute().as_uri()}?{'mode=ro' if is_open else 'immutable=1'}", str(STORE_LIMIT_S)])
    except subprocess.TimeoutExpired:
        return "interrupted"
    if done.returncode:
        return _last_line(done.stderr).rpartition("Error: ")[2]
    verdict = _last_line(done.stdout)
    return "" if verdict == "ok" else verdict


def open_files(_: Settings) -> Finding:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FILES_LEAST:
        return Finding("open files", WRONG, f"the limit is {soft}, a node needs {FILES_LEAST}", f"ulimit -n {FILES_LEAST}")
    return Finding("open files", OK, f"up to {'any number' if soft == resource.RLIM_INFINITY else soft}")


def temporary_folder(_: Settings) -> Finding:
    folder = tempfile.gettempdir()
    advice = "set TMPDIR to a short path that this user may write"
    if len(folder) > SOCKET_PATH_MAX:
        why = f"{folder} has {len(folder)} characters, {SOCKET_PATH_MAX} are the limit for sockets in it"
        return Finding("sockets", WRONG, why, advice)
    try:
        with tempfile.TemporaryDirectory() as inner, socket.socket(socket.AF_UNIX) as probe:
            probe.bind(os.path.join(inner, "probe"))
    except OSError as fault:
        return Finding("sockets", WRONG, f"cannot make a socket in {folder}: {fault}", advice)
    return Finding("sockets", OK, f"can be made in {folder}")


def clock(settings: Settings) -> Finding:
    now = time.time()
    advice = "set the clock (timedatectl set-ntp true); due times and records follow it"
    if now < CLOCK_LEAST_S:
        return Finding("clock", WRONG, f"it says {time.strftime('%Y-%m-%d', time.gmtime(now))}", advice)
    newest = _newest_s(settings.data_dir)
    if newest > now + CLOCK_JUMP_S:
        why = f"files in {settings.data_dir} are {newest - now:.0f} s in the future: the clock was set back"
        return Finding("clock", WRONG, why, advice)
    return Finding("clock", OK, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


def application(settings: Settings) -> Finding:
    if settings.app is None:
        advice = "start the node with --app module:app, or set APP, to run jobs on this machine"
        return Finding("application", NOTE, "none is set: a node would claim no jobs", advice)
    try:
        done = _probe([_APP_PROBE, settings.app])
    except subprocess.TimeoutExpired:
        why = f"{settings.app} did not finish importing within {PROBE_LIMIT_S:g} s"
        return Finding("application", WRONG, why, "keep waiting and network access out of the module's top level")
    if done.returncode:
        why = f"{_last_line(done.stderr)} (in {Path.cwd()})"
        advice = "start in the folder that holds the module, install it, or correct APP (module:app)"
        if "has no tasks" in why:
            advice = "see that the modules with @app.task are imported by the one that APP names"
        return Finding("application", WRONG, why, advice)
    return Finding("application", OK, f"{settings.app}, {_last_line(done.stdout) or 'tasks: none'}")


def node_or_port(settings: Settings, ping: Callable[[], Pong]) -> Finding:
    """`ping` asks the node at the client's address. Raises only what is no error of zjp."""
    try:
        pong = ping()
    except Unavailable as fault:
        if settings.client_address != Settings().client_address and settings.zmq_bind not in settings.client_address:
            return Finding("node", NOTE, str(fault), "start a node that listens there (ZMQ_BIND), or correct CLIENT_ADDRESS")
        return _port(settings)
    except ZjpError as fault:
        return Finding("node", WRONG, str(fault), "see that CLIENT_ADDRESS and CLUSTER_NAME are those of your node")
    if pong.is_draining:
        return Finding("node", NOTE, f"{pong.node} is draining: it takes no new jobs", "wait for its restart")
    if settings.client_address[0].startswith("http"):  # there it is not told what it serves
        return Finding("node", OK, f"{pong.node} answers, version {pong.version}")
    if not pong.tasks:
        return Finding("node", NOTE, f"{pong.node} answers, but serves no task", "give it an application: --app module:app")
    return Finding("node", OK, f"{pong.node} answers, version {pong.version}, {len(pong.tasks)} tasks, {pong.level.value}")


def _port(settings: Settings) -> Finding:
    if not settings.zmq_bind.startswith("tcp://"):
        return Finding("node", NOTE, f"none answers at {settings.zmq_bind}", "start one: zjp node --app module:app")
    host, _, port = settings.zmq_bind.removeprefix("tcp://").rpartition(":")
    if port == "*":
        return Finding("node", OK, "none is asked for; ZMQ_BIND lets the system choose a port")
    try:
        family, *_rest, address = socket.getaddrinfo(host.strip("[]") or None, int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as fault:
        why = f"nothing of this cluster answers, and {settings.zmq_bind} cannot be bound: {fault.strerror or fault}"
        return Finding("node", WRONG, why, "stop what listens there, or set ZMQ_BIND and CLIENT_ADDRESS to another port")
    return Finding("node", OK, f"none is running; {settings.zmq_bind} is free for one")


def keys(settings: Settings) -> Finding:
    if not settings.curve_enabled:
        if settings.zmq_allow_plain:
            why = "ZMQ_ALLOW_PLAIN=true: whoever reaches ZMQ_BIND may do all"
            return Finding("keys", NOTE, why, "make keys with zjp keys, then set CURVE_ENABLED=true")
        return Finding("keys", OK, "CURVE is off: only this machine can reach the node")
    from ..transport.curve import AUTHORIZED, NODE_KEY, read_authorized, read_pair

    folder = settings.curve_folder
    try:
        name = read_pair(folder / NODE_KEY).name
        authorized = read_authorized(folder / AUTHORIZED)
    except ConfigError as fault:
        return Finding("keys", WRONG, str(fault), "zjp keys node makes the node's key; zjp keys list shows who may connect")
    if settings.node_id not in (None, name):
        why = f"the key is of node {name}, NODE_ID is {settings.node_id}"
        return Finding("keys", WRONG, why, "make one for this node: zjp keys node, or set NODE_ID")
    if not authorized:
        return Finding("keys", NOTE, f"node {name} has a key, and nobody else may connect", "zjp keys authorize FILE --role producer")
    return Finding("keys", OK, f"node {name}, {len(authorized)} authorized in {folder / AUTHORIZED}")


CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    python_version,
    sqlite_version,
    data_folder,
    disk_space,
    stores,
    temporary_folder,
    open_files,
    clock,
    keys,
    application,
)
"""All that need no node, in the order they are shown."""


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    return folder if folder.exists() else there


def _newest_s(folder: Path) -> float:
    try:
        return max((entry.lstat().st_mtime for entry in folder.iterdir()), default=0.0)
    except OSError:
        return 0.0


def _probe(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Raises: subprocess.TimeoutExpired."""
    command = [sys.executable, "-c", *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PROBE_LIMIT_S, check=False)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return clean(lines[-1]) if lines else ""
