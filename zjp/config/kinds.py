"""The kinds of settings: how the text of one is read, checked, shown and described.

A kind is a value object with three methods (`Kind`). `parse` gets stripped, non-empty text and raises `ValueError` with the
reason alone; which setting it was, where it came from and what is accepted is added by `zjp.config.load`, so that one
message can list every bad setting in one shape.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from zjp.units import (
    DURATION_ACCEPTED,
    SIZE_ACCEPTED,
    parse_duration_s,
    parse_size_bytes,
    show_duration,
    show_size,
)

_N = TypeVar("_N", int, float)

TRUE = frozenset({"true", "yes", "on", "1"})
FALSE = frozenset({"false", "no", "off", "0"})
QUEUES_MAX = 64
"""Queues one node may serve: each costs a look at every claim."""
WEIGHT_MAX = 1000
ADDRESSES_MAX = 64


class Kind(Protocol):
    """Reads and shows the values of one setting."""

    def parse(self, text: str) -> Any: ...

    def show(self, value: Any) -> str: ...

    @property
    def accepted(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Flag:
    accepted: str = "true or false (also yes/no, on/off, 1/0)"

    def parse(self, text: str) -> bool:
        folded = text.lower()
        if folded not in TRUE | FALSE:
            raise ValueError("not a truth value")
        return folded in TRUE

    def show(self, value: bool) -> str:
        return "true" if value else "false"


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within both bounds."""

    low: int
    high: int

    @property
    def accepted(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def parse(self, text: str) -> int:
        if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII) is None:
            raise ValueError("not a whole number")
        return _within(int(text), self.low, self.high)

    def show(self, value: int) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Number:
    """A number, whole or not, within both bounds."""

    low: float
    high: float

    @property
    def accepted(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    def parse(self, text: str) -> float:
        if re.fullmatch(r"[+-]?\d{1,15}(\.\d{1,15})?", text, re.ASCII) is None:
            raise ValueError("not a number")
        return _within(float(text), self.low, self.high)

    def show(self, value: float) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds within both bounds."""

    low_s: float
    high_s: float

    @property
    def accepted(self) -> str:
        return f"{DURATION_ACCEPTED} from {show_duration(self.low_s)} to {show_duration(self.high_s)}"

    def parse(self, text: str) -> float:
        return _within(parse_duration_s(text), self.low_s, self.high_s, show_duration)

    def show(self, value: float) -> str:
        return show_duration(value)


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes within both bounds."""

    low_bytes: int
    high_bytes: int

    @property
    def accepted(self) -> str:
        return f"{SIZE_ACCEPTED} from {show_size(self.low_bytes)} to {show_size(self.high_bytes)}"

    def parse(self, text: str) -> int:
        return _within(parse_size_bytes(text), self.low_bytes, self.high_bytes, show_size)

    def show(self, value: int) -> str:
        return show_size(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One word of a few; upper and lower case are the same."""

    words: tuple[str, ...]

    @property
    def accepted(self) -> str:
        return " or ".join([", ".join(self.words[:-1]), self.words[-1]])

    def parse(self, text: str) -> str:
        word = text.lower()
        if word not in self.words:
            raise ValueError("unknown choice")
        return word

    def show(self, value: str) -> str:
        return value


@dataclass(frozen=True, slots=True)
class Text:
    """Free text that matches a pattern."""

    accepted: str
    pattern: str = r"[^\x00-\x1f\x7f]{1,4096}"

    def parse(self, text: str) -> str:
        if re.fullmatch(self.pattern, text, re.ASCII) is None:
            raise ValueError("does not have the right form")
        return text

    def show(self, value: str) -> str:
        return value


@dataclass(frozen=True, slots=True)
class Folder:
    """A path of a file or folder; `~` is the home folder. Whether it can be used is found out by whoever uses it."""

    accepted: str = "a path"

    def parse(self, text: str) -> Path:
        if "\x00" in text:
            raise ValueError("has a zero byte")
        return Path(text).expanduser()

    def show(self, value: Path) -> str:
        return str(value)


@dataclass(frozen=True, slots=True)
class Queues:
    """Weights by queue, in the order given: `critical:6,default:3,low:1` or `*`."""

    accepted: str = (
        "queue names with optional weights such as critical:6,default:3,low:1 "
        f"(up to {QUEUES_MAX} queues, weights 1 to {WEIGHT_MAX}), or * alone for all known queues"
    )

    def parse(self, text: str) -> tuple[tuple[str, int], ...]:
        shares = tuple(self._share(part.strip()) for part in text.split(","))
        names = [name for name, _ in shares]
        if len(set(names)) < len(names):
            raise ValueError("names a queue twice")
        if "*" in names and shares != (("*", 1),):
            raise ValueError("* stands for all queues with weight 1 and cannot be combined")
        if len(names) > QUEUES_MAX:
            raise ValueError(f"{len(names)} queues, the limit is {QUEUES_MAX}")
        return shares

    def show(self, value: tuple[tuple[str, int], ...]) -> str:
        return ",".join(name if weight == 1 else f"{name}:{weight}" for name, weight in value)

    @staticmethod
    def _share(part: str) -> tuple[str, int]:
        match = re.fullmatch(r"(\S{1,64}?)(?::(\d{1,9}))?", part)
        if match is None or not part.isprintable():
            raise ValueError(f"{part!r} is not a queue name with an optional weight")
        return match[1], _within(int(match[2] or 1), 1, WEIGHT_MAX)


@dataclass(frozen=True, slots=True)
class Address:
    """A ZeroMQ address. Port `*` lets the system choose one."""

    accepted: str = "tcp://HOST:PORT or ipc://PATH"

    def parse(self, text: str) -> str:
        if text.startswith("ipc://") and 6 < len(text) <= 6 + 107:  # 107: the longest path of a Unix socket
            return text
        match = re.fullmatch(r"tcp://(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]{1,253}):(\d{1,5}|\*)", text)
        if match is None:
            raise ValueError("is not a ZeroMQ address")
        if match[2] != "*":
            _within(int(match[2]), 1, 65535)
        _check_name(match[1])
        return text

    def show(self, value: str) -> str:
        return value


def _check_name(host: str) -> None:
    """As whoever looks it up will: such a name would be refused at every try."""
    try:
        host.encode("idna")
    except UnicodeError:
        raise ValueError(f"{host[:64]!r} has a part between its dots that is empty or above 63 characters") from None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses with commas between them, tried in this order."""

    accepted: str = "one or more of tcp://HOST:PORT, ipc://PATH, http://HOST:PORT or https://HOST:PORT, with commas between them"

    def parse(self, text: str) -> tuple[str, ...]:
        parts = [part.strip() for part in text.split(",")]
        if len(parts) > ADDRESSES_MAX:
            raise ValueError(f"{len(parts)} addresses, the limit is {ADDRESSES_MAX}")
        web = [part for part in parts if part.startswith(("http://", "https://"))]
        if web and len(web) < len(parts):
            raise ValueError("names HTTP and ZeroMQ addresses; a client speaks one of them")
        return tuple(_web_address(part) if web else Address().parse(part) for part in parts)

    def show(self, value: tuple[str, ...]) -> str:
        return ",".join(value)


@dataclass(frozen=True, slots=True)
class Seeds:
    """Addresses at which nodes meet, with commas between them."""

    accepted: str = "one or more of tcp://HOST:PORT or ipc://PATH with commas between them, as other nodes have it in ZMQ_ADVERTISE"

    def parse(self, text: str) -> tuple[str, ...]:
        if any(part.strip().startswith(("http://", "https://")) for part in text.split(",")):
            raise ValueError("names an HTTP address; nodes speak ZeroMQ to one another")
        return Addresses().parse(text)

    def show(self, value: tuple[str, ...]) -> str:
        return ",".join(value)


def _web_address(text: str) -> str:
    if re.fullmatch(r"https?://(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]@?#]{1,253})(:\d{1,5})?(/[^\s?#]{0,200})?", text) is None:
        raise ValueError("is not an HTTP address")
    return text


@dataclass(frozen=True, slots=True)
class Networks:
    """IP addresses and networks with commas between them; stays text, in its usual form."""

    accepted: str = "IP addresses or networks such as 10.0.0.0/8, with commas between them"

    def parse(self, text: str) -> str:
        parts = [part.strip() for part in text.split(",")]
        if len(parts) > ADDRESSES_MAX:
            raise ValueError(f"{len(parts)} networks, the limit is {ADDRESSES_MAX}")
        return ",".join(self._network(part) for part in parts)

    def show(self, value: str) -> str:
        return value

    @staticmethod
    def _network(part: str) -> str:
        try:
            return str(ipaddress.ip_address(part)) if "/" not in part else str(ipaddress.ip_network(part))
        except ValueError:
            raise ValueError(f"{part[:64]!r} is no address or network") from None


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach the ZeroMQ address. A host name other than localhost counts as reachable."""
    if address.startswith("ipc://"):
        return True
    return is_loopback_host(address.removeprefix("tcp://").rpartition(":")[0])


def is_loopback_host(host: str) -> bool:
    """The same of a host name or IP address alone."""
    host = host.strip("[]")
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_wildcard(address: str) -> bool:
    """Whether the ZeroMQ address means all interfaces."""
    return address.removeprefix("tcp://").rpartition(":")[0] in ("*", "0.0.0.0", "[::]", "::")


def _within(value: _N, low: _N, high: _N, show: Callable[[_N], str] = str) -> _N:
    if value < low:
        raise ValueError(f"below {show(low)}")
    if value > high:
        raise ValueError(f"above {show(high)}")
    return value
