"""TLS of the API and of the metrics port: 1.2 and later, with a certificate that can be changed while both run.

`reload` puts new files into the context that is in use: connections that are open go on as they are, new ones get the new certificate. The
files are tried on a context of their own first, so that a wrong one (half written, of another key, no PEM) leaves what was there.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from ..config import Settings
from ..errors import ConfigError


def ssl_context(settings: Settings) -> ssl.SSLContext | None:
    """None: TLS is off. Raises: ConfigError."""
    if not settings.tls_enabled:
        return None
    context = _empty()
    _load(context, *_files(settings))
    return context


def reload(context: ssl.SSLContext, settings: Settings) -> None:
    """Raises: ConfigError; the certificate that was there stays."""
    cert, key = _files(settings)
    _load(_empty(), cert, key)
    _load(context, cert, key)


def _empty() -> ssl.SSLContext:
    """The interpreter's own choice of ciphers for servers, which is kept up to date with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _files(settings: Settings) -> tuple[Path, Path]:
    cert, key = settings.tls_cert_file, settings.tls_key_file
    if cert is None or key is None:
        missing = "TLS_CERT_FILE" if cert is None else "TLS_KEY_FILE"
        raise ConfigError(
            f"TLS_ENABLED=true: {missing} is not set; both the certificate chain and its key are needed, in PEM form"
        )
    return cert, key


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    for name, path in (("TLS_CERT_FILE", cert), ("TLS_KEY_FILE", key)):
        try:
            path.open("rb").close()
        except OSError as fault:
            raise ConfigError(f"{name}={path}: cannot be read: {fault.strerror}") from None
    try:
        # Without a password the library would ask for one at the terminal; a daemon has none.
        context.load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, ValueError, OSError) as fault:
        reason = getattr(fault, "reason", None) or str(fault)
        raise ConfigError(
            f"TLS_CERT_FILE={cert}, TLS_KEY_FILE={key}: no certificate chain with its key, in PEM form and without a password ({reason})"
        ) from None
