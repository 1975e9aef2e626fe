"""What the server must be, and what an acknowledgement is worth on it, asked at the start.

Refused with reason and cure: a maxmemory-policy that evicts, a replica, a server older than 6.2, keys of another layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from ...errors import ConfigError
from ...redis.lane import Lane, LoginRefused
from ...wire.messages import Durability

VERSION_MIN = (6, 2)
FLAGS_SINCE = (7, 0)
LAYOUT = b"2"
"""Of the keys (docs/decisions/0008-redis-layout.md). The first one, which did not say so, had records without marks."""


class Server(msgspec.Struct, frozen=True):
    version: tuple[int, ...]
    level: Durability
    """Without replicas."""

    @property
    def has_flags(self) -> bool:
        return self.version >= FLAGS_SINCE


async def examine(lane: Lane) -> Server:
    """Raises: ConfigError, StoreUnavailable."""
    try:
        facts = _facts(await lane.call(lambda _: (b"INFO",)))
    except LoginRefused as refusal:
        raise ConfigError(str(refusal)) from refusal
    version = tuple(int(part) for part in facts.get("redis_version", "0").split(".")[:2])
    if version < VERSION_MIN:
        raise ConfigError(f"Redis {facts.get('redis_version')} is too old: zjp needs 6.2 or later; upgrade it")
    if facts.get("role") in ("slave", "replica"):
        raise ConfigError(
            f"REDIS_ADDR names a replica of {facts.get('master_host')}:{facts.get('master_port')}, which takes no writes; "
            "give the master's address, or those of the Sentinels"
        )
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise ConfigError(
            f"Redis has maxmemory-policy {policy}, under which it would throw jobs away; "
            "set it to noeviction (CONFIG SET maxmemory-policy noeviction, and the same in redis.conf)"
        )
    return Server(version, _level(facts, await _settings(lane)))


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


async def _settings(lane: Lane) -> Mapping[str, str]:
    try:
        found = await lane.call(lambda _: (b"CONFIG", b"GET", b"append*"))
    except ResponseError:  # some hosts forbid CONFIG: then only what INFO says is promised
        return {}
    flat = [part.decode() for pair in found.items() for part in pair] if isinstance(found, dict) else [part.decode() for part in found]
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _level(facts: Mapping[str, str], settings: Mapping[str, str]) -> Durability:
    if facts.get("aof_enabled") != "1":
        return Durability.PROCESS
    return {"always": Durability.DISK, "everysec": Durability.DISK_1S}.get(settings.get("appendfsync", ""), Durability.PROCESS)


def _facts(answer: Any) -> Mapping[str, str]:
    text = answer.decode() if isinstance(answer, bytes) else str(answer)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
