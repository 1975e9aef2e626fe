"""The rules of a process that serves the HTTP API, or starts one that does: what must not be seen by strangers, and what is missing.

Kept apart from those of every process (rules.py): a producer or the command line that reads the same environment has no use for the secret
that signs tokens, and must not be stopped for it. Nothing of it holds where API_ENABLED is false.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from zjp.config.kinds import is_loopback_host, is_wildcard
from zjp.config.rules import shown, unreadable
from zjp.config.table import Settings

SECRET_BYTES_MIN = 32
"""As long as what HS256 makes of it. Source: RFC 7518, 3.2."""
SIGNS_MIN = 8
"""Different ones in a secret; fewer is a pattern."""
EXAMPLE_WORDS = frozenset(
    {"secret", "change", "changeme", "changeit", "example", "your", "default", "password", "replace", "insecure"}
)
HOW_TO_MAKE_ONE = "make one with: openssl rand -base64 48"


def broken_serving_rules(settings: Settings, origins: Mapping[str, str]) -> Iterable[str | None]:
    """One text per rule, None where it holds."""
    if not settings.api_enabled:
        return
    yield _unsigned(settings, origins)
    yield _no_key(settings, origins)
    yield _known_users(settings, origins)
    yield _same_port(settings, origins)
    yield from _taken_by_the_node(settings, origins)
    yield from _certificates(settings, origins)


def cautions(settings: Settings) -> Iterable[tuple[str, str]]:
    """(event, reason) of what is allowed, and is to be warned of at each start."""
    if not settings.api_enabled:
        return
    if not settings.auth_effective and not is_loopback_host(settings.server_host):
        yield (
            "auth.off",
            (
                f"{shown(settings, 'AUTH_ENABLED')} while {shown(settings, 'SERVER_HOST')} is open to other machines: whoever reaches "
                "it may do everything"
            ),
        )
    if settings.auth_dev_users:
        yield (
            "auth.dev_users",
            (
                f"{shown(settings, 'AUTH_DEV_USERS')}: the users admin, user and worker have passwords that everybody knows; for trying "
                "things out only"
            ),
        )


def _unsigned(settings: Settings, origins: Mapping[str, str]) -> str | None:
    if not settings.auth_effective:
        return None
    if settings.jwt_secret is None:
        if settings.jwt_key_file is not None:
            return None
        return (
            f"JWT_SECRET=none: auth is on ({shown(settings, 'AUTH_ENABLED')}, {shown(settings, 'SERVER_HOST')}) and there is no secret "
            f"that signs tokens; {HOW_TO_MAKE_ONE} (set by {origins['JWT_SECRET']}; accepted: {SECRET_BYTES_MIN} bytes or more, also by "
            "JWT_SECRET_FILE)"
        )
    faults = [_fault(part.strip()) for part in settings.jwt_secret.split(",")]
    reason = next((fault for fault in faults if fault), None)
    return reason and (
        f"JWT_SECRET=***: {reason}; {HOW_TO_MAKE_ONE} (set by {origins['JWT_SECRET']}; accepted: {SECRET_BYTES_MIN} bytes or more; several "
        "with commas while one replaces another)"
    )


def _fault(secret: str) -> str | None:
    count = len(secret.encode())
    if count < SECRET_BYTES_MIN:
        return f"a secret of {count} bytes"
    words = {word for word in re.split(r"[^a-z]+", secret.lower()) if word}
    letters = sum(sign.isalpha() for sign in secret)
    is_text = bool(words & EXAMPLE_WORDS) and letters * 2 >= len(secret)
    return "it is like those in examples, which everybody knows" if is_text or len(set(secret)) < SIGNS_MIN else None


def _no_key(settings: Settings, origins: Mapping[str, str]) -> str | None:
    """Whether it is a key that signs is found out by the API, which alone has what it takes to read one."""
    if not settings.auth_effective or settings.jwt_key_file is None:
        return None
    reason = unreadable(settings.jwt_key_file)
    return reason and (
        f"{shown(settings, 'JWT_KEY_FILE')}: {reason} (set by {origins['JWT_KEY_FILE']}; accepted: a private key, Ed25519 or RSA, in PEM)"
    )


def _known_users(settings: Settings, origins: Mapping[str, str]) -> str | None:
    if not settings.auth_dev_users or is_loopback_host(settings.server_host):
        return None
    return (
        f"{shown(settings, 'AUTH_DEV_USERS')}: the passwords of these users are known, and {shown(settings, 'SERVER_HOST')} can be reached "
        f"by other machines (set by {origins['AUTH_DEV_USERS']}, SERVER_HOST by {origins['SERVER_HOST']}; accepted: on a loopback address)"
    )


def _same_port(settings: Settings, origins: Mapping[str, str]) -> str | None:
    if not settings.metrics_enabled or settings.server_port != settings.metrics_port or not settings.server_port:
        return None
    return (
        f"{shown(settings, 'METRICS_PORT')}: the HTTP API has the same port (set by {origins['METRICS_PORT']}, SERVER_PORT by "
        f"{origins['SERVER_PORT']}; accepted: two different ones, or METRICS_ENABLED=false)"
    )


def _taken_by_the_node(settings: Settings, origins: Mapping[str, str]) -> Iterable[str]:
    host, _, port = settings.zmq_bind.removeprefix("tcp://").rpartition(":")
    served = [("SERVER_PORT", settings.server_host, settings.server_port)]
    if settings.metrics_enabled:
        served.append(("METRICS_PORT", settings.metrics_host, settings.metrics_port))
    for name, its_host, its_port in served:
        is_same_host = host == its_host or is_wildcard(settings.zmq_bind) or is_wildcard(f"{its_host}:{its_port}")
        if its_port and port == str(its_port) and is_same_host:
            yield (
                f"{shown(settings, name)}: {shown(settings, 'ZMQ_BIND')} has the same port (set by {origins[name]}, ZMQ_BIND by "
                f"{origins['ZMQ_BIND']}; accepted: two different ones)"
            )


def _certificates(settings: Settings, origins: Mapping[str, str]) -> Iterable[str]:
    if not settings.tls_enabled:
        return
    for name, path in (("TLS_CERT_FILE", settings.tls_cert_file), ("TLS_KEY_FILE", settings.tls_key_file)):
        reason = "needed" if path is None else unreadable(path)
        if reason:
            yield (
                f"{shown(settings, name)}: {reason} (set by {origins[name]}, TLS_ENABLED=true by {origins['TLS_ENABLED']}; accepted: a "
                "file in PEM form)"
            )
