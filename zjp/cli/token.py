"""`zjp token`: a token for the HTTP API, on stdout and nothing else there, so that it fits into `$(zjp token)`.

By name and password from the API; or, with the secret that signs tokens at hand, made here without asking anybody: for a program that is no
user, with the role and the life that are said.
"""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click

from ..config import Settings
from ..errors import ConfigError, NodeUnreachable, NotAllowed, Unavailable, WireError
from ..job_json import time_json
from ..tokens import LIFE_S_MAX, LOCAL, Claims, check_user_name, make_ring
from . import show
from .options import REQUEST_LIMIT_S, Caller, caller, duration, local, reading
from .secrets import password, password_file
from .users import ROLES

ANSWER_BYTES_MAX = 64 << 10
HERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "*": "127.0.0.1"}
"""What a server that listens everywhere is called from its own machine."""


@click.command("token", short_help="Get a token for the HTTP API.")
@click.option(
    "--name", metavar="NAME", help="Who logs in; with --local, what the audit is to call the holder. [asked for]"
)
@password_file
@click.option("--url", metavar="URL", help="Of the API. [http://SERVER_HOST:SERVER_PORT, https with TLS_ENABLED]")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Whose certificates to trust. [the system's]",
)
@click.option("--local", "is_local", is_flag=True, help="Sign one here with JWT_SECRET, for a program that is no user.")
@click.option("--role", type=click.Choice(ROLES), help="With --local: what it may do.")
@click.option("--ttl", type=duration, metavar="DURATION", help="With --local: how long. [JWT_TTL]")
@reading
@local
@caller
def command(
    asked: Caller,
    name: str | None,
    password_file: Path | None,
    url: str | None,
    ca_file: Path | None,
    is_local: bool,
    role: str | None,
    ttl: float | None,
) -> None:
    """Print a token for `Authorization: Bearer`, got from the API by name and password.

    With --local it is signed here, by the secret in the settings: such a token belongs to no user, cannot be ended before its time but by
    changing the secret, and works with every API of that secret.
    """
    if is_local:
        if password_file or url or ca_file or not (name and role):
            raise click.UsageError("--local takes --name and --role, and asks no API and for no password")
        answer = _signed_here(asked.loaded.settings, name, role, ttl)
    else:
        if role or ttl is not None:
            raise click.UsageError("--role and --ttl are for --local; who logs in has the role of the user")
        answer = _from_api(asked.loaded.settings, name, password_file, url, ca_file)
    if asked.as_json:
        show.as_json(answer)
    else:
        click.echo(answer["token"])
        show.talk(f"{answer['role']}, until {answer['expires_at']}")


def _signed_here(settings: Settings, name: str, role: str, ttl: float | None) -> dict[str, Any]:
    try:
        check_user_name(name)
    except ValueError as fault:
        raise click.UsageError(str(fault)) from None
    life_s = settings.jwt_ttl_s if ttl is None else ttl
    if not 1 <= life_s < LIFE_S_MAX:
        raise click.UsageError(f"--ttl: between 1s and {LIFE_S_MAX / 86400 - 1:.0f}d")
    ring = make_ring(
        settings.jwt_secret, settings.jwt_key_file, issuer=settings.jwt_issuer, audience=settings.jwt_audience
    )
    now = int(time.time())
    claims = Claims(LOCAL + name, role, 0, secrets.token_urlsafe(16), now, now + int(life_s))
    return _answer(ring.sign(claims), claims.name, role, str(time_json(claims.expires_at * 1000)))


def _from_api(
    settings: Settings, name: str | None, file: Path | None, url: str | None, ca_file: Path | None
) -> dict[str, Any]:
    place = _place_of(url or _url_of(settings))
    if name is None:
        name = click.prompt("Name", err=True)
    given = password(file, f"Password of {name}", is_new=False)
    said = _log_in(place, ca_file, json.dumps({"username": name, "password": given}).encode())
    if not all(isinstance(said.get(key), str) for key in ("token", "role", "expires_at")):
        raise WireError(f"{place.url} answers a login with something else than a token; is it the API of zjp?")
    return _answer(said["token"], name, said["role"], said["expires_at"])


def _answer(token: str, name: str, role: str, expires_at: str) -> dict[str, Any]:
    return {"token": token, "token_type": "Bearer", "name": name, "role": role, "expires_at": expires_at}


class _Place(NamedTuple):
    is_tls: bool
    host: str
    port: int
    path: str
    url: str


def _url_of(settings: Settings) -> str:
    host = HERE.get(settings.server_host, settings.server_host)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{'https' if settings.tls_enabled else 'http'}://{host}:{settings.server_port}"


def _place_of(url: str) -> _Place:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as fault:
        raise click.UsageError(f"--url {url}: {fault}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.query:
        raise click.UsageError(f"--url {url}: accepted is http://HOST:PORT or https://HOST:PORT")
    is_tls = parts.scheme == "https"
    return _Place(is_tls, parts.hostname, port or (443 if is_tls else 80), parts.path.rstrip("/"), url)


def _log_in(place: _Place, ca_file: Path | None, body: bytes) -> dict[str, Any]:
    """Raises: ConfigError, NodeUnreachable, NotAllowed, Unavailable, WireError."""
    connection = _connection(place, ca_file)
    try:
        connection.request(
            "POST", f"{place.path}/auth/login", body, {"Content-Type": "application/json", "Accept": "application/json"}
        )
        answer = connection.getresponse()
        said = json.loads(answer.read(ANSWER_BYTES_MAX))
    except (OSError, http.client.HTTPException) as fault:
        raise NodeUnreachable(f"{place.url}: no answer from an API there: {fault}") from None
    except ValueError:
        raise WireError(f"{place.url} answers with something else than JSON; is it the API of zjp?") from None
    finally:
        connection.close()
    if not isinstance(said, dict):
        said = {}
    if answer.status == 200:
        return said
    detail = f"{place.url}: {show.clean(str(said.get('detail') or answer.reason))}"
    raise NotAllowed(detail) if answer.status in (401, 403) else Unavailable(detail)


def _connection(place: _Place, ca_file: Path | None) -> http.client.HTTPConnection:
    if not place.is_tls:
        return http.client.HTTPConnection(place.host, place.port, timeout=REQUEST_LIMIT_S)
    try:
        trust = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as fault:
        raise ConfigError(f"--ca-file {ca_file}: cannot be read as certificates in PEM form: {fault}") from None
    return http.client.HTTPSConnection(place.host, place.port, timeout=REQUEST_LIMIT_S, context=trust)
