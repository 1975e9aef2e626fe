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
from ..table import Problem

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "x-csrf-token"
COOKIE_CHARS_MAX = 16_384


class Cookie:
    """`port`: part of the name, as a browser gives all ports of a host the same cookies, and two nodes on one machine are two servers."""

    def __init__(self, *, port: int, is_tls: bool) -> None:
        self._is_tls = is_tls
        self.name = f"{'__Host-' if is_tls else ''}zjp-{port}"

    def read(self, headers: Mapping[str, str]) -> str:
        """The token; empty where there is none, or more than one."""
        text = headers.get("cookie", "")
        if self.name not in text or len(text) > COOKIE_CHARS_MAX:
            return ""
        found = [
            value for name, _, value in (part.strip().partition("=") for part in text.split(";")) if name == self.name
        ]
        return found[0] if len(found) == 1 else ""

    def write(self, token: str, life_s: int) -> str:
        """The value of Set-Cookie."""
        cookie = f"{self.name}={token}; Path=/; Max-Age={life_s}; HttpOnly; SameSite=Strict"
        return f"{cookie}; Secure" if self._is_tls else cookie

    def clear(self) -> str:
        return self.write("", 0)


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
