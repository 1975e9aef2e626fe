"""Whose address counts, and whether TLS was spoken: as the peer shows it itself, or, where the peer is a proxy named in TRUSTED_PROXIES,
as it says of whom it speaks for.

X-Forwarded-For grows at its right end: each proxy adds whom it heard from. So it is read from the right, and the first address that is no
trusted proxy is the caller's; what stands left of it anybody may have written.

X-Forwarded-Proto says how the caller came to the outermost proxy. From a peer that is not trusted it is taken out of the headers before
anybody looks (`settle`), so what is found in them later counts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from starlette.types import Scope

HOPS_MAX = 16
SCHEME = "x-forwarded-proto"
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(text: str | None) -> tuple[Network, ...]:
    """Addresses or networks with commas between them. Raises: ValueError."""
    parts = [part.strip() for part in (text or "").split(",")]
    return tuple(ipaddress.ip_network(part, strict=False) for part in parts if part)


class Proxies:
    """`trusted`: the text of TRUSTED_PROXIES."""

    def __init__(self, trusted: str | None) -> None:
        self._networks = parse_networks(trusted)

    def trusts(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)

    def settle(self, scope: Scope, headers: dict[str, str]) -> None:
        """First of all, with the headers of a request."""
        if SCHEME in headers and not self.trusts(_peer(scope)):
            del headers[SCHEME]

    def address(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """Of whoever asks; empty where the system does not say."""
        address = _peer(scope)
        if not self._networks or not self.trusts(address):
            return address
        hops = [hop.strip() for hop in headers.get("x-forwarded-for", "").split(",") if hop.strip()]
        for hop in reversed(hops[-HOPS_MAX:]):
            try:
                address = str(ipaddress.ip_address(hop))
            except ValueError:
                return address
            if not self.trusts(address):
                return address
        return address


def is_tls_ended_before(headers: Mapping[str, str]) -> bool:
    """Whether the caller speaks TLS with a trusted proxy, which `settle` has seen to."""
    return headers.get(SCHEME, "").partition(",")[0].strip().lower() == "https"


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    address: str = client[0] if client else ""
    return address
