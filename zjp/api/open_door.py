"""The door while auth is off: everybody who reaches it is an admin, so what matters is that a browser is not made to reach it by a page of
somebody else.

Three ways lead from a hostile page to a server on this machine: a name of its own that resolves to 127.0.0.1 (the Host tells), a request
across sites (Origin and Sec-Fetch-Site tell), and a form (its body is not application/json, which is checked where bodies are read). The
Host counts only where the API is bound to loopback: elsewhere names are the operator's affair, and auth was switched off outright.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from ..wire.messages import Role
from .caller import Caller, Problem, Proof

OWN_SITES = frozenset({"same-origin", "same-site", "none"})
LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})


class OpenDoor:
    """`is_local`: the API is bound to loopback."""

    def __init__(self, *, is_local: bool) -> None:
        self._is_local = is_local

    async def caller(self, request_headers: Mapping[str, str], method: str, address: str) -> Caller:
        check_origin(request_headers, is_local=self._is_local)
        return _nobody(address)

    def challenge(self) -> dict[str, str]:
        return {}


@lru_cache(1024)
def _nobody(address: str) -> Caller:
    return Caller("", Role.ADMIN, Proof.NONE, address)


def check_origin(headers: Mapping[str, str], *, is_local: bool) -> None:
    """Raises: Problem 403."""
    host = headers.get("host", "")
    if is_local and not is_local_name(host):
        raise _foreign(f"Host is {host[:200]!r}; without auth only loopback names are served here")
    site = headers.get("sec-fetch-site")
    if site is not None and site not in OWN_SITES:
        raise _foreign(f"Sec-Fetch-Site is {site[:40]!r}; without auth no other site may ask")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise _foreign(f"Origin is {origin[:200]!r}, Host is {host[:200]!r}; without auth no other site may ask")


@lru_cache(1024)
def is_local_name(host: str) -> bool:
    """Of a Host header, with or without a port."""
    name = host[1 : host.find("]")] if host.startswith("[") else host.rpartition(":")[0] or host
    name = name.rstrip(".").lower()
    if name in LOCAL_NAMES or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _foreign(detail: str) -> Problem:
    return Problem(403, "Forbidden", detail)
