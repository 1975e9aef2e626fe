"""What the user of Redis must be allowed to do, and which commands Redis must know, looked at before anything relies on it.

A script that meets a missing right, or a command that was renamed, is broken off where it stands, and what it wrote before stays: jobs may
be half moved. So at the start every command that is ever used is tried as that user, by one script, on keys of the own prefix, each in a
form that changes nothing: on a key of another type, which the server refuses after it has looked at the rights; on a key that never
exists; on the script's own key.
`ACL DRYRUN` would tell the same, but needs Redis 7 and a right of its own, which users with few rights do not have.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from ..errors import ConfigError, StoreUnavailable
from .address import Address
from .lane import Lane, NotPermitted, send, silence
from .script import Script

SUBSCRIBE_S = 1.8
PROBES = """\
SET K x PX 1000
GET K
INCRBY K 0
EXISTS K
TIME
HDEL K f
HEXISTS K f
HGET K f
HGETALL K
HINCRBY K f 0
HKEYS K
HLEN K
HMGET K f
HSCAN K 0
HSET K f x
HSTRLEN K f
LINDEX K 0
LPOP K
LLEN K
LPOS K x
LRANGE K 0 0
LSET K 0 x
LTRIM K 0 0
RPUSH K x
SADD K x
SCARD K
SISMEMBER K x
SMEMBERS K
SMISMEMBER K x
SPOP K
SREM K x
ZADD K 0 x
ZCARD K
ZPOPMIN K
ZRANGE K 0 0
ZRANGEBYLEX K - +
ZRANGEBYSCORE K 0 0
ZREM K x
ZREMRANGEBYRANK K 0 0
ZREVRANGEBYLEX K + -
ZREVRANGEBYSCORE K 0 0
ZSCORE K x
RENAME N M
UNLINK N
PUBLISH C x
DEL K
"""
"""K: a string, for as long as the script runs. N, M: keys that never exist. C: a channel that nobody listens to. A test compares these with
the scripts."""
REFUSED = re.compile(r"(?:can't|no permissions to) (run|access|publish)\b", re.IGNORECASE)
"""How Redis says in a script that the user lacks a right, in all versions; from 7.2 on, and in Valkey, a sentence may begin with it."""
UNKNOWN = re.compile(r"unknown (?:redis )?command(?: ['`](\w+))?", re.IGNORECASE)
"""How Redis says that it has no command of that name: called as it is (and which one), or by a script; in all versions."""
RULES = (
    "+@hash +@list +@set +@sortedset +@string +exists +del +unlink +rename +time +evalsha +script|load +publish +subscribe +ping +select "
    "+info +wait +role +client|setname +config|get"
)
"""`role` and `config|get` may be left out: then Sentinels are believed, and `appendfsync` is unknown."""


async def check_rights(address: Address, lane: Lane, prefix: bytes) -> None:
    """Raises: ConfigError, StoreUnavailable (NotPermitted: in the server's words), ResponseError (see `refuse_unknown`)."""
    names = {b"K": prefix + b"rights", b"N": prefix + b"never", b"M": prefix + b"never-2", b"C": prefix + b"life:rights"}
    probes = [[names.get(word, word) for word in line.encode().split()] for line in PROBES.splitlines()]
    script = Script(__package__, "rights", prefix, has_flags=False)
    (loading,) = script.load()
    await lane.call(lambda _: loading)
    arguments: list[Any] = [word for probe in probes for word in (len(probe), *probe)]
    answers = await lane.call(lambda _: script.command(arguments), script.load)
    if renamed := [probe[0].decode() for probe, answer in zip(probes, answers, strict=True) if UNKNOWN.search(answer.decode())]:
        raise not_known(renamed)
    if missing := _missing(probes, answers, prefix.decode()):
        raise await lacking(lane, prefix, f"it may not {missing}")
    await _subscribe(address, prefix + b"life:rights")


def _missing(probes: Sequence[Sequence[bytes]], answers: Sequence[bytes], prefix: str) -> str:
    commands: list[str] = []
    others: dict[str, None] = {}
    for (command, *_), answer in zip(probes, answers, strict=True):
        if not (found := REFUSED.search(answer.decode())):
            continue
        if found[1] == "run":
            commands.append(command.decode())
        elif found[1] == "access" and b"channel" not in answer:
            others[f"use keys that begin with {prefix}"] = None
        else:
            others[f"publish to channels that begin with {prefix}"] = None
    return "; nor ".join([*([f"run {', '.join(commands)}"] if commands else []), *others])


async def _subscribe(address: Address, channel: bytes) -> None:
    """On a connection of its own, which then takes nothing else."""
    connection = address.make()
    try:
        async with asyncio.timeout(SUBSCRIBE_S):
            await connection.connect()
            await send(connection, (b"SUBSCRIBE", channel))
            await connection.read_response(disable_decoding=True, push_request=True)
    except NoPermissionError as fault:
        raise NotPermitted(f"Redis refuses: {fault} (SUBSCRIBE {channel.decode()})") from fault
    except (OSError, TimeoutError, RedisError) as fault:
        refuse_unknown(fault)
        raise StoreUnavailable(silence(fault, SUBSCRIBE_S)) from fault
    finally:
        await connection.disconnect(nowait=True)


def refuse_unknown(fault: Exception) -> None:
    """Raises: ConfigError, when `fault` is Redis' answer to a command that it does not know."""
    found = UNKNOWN.match(str(fault))
    if found and found[1]:
        raise not_known([found[1]]) from fault


def not_known(commands: Sequence[str]) -> ConfigError:
    return ConfigError(
        f"Redis does not know {', '.join(commands)}: renamed or disabled there (rename-command in redis.conf). Scripts would be broken off "
        "half-way by that, and jobs be lost, so nothing was started. Take these lines out of redis.conf and start Redis again; to limit "
        "what others may do there, limit their users (ACL SETUSER)"
    )


async def lacking(lane: Lane, prefix: bytes, found: str) -> ConfigError:
    """`found`: what is missing."""
    try:
        name = (await lane.call(lambda _: (b"ACL", b"WHOAMI"))).decode()
    except (ResponseError, StoreUnavailable):
        name = "NAME"
    return ConfigError(
        f"the user {name} of Redis has too few rights: {found}. Scripts would be broken off half-way by that, and jobs be lost, so nothing "
        f"was started. What is needed: {needed(name, prefix)}"
    )


def needed(name: str, prefix: bytes) -> str:
    """Reset first: to a user who has all of them Redis adds no pattern, and says so as an error."""
    keys = prefix.decode()
    return f"ACL SETUSER {name} resetkeys ~{keys}* resetchannels &{keys}* {RULES}"
