"""Headers that keep browsers from doing harm with what is served here. On every answer, whoever asks.

No answer is taken for anything but its type, shown within another site's page, read by one, or kept in a cache; nothing of a page comes
from elsewhere, and no script or style stands within it: job data that looks like HTML runs nowhere. Over TLS,
also where a trusted proxy ends it, a browser asks by TLS for a year.

Source: OWASP HTTP Headers Cheat Sheet; MDN Content-Security-Policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
DATA_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
YEAR_S = 31_536_000
STRICT, STRICT_VALUE = "strict-transport-security", f"max-age={YEAR_S}"

EVERYWHERE: Mapping[str, str] = MappingProxyType(
    {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
    }
)


def secure(headers: dict[str, str], *, is_tls: bool, is_page: bool) -> None:
    """Adds them. `headers`: names in lower case. A page may have a policy of its own. What says how long it may be kept, as the files of
    the page do, may be; all else that is no page may not."""
    headers.update(EVERYWHERE)
    headers.setdefault("content-security-policy", PAGE_POLICY if is_page else DATA_POLICY)
    headers.setdefault("cache-control", "no-cache" if is_page else "no-store")
    if is_tls:
        headers[STRICT] = STRICT_VALUE
