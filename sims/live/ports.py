"""Which process listens where, and which connections are whose, as /proc tells. Linux; of this network namespace only."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LISTENING = "0A"
PROC = Path("/proc")


class NotFound(Exception):
    """No such node here; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """A node on this machine: its process and its door."""

    pid: int
    door: Address


@dataclass(frozen=True, slots=True)
class Connection:
    local: Address
    remote: Address
    is_listening: bool
    inode: str


def read_address(text: str) -> Address:
    """`tcp://HOST:PORT` or HOST:PORT. Raises: NotFound."""
    host, _, port = text.removeprefix("tcp://").rpartition(":")
    if not host or not port.isdecimal():
        raise NotFound(f"{text!r} is no address; accepted: HOST:PORT, with or without tcp:// before it")
    try:
        return Address(socket.gethostbyname(host), int(port))
    except (OSError, UnicodeError) as fault:
        raise NotFound(f"{host}: {fault}") from None


def find(text: str) -> Target:
    """By process id, or by the address of the door. Raises: NotFound."""
    if text.isdecimal():
        return _of_pid(int(text))
    address = read_address(text)
    for one in connections():
        if one.is_listening and one.local.port == address.port and one.local.host in (address.host, "0.0.0.0"):
            return Target(_owner(one, text), address)
    raise NotFound(f"nobody listens on {address} here; is it another machine's, or in a network namespace of its own?")


def connections() -> Iterator[Connection]:
    """TCP over IPv4."""
    for row in (PROC / "self/net/tcp").read_text().splitlines()[1:]:
        parts = row.split()
        yield Connection(_address(parts[1]), _address(parts[2]), parts[3] == LISTENING, parts[9])


def inodes(pid: int) -> set[str]:
    """Of the sockets that a process holds; none when it is gone."""
    found = set()
    try:
        for file in (PROC / str(pid) / "fd").iterdir():
            try:
                link = os.readlink(file)
            except OSError:
                continue  # closed meanwhile
            if link.startswith("socket:["):
                found.add(link[8:-1])
    except FileNotFoundError:
        pass
    return found


def _of_pid(pid: int) -> Target:
    """Raises: NotFound."""
    if not (PROC / str(pid)).exists():
        raise NotFound(f"there is no process {pid}")
    if os.stat(PROC / str(pid) / "ns/net").st_ino != os.stat(PROC / "self/ns/net").st_ino:
        raise NotFound(f"process {pid} is in another network namespace; run this in there: nsenter -t {pid} -n python -m sims.live ...")
    held = inodes(pid)
    doors = sorted({one.local for one in connections() if one.is_listening and one.inode in held}, key=lambda one: one.port)
    if len(doors) != 1:
        raise NotFound(f"process {pid} listens on {', '.join(map(str, doors)) or 'no port'}; name the node by the address of its door")
    return Target(pid, doors[0])


def _owner(listener: Connection, text: str) -> int:
    """Raises: NotFound."""
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                if listener.inode in inodes(int(folder.name)):
                    return int(folder.name)
            except PermissionError:
                continue
    raise NotFound(f"whose door {text} is cannot be seen; it takes the rights of its owner, or root")


def _address(text: str) -> Address:
    """As the kernel writes it: the host's four bytes as one number of this machine, the port in hexadecimal."""
    host, _, port = text.partition(":")
    return Address(socket.inet_ntoa(struct.pack("=I", int(host, 16))), int(port, 16))
