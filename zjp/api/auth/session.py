"""The session of a browser: a token in a cookie that scripts cannot read, and what an unsafe request must show beside it.

A browser sends the cookie along with whatever any page makes it ask. So a request that changes something counts only when it shows both:
that it comes from a page of this very server (Origin, or Sec-Fetch-Site where a browser sends no Origin), and a word that only such a page
can know (X-CSRF-Token). The word stands in the token's own claims, signed with them: nothing is kept here, and every node can check it.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from ...tokens import Claims
from ..proxies import is_tls_ended_before
from ..table import Problem

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "x-csrf-token"
COOKIE_CHARS_MAX = 16_384


class Cookie:
    """`port`: part of the name, as a browser gives all ports of a host the same cookies, and two nodes on one machine are two servers.
    `is_tls`: this process speaks TLS itself; where a trusted proxy does, the headers of the request say so. Over TLS the cookie has another
    name, which a browser keeps for what was set over TLS: one that somebody planted without it does not count there."""

    def __init__(self, *, port: int, is_tls: bool) -> None:
        self._port, self._is_tls = port, is_tls

    def _is_secure(self, headers: Mapping[str, str]) -> bool:
        return self._is_tls or is_tls_ended_before(headers)

    def name(self, headers: Mapping[str, str]) -> str:
        return f"{'__Host-' if self._is_secure(headers) else ''}zjp-{self._port}"

    def read(self, headers: Mapping[str, str]) -> str:
        """The token; empty where there is none, or more than one."""
        text, own = headers.get("cookie", ""), self.name(headers)
        if own not in text or len(text) > COOKIE_CHARS_MAX:
            return ""
        found = [value for name, _, value in (part.strip().partition("=") for part in text.split(";")) if name == own]
        return found[0] if len(found) == 1 else ""

    def write(self, token: str, life_s: int, headers: Mapping[str, str]) -> str:
        """The value of Set-Cookie. `headers`: of the request that it answers."""
        cookie = f"{self.name(headers)}={token}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Strict"
        return f"{cookie}; Secure" if self._is_secure(headers) else cookie

    def clear(self, headers: Mapping[str, str]) -> str:
        return self.write("", 0, headers)


def make_csrf() -> str:
    return secrets.token_urlsafe(24)


def check_same_origin(headers: Mapping[str, str]) -> None:
    """That a page of this server asks. Raises: Problem 403."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        raise _foreign(f"Sec-Fetch-Site is {site[:40]!r}")
    if origin is None and site is None:
        raise _foreign("there is neither Origin nor Sec-Fetch-Site")
    host = headers.get("host", "")
    if origin is not None and (not host or urlsplit(origin).netloc.lower() != host.lower()):
        raise _foreign(f"Origin is {origin[:200]!r}, Host is {host[:200]!r}")


def check_csrf(headers: Mapping[str, str], claims: Claims) -> None:
    """Raises: Problem 403."""
    shown = headers.get(CSRF_HEADER, "")
    if not hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), claims.csrf.encode()):
        raise Problem(403, "Forbidden", "X-CSRF-Token is not the one of this session; GET /auth/me tells it")


def _foreign(what: str) -> Problem:
    return Problem(
        403,
        "Forbidden",
        f"{what}; a session's requests must come from a page of this server. Programs use a bearer token",
    )
