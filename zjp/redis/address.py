"""How to make connections to what REDIS_ADDR names (zjp.config.redis_address reads it).

`password` and `db` of the settings count where the address has none. Cluster URLs are refused: one namespace is one slot, so a cluster
would bring no scaling.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ..config import redis_address
from ..config.rules import unreadable
from ..errors import ConfigError
from .packing import Packing
from .sentinels import PrimaryConnection, Seat, Sentinels, TLSPrimaryConnection

CONNECT_S = 1.5
READ_BYTES = 1 << 18
FILES = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
"""Options that name one, which is looked at before anything is tried: a driver that finds none says that the server is away."""
TOGETHER = (("ssl_ca_certs", "ssl_ca_data", "ssl_ca_path"), ("ssl_certfile", "ssl_keyfile", "ssl_password"), ("ssl_ciphers",))
"""Options that are read in one step. What is in them is tried as well, for the same reason."""


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
    try:
        read = redis_address.read(address)
    except ValueError as fault:
        raise ConfigError(f"REDIS_ADDR=***: {fault}") from None
    for option in FILES & read.options.keys():
        if reason := unreadable(read.options[option]):
            raise ConfigError(f"REDIS_ADDR=***: option {option}: {read.options[option]} {reason}")
    if read.scheme.startswith("rediss"):
        _check_tls(_of_tls(read.options))
    shared: dict[str, Any] = {
        "client_name": name, **_limits(), "socket_read_size": READ_BYTES, "db": db if read.db is None else read.db,
        "username": read.username, "password": read.password or password or None,
        **{option: _value(option, text) for option, text in read.options.items() if not option.startswith(("sentinel_", "ssl_"))},
        **(_of_tls(read.options) if read.scheme.startswith("rediss") else {}),
    }  # fmt: skip
    made: type[Any]
    match read.scheme:
        case "redis+sentinel" | "rediss+sentinel":
            has_tls = read.scheme == "rediss+sentinel"
            made = TLSPrimaryConnection if has_tls else PrimaryConnection
            sentinels = Sentinels(read.master, read.seats, _to_sentinel(TLSConnection if has_tls else PlainConnection, read.options))
            return Address(lambda: made(sentinels=sentinels, **shared), sentinels.serves)
        case "unix":
            return Address(lambda: UnixConnection(path=read.path, **shared))
        case _:
            ((host, port),) = read.seats
            made = TLSConnection if read.scheme == "rediss" else PlainConnection
            return Address(lambda: made(host=host, port=port, **shared))


def _to_sentinel(made: type[Any], options: Mapping[str, str]) -> Callable[[Seat], AbstractConnection]:
    chosen: dict[str, Any] = {name: options.get(f"sentinel_{name}") for name in ("username", "password")}
    if issubclass(made, SSLConnection):
        chosen |= _of_tls(options)
    return lambda seat: made(host=seat[0], port=seat[1], **chosen, **_limits())


def _of_tls(options: Mapping[str, str]) -> dict[str, Any]:
    """With a password for the key in any case: without one OpenSSL asks the terminal for it, in the middle of the loop."""
    return {"ssl_password": ""} | {option: _value(option, text) for option, text in options.items() if option.startswith("ssl_")}


def _check_tls(chosen: Mapping[str, Any]) -> None:
    """Raises: ConfigError."""
    for group in TOGETHER:
        given = [option for option in group if chosen.get(option)]
        try:
            SSLConnection(**{option: chosen[option] for option in (*given, "ssl_password")}).ssl_context.get()
        except (OSError, TypeError, ValueError) as fault:
            also = "; an encrypted key needs ssl_password, and a key its ssl_certfile" if "ssl_keyfile" in group else ""
            raise ConfigError(f"REDIS_ADDR=***: {', '.join(given)} cannot be used: {fault}{also}") from None


def _limits() -> dict[str, Any]:
    return {"socket_timeout": None, "socket_connect_timeout": CONNECT_S, "retry": Retry(NoBackoff(), 0)}


def _value(option: str, text: str) -> Any:
    """As the driver takes it."""
    match option:
        case "protocol":
            return int(text)
        case "ssl_check_hostname":
            return text.lower() == "true"
        case "ssl_cert_reqs":
            return text.lower()
    return text
