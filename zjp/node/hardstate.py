"""The data folder: whose it is, which node lives in it, and how often that node has started.

    lock      held (flock) while a node lives: got = the former life is dead. Holds its pid, for the message to a second one
    node-id   the node's name, made once, unless NODE_ID names it
    home      a random text, made once: tells this folder from another one whose node has the same name
    boot      how many lives there were; a new number is on the disk before anything is done under it, and the former one again when the
              store refused to begin that life
    clean     there while the folder is at rest after a clean stop

Files are replaced whole: written aside, synced, renamed, and the folder synced. What the stores keep is their own affair, and what is kept
for elections that of election_log.py and voters.py.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import secrets
import socket
import stat
from pathlib import Path

from ..errors import ConfigError
from ..log import event

_HOST_CHARS_MAX = 40
_OWN_FILE = re.compile(r"lock|node-id|boot|home|zjp\.db|records\.db|election-[a-z]+\.log")
"""By one of which a folder is known for a node's."""
_NODE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # as the setting NODE_ID
_log = logging.getLogger(__name__)


FOLDER_BYTES_MAX = 450
"""SQLite takes paths of 512 bytes."""


class DataDir:
    """A data folder that this process holds. `was_clean`: no former life was cut off."""

    def __init__(self, path: Path, lock: int, *, node_id: str, home: str, boot: int, was_clean: bool) -> None:
        self.path = path
        self.node_id = node_id
        self.home = home
        self.boot = boot
        self.was_clean = was_clean
        self._lock: int | None = lock

    def take_boot(self, boot: int) -> None:
        """The store knows of later lives than this folder, a new one under an old name: theirs are counted on. Raises: ConfigError."""
        try:
            _write(self.path / "boot", f"{boot}\n".encode())
        except OSError as error:
            raise refusal(self.path, error) from error
        self.boot = boot

    def keep(self, name: str, content: bytes) -> None:
        """A file of the folder, whole and durable, or as it was. Raises: OSError."""
        _write(self.path / name, content)

    def give_boot_back(self) -> None:
        """No life began under this number: the next start has it again. Where that cannot be written the next one is counted on."""
        self.boot -= 1
        try:
            _write(self.path / "boot", f"{self.boot}\n".encode())
        except OSError as error:
            event(_log, logging.WARNING, "data_dir.boot_not_given_back", path=str(self.path), reason=str(error))

    def close(self, clean: bool) -> None:
        """Let the folder go. `clean`: nothing is left that the next life must look after. Closing twice does no harm."""
        if self._lock is None:
            return
        if clean:
            try:
                _write(self.path / "clean", b"")
            except OSError as error:  # the next start looks after what there is: more work, nothing worse
                event(_log, logging.WARNING, "data_dir.not_marked_clean", path=str(self.path), reason=str(error))
        lock, self._lock = self._lock, None
        os.close(lock)


def open_data_dir(path: str | os.PathLike[str], node_id: str | None = None) -> DataDir:
    """Make the folder where it is missing, and hold it. Raises: ConfigError."""
    folder = Path(path).absolute()
    if len(os.fsencode(folder)) > FOLDER_BYTES_MAX:
        raise ConfigError(
            f"DATA_DIR {folder} has {len(os.fsencode(folder))} bytes, the limit is {FOLDER_BYTES_MAX}, as SQLite opens no file of a longer "
            "path; name a shorter one"
        )
    try:
        _make(folder)
        lock = _hold(folder)
    except OSError as error:
        raise refusal(folder, error) from error
    try:
        name = node_id or _kept_node_id(folder / "node-id")
        home = _kept_home(folder / "home")
        boot, was_clean = _begin_life(folder)
    except OSError as error:
        os.close(lock)
        raise refusal(folder, error) from error
    except BaseException:
        os.close(lock)
        raise
    return DataDir(folder, lock, node_id=name, home=home, boot=boot, was_clean=was_clean)


def _make(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    if not mode & 0o077:
        return
    held = {entry.name for entry in os.scandir(folder)}
    if held - {"lost+found"} and not any(map(_OWN_FILE.fullmatch, held)):
        raise ConfigError(
            f"DATA_DIR {folder} holds other files ({', '.join(sorted(held)[:3])}) and is open to others (mode {mode:04o}). It would be "
            "closed to them, as it is the node's alone: name an empty folder, or one that is not there yet"
        )
    if status.st_uid == os.geteuid():
        folder.chmod(0o700)
        event(_log, logging.WARNING, "data_dir.tightened", path=str(folder), mode=f"{mode:04o}", now="0700")
    else:  # a volume that the container's platform owns: it can be used, but not changed
        event(
            _log, logging.WARNING, "data_dir.open_to_others", path=str(folder), mode=f"{mode:04o}", owner=status.st_uid
        )


def _hold(folder: Path) -> int:
    """The descriptor is not inherited: no worker process keeps the folder after its node."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise ConfigError(
            f"DATA_DIR {folder} is held by another node, pid {holder}; stop that one, or give this one a DATA_DIR of its own"
        ) from None
    except OSError:
        os.close(lock)
        raise
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _kept_node_id(path: Path) -> str:
    try:
        kept = path.read_text("utf-8", "replace").strip()
    except FileNotFoundError:
        made = _make_node_id()
        _write(path, f"{made}\n".encode())
        return made
    if not _NODE_ID.fullmatch(kept):
        raise ConfigError(
            f"{path} holds {kept[:80]!r}, which is no name of a node; set NODE_ID, or remove the file to have one made"
        )
    return kept


def _kept_home(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        if kept := path.read_text("ascii", "replace").strip():
            return kept[:64]
    made = secrets.token_hex(8)
    _write(path, f"{made}\n".encode())
    return made


def _make_node_id() -> str:
    """The host's name is for people, the rest makes it unique."""
    host = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname().partition(".")[0])[:_HOST_CHARS_MAX].strip("-")
    return f"{host or 'node'}-{secrets.token_hex(4)}"


def _begin_life(folder: Path) -> tuple[int, bool]:
    """(number of this start, whether the former life ended cleanly; there was none: it did)."""
    former = _read_boot(folder / "boot")
    clean = folder / "clean"
    was_clean = clean.exists() or former == 0
    clean.unlink(missing_ok=True)
    _write(folder / "boot", f"{former + 1}\n".encode())  # its sync of the folder is that of the removal too
    return former + 1, was_clean


def _read_boot(path: Path) -> int:
    try:
        kept = path.read_text("ascii", "replace").strip()
    except FileNotFoundError:
        return 0
    if not re.fullmatch(r"[0-9]{1,15}", kept):
        raise ConfigError(
            f"{path} holds {kept[:80]!r}, which is no number of starts; write one there that is higher than all before, or move "
            f"{path.parent} away"
        )
    return int(kept)


def _write(path: Path, content: bytes) -> None:
    """Whole and durable, or not at all."""
    aside = path.with_name(f"{path.name}.new")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refusal(folder: Path, error: OSError) -> ConfigError:
    """Of a start that could not read or write in it."""
    is_in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
    reason = "a file is in its place" if is_in_the_way else error.strerror or str(error)
    where = f" ({error.filename})" if error.filename and Path(error.filename) != folder else ""
    return ConfigError(
        f"DATA_DIR {folder} cannot be used: {reason}{where}; it must be a folder that user id {os.geteuid()} can write to"
    )
