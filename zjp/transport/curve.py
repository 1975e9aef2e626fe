"""CURVE keys: pairs, their files, whose key is authorized for what, and the socket options that make a connection use them.

    CURVE_DIR/                0700
        node.key              0600   the node's own pair; its name is the node's id
        authorized/           0700   one file per key that may connect: name, role, public key; no secret in it
            producer-web-5f0c1a2b3c4d5e6f.pub

A key is 32 bytes, written as 64 hexadecimal digits. Z85, the form of ZeroMQ's own tools, is read too, but it has `$`, `#`, `"`-like signs
that shells, compose files and .env files take for their own.

One name may have several keys: that is how keys are rotated. One key has one name and one role; a folder that says otherwise is refused
whole, as is one that others may write to: who writes there decides who gets in. A key that is gone from the folder is revoked.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType

import zmq
from zmq.utils import z85

from ..errors import ConfigError

KEY_BYTES = 32
FILE_BYTES_MAX = 4096
KEYS_MAX = 10_000
"""Files in the folder of authorized keys."""
ZAP_DOMAIN = "zjp"
ZAP_ENFORCE_DOMAIN = 93
"""ZMQ_ZAP_ENFORCE_DOMAIN, for which pyzmq has no name. Without it, or with an empty domain, a socket lets everybody in while no handler
answers."""
NODE_KEY = "node.key"
AUTHORIZED = "authorized"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


class KeyRole(str, Enum):
    """What a key is good for. `node` speaks to nodes, the others send requests: all, all but administration, or only reading ones.
    `gateway` is an HTTP door that stands alone: it may do all, and speak for users that it knows."""

    NODE = "node"
    ADMIN = "admin"
    PRODUCER = "producer"
    OBSERVER = "observer"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a key, and what it may be used for."""

    name: str
    role: KeyRole
    public: bytes

    @property
    def user_id(self) -> str:
        """As the connection's messages carry it."""
        return self.public.hex()


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """Never shown: its repr would end in a log."""

    name: str
    public: bytes
    secret: bytes


Authorized = Mapping[str, Holder]
"""By user id."""


def make_pair(name: str) -> KeyPair:
    public, secret = zmq.curve_keypair()
    return KeyPair(check_key_name(name), z85.decode(public), z85.decode(secret))


def check_key_name(name: str) -> str:
    """Raises: ConfigError."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:80]!r} is no name of a key; accepted: letters, digits, _ . - (begins with a letter or digit, up to 64)"
        )
    return name


def read_key_text(text: str) -> bytes:
    """A key as hexadecimal digits or Z85. Raises: ValueError, which does not repeat the text: it may be a secret."""
    if _HEX.fullmatch(text):
        return bytes.fromhex(text)
    if len(text) == 40 and text.isascii():
        try:
            decoded = bytes(z85.decode(text))
        except (KeyError, ValueError):  # a sign that Z85 does not have
            decoded = b""
        if len(decoded) == KEY_BYTES and z85.encode(decoded).decode() == text:
            return decoded
    raise ValueError(f"is no key: {len(text)} characters, a key has 64 hexadecimal digits, or 40 signs of Z85")


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def write_pair(path: Path, pair: KeyPair) -> None:
    """Never over a file that is there. Raises: ConfigError."""
    text = (
        f"# CURVE key of zjp. Keep it to yourself: whoever has it is {pair.name}.\n"
        f"name = {pair.name}\npublic = {pair.public.hex()}\nsecret = {pair.secret.hex()}\n"
    )
    _write_new(path, text)


def write_public(path: Path, pair: KeyPair) -> None:
    _write_new(path, f"name = {pair.name}\npublic = {pair.public.hex()}\n")


def read_pair(path: Path) -> KeyPair:
    """Raises: ConfigError: unreadable, open to others, no key, or halves that do not belong together."""
    fields = _read(path, {"name", "public", "secret"}, is_secret=True)
    secret, public = _key(path, fields, "secret"), _key(path, fields, "public")
    if z85.decode(zmq.curve_public(z85.encode(secret))) != public:
        raise ConfigError(f"{path}: public and secret are not halves of one key; make a new one with `zjp keys`")
    return KeyPair(check_key_name(fields["name"]), public, secret)


def read_public(path: Path) -> tuple[str, bytes]:
    """(name, public key) of a `.pub` file, or of a pair's. Raises: ConfigError."""
    fields = _read(path, {"name", "public"}, optional={"secret", "role"})
    return check_key_name(fields["name"]), _key(path, fields, "public")


def authorize(folder: Path, holder: Holder) -> Path:
    """Raises: ConfigError when the key has another name or role already."""
    known = read_authorized(folder).get(holder.user_id)
    path = _file_of(folder, holder)
    if known is not None:
        if known != holder:
            raise ConfigError(
                f"the key is authorized as {known.role.value} {known.name}; revoke it first: zjp keys revoke {known.user_id}"
            )
        return path
    make_folder(folder)
    _write_new(path, f"name = {holder.name}\nrole = {holder.role.value}\npublic = {holder.user_id}\n")
    return path


