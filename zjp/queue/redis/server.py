"""What the server must be, and what an acknowledgement is worth on it, asked at the start, and again while it is used (inspection.py).

Refused with reason and cure: a maxmemory-policy that evicts, a replica, a server older than 6.2, one that takes smaller values than a job
may become (as far as its settings can be read), a user with too few rights, commands that are renamed, keys of another layout.

`aof_enabled:1` of INFO does not say that anything is in the append-only file. Switched on while the server runs, or after a full
synchronisation, it begins with a rewrite, and until that is through what is written lies in no file that a start would read. All that
time INFO says that a rewrite is under way or scheduled, as it does during any other. So the file is known to have everything when no
rewrite was seen since this process began; one that was seen off, or whose rewrite is the first (`aof_base_size:0`), has not. Not told
apart: off and on again before this node looked for the first time, in a process that had a file before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from ...errors import ConfigError
from ...redis.address import Address
from ...redis.lane import Ask, Lane, LoginRefused, NotPermitted
from ...redis.rights import check_rights, lacking, refuse_unknown
from ...units import show_size
from ...wire.messages import Durability

VERSION_MIN = (6, 2)
FLAGS_SINCE = (7, 0)
VALUE_LIMITS = {"proto-max-bulk-len": "512mb", "client-query-buffer-limit": "1gb"}
"""Settings that limit one value, and what they are by default."""
LAYOUT = b"2"
"""Of the keys (docs/decisions/0008-redis-layout.md). The first one, which did not say so, had records without marks."""
UNWRITTEN = "its file is only being made, and a crash before the first rewrite is through takes everything (wait for the end of it)"
UNSYNCED = "no-appendfsync-on-rewrite yes, with which nothing is synced while Redis writes a snapshot or rewrites its file (set it to no)"


class Server(msgspec.Struct, frozen=True):
    version: tuple[int, ...]
    level: Durability
    """Without replicas."""
    run_id: bytes = b""
    settings: str = ""
    """What the level is by."""
    fault: str = ""
    """Why it must not be used, with the cure."""
    has_replica: bool = True
    """False: it says that none is connected."""
    lowered_by: str = ""
    """What keeps `level` below what `appendfsync` promises, with the cure."""
    has_file: bool = True
    """What it has acknowledged is in its append-only file, as far as known."""

    @property
    def is_passing(self) -> bool:
        """The level is lowered by what ends by itself."""
        return self.lowered_by == UNWRITTEN

    @property
    def has_flags(self) -> bool:
        return self.version >= FLAGS_SINCE


async def examine(address: Address, lane: Lane, prefix: bytes, *, has_to_wait: bool = False, value_max: int = 0) -> Server:
    """All that is asked before a node starts. `has_to_wait`: for replicas. `value_max`: bytes of the largest value that it must take.
    Raises: ConfigError, StoreUnavailable."""
    try:
        server = await look_at(lambda command: lane.call(lambda _: command), value_max=value_max)
        if server.fault:
            raise ConfigError(server.fault)
        await check_rights(address, lane, prefix)
        if has_to_wait:
            await lane.call(lambda _: (b"WAIT", b"0", b"0"))
    except LoginRefused as refusal:
        raise ConfigError(str(refusal)) from refusal
    except NotPermitted as fault:
        raise await lacking(lane, prefix, str(fault)) from fault
    except ResponseError as fault:
        refuse_unknown(fault)
        raise
    return server


async def look_at(ask: Ask, former: Server | None = None, *, value_max: int = 0) -> Server:
    """`former`: as it was seen last. `value_max`: bytes of the largest value that it must take. Raises: what `ask` raises."""
    facts = _facts(await ask((b"INFO",)))
    settings = await _settings(ask)
    version = tuple(int(part) for part in facts.get("redis_version", "0").split(".")[:2])
    run_id = facts.get("run_id", "").encode()
    has_file = _has_file(facts, former if former is not None and former.run_id == run_id else None)
    level, said, lowered_by = _level(facts, settings, has_file)
    has_replica = facts.get("connected_slaves") != "0"
    fault = _fault(version, facts) or _too_small(settings, value_max)
    return Server(version, level, run_id, said, fault, has_replica, lowered_by, has_file)


def _fault(version: tuple[int, ...], facts: Mapping[str, str]) -> str:
    if version < VERSION_MIN:
        return f"Redis {facts.get('redis_version')} is too old: zjp needs 6.2 or later; upgrade it"
    mode = facts.get("redis_mode") or facts.get("server_mode")  # Valkey's word from 8 on
    if mode == "sentinel":
        return "REDIS_ADDR names a Sentinel, which holds no data; write redis+sentinel://HOST:PORT/NAME, with the name of the primary there"
    if mode == "cluster":
        return (
            "REDIS_ADDR names a server of a Redis Cluster (cluster-enabled yes), which is not available in this version; give it a server "
            "without, or Sentinels"
        )
    if facts.get("role") in ("slave", "replica"):
        return (
            f"REDIS_ADDR names a replica of {facts.get('master_host')}:{facts.get('master_port')}, which takes no writes; "
            "give the master's address, or those of the Sentinels"
        )
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return (
            f"Redis has maxmemory-policy {policy}, under which it would throw jobs away; "
            "set it to noeviction (CONFIG SET maxmemory-policy noeviction, and the same in redis.conf)"
        )
    return ""


def _too_small(settings: Mapping[str, str], value_max: int) -> str:
    for name, default in VALUE_LIMITS.items():
        most = settings.get(name, "")
        if most.isdecimal() and int(most) < value_max:
            return (
                f"Redis takes values of up to {show_size(int(most))} ({name}), and a job with its payload, its result and its attempts may "
                f"have {show_size(value_max)}: its outcome could not be stored. Set it to {default}, as it is by default "
                f"(CONFIG SET {name} {default}, and the same in redis.conf), or lower MAX_PAYLOAD and MAX_RESULT"
            )
    return ""


async def check_layout(lane: Lane, prefix: bytes) -> None:
    """And write it where no node was before. Several may start at once: whoever sees another's home sees its layout too, which was written
    first. It is looked for before it is written, so that nodes start at `maxmemory`, too: who stops last leaves no home behind.
    Raises: ConfigError, StoreUnavailable, StoreFull."""
    if await lane.call(lambda _: (b"GET", prefix + b"layout")) == LAYOUT:
        return
    if not await lane.call(lambda _: (b"EXISTS", prefix + b"homes")):  # no node was ever here
        await lane.call(lambda _: (b"SET", prefix + b"layout", LAYOUT, b"NX"))
    found = await lane.call(lambda _: (b"GET", prefix + b"layout"))
    if found != LAYOUT:
        raise ConfigError(
            f"Redis holds a queue whose keys have layout {(found or b'1').decode()}, this version has {LAYOUT.decode()}; "
            "let the version that wrote it finish its jobs, or give this one another CLUSTER_NAME or REDIS_DB"
        )


async def _settings(ask: Ask) -> Mapping[str, str]:
    settings: dict[str, str] = {}
    for pattern in (b"*append*", *(name.encode() for name in VALUE_LIMITS)):  # before 7.0 one at a time
        try:
            found = await ask((b"CONFIG", b"GET", pattern))
        except (ResponseError, NotPermitted):  # some hosts forbid CONFIG: then only what INFO says is promised
            return {}
        flat = [part.decode() for pair in found.items() for part in pair] if isinstance(found, dict) else [part.decode() for part in found]
        settings.update(zip(flat[::2], flat[1::2], strict=True))
    return settings


def _has_file(facts: Mapping[str, str], former: Server | None) -> bool:
    """`former`: the same process, as it was seen last."""
    if facts.get("aof_enabled") != "1":
        return False
    if "1" not in (facts.get("aof_rewrite_in_progress"), facts.get("aof_rewrite_scheduled")):
        return True
    return former.has_file if former is not None else facts.get("aof_base_size") != "0"


def _level(facts: Mapping[str, str], settings: Mapping[str, str], has_file: bool) -> tuple[Durability, str, str]:
    """And what it is by, and what lowers it."""
    if facts.get("aof_enabled") != "1":
        return Durability.PROCESS, "appendonly no", ""
    sync = settings.get("appendfsync", "")
    said = f"appendonly yes, appendfsync {sync or 'unknown, since CONFIG GET is forbidden'}"
    level = {"always": Durability.DISK, "everysec": Durability.DISK_1S}.get(sync, Durability.PROCESS)
    lowered_by = UNSYNCED if settings.get("no-appendfsync-on-rewrite") == "yes" else "" if has_file else UNWRITTEN
    if level is Durability.PROCESS or not lowered_by:
        return level, said, ""
    return Durability.PROCESS, f"{said}, but {lowered_by}", lowered_by


def _facts(answer: Any) -> Mapping[str, str]:
    text = answer.decode() if isinstance(answer, bytes) else str(answer)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
