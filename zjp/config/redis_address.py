"""What REDIS_ADDR may say, read into its parts. Pure: connections are made from them elsewhere.

    [redis://][user[:password]@]host[:port][/db]   rediss://...   unix://[user:password@]/path
    redis+sentinel://h1[:p1],h2/master[/db]        rediss+sentinel://... (TLS to the Sentinels and to the primary alike)

with options behind a `?` (`TAKEN`); in user, password, path and options %XX stands for the characters that divide. What is not of this form
is refused with the reason, never left out: on another database, or without its password, a node would do its work in the wrong place.

Reasons are shown and logged, the address itself never. A password that was not escaped, or stands in the wrong place, is taken for another
part of it (`redis://me:secret` has no host but `me`), so a reason quotes nothing but the scheme, the database and options, and these only
where no `@` or `#` is left over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

DB_MAX = 65535
PORT_MAX = 65535
PORT, SENTINEL_PORT = 6379, 26379
_PROTOCOLS = ("2", "3")
_LOGIN = ("username", "password", "db", "protocol")
_TLS = (
    "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_ciphers", "ssl_keyfile",
    "ssl_password",
)  # fmt: skip
_TO_SENTINEL = ("sentinel_username", "sentinel_password")
TAKEN: Mapping[str, tuple[str, ...]] = {
    "redis": _LOGIN,
    "rediss": _LOGIN + _TLS,
    "unix": _LOGIN,
    "redis+sentinel": _LOGIN + _TO_SENTINEL,
    "rediss+sentinel": _LOGIN + _TLS + _TO_SENTINEL,
}
"""Scheme -> the options that are taken there. Limits of time are not among them: each call has its own."""
_WORDS: Mapping[str, tuple[str, ...]] = {
    "protocol": _PROTOCOLS,
    "ssl_cert_reqs": ("none", "optional", "required"),
    "ssl_check_hostname": ("true", "false"),
}
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([^\s:/\[\]@%,]{1,253}))(?::(.*))?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31})://(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """`seats`: hosts and ports, none for unix. `path`: of the socket. `master`: what Sentinels call the primary. `db`, `username`,
    `password`: None where the address has none. `options`: the others of `TAKEN`."""

    scheme: str
    seats: tuple[tuple[str, int], ...]
    path: str
    master: str
    db: int | None
    username: str | None
    password: str | None
    options: Mapping[str, str]


def read(text: str) -> RedisAddress:
    """Raises: ValueError with the reason, in which nothing is secret."""
    scheme, rest = _split(text)
    if "cluster" in scheme:
        raise ValueError("cluster URLs are not available in this version; give one server's or Sentinels' address")
    if scheme not in TAKEN:
        raise ValueError(f"unknown scheme {scheme!r}; use host:port, redis://, rediss://, unix://, redis+sentinel:// or rediss+sentinel://")
    place, _, query = rest.partition("?")
    front, slash, path = place.partition("/")
    login, _, hosts = front.rpartition("@")
    if "#" in rest or "@" in path + query:
        raise ValueError("an @ or # is where none may be; in user, password and options write / ? # @ % as %2F %3F %23 %40 %25")
    options = _options(scheme, query)
    user, _, password = login.partition(":")
    user = _once(options, "username", unquote(user))
    password = _once(options, "password", unquote(password))
    socket = master = db = ""
    seats: tuple[tuple[str, int], ...] = ()
    if scheme == "unix":
        socket = _socket(hosts, slash + path)
    elif scheme.endswith("+sentinel"):
        master, _, db = path.removesuffix("/").partition("/")
        seats = tuple(_seat(host, SENTINEL_PORT) for host in hosts.split(","))
        if not master:
            raise ValueError(f"names no master; it must be {scheme}://host1:port,host2:port/mastername")
    else:
        db, seats = path.removesuffix("/"), (_seat(hosts, PORT),)
    number = _once(options, "db", db)
    return RedisAddress(
        scheme, seats, socket, unquote(master), _whole(number, 0, DB_MAX, f"database {number[:64]!r}") if number else None, user or None,
        password or None, options,
    )  # fmt: skip


def _split(text: str) -> tuple[str, str]:
    match = _SCHEME.fullmatch(text)
    if match is None:
        return "redis", text
    scheme = match[1].lower()
    return ("redis+sentinel" if scheme == "sentinel" else scheme), match[2]


def _options(scheme: str, query: str) -> dict[str, str]:
    taken, options = TAKEN[scheme], {}
    for name, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True):  # it is no space here, as in the rest of an address
        if not value:
            raise ValueError("an option has no value; it must be name=value")
        if name not in taken:
            raise ValueError(f"option {name[:64]!r} is not taken by {scheme}://, which takes {', '.join(taken)}")
        if name in options:
            raise ValueError(f"option {name!r} is given twice")
        if name in _WORDS and value.lower() not in _WORDS[name]:
            raise ValueError(f"option {name}={value[:64]!r} is not {' or '.join(_WORDS[name])}")
        options[name] = value
    return options


def _once(options: dict[str, str], name: str, here: str) -> str:
    """The option, taken out, or what stands in its own place."""
    given = options.pop(name, "")
    if given and here and given != here:
        raise ValueError(f"{name} is given twice, in its place and as an option, and differs")
    return given or here


def _socket(host: str, path: str) -> str:
    if host or path in ("", "/"):
        raise ValueError("names no socket; it must be unix:///path, with three slashes")
    return unquote(path)


def _seat(text: str, port: int) -> tuple[str, int]:
    if not text:
        raise ValueError("names no host")
    match = _HOST.fullmatch(text)
    if match is None:
        raise ValueError(f"a host is not host or host:port; an IPv6 address stands in brackets: [::1]:{port}")
    return match[1] or match[2], port if match[3] is None else _whole(match[3], 1, PORT_MAX, "the port")


def _whole(text: str, low: int, high: int, what: str) -> int:
    if re.fullmatch(r"\d{1,9}", text, re.ASCII) is None or not low <= int(text) <= high:
        raise ValueError(f"{what} is not a whole number from {low} to {high}")
    return int(text)


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A kind of setting, always a secret one. It stays text."""

    accepted: str = (
        "host:port, redis:// or rediss://[user:password@]host:port[/db], unix:///path, "
        "or redis+sentinel:// or rediss+sentinel://host1:port,host2:port/mastername[/db]"
    )

    def parse(self, text: str) -> str:
        if not text.isprintable() or len(text) > 4096:
            raise ValueError("has control characters, or more than 4096 characters")
        read(text)
        return text

    def show(self, value: str) -> str:
        return value
