"""What REDIS_ADDR means: how to make connections to it.

    host:port   redis://[user:password@]host:port[/db]   rediss://...   unix:///path[?db=]   redis+sentinel://h1:p1,h2,h3/master[/db]

`password` and `db` of the settings count where the address has none. Cluster URLs are refused: one namespace is one slot, so a cluster
would bring no scaling.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ..errors import ConfigError
from .packing import Packing
from .sentinels import PrimaryConnection, Seat, Sentinels

CONNECT_S = 1.5
READ_BYTES = 1 << 18
SENTINEL_PORT = 26379


class Address(msgspec.Struct, frozen=True):
    """`make`: a new connection, not yet connected. `serves(connection, is_doubtful)`: whether it still leads to the right server."""

    make: Callable[[], AbstractConnection]
    serves: Callable[[AbstractConnection, bool], Awaitable[bool]] | None = None


class PlainConnection(Packing, Connection):
    pass


class TLSConnection(Packing, SSLConnection):
    pass


class UnixConnection(Packing, UnixDomainSocketConnection):
    pass


def connections(address: str, *, password: str | None, db: int, name: str) -> Address:
    """`name`: shown by CLIENT LIST. Raises: ConfigError."""
    scheme = address.partition("://")[0] if "://" in address else ""
    shared: dict[str, Any] = {
        "client_name": name, "socket_timeout": None, "socket_connect_timeout": CONNECT_S, "socket_read_size": READ_BYTES,
        "retry": Retry(NoBackoff(), 0), "db": db, "password": password or None,
    }  # fmt: skip
    if scheme in ("redis+sentinel", "sentinel"):
        return _sentinel(address, shared)
    if "cluster" in scheme:
        raise ConfigError(
            f"REDIS_ADDR={masked(address)}: cluster URLs are not available in this version; give one server's or Sentinels' address"
        )
    if scheme and scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(
            f"REDIS_ADDR={masked(address)}: unknown scheme {scheme!r}; use host:port, redis://, rediss://, unix:// or redis+sentinel://"
        )
    try:
        found: dict[str, Any] = dict(parse_url(address if scheme else f"redis://{address}"))
    except ValueError as fault:
        raise ConfigError(f"REDIS_ADDR={masked(address)}: {fault}") from fault
    found.pop("connection_class", None)
    arguments = shared | {name: value for name, value in found.items() if value not in (None, "")}
    made: type[Any] = {"rediss": TLSConnection, "unix": UnixConnection}.get(scheme, PlainConnection)
    return Address(lambda: made(**arguments))


def _sentinel(address: str, shared: dict[str, Any]) -> Address:
    parts = urlsplit(address)
    path = parts.path.strip("/").split("/")
    hosts = parts.netloc.rpartition("@")[2]
    if not path[0] or not hosts:
        raise ConfigError(f"REDIS_ADDR={masked(address)}: it must be redis+sentinel://host1:port,host2:port/mastername")
    if len(path) > 1 and path[1].isdigit():
        shared["db"] = int(path[1])
    user, _, secret = parts.netloc.rpartition("@")[0].partition(":")
    if secret:
        shared |= {"username": unquote(user) or None, "password": unquote(secret)}
    query = parse_qs(parts.query)
    options: dict[str, Any] = {"socket_timeout": None, "socket_connect_timeout": CONNECT_S, "retry": Retry(NoBackoff(), 0)}
    if "sentinel_password" in query:
        options["password"] = query["sentinel_password"][0]
    if "sentinel_username" in query:
        options["username"] = query["sentinel_username"][0]
    seats = [_seat(host) for host in hosts.split(",")]
    sentinels = Sentinels(path[0], seats, lambda seat: PlainConnection(host=seat[0], port=seat[1], **options))
    return Address(lambda: PrimaryConnection(sentinels=sentinels, **shared), sentinels.serves)


def _seat(host: str) -> Seat:
    name, colon, port = host.rpartition(":")
    return (name, int(port)) if colon else (port, SENTINEL_PORT)


def masked(address: str) -> str:
    """Without its password."""
    head, at, tail = address.rpartition("@")
    scheme, slashes, _ = head.partition("://")
    return f"{scheme}{slashes}***@{tail}" if at else address
