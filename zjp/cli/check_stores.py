"""What `zjp doctor` looks at in the stores that nodes share (Redis, MongoDB: do they answer, what do they promise, what time
is it there) and in the disk below the one that they do not.

One look each, with the limits of a node; nothing stays written.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Settings
from ..config.rules import record_bytes_max
from ..errors import ConfigError, ZjpError
from .checks import NOTE, OK, WRONG, Finding

if TYPE_CHECKING:
    from ..queue.redis.server import Server

MONGODB_LIMIT_S = 3.0
SKEW_NOTE_S, SKEW_WRONG_S = 1.0, 5.0
"""Of this machine's clock against the store's. Times come from both: jobs are late or early by the difference."""
MOUNTS = Path("/proc/self/mountinfo")
NETWORK_DISKS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "beegfs", "afs", "fuse.sshfs"}
)
"""On which locks and syncs do not do what SQLite builds on. Source: sqlite.org/howtocorrupt.html, 2.1."""
MEMORY_DISKS = frozenset({"tmpfs", "ramfs"})


def shared_stores(settings: Settings) -> Iterator[Finding]:
    """Only those that are set."""
    if settings.redis_addr is not None:
        yield from _redis(settings, settings.redis_addr)
    if settings.mongodb_uri is not None:
        yield _mongodb(settings, settings.mongodb_uri)


# ── Redis ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _redis(settings: Settings, address: str) -> Iterator[Finding]:
    import asyncio  # with the verb that needs it: help and completion are to stay quick

    try:
        server, now_s = asyncio.run(_asked(settings, address))
    except ConfigError as fault:
        yield Finding("redis", WRONG, str(fault), "correct it as said; nodes refuse to start on it")
    except ZjpError as fault:
        advice = "see that it runs, that REDIS_ADDR names it, and that nothing between here and there blocks the port"
        yield Finding("redis", WRONG, str(fault), advice)
    else:
        yield _promise(server)
        yield _skew(now_s, time.time())


async def _asked(settings: Settings, address: str) -> tuple[Server, float]:
    """(what it is, its Unix time)"""
    from ..queue.redis.server import examine
    from ..redis.address import connections
    from ..redis.lane import Lane

    leads = connections(address, password=settings.redis_password, db=settings.redis_db, name="zjp-doctor")
    lane = Lane(leads)
    try:
        value_max = record_bytes_max(settings)
        server = await examine(leads, lane, f"{{zjp:{settings.cluster_name}}}:".encode(), value_max=value_max)
        seconds, micros = await lane.call(lambda _: (b"TIME",))
        return server, int(seconds) + int(micros) / 1e6
    finally:
        await lane.abandon()


def _promise(server: Server) -> Finding:
    found = f"version {'.'.join(map(str, server.version))}, an acknowledged submit is worth {server.level.value}"
    if server.level.value == "process":
        advice = (
            "set appendonly yes and appendfsync everysec (or always), and no-appendfsync-on-rewrite no: "
            "as it is, a crash loses acknowledged jobs"
        )
        return Finding("redis", NOTE, f"{found}: it has {server.settings}", advice)
    return Finding("redis", OK, found)


def _skew(store_s: float, here_s: float) -> Finding:
    off_s = here_s - store_s
    found = f"this machine is {abs(off_s):.1f} s {'ahead of' if off_s > 0 else 'behind'} Redis"
    advice = "set the clocks of both (timedatectl set-ntp true); run this on each node: those that agree with Redis agree with each other"
    if abs(off_s) > SKEW_WRONG_S:
        return Finding("store clock", WRONG, found, advice)
    if abs(off_s) > SKEW_NOTE_S:
        return Finding("store clock", NOTE, found, advice)
    return Finding("store clock", OK, f"within {SKEW_NOTE_S:g} s of this machine's")


# ── MongoDB ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _mongodb(settings: Settings, uri: str) -> Finding:
    import asyncio

    try:
        asyncio.run(_pinged(settings, uri))
    except ZjpError as fault:
        return Finding(
            "mongodb",
            WRONG,
            str(fault),
            "jobs run without it, but their records wait in the queue's outbox until it is back",
        )
    return Finding("mongodb", OK, f"answers, database {settings.mongodb_database}")


async def _pinged(settings: Settings, uri: str) -> None:
    from ..records.mongo.server import Server, check_uri

    check_uri(uri)
    limit_s = min(MONGODB_LIMIT_S, settings.mongodb_timeout_s)
    server = Server(uri, database=settings.mongodb_database, timeout_s=limit_s)
    try:
        async with server.asked(limit_s) as records:
            await records.find_one({"_id": 0})
    finally:
        await server.close()


# ── the disk below DATA_DIR ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def file_system(settings: Settings, mounts: Path = MOUNTS) -> Finding:
    try:
        kind = kind_of(settings.data_dir.absolute(), mounts.read_text())
    except OSError:
        return Finding("file system", OK, "not told on this system")
    if kind in NETWORK_DISKS:
        advice = "set DATA_DIR to a disk of this machine; nodes share a queue through REDIS_ADDR"
        return Finding(
            "file system", WRONG, f"{settings.data_dir} lies on {kind}, a network disk, which damages SQLite", advice
        )
    if kind in MEMORY_DISKS:
        advice = "set DATA_DIR to a disk; in a container mount a volume there"
        return Finding(
            "file system",
            NOTE,
            f"{settings.data_dir} lies on {kind}: gone with the next restart of the machine",
            advice,
        )
    return Finding("file system", OK, kind or "unknown")


def kind_of(folder: Path, mounts: str) -> str:
    """Of the mount that the folder is on. `mounts`: as in /proc/self/mountinfo, where later mounts hide earlier ones."""
    found, depth = "", -1
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if len(fields) < 5 or not right:
            continue
        place = Path(fields[4].replace("\\040", " "))
        if (place == folder or place in folder.parents) and len(place.parts) >= depth:
            found, depth = right.split(" ")[0], len(place.parts)
    return found
