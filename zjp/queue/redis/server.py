"""What the server must be, and what an acknowledgement is worth on it, asked at the start, and again while it is used (inspection.py).

Refused with reason and cure: a maxmemory-policy that evicts, a replica, a server older than 6.2, a user with too few rights, keys of
another layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from ...errors import ConfigError
from ...redis.address import Address
from ...redis.lane import Ask, Lane, LoginRefused, NotPermitted
from ...redis.rights import check_rights, lacking
from ...wire.messages import Durability

VERSION_MIN = (6, 2)
FLAGS_SINCE = (7, 0)
LAYOUT = b"2"
"""Of the keys (docs/decisions/0008-redis-layout.md). The first one, which did not say so, had records without marks."""


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

    @property
    def has_flags(self) -> bool:
        return self.version >= FLAGS_SINCE


async def examine(address: Address, lane: Lane, prefix: bytes) -> Server:
    """All that is asked before a node starts. Raises: ConfigError, StoreUnavailable."""
    try:
        server = await look_at(lambda command: lane.call(lambda _: command))
        if server.fault:
            raise ConfigError(server.fault)
        await check_rights(address, lane, prefix)
    except LoginRefused as refusal:
        raise ConfigError(str(refusal)) from refusal
    except NotPermitted as fault:
        raise await lacking(lane, prefix, str(fault)) from fault
    return server


async def look_at(ask: Ask) -> Server:
    """Raises: what `ask` raises."""
    facts = _facts(await ask((b"INFO",)))
    version = tuple(int(part) for part in facts.get("redis_version", "0").split(".")[:2])
    level, settings = _level(facts, await _settings(ask))
    has_replica = facts.get("connected_slaves") != "0"
    return Server(version, level, facts.get("run_id", "").encode(), settings, _fault(version, facts), has_replica)


def _fault(version: tuple[int, ...], facts: Mapping[str, str]) -> str:
    if version < VERSION_MIN:
        return f"Redis {facts.get('redis_version')} is too old: zjp needs 6.2 or later; upgrade it"
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


async def check_layout(lane: Lane, prefix: bytes) -> None:
    """And write it where no node was before. Several may start at once: whoever sees another's home sees its layout too, which was written
    first. Raises: ConfigError, StoreUnavailable."""
    if not await lane.call(lambda _: (b"EXISTS", prefix + b"homes")):  # no node was ever here
        await lane.call(lambda _: (b"SET", prefix + b"layout", LAYOUT, b"NX"))
    found = await lane.call(lambda _: (b"GET", prefix + b"layout"))
    if found != LAYOUT:
        raise ConfigError(
            f"Redis holds a queue whose keys have layout {(found or b'1').decode()}, this version has {LAYOUT.decode()}; "
            "let the version that wrote it finish its jobs, or give this one another CLUSTER_NAME or REDIS_DB"
        )


async def _settings(ask: Ask) -> Mapping[str, str]:
    try:
        found = await ask((b"CONFIG", b"GET", b"append*"))
    except (ResponseError, NotPermitted):  # some hosts forbid CONFIG: then only what INFO says is promised
        return {}
    flat = [part.decode() for pair in found.items() for part in pair] if isinstance(found, dict) else [part.decode() for part in found]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _level(facts: Mapping[str, str], settings: Mapping[str, str]) -> tuple[Durability, str]:
    """And what it is by."""
    if facts.get("aof_enabled") != "1":
        return Durability.PROCESS, "appendonly no"
    sync = settings.get("appendfsync", "")
    level = {"always": Durability.DISK, "everysec": Durability.DISK_1S}.get(sync, Durability.PROCESS)
    return level, f"appendonly yes, appendfsync {sync or 'unknown, since CONFIG GET is forbidden'}"


def _facts(answer: Any) -> Mapping[str, str]:
    text = answer.decode() if isinstance(answer, bytes) else str(answer)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