def revoke(folder: Path, which: str) -> list[Holder]:
    """Every key of that name, or the one key. What was revoked; nodes learn of it by SIGHUP."""
    try:
        wanted = read_key_text(which).hex()
    except ValueError:
        wanted = ""
    files = {path: _read_holder(path) for path in _files(folder)}
    gone = {path: holder for path, holder in files.items() if holder.user_id == wanted or holder.name == which}
    for path in gone:
        path.unlink()
    return list(gone.values())


def read_authorized(folder: Path) -> Authorized:
    """All of it, or none. A folder that is not there authorizes nobody. Raises: ConfigError."""
    found: dict[str, Holder] = {}
    for path in _files(folder):
        holder = _read_holder(path)
        other = found.setdefault(holder.user_id, holder)
        if other != holder:
            raise ConfigError(
                f"{path}: its key is that of {other.role.value} {other.name} too; one key has one name and one role: revoke one of them"
            )
    return MappingProxyType(found)


def make_folder(folder: Path) -> None:
    """With its parents, for nobody else. Raises: ConfigError."""
    try:
        for missing in [part for part in (folder, *folder.parents) if not part.exists()][::-1]:
            missing.mkdir(mode=0o700)
            missing.chmod(0o700)  # whatever the umask is
    except OSError as fault:
        raise ConfigError(f"{folder} cannot be made: {fault.strerror}") from None


def _files(folder: Path) -> list[Path]:
    if not folder.exists():
        return []
    _check_mode(folder, 0o022, "who may write there decides who gets in")
    files = sorted(folder.glob("*.pub"))
    if len(files) > KEYS_MAX:
        raise ConfigError(f"{folder} has {len(files)} keys, the limit is {KEYS_MAX}")
    return files


def _file_of(folder: Path, holder: Holder) -> Path:
    return folder / f"{holder.role.value}-{holder.name}-{holder.user_id[:16]}.pub"


def _read_holder(path: Path) -> Holder:
    fields = _read(path, {"name", "role", "public"})
    try:
        role = KeyRole(fields["role"])
    except ValueError:
        raise ConfigError(
            f"{path}: role {fields['role'][:40]!r} is none; accepted: {', '.join(role.value for role in KeyRole)}"
        ) from None
    return Holder(check_key_name(fields["name"]), role, _key(path, fields, "public"))


def _read(path: Path, wanted: set[str], *, optional: Iterable[str] = (), is_secret: bool = False) -> dict[str, str]:
    """The `key = value` lines of a file."""
    try:
        _check_mode(
            path,
            0o077 if is_secret else 0o022,
            "a secret key is its owner's alone" if is_secret else "others may write to it",
        )
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        text = content.decode("ascii")
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be read: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no key file: it is not plain text") from None
    lines = [line.strip() for line in text.splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    if (
        len(content) > FILE_BYTES_MAX
        or len(fields) != len(pairs)
        or not wanted <= set(fields) <= wanted | set(optional)
    ):
        raise ConfigError(
            f"{path} is no key file: it must have {', '.join(sorted(wanted))}, each once; `zjp keys` makes such files"
        )
    return fields


def _key(path: Path, fields: Mapping[str, str], name: str) -> bytes:
    try:
        return read_key_text(fields[name])
    except ValueError as fault:
        raise ConfigError(f"{path}: {name} {fault}") from None


def _check_mode(path: Path, forbidden: int, why: str) -> None:
    """Raises: ConfigError, OSError."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & forbidden:
        raise ConfigError(f"{path} has mode {mode:04o}: {why}; chmod {mode & ~forbidden:04o} {path}")


def _write_new(path: Path, text: str) -> None:
    """Whole, synced, mode 0600 whatever the umask is; refused when there is a file of that name."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)  # unlike a rename, this never takes another file's place
        finally:
            aside.unlink()
    except FileExistsError:
        raise ConfigError(f"{path} is there already; move it away, or name another file with --out") from None
    except OSError as fault:
        raise ConfigError(f"{path}: cannot be written: {fault.strerror}") from None


# ── sockets ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def protect_server(socket: zmq.Socket[bytes], pair: KeyPair) -> None:
    """Before `bind`, and with a ZAP handler bound in the same context (zap.py)."""
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, z85.encode(pair.secret))
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN.encode())
    socket.setsockopt(ZAP_ENFORCE_DOMAIN, 1)


def protect_client(socket: zmq.Socket[bytes], pair: KeyPair, server: bytes) -> None:
    """Before `connect`. `server`: public key of the one that must answer there."""
    socket.setsockopt(zmq.CURVE_PUBLICKEY, z85.encode(pair.public))
    socket.setsockopt(zmq.CURVE_SECRETKEY, z85.encode(pair.secret))
    socket.setsockopt(zmq.CURVE_SERVERKEY, z85.encode(server))
